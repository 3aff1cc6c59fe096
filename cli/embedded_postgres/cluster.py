"""One data folder with its programs: made on the first start, with a database, a role and a password of its own."""

import os
import platform
import secrets
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from cli.embedded_postgres.account import Account
from cli.embedded_postgres.binaries import Binaries
from cli.embedded_postgres.failure import PostgresFailed

NAME = "practice_access"  # of the role and of the database
BUILTIN_LOCALES_SINCE = 17  # major version; before it the operating system has to know the locale


@dataclass(frozen=True, slots=True)
class Cluster:
    """What PostgreSQL calls a data folder and the server on it. durable: whether commits survive a crash of the machine."""

    data: Path
    binaries: Binaries
    account: Account
    durable: bool

    def program(self, name: str) -> str:
        """The path of one of the programs."""
        return str(self.binaries.folder / name)

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's that PostgreSQL reads: its PG… variables, its language."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}

    def url(self, password: str, port: int) -> str:
        """Where the application finds it."""
        return url(password, port)


def url(password: str, port: int) -> str:
    """Where the application finds a server."""
    return f"postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}"


def prepare(cluster: Cluster, password_file: Path) -> str:
    """Make the data where there is none yet. Returns the role's password. Raises PostgresFailed."""
    if not cluster.data.exists():
        return _create(cluster, password_file)
    if not password_file.exists():  # lost, or the data was brought here without it
        password = _new_password(cluster)
        _write_private(password_file, password)
    return password_file.read_text()


def _create(cluster: Cluster, password_file: Path) -> str:
    """Make it under another name first: a start that is killed half-way leaves nothing that looks like data."""
    unfinished = replace(cluster, data=cluster.data.with_name("postgres.unfinished"))
    shutil.rmtree(unfinished.data, ignore_errors=True)
    unfinished.data.mkdir(mode=0o700)
    cluster.account.give(unfinished.data)
    _initdb(unfinished)
    password = _new_password(unfinished)
    _single_user(unfinished, f"CREATE DATABASE {NAME}")
    _write_private(password_file, password)
    unfinished.data.rename(cluster.data)
    return password


def _initdb(cluster: Cluster) -> None:
    if cluster.binaries.major >= BUILTIN_LOCALES_SINCE:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8"] if platform.system() == "Linux" else ["--locale=C", "--lc-ctype=en_US.UTF-8"]
    # Nobody gets in without a password: not over the socket (there is none), not over TCP.
    access = [f"--username={NAME}", "--auth-local=reject", "--auth-host=scram-sha-256"]
    durable = [] if cluster.durable else ["--no-sync"]
    _run(cluster, [cluster.program("initdb"), "--encoding=UTF8", *locale, *access, *durable])


def _new_password(cluster: Cluster) -> str:
    password = secrets.token_urlsafe(24)
    _single_user(cluster, f"ALTER ROLE {NAME} PASSWORD '{password}'")
    return password


def _single_user(cluster: Cluster, statement: str) -> None:
    """Run a statement with no server and no network; it comes by standard input, so no process list shows it."""
    fsync = "on" if cluster.durable else "off"
    settings = ["-c", f"fsync={fsync}", "-c", "exit_on_error=on"]
    _run(cluster, [cluster.program("postgres"), "--single", *settings], "postgres", given=f"{statement}\n")


def _run(cluster: Cluster, command: list[str], *operands: str, given: str = "") -> None:
    with cluster.account.opened(cluster.data) as (folder, files):
        done = subprocess.run(
            [*command, "-D", folder, *operands],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=cluster.environment(),
            pass_fds=files,
            **cluster.account.process_options(),
        )
    if done.returncode != 0:
        problem = next(
            (line for line in done.stderr.splitlines() if "rror" in line or "FATAL" in line), done.stderr[-200:]
        )
        raise PostgresFailed(f"PostgreSQL's data could not be made in {cluster.data.parent}: {problem.strip()}")


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user reads, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
