"""What every test stands on: one real PostgreSQL a run, a migrated database a worker, the API in this process, the one clock."""

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from domain import database, outbox, passwords, secrets, settings
from graph.app import create_app
from tests import parts as real_parts
from tests import row_order
from tests.parts import Parts
from tests.servers import postgres
from tests.world import Api, Mail, World

TEMPLATE = "practice_access_template"
TEST_KEYS = ("newest-key-of-the-tests-0123456789", "older-key-of-the-tests-abcdefghijk")
CLIENT_ADDRESS = "198.51.100.7"

_server: contextlib.AbstractContextManager[str] | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Start PostgreSQL once for the whole run; xdist's workers find it by the environment."""
    global _server  # noqa: PLW0603 -- pytest gives the two hooks nothing else to share
    if "PRACTICE_ACCESS_TEST_SERVER" in os.environ or config.option.collectonly:
        return
    _server = postgres.running()
    url = _server.__enter__()
    os.environ["PRACTICE_ACCESS_TEST_SERVER"] = url
    asyncio.run(make_template(url))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what `pytest_configure` started."""
    if _server is not None:
        _server.__exit__(None, None, None)


def database_url(server: str, name: str) -> str:
    """The URL of another database on the same server."""
    parts = urlsplit(server)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", "", ""))


async def make_template(server: str) -> None:
    """The migrated database that every fresh one is cloned from."""
    connection = await asyncpg.connect(server)
    await connection.execute(f'DROP DATABASE IF EXISTS "{TEMPLATE}"')
    await connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
    await connection.close()
    await database.migrate(database_url(server, TEMPLATE))


async def fresh_database(server: str) -> str:
    """A migrated database of one's own; its URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server)
    try:
        for _ in range(100):  # cloning fails while another worker clones
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
                return database_url(server, name)
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
    raise RuntimeError("the template database stays in use")


@pytest.fixture(scope="session")
def server_url() -> str:
    """The PostgreSQL server of this run."""
    return os.environ["PRACTICE_ACCESS_TEST_SERVER"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _connected(server_url: str) -> AsyncIterator[None]:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))
    await database.connect(await fresh_database(server_url))
    await passwords.prepare()
    with pytest.MonkeyPatch.context() as patch:
        row_order.reverse_unordered(patch)
        yield
    await database.disconnect()


CLOCK = "CREATE OR REPLACE FUNCTION clock_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT {} {}'"
STARTS_AT = os.environ.get("TEST_CLOCK_STARTS_AT")


def clock_of_a_test() -> str:
    """The SQL of a test's clock before it is moved: the server's time, or one that begins at TEST_CLOCK_STARTS_AT.

    Set that variable to the last second of a day, a month or a year to find code and tests that fail when one ends.
    """
    if STARTS_AT is None:
        return "now()"
    ahead = datetime.fromisoformat(STARTS_AT) - datetime.now(UTC)
    return f"(now() + interval ''{ahead.total_seconds()} seconds'')"


class Clock:
    """The one clock there is, the database's, moved forward."""

    usual = "now()"

    def __init__(self) -> None:
        self._offset = timedelta()
        self._base = self.usual

    async def stop(self) -> None:
        """From now on time passes only when it is let: however slow a machine is, two steps are at the same moment."""
        self._base = f"timestamptz ''{(await database.now()).isoformat()}''"
        self._offset = timedelta()
        await database.execute(CLOCK.format(self._base, ""))

    async def forward(self, **length: float) -> None:
        """Let time pass, as in `clock.forward(minutes=10)`."""
        self._offset += timedelta(**length)
        length_sql = f"+ interval ''{self._offset.total_seconds()} seconds''"
        await database.execute(CLOCK.format(self._base, length_sql))

    async def reset(self) -> None:
        """Back to now."""
        if self._offset or self._base != self.usual:
            self._offset, self._base = timedelta(), self.usual
            await database.execute(CLOCK.format(self._base, ""))


@pytest_asyncio.fixture
async def db(_connected: None) -> AsyncIterator[None]:
    """An empty, migrated database that the ORM is connected to."""
    outbox.on_commit_ring(None)
    if STARTS_AT is not None:
        Clock.usual = clock_of_a_test()
        await database.execute(CLOCK.format(Clock.usual, ""))
    yield
    tables = await database.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'tortoise_migrations'"
    )
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")  # the audit trail refuses to be emptied
        await database.execute(f"TRUNCATE {', '.join(row['tablename'] for row in tables)} CASCADE")


@pytest_asyncio.fixture
async def clock(db: None) -> AsyncIterator[Clock]:
    """Time that a test can let pass."""
    clock = Clock()
    yield clock
    await clock.reset()


@pytest.fixture
def app_settings(tmp_path: Path) -> settings.Settings:
    """Development settings in a folder of the test's own."""
    return settings.load({"DATA_DIR": str(tmp_path), "SECRET_KEYS": ",".join(TEST_KEYS)})


@pytest_asyncio.fixture
async def api(db: None, app_settings: settings.Settings) -> AsyncIterator[Api]:
    """A client of the API, which runs in this process."""
    app = create_app(app_settings, checks={})
    transport = httpx.ASGITransport(app=app, client=(CLIENT_ADDRESS, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield Api(client)


@pytest.fixture
def mail(db: None) -> Mail:
    """What would leave the building: the outbox, run."""
    return Mail()


@pytest.fixture
def world(api: Api, mail: Mail) -> World:
    """Practices and people, made through the API."""
    return World(api, mail)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine that runs the tests gets into them."""
    for name in list(os.environ):
        if name.startswith(
            (
                *("TWILIO_", "SECOND_TWILIO_", "SMTP_", "BOUNCE_ADDRESS", "SES_", "POSTMARK_", "MAIL_FROM"),
                *("REDIS_", "DATABASE_URL", "SECRET_KEYS", "CLIENT_URL", "ENVIRONMENT"),
                *("METRICS_", "OTEL_"),
            )
        ):
            monkeypatch.delenv(name)


@pytest_asyncio.fixture
async def parts(tmp_path: Path, server_url: str) -> AsyncIterator[Parts]:
    """Everything that an operator runs, for real; the database is the test's own."""
    with real_parts.running(tmp_path, await fresh_database(server_url)) as running:
        yield running
