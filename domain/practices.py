"""The practice, and what its subscription stands at."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import database
from domain.actors import Actor
from domain.models.columns import SubscriptionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecord:
    """Told from the database's clock. access_allowed: whether staff can sign in."""

    plan: str
    status: SubscriptionStatus
    trial_ends_at: datetime | None
    current_period_ends_at: datetime | None
    access_allowed: bool


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


async def current(actor: Actor) -> PracticeRecord:
    """The actor's practice. Raises Unauthenticated."""
    rows = await database.fetch(
        """
        SELECT p.id, p.name, p.specialty, p.phone, p.time_zone, p.created_at, t.plan, t.status, t.trial_ends_at,
            t.current_period_ends_at, t.access_allowed
        FROM practices p JOIN practice_standings t ON t.practice_id = p.id WHERE p.id = $1
        """,
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
        subscription=SubscriptionRecord(
            plan=row["plan"],
            status=SubscriptionStatus(row["status"]),
            trial_ends_at=row["trial_ends_at"],
            current_period_ends_at=row["current_period_ends_at"],
            access_allowed=row["access_allowed"],
        ),
    )
