"""The signed-in user and their practice."""

from datetime import datetime

import strawberry

from domain import login_settings, practices, users
from domain.models.columns import SubscriptionStatus
from domain.practices import PracticeRecord
from graph.context import Info
from graph.login_settings_types import LoginSettings
from graph.types import Node, PhoneNumber, User, global_id


@strawberry.type(description="What the practice has subscribed to.")
class PracticeSubscription:
    """The gate of access."""

    plan: str = strawberry.field(description="The plan's name.")
    status: SubscriptionStatus = strawberry.field(description="What it stands at.")
    trial_ends_at: datetime | None = strawberry.field(description="When the trial ends; null when there was none.")
    current_period_ends_at: datetime | None = strawberry.field(
        description="Until when is paid; null while nothing was."
    )
    access_allowed: bool = strawberry.field(
        description="Whether staff can sign in. When false, administrators still can, to put it right."
    )


@strawberry.type(description="A medical practice.")
class Practice(Node):
    """The signed-in user's practice."""

    name: str = strawberry.field(description="The practice's name.")
    specialty: str = strawberry.field(description="What it specialises in.")
    phone: PhoneNumber = strawberry.field(description="Its contact number.")
    time_zone: str = strawberry.field(description="IANA name; allowed hours are read in it.")
    subscription: PracticeSubscription = strawberry.field(description="What it has subscribed to.")
    created_at: datetime = strawberry.field(description="When it signed up.")

    @strawberry.field(description="The practice's defaults, which hold for whoever has no settings of their own.")
    async def login_settings(self, info: Info) -> LoginSettings:
        """Read when it is asked for."""
        return LoginSettings.of(await login_settings.of_practice(info.context.actor.signed_in().practice_id))

    @classmethod
    def of(cls, record: PracticeRecord) -> "Practice":
        """From the domain's record."""
        subscription = record.subscription
        return cls(
            id=global_id("Practice", record.id),
            name=record.name,
            specialty=record.specialty,
            phone=PhoneNumber(record.phone),
            time_zone=record.time_zone,
            subscription=PracticeSubscription(
                plan=subscription.plan,
                status=subscription.status,
                trial_ends_at=subscription.trial_ends_at,
                current_period_ends_at=subscription.current_period_ends_at,
                access_allowed=subscription.access_allowed,
            ),
            created_at=record.created_at,
        )


@strawberry.type
class PracticeQuery:
    """Root fields."""

    @strawberry.field(description="The signed-in user; null when nobody is signed in.")
    async def viewer(self, info: Info) -> User | None:
        """Who is asking."""
        actor = info.context.actor
        if actor.member is None and actor.kept_out is None:
            return None
        member = actor.signed_in()
        record = await users.find(actor, member.user_id)
        return User.of(record, member) if record else None

    @strawberry.field(description="The signed-in user's practice.")
    async def practice(self, info: Info) -> Practice:
        """Whose staff it is about."""
        return Practice.of(await practices.current(info.context.actor))
