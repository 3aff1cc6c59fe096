"""As whom the server runs: the server refuses root, so root hands it to an unprivileged account that exists already.

That account need not be able to reach the data by its path, which may lead through folders that are root's alone: the
server inherits the open data folder and is told to find it at `/proc/self/fd/…`. No folder is opened up for it.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cli.embedded_postgres.binaries import Binaries, copy_to
from cli.embedded_postgres.failure import PostgresFailed

UNPRIVILEGED = "nobody"
FIRST_FOLDER_NUMBER = 50  # above what shells use for their own; they pass it on
# For copies of programs that the account cannot reach: folders that everybody can, the first of them that allows programs.
COMMON_FOLDERS = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - the copies are root's, in a folder of a drawn name


class ProcessOptions(TypedDict, total=False):
    """What `subprocess` needs to start something as another user."""

    cwd: str
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Who the server runs as. switch: another user and group than this process's, or None."""

    switch: tuple[int, int] | None

    def process_options(self) -> ProcessOptions:
        """Keyword arguments for `subprocess` functions."""
        if self.switch is None:
            return {"cwd": "/"}
        return {"cwd": "/", "user": self.switch[0], "group": self.switch[1], "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make a path of this process's the account's."""
        if self.switch is not None:
            os.chown(path, *self.switch)

    @contextlib.contextmanager
    def opened(self, data: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """A name of the folder that the account's processes can use, and the open files that they need for it."""
        if self.switch is None or platform.system() != "Linux":
            yield str(data), ()
            return
        folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            passed_on = fcntl.fcntl(folder, fcntl.F_DUPFD_CLOEXEC, FIRST_FOLDER_NUMBER)
        finally:
            os.close(folder)
        try:
            yield f"/proc/self/fd/{passed_on}", (passed_on,)
        finally:
            os.close(passed_on)


def account_for(data: Path) -> Account:
    """The account that owns the data already, or the one to make it as. Raises PostgresFailed."""
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            remedy = "run as that user, or set DATA_DIR to another folder"
            raise PostgresFailed(f"{data} belongs to another user (number {owner.st_uid}): {remedy}")
        return Account(None)
    if owner is not None and owner.st_uid != 0:
        return Account((owner.st_uid, owner.st_gid))
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        remedy = "run as an ordinary user, or set DATABASE_URL to a server"
        raise PostgresFailed(
            f"PostgreSQL refuses root, and there is no user {UNPRIVILEGED} to run it as: {remedy}"
        ) from None
    return Account((entry.pw_uid, entry.pw_gid))


@contextlib.contextmanager
def reachable(binaries: Binaries, account: Account, data_dir: Path) -> Iterator[Binaries]:
    """The programs, or for as long as the block runs a copy of them, where the account can start them."""
    if _can_start(binaries, account):
        yield binaries
        return
    if binaries.site_packages is not None:
        for common in COMMON_FOLDERS:
            with _copied(binaries, common, data_dir) as copy:
                if _can_start(copy, account):
                    yield copy
                    return
    remedy = "install PostgreSQL, run as an ordinary user, or set DATABASE_URL to a server"
    raise PostgresFailed(
        f"{UNPRIVILEGED} cannot start {binaries.folder}/postgres, and PostgreSQL refuses root: {remedy}"
    )


def copies_of_programs(data_dir: Path) -> list[Path]:
    """The copies of the server's programs that were made for a data folder and are there now."""
    prefix = _prefix(data_dir.absolute())
    return [found for common in COMMON_FOLDERS for found in common.glob(f"{prefix}*")]


def _prefix(data_dir: Path) -> str:
    return f"practice-access-postgres-{hashlib.sha256(bytes(data_dir)).hexdigest()[:12]}-"


@contextlib.contextmanager
def _copied(binaries: Binaries, common: Path, data_dir: Path) -> Iterator[Binaries]:
    prefix = _prefix(data_dir)
    for leftover in common.glob(f"{prefix}*"):  # of an earlier run for this data that was killed
        if leftover.lstat().st_uid == os.geteuid():
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=common, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # a new folder of root's: the account may read it, not write
        yield copy_to(Path(folder), binaries)


def _can_start(binaries: Binaries, account: Account) -> bool:
    try:
        subprocess.run(
            [binaries.folder / "postgres", "--version"],
            check=True,
            capture_output=True,
            timeout=30,
            **account.process_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True
