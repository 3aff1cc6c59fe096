"""Trying each configured part for real: it connects, logs in, and says so in one line."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiosmtplib
import httpx
import redis.asyncio

from domain import database, database_start, keys, secrets
from domain.settings import SettingInvalid, Settings, SmtpUrl, Twilio
from domain.tls_files import trusting

T = TypeVar("T")

TIMEOUT_SECONDS = 10
LINE_SECONDS = 60  # a database may have several hosts
WRONG_SETTING = 2
SENDING_OFF = "OFF: workers with this setting send nothing, and the schedule stands still"


async def run(settings: Settings) -> int:
    """Print one line for each part; 0 when all that are configured work, 2 when a setting is what is wrong, else 1."""
    secrets.use_keys(settings.secret_keys)
    results = [
        await _line("database", settings.database_url, _database, "practice-access dev starts its own"),
        await _line("keys", settings.database_url, _keys, "no database to compare them with"),
        await _line("redis", settings.redis_url, _redis, "the worker runs inside the API's process"),
        await _line("smtp", settings.smtp_url, _smtp, "e-mails go to the development mailbox"),
        await _line("carrier", settings.twilio, _carrier, "texts and calls go to the development mailbox"),
        await _line("carrier 2", settings.second_twilio, _carrier, "texts and calls wait when the carrier is down"),
    ]
    print(f"{'sending':10}{'on' if settings.is_sending else SENDING_OFF}")
    print(f"{'client':10}links lead to {settings.client_url}")
    return max(results)


async def _line(name: str, part: T | None, check: Callable[[T], Awaitable[str]], otherwise: str) -> int:
    if part is None:
        print(f"{name:10}not set: {otherwise}")
        return 0
    try:
        async with asyncio.timeout(LINE_SECONDS):
            print(f"{name:10}ok: {await check(part)}")
    except SettingInvalid as error:
        print(f"{name:10}FAILED: {error}")
        return WRONG_SETTING
    except Exception as error:  # noqa: BLE001 -- whatever a part raises is what the operator has to read
        print(f"{name:10}FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}")
        return 1
    return 0


async def _database(url: str) -> str:
    state = await database_start.connect(url)
    await database.disconnect()
    pooler = ", behind a pooler" if state.is_pooled else ""
    return f"PostgreSQL {state.version_name}{pooler}, its schema is up to date"


async def _keys(url: str) -> str:
    """How SECRET_KEYS fit the database. Raises KeysLacking, SettingInvalid."""
    try:
        await database_start.connect(url)
    except SettingInvalid:
        return "not compared, since the database cannot be worked on"
    try:
        await keys.compare()
        found = await keys.every()
    finally:
        await database.disconnect()
    lacking = [f"{key.key_id} ({key.needs})" for key in found if not key.is_here and key.needed_for]
    if lacking:
        raise KeysLacking(f"SECRET_KEYS lack keys that are needed: {'; '.join(lacking)}")
    here = ", ".join(secrets.ring().keys)
    return f"they fit the database; the newest first: {here}"


class KeysLacking(Exception):
    """Rows need keys that are not in the ring."""


async def _redis(url: str) -> str:
    client = redis.asyncio.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    try:
        info = await client.info("server")
    finally:
        await client.aclose()
    return f"Redis {info['redis_version']}"


async def _smtp(part: SmtpUrl) -> str:
    client = aiosmtplib.SMTP(
        hostname=part.host,
        port=part.port,
        use_tls=part.tls == "implicit",
        start_tls=part.tls == "starttls",
        tls_context=trusting(part.ca_file) if part.tls != "none" else None,
        username=part.username,
        password=part.password,
        timeout=TIMEOUT_SECONDS,
    )
    async with client:
        await client.noop()
    return f"{part.host}:{part.port} takes our mail ({part.tls})"


async def _carrier(part: Twilio) -> str:
    async with httpx.AsyncClient(auth=(part.account_sid, part.auth_token), timeout=TIMEOUT_SECONDS) as client:
        answer = await client.get(f"{part.api_url}/2010-04-01/Accounts/{part.account_sid}.json")
        answer.raise_for_status()
    return f"the account answers at {part.api_url}"
