"""How the outbox stands: what waits, since when. Read from its rows, so it is right whoever asks and whichever process sends."""

from dataclasses import dataclass
from datetime import datetime

from domain import database
from domain.actors import Actor
from domain.models.columns import Channel

# Longer than that is worth telling: a code lives for ten minutes, and somebody stands there with the phone in hand; an invitation
# is promised within thirty. The alert rules (docs/alerts.yml) wake the operator at about the same time.
LATE_SECONDS = {Channel.SMS: 30, Channel.VOICE: 30, Channel.EMAIL: 600}


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


async def of_practice(actor: Actor) -> list[ChannelRecord]:
    """How the messages of the actor's practice get out, each channel. Raises Unauthenticated, Forbidden."""
    rows = await database.fetch(
        "SELECT channel, count(*) AS waiting, min(queued_at) AS oldest, extract(epoch FROM clock_now() - min(queued_at))::float8 AS seconds"
        " FROM deliveries WHERE practice_id = $1 AND status IN ('QUEUED', 'RETRYING', 'SENDING') GROUP BY channel",
        actor.administrator().practice_id,
    )
    found = {Channel(row["channel"]): row for row in rows}
    return [
        ChannelRecord(channel, row["waiting"], row["oldest"], row["seconds"] > LATE_SECONDS[channel])
        if (row := found.get(channel))
        else ChannelRecord(channel, 0, None, is_late=False)
        for channel in Channel
    ]
