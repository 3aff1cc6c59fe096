"""How the outbox stands: what waits, since when. Read from its rows, so it is right whoever asks and whichever process sends."""

from dataclasses import dataclass

from domain import database


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages of one kind that go one way and have not been taken by the relay or carrier.

    by_status: how many are QUEUED, RETRYING, SENDING. oldest_seconds: since the oldest of them was promised.
    """

    channel: str
    kind: str
    by_status: dict[str, int]
    oldest_seconds: float


async def waiting() -> list[Waiting]:
    """What waits in all practices. One statement, over the open rows alone."""
    rows = await database.fetch(
        "SELECT channel, kind, status, count(*) AS count, extract(epoch FROM clock_now() - min(queued_at))::float8 AS oldest"
        " FROM deliveries WHERE status IN ('QUEUED', 'RETRYING', 'SENDING') GROUP BY channel, kind, status"
    )
    found: dict[tuple[str, str], Waiting] = {}
    for row in rows:
        key = (row["channel"], row["kind"])
        before = found.get(key, Waiting(*key, {}, 0.0))
        oldest = max(before.oldest_seconds, row["oldest"])
        found[key] = Waiting(*key, before.by_status | {row["status"]: row["count"]}, oldest)
    return list(found.values())
