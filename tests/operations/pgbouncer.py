"""Debian's PgBouncer in front of a PostgreSQL, with the settings that docs/operating.md shows."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.processes import ROOT
from tests.servers import reaper
from tests.servers.ports import free_port

START_SECONDS = 60.0
SAMPLE = re.compile(r"^    ; pgbouncer\.ini$\n((?:^(?:    .*)?$\n)+)", re.MULTILINE)


def documented() -> str:
    """The sample in docs/operating.md."""
    found = SAMPLE.search((ROOT / "docs" / "operating.md").read_text())
    assert found is not None
    return "\n".join(line[4:] for line in found[1].splitlines())


@contextlib.contextmanager
def running(server_url: str, **settings: str) -> Iterator[str]:
    """A pooler while the block runs; yields the URL of the same database through it. settings: instead of those in the sample."""
    parts = urlsplit(server_url)
    port = free_port()
    account = f"user={parts.username} password={unquote(parts.password or '')}"
    with tempfile.TemporaryDirectory(prefix="practice-access-pgbouncer-") as folder:
        Path(folder).chmod(0o755)  # it drops root's rights
        users = Path(folder) / "users.txt"
        users.write_text(f'"{parts.username}" ""\n')
        own = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(users),
            **settings,
        }
        text = documented()
        for name, value in own.items():
            text = re.sub(rf"^{name} *=.*$\n?", "", text, flags=re.MULTILINE)
            text += f"\n{name} = {value}"
        text = re.sub(
            r"^access = .*$", f"* = host={parts.hostname} port={parts.port} {account}", text, flags=re.MULTILINE
        )
        file = Path(folder) / "pgbouncer.ini"
        file.write_text(text + "\n")
        log = (Path(folder) / "log").open("wb")
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = reaper.popen(
            [shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") or "", *user, str(file)],
            stdout=log,
            stderr=log,
        )
        try:
            _wait(process, port, Path(folder) / "log")
            yield f"postgres://{parts.username}:x@127.0.0.1:{port}{parts.path}"
        finally:
            process.terminate()
            process.wait(START_SECONDS)
            reaper.forget(process.pid)
            log.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PgBouncer does not start: {log.read_text()[-1000:]}")
        time.sleep(0.05)
