"""The signed-in user and their practice."""

from datetime import datetime

import strawberry

from domain import login_settings, practices, queue_health, users
from domain.actors import Member
from domain.practices import PracticeRecord
from graph.context import Info
from graph.delivery_health import ChannelHealth
from graph.ids import global_id
from graph.login_settings_types import LoginSettings
from graph.practice_access_codes import PracticeAccessCodeSettings
from graph.scalars import PhoneNumber
from graph.subscriptions import PracticeSubscription
from graph.types import Node, User


@strawberry.type(description="A medical practice.")
class Practice(Node):
    """The signed-in user's practice."""

    name: str = strawberry.field(description="The practice's name.")
    specialty: str = strawberry.field(description="What it specialises in.")
    phone: PhoneNumber = strawberry.field(description="Its contact number.")
    time_zone: str = strawberry.field(description="IANA name; allowed hours are read in it.")
    subscription: PracticeSubscription = strawberry.field(description="What it has subscribed to.")
    practice_access_code_settings: PracticeAccessCodeSettings = strawberry.field(
        description="How often its access code is replaced, and how long the one before is taken."
    )
    created_at: datetime = strawberry.field(description="When it signed up.")

    @strawberry.field(description="The practice's defaults, which hold for whoever has no settings of their own.")
    async def login_settings(self, info: Info) -> LoginSettings:
        """Read when it is asked for."""
        return LoginSettings.of(await login_settings.of_practice(info.context.actor.signed_in().practice_id))

    @strawberry.field(
        description="How the sending of this practice's messages goes, by channel. Administrators only; null for everyone else."
    )
    async def delivery_health(self, info: Info) -> list[ChannelHealth] | None:
        """Read when it is asked for."""
        actor = info.context.actor
        if not actor.signed_in().is_administrator:
            return None
        return [ChannelHealth.of(record) for record in await queue_health.of_practice(actor)]

    @classmethod
    def of(cls, record: PracticeRecord, viewer: Member) -> "Practice":
        """From the domain's record, as far as this member may see."""
        return cls(
            id=global_id("Practice", record.id),
            name=record.name,
            specialty=record.specialty,
            phone=PhoneNumber(record.phone),
            time_zone=record.time_zone,
            subscription=PracticeSubscription.of(record.subscription, viewer),
            practice_access_code_settings=PracticeAccessCodeSettings.of(record.access_code_settings),
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
        actor = info.context.actor
        return Practice.of(await practices.current(actor), actor.signed_in())
