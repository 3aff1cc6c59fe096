"""The databases of the tests: a migrated template, kept from run to run, and clones of it."""

import ast
import asyncio
import contextlib
import hashlib
import importlib.metadata
import platform
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from cli.embedded_postgres import binaries
from domain import database
from tests.servers import postgres

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".pytest_cache" / "databases"
# What decides how a migrated database looks. Each file is followed to the files of `domain` that it imports.
SOURCES = ("domain/migrations", "domain/models", "domain/database.py", "tests/databases.py")


@cache
def fingerprint() -> str:
    """A name for the state of everything that the template is made from, except the server's version."""
    digest = hashlib.sha256(importlib.metadata.version("tortoise-orm").encode())
    for file in sorted(_followed(ROOT, SOURCES)):
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _followed(root: Path, sources: tuple[str, ...]) -> set[Path]:
    """The Python files of these files and folders, and those of `domain` that they import, directly or not."""
    found: set[Path] = set()
    ahead = [
        file
        for source in sources
        for file in ((root / source).rglob("*.py") if (root / source).is_dir() else [root / source])
    ]
    while ahead:
        file = ahead.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        for name in _imported(ast.parse(file.read_text())):
            if name.split(".")[0] == "domain":
                path = root.joinpath(*name.split("."))
                ahead += [path.with_suffix(".py"), path / "__init__.py"]
    return found


def _imported(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{one.name}" for one in node.names}
    return names


TEMPLATE = f"practice_access_template_{fingerprint()}"


@contextlib.contextmanager
def server_with_template() -> Iterator[str]:
    """A server while the block runs, with the template on it; yields its URL."""
    if postgres.given_url():
        with postgres.running() as url:
            asyncio.run(make_template(url))
            yield url
        return
    programs = next(binaries.found(), None)
    where = f"{programs.folder} {programs.major}" if programs else ""
    name = hashlib.sha256(f"{fingerprint()} {where} {platform.machine()}".encode()).hexdigest()[:16]
    with postgres.running(CACHE / name, lambda url: asyncio.run(make_template(url))) as url:
        yield url


def database_url(server: str, name: str) -> str:
    """The URL of another database on the same server."""
    parts = urlsplit(server)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", "", ""))


async def make_template(server: str) -> None:
    """Make the migrated database that every fresh one is cloned from, unless it is there. Several processes may do so at once."""
    connection = await asyncpg.connect(server)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE):
            return
        unfinished = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
        await connection.execute(f'CREATE DATABASE "{unfinished}"')
        await database.migrate(database_url(server, unfinished))
        try:
            await connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{TEMPLATE}"')
        except asyncpg.DuplicateDatabaseError:
            await connection.execute(f'DROP DATABASE "{unfinished}"')
    finally:
        await connection.close()


_made: list[tuple[str, str]] = []


async def fresh_database(server: str) -> str:
    """A migrated database of one's own; its URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    try:
        for _ in range(1_000):  # cloning fails while another worker clones
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)
            else:
                _made.append((server, name))
                return database_url(server, name)
    finally:
        await connection.close()
    raise RuntimeError("the template database stays in use")


async def drop_made() -> None:
    """Drop the databases that this process made. A server of our own goes with all it has, one that was given does not."""
    while _made:
        server, name = _made.pop()
        connection = await asyncpg.connect(server)
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.close()
