"""Fixtures of all tests: a PostgreSQL server for the run, a migrated database for each worker, the API in this process, the clock."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import hypothesis
import pytest
import pytest_asyncio

from domain import connection_limits, database, outbox, passwords, secrets, settings
from graph.app import create_app
from tests import databases, row_order, scenes
from tests import parts as real_parts
from tests.databases import TEMPLATE, database_url, fresh_database, make_template
from tests.parts import Parts
from tests.scenes import Scenes
from tests.servers import postgres, shared
from tests.world import Api, Mail, World

__all__ = ["TEMPLATE", "database_url", "fresh_database", "make_template"]

TEST_KEYS = ("newest-key-of-the-tests-0123456789", "older-key-of-the-tests-abcdefghijk")
# On a busy machine a test may wait longer for a lock than a person should.
PATIENT = {"lock_timeout": "60s", "idle_in_transaction_session_timeout": "60s"}
CLIENT_ADDRESS = "198.51.100.7"

STARTED_BY = "PRACTICE_ACCESS_TEST_STARTED_BY"  # the process id of `make`, which the run ends with

_server = contextlib.ExitStack()
SCENES = Scenes()


def pytest_configure(config: pytest.Config) -> None:
    """Offer the PostgreSQL server of the run, which the first test that needs a database starts."""
    if hasattr(config, "workerinput"):  # one of pytest-xdist's; by itself it would go on for 15 seconds
        _end_with(os.getppid())
        return
    if config.option.collectonly or shared.is_offered():
        return
    shared.offer(lambda: _server.enter_context(databases.server_with_template()))
    if starter := os.environ.pop(STARTED_BY, None):
        _end_with(int(starter))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what was started for the run."""
    shared.withdraw()
    _server.close()


# How long one example takes says how busy the machine is, and nothing of the rule.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than there are cores: some tests do nothing but wait, for a lease to run out for example."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it has ended; what it started itself goes with it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@pytest.fixture(scope="session")
def server_url() -> str:
    """The PostgreSQL server of this run."""
    return shared.get()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _connected(server_url: str) -> AsyncIterator[None]:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_limits, "SERVER_SETTINGS", connection_limits.SERVER_SETTINGS | PATIENT)
        await database.connect(await fresh_database(server_url))
    await SCENES.install()
    await passwords.prepare()
    with pytest.MonkeyPatch.context() as patch:
        row_order.reverse_unordered(patch)
        yield
    await database.disconnect()
    if postgres.given_url():
        await databases.drop_made()


CLOCK = "CREATE OR REPLACE FUNCTION clock_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT {} {}'"
# The moment at which the clock of a test begins: no minute, hour, day or month ends soon, and no zone changes its clock.
STARTS_AT = datetime.fromisoformat(os.environ.get("TEST_CLOCK_STARTS_AT", "2035-06-05T15:00:10+00:00"))
# How long one setting of the clock serves the tests that follow, in seconds: half of the shortest allowance's window.
SETTING_SECONDS = 0.0 if "TEST_CLOCK_STARTS_AT" in os.environ else 300.0


class Clock:
    """The one clock there is, the database's. It begins at STARTS_AT, goes on by itself, and can be moved forward and stopped.

    It is years away from the clock of the process on purpose: a rule or a test that mixes the two fails.
    """

    usual = "now()"
    _set_at = float("-inf")

    @classmethod
    async def begin(cls) -> None:
        """Set it to STARTS_AT, unless it was set a short while ago."""
        if time.monotonic() - cls._set_at < SETTING_SECONDS:
            return
        row = (await database.fetch("SELECT extract(epoch FROM $1 - now())::float8 AS ahead", STARTS_AT))[0]
        cls.usual, cls._set_at = f"(now() + interval ''{row['ahead']} seconds'')", time.monotonic()
        await database.execute(CLOCK.format(cls.usual, ""))

    def __init__(self) -> None:
        self._offset = timedelta()
        self._base = self.usual
        self._stands_still = False

    async def stop(self) -> None:
        """From now on time passes only when it is let: however slow a machine is, two steps are at the same moment."""
        self._base = f"timestamptz ''{(await database.now()).isoformat()}''"
        self._offset = timedelta()
        await database.execute(CLOCK.format(self._base, ""))
        self._stands_still = True
        await scenes.note_clock(stands_still=True)

    async def forward(self, **length: float) -> None:
        """Let time pass, as in `clock.forward(minutes=10)`."""
        self._offset += timedelta(**length)
        length_sql = f"+ interval ''{self._offset.total_seconds()} seconds''"
        await database.execute(CLOCK.format(self._base, length_sql))
        await scenes.note_clock(stands_still=self._stands_still)

    async def reset(self) -> None:
        """Back to where it would be by itself."""
        if self._offset or self._base != self.usual:
            self._offset, self._base, self._stands_still = timedelta(), self.usual, False
            await database.execute(CLOCK.format(self._base, ""))
            await scenes.note_clock(stands_still=False)


@pytest_asyncio.fixture
async def db(_connected: None) -> AsyncIterator[None]:
    """An empty, migrated database that the ORM is connected to."""
    outbox.on_commit_ring(None)
    await Clock.begin()
    await SCENES.begin()
    yield
    await SCENES.empty()


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
def world(api: Api, mail: Mail, app_settings: settings.Settings, tmp_path: Path) -> World:
    """Practices and people, made through the API or, where they were made so before, put back as they were."""
    return World(api, mail, SCENES, repr(app_settings).replace(str(tmp_path), ""))


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
