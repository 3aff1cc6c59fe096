"""A temporary PostgreSQL, or the server that TEST_DATABASE_URL names (its role must be allowed to create databases)."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from cli import embedded_postgres
from cli.embedded_postgres import PostgresFailed
from tests.servers import reaper

KEPT = 5  # data folders in the cache: one for each of the branches that somebody goes back and forth between


def given_url() -> str | None:
    """The server to use instead of one of our own."""
    return os.environ.get("TEST_DATABASE_URL") or None


@contextlib.contextmanager
def running(cache: Path | None = None, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
    """A server while the block runs; yields its URL.

    cache, prepare: start with a copy of the data in this folder. Where there is none yet, make it: run `prepare` with the URL of an
    empty server. Both are ignored for a server that is given.
    """
    url = given_url()
    if url:
        yield url
        return
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="practice-access-test-", ignore_cleanup_errors=True)
        )
        folder = Path(name)
        reaper.remove_afterwards(folder)
        if cache is None or prepare is None:
            yield stack.enter_context(_started(folder))
            return
        try:
            if not _copy(cache, folder):
                _fill(cache, folder, prepare)
            url = stack.enter_context(_started(folder))
        except PostgresFailed:  # the copy may be damaged: its server does not sync to disk
            shutil.rmtree(cache, ignore_errors=True)
            _empty(folder)
            _fill(cache, folder, prepare)
            url = stack.enter_context(_started(folder))
        yield url


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[str]:
    with embedded_postgres.start(folder, durable=False) as url:
        for copy in embedded_postgres.copies_of_programs(folder):
            reaper.remove_afterwards(copy)
        yield url


def _fill(cache: Path, folder: Path, prepare: Callable[[str], None]) -> None:
    """Prepare new data and put a copy of it into the cache, all at once: others may be looking for it."""
    with _started(folder) as url:
        prepare(url)
    unfinished = cache.with_name(f"unfinished-{uuid.uuid4().hex}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(cache.parent.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        if _copy(folder, unfinished):
            unfinished.rename(cache)
    except OSError:  # another run was first, or nothing can be written here: then the next run prepares its own
        pass
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy(source: Path, target: Path) -> bool:
    """Copy a folder with its data, with owners and modes. False where there is none, or it went away meanwhile."""
    if not (source / "postgres").is_dir():
        return False
    target.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        os.utime(source)  # used just now
    done = subprocess.run(
        ["/bin/cp", "-Rp", *(source / part for part in ("postgres", "postgres.password")), target],
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        return True
    _empty(target)
    return False


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
