"""How the outbox stands: what waits, since when. Read from its rows, so it is right whoever asks and whichever process sends."""

from dataclasses import dataclass
from datetime import datetime

from domain import database
from domain.actors import Actor
from domain.models.columns import Channel

# Longer than that is worth telling: a code lives for ten minutes, and somebody stands there with the phone in hand; an invitation
# is promised within thirty. The alert rules (docs/alerts.yml) wake the operator at about the same time.
LATE_SECONDS = {Channel.SMS: 30, Channel.VOICE: 30, Channel.EMAIL: 600}


# Nothing is counted further than this. Who has to act knows from the age of the oldest message, which is exact at any number.
COUNTED_UP_TO = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages of one kind that go one way and have not been taken by the relay or carrier.

    by_status: how many are QUEUED, RETRYING, SENDING; COUNTED_UP_TO stands for that many or more. oldest_seconds: since the oldest of
    them was promised.
    """

    channel: str
    kind: str
    by_status: dict[str, int]
    oldest_seconds: float


# Which channels and kinds there are is found by going from one to the next in the index, so that kinds of a newer version are seen too.
_OPEN = "status IN ('QUEUED', 'RETRYING', 'SENDING')"
WAITING = f"""
    WITH RECURSIVE found AS (
        (SELECT channel, kind FROM deliveries WHERE {_OPEN} ORDER BY channel, kind LIMIT 1)
        UNION ALL
        SELECT n.channel, n.kind FROM found f CROSS JOIN LATERAL (
            SELECT channel, kind FROM deliveries WHERE {_OPEN} AND (channel, kind) > (f.channel, f.kind) ORDER BY channel, kind LIMIT 1
        ) n
    )
    SELECT f.channel, f.kind, s.status, c.count, extract(epoch FROM clock_now() - o.queued_at)::float8 AS oldest
    FROM found f CROSS JOIN unnest(ARRAY['QUEUED', 'RETRYING', 'SENDING']) AS s (status)
        CROSS JOIN LATERAL (
            SELECT queued_at FROM deliveries d
            WHERE d.channel = f.channel AND d.kind = f.kind AND d.status = s.status AND {_OPEN} ORDER BY queued_at LIMIT 1
        ) o
        CROSS JOIN LATERAL (
            SELECT count(*) AS count FROM (
                SELECT FROM deliveries d WHERE d.channel = f.channel AND d.kind = f.kind AND d.status = s.status AND {_OPEN}
                ORDER BY queued_at LIMIT $1 -- in the order of the index, so that it is read no further
            ) counted
        ) c
"""  # noqa: S608 -- constants


async def waiting() -> list[Waiting]:
    """What waits in all practices. One statement, whose cost does not depend on how much waits."""
    rows = await database.fetch(WAITING, COUNTED_UP_TO)
    found: dict[tuple[str, str], Waiting] = {}
    for row in rows:
        key = (row["channel"], row["kind"])
        before = found.get(key, Waiting(*key, {}, 0.0))
        oldest = max(before.oldest_seconds, row["oldest"])
        found[key] = Waiting(*key, before.by_status | {row["status"]: row["count"]}, oldest)
    return list(found.values())


async def awaiting_key() -> int:
    """How many messages wait for a worker that has the server key that they are made with."""
    row = await database.fetch_one(
        "SELECT count(*) AS count FROM deliveries WHERE awaited_key_id IS NOT NULL AND status IN ('QUEUED', 'RETRYING', 'SENDING')"
    )
    return row["count"] if row else 0


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One practice's messages that go one way and have not been taken yet. oldest_since: None when none waits."""

    channel: Channel
    waiting: int
    oldest_since: datetime | None
    is_late: bool


OF_PRACTICE = f"""
    SELECT channel, count(*) AS waiting, min(queued_at) AS oldest, extract(epoch FROM clock_now() - min(queued_at))::float8 AS seconds
    FROM deliveries WHERE practice_id = $1 AND {_OPEN} GROUP BY channel
"""  # noqa: S608 -- a constant


async def of_practice(actor: Actor) -> list[ChannelRecord]:
    """How the messages of the actor's practice get out, each channel. Raises Unauthenticated, Forbidden."""
    rows = await database.fetch(OF_PRACTICE, actor.administrator().practice_id)
    found = {Channel(row["channel"]): row for row in rows}
    return [
        ChannelRecord(channel, row["waiting"], row["oldest"], row["seconds"] > LATE_SECONDS[channel])
        if (row := found.get(channel))
        else ChannelRecord(channel, 0, None, is_late=False)
        for channel in Channel
    ]
