"""The practice, what it pays, and its access code."""

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import MAX_E164_LENGTH, SubscriptionStatus, id_column, key_id_column, new_nonce


class Practice(Model):
    """A medical practice. phone: its contact number, E.164. time_zone: an IANA name."""

    id = id_column()
    name = fields.CharField(max_length=120)
    specialty = fields.CharField(max_length=80)
    phone = fields.CharField(max_length=MAX_E164_LENGTH)
    time_zone = fields.CharField(max_length=64)
    created_at = fields.DatetimeField(auto_now_add=True)

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
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "subscriptions"


class PracticeAccessCode(Model):
    """One issue of a practice's access code; the code itself is derived. valid_until: null while it is the current one."""

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="practice_access_codes", on_delete=fields.RESTRICT
    )
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    issued_at = fields.DatetimeField(auto_now_add=True)
    valid_until = fields.DatetimeField(null=True)

    class Meta:
        table = "practice_access_codes"
