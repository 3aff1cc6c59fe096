"""A channel pauses when its relay refuses everything, and goes on as soon as one message is taken.

A relay that refuses us and a receiving server that refuses us by a rule of its own say the same, and relays pass the second on as if it
were the first. So one refusal, or a hundred by one receiver, are retried message by message and stop nobody else. Only the same refusal
for addresses of three organizations from two practices, with no message taken in between, pauses the channel. Then one message a minute
goes as a probe, whichever process sends it; the others wait without being tried, until their own end.

The state is in the database: the messages are there too, evidence of several processes adds up, there is one probe for all of them, and a
restart changes nothing. Without the database nothing is sent anyway.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import database
from domain.models.columns import Channel

ORGANIZATIONS = 3
PRACTICES = 2
PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a relay said of one message that was not its recipient's fault. code: such as "554 5.7.1". domain: the recipient's."""

    delivery_id: UUID
    channel: Channel
    code: str
    domain: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A channel that is paused. problem: for people. probe_in_seconds: until a probe may go; 0 or less when one may go now."""

    channel: Channel
    code: str
    problem: str
    paused_at: datetime
    next_probe_at: datetime
    probe_in_seconds: float


async def current() -> list[Pause]:
    """The channels that are paused now."""
    rows = await database.fetch(
        "SELECT channel, code, problem, paused_at, next_probe_at, extract(epoch FROM next_probe_at - clock_now())::float8 AS probe_in_seconds"
        " FROM channel_pauses ORDER BY channel"
    )
    return [Pause(**row | {"channel": Channel(row["channel"])}) for row in rows]


async def take_probe(channel: Channel) -> bool:
    """Take the probe that is due, so that no other process does; whether there was one to take, or the channel is paused no more."""
    taken = await database.fetch_one(
        """
        WITH probe AS (
            UPDATE channel_pauses SET next_probe_at = clock_now() + $2 * interval '1 second'
            WHERE channel = $1 AND next_probe_at <= clock_now() RETURNING channel
        )
        SELECT EXISTS (SELECT FROM probe) OR NOT EXISTS (SELECT FROM channel_pauses WHERE channel = $1) AS may_go
        """,
        channel.value,
        PROBE_SECONDS,
    )
    return taken is not None and bool(taken["may_go"])


async def note_refused(refusals: Sequence[Refusal]) -> list[Refusal]:
    """Note refusals, each in its own practice's name; those that made their channel pause. Messages of no practice do not count.

    Writes: channel_refusals, channel_pauses.
    """
    if not refusals:
        return []
    await database.execute(
        """
        INSERT INTO channel_refusals (id, channel, code, organization, practice_id, refused_at)
        SELECT DISTINCT ON (r.channel, r.code, r.organization, d.practice_id)
            gen_random_uuid(), r.channel, r.code, r.organization, d.practice_id, clock_now()
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS r (delivery_id, channel, code, organization)
            JOIN deliveries d ON d.id = r.delivery_id
        WHERE d.practice_id IS NOT NULL
        ORDER BY r.channel, r.code, r.organization, d.practice_id
        ON CONFLICT (channel, code, organization, practice_id) DO NOTHING
        """,
        [refusal.delivery_id for refusal in refusals],
        [refusal.channel.value for refusal in refusals],
        [refusal.code for refusal in refusals],
        [organization(refusal.domain) for refusal in refusals],
    )
    latest = {(refusal.channel, refusal.code): refusal for refusal in refusals}
    return [refusal for refusal in latest.values() if await _pause(refusal)]


async def _pause(refusal: Refusal) -> bool:
    paused = await database.execute(
        """
        INSERT INTO channel_pauses (channel, code, problem, paused_at, next_probe_at)
        SELECT channel, code, $3, clock_now(), clock_now() + $4 * interval '1 second' FROM channel_refusals
        WHERE channel = $1 AND code = $2
        GROUP BY channel, code HAVING count(DISTINCT organization) >= $5 AND count(DISTINCT practice_id) >= $6
        ON CONFLICT (channel) DO NOTHING
        """,
        refusal.channel.value,
        refusal.code,
        refusal.problem,
        PROBE_SECONDS,
        ORGANIZATIONS,
        PRACTICES,
    )
    return bool(paused)


async def note_accepted(channels: Collection[Channel]) -> list[Channel]:
    """A message of these channels was taken: forget what was refused before, and go on. The channels that had paused."""
    if not channels:
        return []
    rows = await database.fetch(
        """
        WITH forgotten AS (
            DELETE FROM channel_refusals WHERE id IN (SELECT id FROM channel_refusals WHERE channel = ANY($1::text[]) FOR UPDATE SKIP LOCKED)
        )
        DELETE FROM channel_pauses WHERE channel IN (SELECT channel FROM channel_pauses WHERE channel = ANY($1::text[]) FOR UPDATE SKIP LOCKED)
        RETURNING channel
        """,
        [channel.value for channel in channels],
    )
    return [Channel(row["channel"]) for row in rows]


def organization(domain: str) -> str:
    """The part of a domain that somebody registered, as far as it can be told without a list: whoever has one has all names below it.

    Two labels, or three below a short one of a country: elm.example.com and example.com are one, a.co.uk and b.co.uk are two.
    """
    labels = domain.lower().rstrip(".").split(".")
    is_of_country = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if is_of_country else -2 :])[:253]
