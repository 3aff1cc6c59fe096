"""What the fault tests stand on: mails that are due in a database of their own, workers at named points, and what came of it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx

from domain import secrets
from domain.models.columns import new_nonce, uuid7
from tests import processes
from tests.parts import Parts
from tests.processes import Process
from tests.world import Json, document

KEYS = "newest-key-of-the-tests-0123456789"
LONG_SECONDS = 180.0  # a machine may be slow; what is waited for comes much sooner
KEY_ID = secrets.key_id(KEYS.encode())
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43  # of no password that anybody knows
CLOCK = (
    "CREATE OR REPLACE FUNCTION clock_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS"
    " 'SELECT now() + interval ''{} seconds'''"
)
OPEN = ("QUEUED", "SENDING", "RETRYING")
PHONE = "+12025550143"


@dataclass
class Scene:
    """Real parts with what a test asks of them."""

    parts: Parts
    more: dict[str, str] = field(default_factory=dict)
    _offset: float = 0.0

    @property
    def settings(self) -> dict[str, str]:
        """What the processes are told."""
        return self.parts.settings | {"SECRET_KEYS": KEYS, "LOG_LEVEL": "info"} | self.more

    def worker(
        self, name: str, point: str | None = None, **settings: str
    ) -> contextlib.AbstractContextManager[Process]:
        """A worker; one that dies at a named point."""
        return processes.started(
            self.parts.folder, name, "worker", settings=self.settings | settings, module=self._module(name, point)
        )

    def workers(self, name: str, count: int, /, **settings: str) -> contextlib.AbstractContextManager[Process]:
        """Several worker processes of one command."""
        command = ("worker", f"--processes={count}")
        return processes.started(self.parts.folder, name, *command, settings=self.settings | settings)

    def api(
        self, name: str = "api", point: str | None = None, **settings: str
    ) -> contextlib.AbstractContextManager[Process]:
        """An API process; one that dies at a named point."""
        return processes.serving(
            self.parts.folder, name, "api", settings=self.settings | settings, module=self._module(name, point)
        )

    def _module(self, name: str, point: str | None) -> tuple[str, ...]:
        if point is None:
            return ("cli.main",)
        return ("tests.faults.points", point, str(self.parts.folder / f"{name}.mark"))

    def is_dead(self, name: str) -> bool:
        """Whether the process of this name has died at its point."""
        return (self.parts.folder / f"{name}.mark").exists()

    async def killed_at_its_point(self, name: str, worker: Process) -> None:
        """Wait until a worker has died at its point, and end its parent too, so that nothing of it is started anew."""
        deadline = time.monotonic() + LONG_SECONDS
        while not self.is_dead(name):
            assert time.monotonic() < deadline, worker.printed()[-3000:]
            await asyncio.sleep(0.05)
        worker.kill()

    # -- the database --------------------------------------------------------------------------------------------------------

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows, past the product. A connection of its own: the server may have been restarted meanwhile."""
        connection = await asyncpg.connect(self.parts.database_url)
        try:
            return [dict(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def due(self, addresses: Sequence[str], *, lane: int = 2, lifetime: str = "1 day") -> None:
        """Mails that are due, one to each address."""
        connection = await asyncpg.connect(self.parts.database_url)
        try:
            async with connection.transaction():
                ids = [uuid7() for _ in addresses]
                await connection.execute(
                    "INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone,"
                    " nonce, key_id, expires_at, created_at) SELECT s.id, 'Ann', 'Lee', s.email, s.email, $4, 'Elm', 'Surgery',"
                    " 'America/Chicago', s.nonce, $5, clock_now() + interval '1 day', clock_now()"
                    " FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS s (id, email, nonce)",
                    ids,
                    list(addresses),
                    [new_nonce() for _ in ids],
                    PHONE,
                    KEY_ID,
                )
                await connection.execute(
                    "INSERT INTO deliveries (id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at)"
                    f" SELECT gen_random_uuid(), id, 'verify_email', 'EMAIL', $2, 'QUEUED', 0, clock_now(), clock_now(),"
                    f" clock_now() + interval '{lifetime}' FROM unnest($1::uuid[]) AS s (id)",
                    ids,
                    lane,
                )
        finally:
            await connection.close()

    async def administrator(self) -> str:
        """A practice with an administrator who has just signed in; the session's token."""
        token = secrets.new_token()
        practice_id, user_id = uuid7(), uuid7()
        connection = await asyncpg.connect(self.parts.database_url)
        try:
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO practices (id, name, specialty, phone, time_zone, created_at)"
                    " VALUES ($1, 'Elm', 'Surgery', '+12025550100', 'UTC', clock_now())",
                    practice_id,
                )
                await connection.execute(
                    "INSERT INTO subscriptions (practice_id, plan, status, trial_ends_at, updated_at)"
                    " VALUES ($1, 'standard', 'TRIALING', clock_now() + interval '14 days', clock_now())",
                    practice_id,
                )
                await connection.execute(
                    "INSERT INTO practice_access_codes (id, practice_id, nonce, key_id, issued_at) VALUES ($1, $2, $3, $4, clock_now())",
                    uuid7(),
                    practice_id,
                    new_nonce(),
                    KEY_ID,
                )
                await connection.execute(
                    "INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level,"
                    " status, phone, phone_verified_at, password_hash, password_key_id, created_at) VALUES ($1, $2, 'Ada', 'Lovelace',"
                    " 'lovelace ada', $3, $3, true, 'ADMINISTRATOR', 'ACTIVE', $4, clock_now(), $5, $6, clock_now())",
                    user_id,
                    practice_id,
                    f"ada-{user_id}@elm.example",
                    PHONE,
                    HASH,
                    KEY_ID,
                )
                await connection.execute(
                    "INSERT INTO sessions (id, user_id, token_hash, device_name, ip_address, authenticated_at, last_used_at, expires_at,"
                    " created_at) VALUES ($1, $2, $3, 'A browser', '127.0.0.1', clock_now(), clock_now(), clock_now() + interval '12 hours',"
                    " clock_now())",
                    uuid7(),
                    user_id,
                    secrets.token_hash(token),
                )
        finally:
            await connection.close()
        return token

    async def deliveries(self) -> list[dict[str, Any]]:
        """Every row of the outbox with the address that it is about."""
        return await self.sql(
            "SELECT d.*, s.email, d.due_at > clock_now() AS is_ahead FROM deliveries d LEFT JOIN sign_ups s ON s.id = d.subject_id"
        )

    async def settled(self, seconds: float = LONG_SECONDS) -> list[dict[str, Any]]:
        """Wait until nothing is open any more; every row then."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                rows = await self.deliveries()
                if not [row for row in rows if row["status"] in OPEN]:
                    return rows
            assert time.monotonic() < deadline, Counter(row["status"] for row in rows)
            await asyncio.sleep(0.1)

    async def until(self, statement: str, seconds: float = LONG_SECONDS) -> list[dict[str, Any]]:
        """Wait until a statement answers with rows; these."""
        deadline = time.monotonic() + seconds
        while not (rows := await self.sql(statement)):
            assert time.monotonic() < deadline, (statement, await self.deliveries())
            await asyncio.sleep(0.1)
        return rows

    async def forward(self, seconds: float) -> None:
        """Let the database's clock, the one that counts, go on by so much; or back."""
        self._offset += seconds
        await self.sql(CLOCK.format(self._offset))

    # -- what arrived --------------------------------------------------------------------------------------------------------

    def copies(self) -> Counter[str]:
        """How many copies each address got."""
        return Counter(recipient for one in self.parts.smtp.received for recipient in one.recipients)

    def assert_doubles_are_alike(self) -> int:
        """Each copy of a mail has one Message-ID and one content; how many addresses got more than one."""
        doubles = [address for address, count in self.copies().items() if count > 1]
        for address in doubles:
            received = [one for one in self.parts.smtp.received if address in one.recipients]
            assert len({one.message["Message-ID"] for one in received}) == 1, address
            assert len({one.content for one in received}) == 1, address
        return len(doubles)


def gone(process: Process, seconds: float = LONG_SECONDS) -> None:
    """Wait until a process has ended."""
    process.popen.wait(seconds)


@contextlib.contextmanager
def killed_after(process: Process) -> Iterator[Process]:
    """The block's process, killed with everything that it started when the block ends."""
    try:
        yield process
    finally:
        process.kill()


def post(url: str, mutation: str, values: Json, session: str | None = None, seconds: float = 30) -> Json:
    """Call a mutation over HTTP; the whole answer. Raises httpx.TransportError when the server dies of it."""
    answer = httpx.post(
        f"{url}/graphql",
        json={"query": document(mutation), "variables": {"input": values}},
        headers={"authorization": f"Bearer {session}"} if session else {},
        timeout=seconds,
    )
    found: Json = answer.json()
    return found


def people(count: int, domain: str = "many.example") -> list[Json]:
    """So many people to invite."""
    return [
        {"firstName": "Pat", "lastName": f"N{number}", "email": f"pat{number}@{domain}", "accessLevel": "BILLING"}
        for number in range(count)
    ]
