"""Starting an API process: its database, its bell or its own worker, and the HTTP server."""

import asyncio
import contextlib
import logging
import socket

from cli import databases, embedded_postgres, workers
from cli.listener.draining import Draining
from cli.listener.server import Server
from cli.listener.sockets import listen
from domain import code_budgets, database, database_start, keys, passwords, readiness, scraping, secrets, tracing
from domain.readiness import NotReady
from domain.settings import SettingInvalid, Settings, environment
from graph.app import create_app
from graph.health import Check

logger = logging.getLogger(__name__)

BROKER_SECONDS = 0.5  # for an answer of Redis to a health check


async def dev(settings: Settings) -> int:
    """Everything in one process: a database of its own where none is set, the worker, the API, the mailbox."""
    if not settings.is_development:
        raise SettingInvalid(
            "ENVIRONMENT", "is production", "leave it out for `practice-access dev`, or run `practice-access api`"
        )
    with contextlib.closing(listen(settings)) as listener, _database(settings) as url:
        await database_start.migrate(url)
        return await _serve(settings, url, listener)


async def api(settings: Settings) -> int:
    """One API process on a database that is there and migrated."""
    url = databases.required(settings)
    with contextlib.closing(listen(settings)) as listener:
        return await _serve(settings, url, listener)


async def migrate(settings: Settings) -> int:
    """Bring the database's schema up to date; the exit status. Raises SettingInvalid."""
    await database_start.migrate(databases.required(settings))
    print("The database's schema is up to date.")
    return 0


def _database(settings: Settings) -> contextlib.AbstractContextManager[str]:
    """The database's URL, with a server of our own behind it where none is set. Starting and stopping that one blocks."""
    if settings.database_url is not None:
        return contextlib.nullcontext(settings.database_url)
    return embedded_postgres.start(settings.data_dir)


async def _serve(settings: Settings, url: str, listener: socket.socket) -> int:
    loop = type(asyncio.get_running_loop())
    logger.debug("The event loop is %s.%s.", loop.__module__, loop.__qualname__)
    secrets.use_keys(settings.secret_keys)
    code_budgets.use_settings(settings)
    scraping.watch_budgets(code_budgets.shares)
    scraping.watch_broker(workers.ping if settings.redis_url else None)
    await database_start.connect(url)
    tracing.start(environment())
    try:
        await keys.begin()
        await passwords.prepare()
        with workers.exposed(settings):
            return await _serve_ready(settings, url, listener)
    finally:
        await database.disconnect()
        tracing.stop()


async def _serve_ready(settings: Settings, url: str, listener: socket.socket) -> int:
    draining = Draining()
    async with (
        workers.watched(settings),
        workers.beside_api(settings),
        contextlib.aclosing(readiness.Database(url)) as asked,
    ):
        checks: dict[str, Check] = {"process": draining.check, "database": asked.check}
        notes: dict[str, Check] = {} if settings.redis_url is None else {"broker": _has_broker}
        server = Server(create_app(settings, checks=checks, notes=notes), settings, draining)
        await server.serve(sockets=[listener])
    return 0 if server.started else 1


async def _has_broker() -> None:
    """Nothing that people do waits for Redis, so a process without it goes on serving."""
    try:
        async with asyncio.timeout(BROKER_SECONDS):
            await workers.ping()
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with it, it is no more than a note
        raise NotReady(f"Redis does not answer ({type(error).__name__}); workers find messages by looking.") from None
