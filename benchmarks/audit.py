"""What the audit trail's chain costs: for each act, and for verifying it.

`.venv/bin/python -m benchmarks.audit` writes EVENTS events one a transaction with and without the trigger that links them, from one
connection and from eight at once into one chain, and then verifies 100,000. It starts a PostgreSQL of its own.
"""

import asyncio
import os
import time
from uuid import UUID, uuid4

from domain import actors, audit_chain, database, secrets
from tests import conftest
from tests.servers import postgres

EVENTS = int(os.environ.get("EVENTS", "2000"))
TO_VERIFY = 100_000
ROUNDS = 3
INSERT = """
    INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_user_id, actor_name, subject_user_id, subject_name, session_id,
        ip_address, details)
    SELECT gen_random_uuid(), $1, clock_now(), 'invitation.sent', gen_random_uuid(), 'Ada Lovelace', gen_random_uuid(), 'Grace Hopper',
        gen_random_uuid(), '198.51.100.7', '{"access_level": "PROVIDER"}' FROM generate_series(1, $2)
"""


async def write(practice_id: UUID, connections: int) -> float:
    """Milliseconds a transaction with one event, so many at once."""

    async def some() -> None:
        for _ in range(EVENTS // connections):
            await database.execute(INSERT, practice_id, 1)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(connections)))
    return (time.perf_counter() - began) * 1000 * connections / EVENTS


async def main(server: str) -> None:
    """Print the figures."""
    await conftest.make_template(server)
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    await database.connect(await conftest.fresh_database(server))
    practice_id = uuid4()
    for connections in (1, 8):
        best = {}
        for _ in range(ROUNDS):  # in turns; the best of each counts
            for name, switch in (("without", "DISABLE"), ("with", "ENABLE")):
                for trigger in ("note", "link"):
                    await database.execute(f"ALTER TABLE audit_events {switch} TRIGGER audit_events_{trigger}")
                taken = await write(practice_id, connections)
                best[name] = min(taken, best.get(name, taken))
        print(
            f"one event a transaction, {connections} at once into one chain:"
            f" {best['without']:.2f} ms without the chain, {best['with']:.2f} ms with it"
        )
    chain = uuid4()
    began = time.perf_counter()
    for _ in range(TO_VERIFY // 200):
        await database.execute(INSERT, chain, 200)
    print(f"200 events a transaction: {(time.perf_counter() - began) * 1000 / (TO_VERIFY // 200):.1f} ms a transaction")
    began = time.perf_counter()
    report = await audit_chain.verify(actors.operator("benchmark"), chain)
    print(f"{report.events} events verified in {time.perf_counter() - began:.2f} s: {report.broken or 'they hold'}")
    await database.disconnect()


if __name__ == "__main__":
    with postgres.running() as url:
        asyncio.run(main(url))
