"""The breaker of the money guard: when codes go to many new phones and few of them are proved, no more go there for a while.

Watched per practice, per range of 10,000 numbers, and over all. Its state is in the database: a restart forgets nothing, and every
process sees it at once. A practice that pays is stopped by its own numbers alone, and phones that are proved by nobody's.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain import audit, database
from domain.actors import Actor, require_operator
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import Allowance, LimitReached, NotFound
from domain.models.columns import Crowd, uuid7

logger = logging.getLogger(__name__)

WINDOW = timedelta(hours=6)  # a morning's onboarding, and slow pumping too
GRACE = timedelta(minutes=5)  # a person who has asked just now is still typing
HELD_BACK = timedelta(hours=1)
LEAST_SHARE = 0.25  # of numbers that are proved; where people set up accounts it is well above a half
NUMBERS_PER_FLOW = 5  # one person who tries one number after the other is not many people
PREFIX_DIGITS_LEFT_OUT = 4


class Scope(StrEnum):
    """What is stopped."""

    PRACTICE = "PRACTICE"
    PREFIX = "PREFIX"
    ALL = "ALL"


# From how many numbers on the share says something.
LEAST_NUMBERS = {Scope.PRACTICE: 20, Scope.PREFIX: 20, Scope.ALL: 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Codes to new phones are held back. subject: the practice's id, the first digits of the numbers, or nothing.

    numbers: how many got codes, of which verified were proved. ends_at: past when it was lifted or is over.
    """

    id: UUID
    scope: Scope
    subject: str
    numbers: int
    verified: int
    began_at: datetime
    ends_at: datetime
    is_open: bool


def prefix_of(phone: str) -> str:
    """The range of 10,000 numbers that an E.164 number is out of."""
    return phone[:-PREFIX_DIGITS_LEFT_OUT]


def on_behalf_of(actor: Actor) -> Actor:
    """Who stands in the trail for what the guard does by itself, with the address of whoever made it do so."""
    return Actor(ip_address=actor.ip_address, name="the money guard")


async def watch(actor: Actor, crowd: Crowd, practice_id: UUID | None, phone: str) -> None:
    """Count what a new phone's code falls under, and stop what has too few proved; outside every transaction.

    Writes: code_stop, audit "money_guard.tripped" (in the practice's trail where it is a practice's), a line in the log.
    """
    scopes = _scopes(crowd, practice_id, phone)
    for row in await _suspicious(scopes):
        if await _stop(on_behalf_of(actor), row):
            logger.error(
                "Codes to new phones are held back (%s %s): %s of %s numbers were proved",
                row["scope"],
                row["subject"],
                row["verified"],
                row["numbers"],
            )


async def require_open(crowd: Crowd, practice_id: UUID | None, phone: str) -> None:
    """Look whether a new phone may get a code. Raises LimitReached while that is held back."""
    scopes = _scopes(crowd, practice_id, phone)
    row = await database.fetch_one(
        "SELECT max(ends_at) AS ends_at FROM code_stops s JOIN unnest($1::text[], $2::text[]) AS w (scope, subject)"
        " ON w.scope = s.scope AND w.subject = s.subject WHERE s.ends_at > clock_now()",
        [scope.value for scope in scopes],
        list(scopes.values()),
    )
    if row is not None and row["ends_at"] is not None:
        raise LimitReached(Allowance.NEW_PHONES, row["ends_at"])


def _scopes(crowd: Crowd, practice_id: UUID | None, phone: str) -> dict[Scope, str]:
    """What a new phone's code falls under: everything a stranger's, its practice alone that of somebody whose practice pays."""
    own = {Scope.PRACTICE: str(practice_id)} if practice_id is not None else {}
    return own if crowd is Crowd.CUSTOMERS else own | {Scope.PREFIX: prefix_of(phone), Scope.ALL: ""}


async def _suspicious(scopes: dict[Scope, str]) -> list[Row]:
    """Those that are not stopped, and of whose numbers in the window too few were proved since the last stop's end.

    A number counts once it was proved, or the grace for that is over.
    """
    return await database.fetch(
        f"""
        WITH watched AS (
            SELECT w.*, greatest(clock_now() - $4::interval, s.ends_at) AS since
            FROM unnest($1::text[], $2::text[], $3::int[]) AS w (scope, subject, least_numbers)
                LEFT JOIN code_stops s ON s.scope = w.scope AND s.subject = w.subject
            WHERE s.ends_at IS NULL OR s.ends_at <= clock_now()
        ),
        counted AS (
            SELECT w.scope, w.subject, w.least_numbers,
                least(count(DISTINCT c.phone), {NUMBERS_PER_FLOW} * count(DISTINCT coalesce(c.enrollment_id, c.challenge_id))) AS numbers,
                count(DISTINCT c.phone) FILTER (WHERE c.consumed_at IS NOT NULL) AS verified
            FROM watched w JOIN security_codes c ON c.created_at > w.since AND CASE w.scope
                WHEN 'PRACTICE' THEN c.practice_id::text = w.subject AND c.crowd <> 'STAFF'
                WHEN 'PREFIX' THEN left(c.phone, -{PREFIX_DIGITS_LEFT_OUT}) = w.subject AND c.crowd = 'STRANGERS'
                ELSE c.crowd = 'STRANGERS' END
            WHERE c.crowd <> 'STAFF' AND c.created_at > clock_now() - $4::interval
                AND (c.consumed_at IS NOT NULL OR c.created_at < clock_now() - $5::interval)
            GROUP BY w.scope, w.subject, w.least_numbers
        )
        SELECT * FROM counted WHERE numbers >= least_numbers AND verified < numbers * $6::float8
        """,  # noqa: S608 -- the inserted texts are the constants above
        [scope.value for scope in scopes],
        list(scopes.values()),
        [LEAST_NUMBERS[scope] for scope in scopes],
        WINDOW,
        GRACE,
        LEAST_SHARE,
    )


async def _stop(actor: Actor, row: Row) -> bool:
    """Whether it is this request that stopped it: of those that see the same at once, one does."""
    details = {name: row[name] for name in ("scope", "subject", "numbers", "verified")}
    return await audit.record_with(
        actor,
        Entry(action=Action.MONEY_GUARD_TRIPPED, details=details),
        """
        INSERT INTO code_stops AS s (id, scope, subject, numbers, verified, began_at, ends_at)
        VALUES ($1, $2, $3, $4, $5, clock_now(), clock_now() + $6::interval)
        ON CONFLICT (scope, subject) DO UPDATE SET id = excluded.id, numbers = excluded.numbers, verified = excluded.verified,
            began_at = excluded.began_at, ends_at = excluded.ends_at
        WHERE s.ends_at <= clock_now()
        """,
        uuid7(),
        row["scope"],
        row["subject"],
        row["numbers"],
        row["verified"],
        HELD_BACK,
        practice_id=_own_practice(row),
    )


def _own_practice(row: Row) -> UUID | None:
    """The practice in whose trail a stop stands; None for one of a range or of all."""
    return UUID(row["subject"]) if row["scope"] == Scope.PRACTICE else None


async def stops(actor: Actor) -> list[Stop]:
    """What is held back now and was within a week, the latest first. Raises Forbidden for everybody but the operator."""
    require_operator(actor)
    rows = await database.fetch(
        "SELECT id, scope, subject, numbers, verified, began_at, ends_at, ends_at > clock_now() AS is_open FROM code_stops"
        " ORDER BY began_at DESC, id"
    )
    return [Stop(**row | {"scope": Scope(row["scope"])}) for row in rows]


async def lift(actor: Actor, stop_id: UUID) -> None:
    """Let codes go again; what was counted so far no longer counts.

    Raises Forbidden, NotFound (no such stop, or it is over). Writes: code_stop, audit "money_guard.lifted".
    """
    require_operator(actor)
    row = await database.fetch_one("SELECT scope, subject FROM code_stops WHERE id = $1", stop_id)
    if row is None:
        raise NotFound
    is_lifted = await audit.record_with(
        actor,
        Entry(action=Action.MONEY_GUARD_LIFTED, details={"scope": row["scope"], "subject": row["subject"]}),
        "UPDATE code_stops SET ends_at = clock_now() WHERE id = $1 AND ends_at > clock_now()",
        stop_id,
        practice_id=_own_practice(row),
    )
    if not is_lifted:
        raise NotFound
