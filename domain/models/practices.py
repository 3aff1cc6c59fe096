"""The practice, what it pays, and its access code."""

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import (
    MAX_E164_LENGTH,
    PracticeNoticeKind,
    SubscriptionStatus,
    id_column,
    key_id_column,
    new_nonce,
)

MAX_EVENT_ID_LENGTH = 255


class Practice(Model):
    """A medical practice. phone: its contact number, E.164. time_zone: an IANA name.

    access_code_rotation_days: after how many days the access code is replaced by itself, 0 for never. access_code_grace_hours: how
    long the one before is still taken. rotates_access_code_on_departure: replace it when somebody leaves who could see it.
    invitations_summarized_on: the latest day, in its time zone, on which administrators were told which invitations are about to end.
    """

    id = id_column()
    name = fields.CharField(max_length=120)
    specialty = fields.CharField(max_length=80)
    phone = fields.CharField(max_length=MAX_E164_LENGTH)
    time_zone = fields.CharField(max_length=64)
    access_code_rotation_days = fields.SmallIntField(default=90, db_default=90)
    access_code_grace_hours = fields.SmallIntField(default=24, db_default=24)
    rotates_access_code_on_departure = fields.BooleanField(default=False, db_default=False)
    invitations_summarized_on = fields.DateField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "practices"


class Subscription(Model):
    """What a practice has subscribed to. One row a practice, made with it."""

    practice: fields.OneToOneRelation[Practice] = fields.OneToOneField(
        "domain.Practice", related_name="subscription", primary_key=True, on_delete=fields.RESTRICT
    )
    plan = fields.CharField(max_length=40)
    status = fields.CharEnumField(SubscriptionStatus, max_length=10)
    trial_ends_at = fields.DatetimeField(null=True)
    current_period_ends_at = fields.DatetimeField(null=True)
    updated_at = fields.DatetimeField()

    class Meta:
        table = "subscriptions"


class PracticeAccessCode(Model):
    """One issue of a practice's access code; the code itself is derived. valid_until: null while it is the current one.

    session_id: in which an administrator asked for it; null for one that was issued by itself.
    """

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="practice_access_codes", on_delete=fields.RESTRICT
    )
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    issued_at = fields.DatetimeField()
    valid_until = fields.DatetimeField(null=True)
    session_id = fields.UUIDField(null=True)

    class Meta:
        table = "practice_access_codes"


class PracticeNotice(Model):
    """Something that a practice's administrators were told about its subscription. about: the moment it is about."""

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="notices", on_delete=fields.RESTRICT
    )
    kind = fields.CharEnumField(PracticeNoticeKind, max_length=20)
    about = fields.DatetimeField()
    queued_at = fields.DatetimeField()

    class Meta:
        table = "practice_notices"


class SubscriptionEvent(Model):
    """A payment provider's event that was acted upon, so that its repetition is not. id: the provider's."""

    id = fields.CharField(primary_key=True, max_length=MAX_EVENT_ID_LENGTH)
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="subscription_events", on_delete=fields.RESTRICT
    )
    received_at = fields.DatetimeField()

    class Meta:
        table = "subscription_events"
