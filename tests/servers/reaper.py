"""Servers and folders that go when this process ends, however it ends.

    popen = reaper.popen(["redis-server", ...])     # in a session of its own; killed with all its children when this process is gone
    reaper.forget(popen.pid)                        # once it has ended
    reaper.remove_afterwards(folder)

A second process does it: it reads what there is to end from a pipe and acts when the pipe closes, which the kernel sees to also after
`kill -9`. (Linux's parent-death signal follows a thread instead of a process, and macOS has none.)
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

FOLDER_SECONDS = 60.0  # a PostgreSQL server may still be shutting down in it

# The shell reports the process before it becomes the program, so a kill of the caller at any moment leaves nothing unknown.
_REPORT_AND_BECOME = 'echo "+$$" >&0 && exec "$@" </dev/null'

_pipe: IO[bytes] | None = None
_owner = 0


def popen(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program without standard input. options: those of `subprocess.Popen`, except stdin and start_new_session."""
    started = subprocess.Popen(
        ["/bin/sh", "-c", _REPORT_AND_BECOME, "sh", *command], stdin=_reaper(), start_new_session=True, **options
    )
    started.args = list(command)
    return started


def forget(pid: int) -> None:
    """A process has ended and was waited for: its number may be another's soon."""
    _tell(f"-{pid}")


def remove_afterwards(folder: Path) -> None:
    """Remove a folder when this process has ended, if it is still there then."""
    _tell(f"/{folder.absolute()}")


def _tell(line: str) -> None:
    _reaper().write(f"{line}\n".encode())


def _reaper() -> IO[bytes]:
    """The pipe to this process's reaper, which is started when it is first needed."""
    global _pipe, _owner
    if _pipe is None or _owner != os.getpid():
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
            cwd="/",
            bufsize=0,
        )
        process.returncode = 0  # it outlives this process, which therefore never waits for it
        assert process.stdin is not None
        _pipe, _owner = process.stdin, os.getpid()
        atexit.register(_pipe.close)  # the kernel would close it as well, but Python complains
    assert _pipe is not None
    return _pipe


# -- in the reaper's own process ---------------------------------------------------------------------------------------------


def _serve(lines: IO[str]) -> None:
    processes: set[int] = set()
    folders: list[Path] = []
    for line in lines:
        kind, rest = line[0], line[1:].rstrip("\n")
        if kind == "+":
            processes.add(int(rest))
        elif kind == "-":
            processes.discard(int(rest))
        else:
            folders.append(Path(rest))
    for pid in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    _remove(folders)


def _remove(folders: Sequence[Path]) -> None:
    deadline = time.monotonic() + FOLDER_SECONDS
    left = [folder for folder in folders if folder.exists()]
    while left and time.monotonic() < deadline:
        for folder in left:
            if not (folder / "postgres/postmaster.pid").exists():
                shutil.rmtree(folder, ignore_errors=True)
        left = [folder for folder in left if folder.exists()]
        time.sleep(0.1 if left else 0)


if __name__ == "__main__":
    _serve(sys.stdin)
