"""What the practice has subscribed to, and what its administrators should know about it."""

from datetime import datetime

import strawberry

from domain.actors import Member
from domain.models.columns import SubscriptionStatus
from domain.subscriptions import NoticeRecord, SubscriptionNoticeKind, SubscriptionRecord

_THEN = "Then your staff cannot sign in until it is put right; you still can."


@strawberry.type(
    description="Something to show on the users tile before, or when, the subscription shuts the staff out."
)
class SubscriptionNotice:
    """A line for the tile."""

    kind: SubscriptionNoticeKind = strawberry.field(description="What it is about.")
    message: str = strawberry.field(description="For a person, in plain words, saying what comes of it.")
    ends_at: datetime | None = strawberry.field(
        description="When staff is shut out, or was; null where that was not written down."
    )

    @classmethod
    def of(cls, record: NoticeRecord) -> "SubscriptionNotice":
        """From the domain's record."""
        return cls(kind=record.kind, message=_message(record), ends_at=record.ends_at)


def _message(record: NoticeRecord) -> str:
    days = f"{record.days_left} day{'' if record.days_left == 1 else 's'}"
    if record.kind is SubscriptionNoticeKind.TRIAL_ENDING:
        return f"Your trial ends within {days}. {_THEN}"
    if record.kind is SubscriptionNoticeKind.PAST_DUE:
        return f"A payment is late. Everybody can go on working for up to {days}. {_THEN}"
    if record.kind is SubscriptionNoticeKind.CANCELED_ENDING:
        return f"Your subscription is canceled. Everybody can go on working for up to {days}. {_THEN}"
    return "Your trial or subscription is over, and your staff cannot sign in. Renew it to let them in again; nothing is lost meanwhile."


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
    access_ends_at: datetime | None = strawberry.field(
        description="Until when staff can sign in if nothing is done; null for no end in sight."
    )
    notice: SubscriptionNotice | None = strawberry.field(
        description="What an administrator should know now; null for nothing, and for everyone else."
    )

    @classmethod
    def of(cls, record: SubscriptionRecord, viewer: Member) -> "PracticeSubscription":
        """From the domain's record, as far as this member may see."""
        notice = record.notice if viewer.is_administrator else None
        return cls(
            plan=record.plan,
            status=record.status,
            trial_ends_at=record.trial_ends_at,
            current_period_ends_at=record.current_period_ends_at,
            access_allowed=record.access_allowed,
            access_ends_at=record.access_ends_at,
            notice=SubscriptionNotice.of(notice) if notice else None,
        )
