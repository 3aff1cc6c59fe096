"""The practice, and what its subscription stands at."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import database, practice_access_code_settings, subscriptions
from domain.actors import Actor, require_operator
from domain.practice_access_code_settings import CodeSettings
from domain.searching import contains, id_in
from domain.subscriptions import SubscriptionRecord

MAX_PEOPLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeRecord:
    """A practice as its members see it."""

    id: UUID
    name: str
    specialty: str
    phone: str
    time_zone: str
    created_at: datetime
    subscription: SubscriptionRecord
    access_code_settings: CodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A practice as the operator finds it. administrators: the addresses of its active administrators, whoever joined first coming first.

    people: names and addresses of those who were looked for, at most MAX_PEOPLE.
    """

    id: UUID
    name: str
    administrators: list[str]
    subscription: SubscriptionRecord
    people: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A practice of which invited people complained. unknown: how many do not know it. spam: how many marked its mail. latest_at: when last."""

    id: UUID
    name: str
    status: str
    unknown: int
    spam: int
    latest_at: datetime


async def reported(actor: Actor) -> list[Reported]:
    """Practices that invited people do not know, or whose invitations were marked as spam, the worst first; for the operator.

    Raises Forbidden.
    """
    require_operator(actor)
    rows = await database.fetch(
        """
        SELECT p.id, p.name, t.status, count(*) FILTER (WHERE x.is_unknown_practice) AS unknown,
            count(*) FILTER (WHERE NOT x.is_unknown_practice) AS spam, max(x.bounced_at) AS latest_at
        FROM bounced_addresses x JOIN practices p ON p.id = x.practice_id JOIN practice_standings t ON t.practice_id = p.id
        WHERE x.is_complaint GROUP BY p.id, p.name, t.status ORDER BY unknown DESC, spam DESC, latest_at DESC, p.id
        """
    )
    return [Reported(**row) for row in rows]


async def current(actor: Actor) -> PracticeRecord:
    """The actor's practice. Raises Unauthenticated."""
    rows = await database.fetch(
        f"""
        SELECT p.id, p.name, p.specialty, p.phone, p.time_zone, p.created_at, {practice_access_code_settings.COLUMNS}, {subscriptions.COLUMNS}
        FROM practices p JOIN practice_standings t ON t.practice_id = p.id WHERE p.id = $1
        """,  # noqa: S608 -- constants
        actor.signed_in().practice_id,
    )
    row = rows[0]
    return PracticeRecord(
        id=row["id"],
        name=row["name"],
        specialty=row["specialty"],
        phone=row["phone"],
        time_zone=row["time_zone"],
        created_at=row["created_at"],
        subscription=subscriptions.of_row(row),
        access_code_settings=practice_access_code_settings.of_row(row),
    )


async def find(actor: Actor, text: str = "", *, practice_id: UUID | None = None) -> list[Listed]:
    """All practices, by name, in which a text stands: in the practice's name, or in anybody's name or address; for the operator.

    text: compared without case and accents; or the id of a practice or of a user, alone. practice_id: only that one. Raises Forbidden.
    """
    require_operator(actor)
    rows = await database.fetch(
        f"""
        WITH people AS (
            SELECT u.practice_id, (array_agg(rtrim(u.first_name || ' ' || u.last_name) || ' <' || u.email || '>' ORDER BY u.sort_name, u.id))[1:{MAX_PEOPLE}] AS people
            FROM users u WHERE $1 <> '' AND u.removed_at IS NULL AND ({contains("u.search_text", "$1")} OR u.id = $3)
            GROUP BY u.practice_id
        )
        SELECT p.id, p.name, a.emails, coalesce(m.people, '{{}}') AS people, {subscriptions.COLUMNS}
        FROM practices p JOIN practice_standings t ON t.practice_id = p.id LEFT JOIN people m ON m.practice_id = p.id CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(u.email ORDER BY u.created_at, u.id), '{{}}') AS emails FROM users u
            WHERE u.practice_id = p.id AND u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR'
        ) a
        WHERE ($1 = '' OR m.people IS NOT NULL OR p.id = $3 OR {contains("search_folded(p.name)", "$1")})
            AND ($2::uuid IS NULL OR p.id = $2)
        ORDER BY lower(p.name), p.id
        """,  # noqa: S608 -- constants
        "".join(filter(str.isprintable, text)).strip(),
        practice_id,
        id_in(text),
    )
    return [
        Listed(
            id=row["id"],
            name=row["name"],
            administrators=list(row["emails"]),
            subscription=subscriptions.of_row(row),
            people=list(row["people"]),
        )
        for row in rows
    ]
