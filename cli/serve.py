"""Starting an API process: its database, its bell or its own worker, and the HTTP server."""

import asyncio
import contextlib
import logging
import socket

from cli import databases, embedded_postgres, workers
from cli.listener.server import Server
from cli.listener.sockets import listen
from domain import code_budgets, database, keys, passwords, scraping, secrets, tracing
from domain.settings import SettingInvalid, Settings, environment
from graph.app import Check, create_app

logger = logging.getLogger(__name__)


async def dev(settings: Settings) -> int:
    """Everything in one process: a database of its own where none is set, the worker, the API, the mailbox."""
    if not settings.is_development:
        raise SettingInvalid(
            "ENVIRONMENT", "is production", "leave it out for `practice-access dev`, or run `practice-access api`"
        )
    with contextlib.closing(listen(settings)) as listener, _database(settings) as url:
        await database.migrate(url)
        return await _serve(settings, url, listener)


async def api(settings: Settings) -> int:
    """One API process on a database that is there and migrated."""
    url = databases.required(settings)
    with contextlib.closing(listen(settings)) as listener:
        return await _serve(settings, url, listener)


async def migrate(settings: Settings) -> int:
    """Bring the database's schema up to date."""
    await database.migrate(databases.required(settings))
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
    await database.connect(url)
    tracing.start(environment())
    try:
        await keys.begin()
        await passwords.prepare()
        with workers.exposed(settings):
            return await _serve_ready(settings, listener)
    finally:
        await database.disconnect()
        tracing.stop()


async def _serve_ready(settings: Settings, listener: socket.socket) -> int:
    async with workers.beside_api(settings):
        server = Server(create_app(settings, checks=_checks(settings)), settings)
        await server.serve(sockets=[listener])
    return 0 if server.started else 1


def _checks(settings: Settings) -> dict[str, Check]:
    async def is_migrated() -> None:
        if not await database.is_current():
            raise RuntimeError("migrations are missing")

    checks: dict[str, Check] = {"database": is_migrated}
    if settings.redis_url is not None:
        checks["broker"] = workers.ping
    return checks
