"""A real PostgreSQL server as a child process, with its data in a folder of the project's own.

    with embedded_postgres.start(Path("data")) as url:
        ...                                     # postgres://…@127.0.0.1:<free port>/practice_access

It listens on a free port of 127.0.0.1 only and asks for a password that was drawn when the data was made. It runs in a
session of its own, so a Ctrl-C in the terminal does not reach it before the application has closed its connections,
and it shuts down by itself when the process that started it is gone, however that ended. What was left by a hard kill
is recovered at the next start.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cli.embedded_postgres.account import account_for, copies_of_programs, reachable
from cli.embedded_postgres.binaries import binaries_for
from cli.embedded_postgres.cluster import Cluster, prepare, url
from cli.embedded_postgres.failure import PostgresFailed
from cli.embedded_postgres.server import only_one, port_of_running, run, stop_orphan

__all__ = ["PostgresFailed", "copies_of_programs", "running", "start"]


@contextlib.contextmanager
def start(data_dir: Path, *, durable: bool = True) -> Iterator[str]:
    """Run the server while the block runs; yields its URL. Blocking. Raises PostgresFailed.

    data_dir: gets `postgres/` (the data) and `postgres.log`, `postgres.lock` and `postgres.password` beside it.
    durable: False trades the data's safety in a crash of the machine for speed; for tests only.
    """
    data_dir = data_dir.absolute()
    data = data_dir / "postgres"
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_one(data_dir))
        account = account_for(data)
        binaries = stack.enter_context(reachable(binaries_for(data), account, data_dir))
        cluster = Cluster(data, binaries, account, durable)
        stop_orphan(cluster)
        password = prepare(cluster, data_dir / "postgres.password")
        port = stack.enter_context(run(cluster, data_dir / "postgres.log"))
        yield cluster.url(password, port)


def running(data_dir: Path) -> str | None:
    """The URL of the server that another process runs on a folder just now; None when none does, or its files are not ours to read."""
    data_dir = data_dir.absolute()
    try:
        port = port_of_running(data_dir / "postgres")
        return url((data_dir / "postgres.password").read_text(), port) if port else None
    except (OSError, ValueError):
        return None
