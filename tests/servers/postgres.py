"""A throw-away PostgreSQL, or the server that TEST_DATABASE_URL names (its role must be allowed to make databases)."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cli import embedded_postgres


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A server while the block runs; yields its URL."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="practice-access-test-", ignore_cleanup_errors=True) as folder,
        embedded_postgres.start(Path(folder), durable=False) as url,
    ):
        yield url
