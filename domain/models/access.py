"""Being signed in, and what is counted against guessing and flooding."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import (
    MAX_DEVICE_NAME_LENGTH,
    MAX_E164_LENGTH,
    MAX_EMAIL_LENGTH,
    ChallengePurpose,
    id_column,
)
from domain.models.users import User


class Device(Model):
    """A device that a user proved a phone on. Its token is random, kept as SHA-256 and replaced at each sign-in.

    trusted_at: when the phone was last proved on it; null: when it was made.
    """

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="devices", on_delete=fields.RESTRICT
    )
    user_id: UUID
    token_hash = fields.BinaryField()
    name = fields.CharField(max_length=MAX_DEVICE_NAME_LENGTH)
    trusted_until = fields.DatetimeField()
    trusted_at = fields.DatetimeField(null=True)
    last_seen_at = fields.DatetimeField(null=True)
    forgotten_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "devices"


class Session(Model):
    """A signed-in user on one device. Its token is random and kept as SHA-256.

    authenticated_at: when the password and a code to the phone were last given; null while only the password was. refused_at: when the trail was last told
    that it was used outside the allowed hours or networks.
    """

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="sessions", on_delete=fields.RESTRICT
    )
    user_id: UUID
    device: fields.ForeignKeyNullableRelation[Device] = fields.ForeignKeyField(
        "domain.Device", related_name="sessions", null=True, on_delete=fields.RESTRICT
    )
    device_id: UUID | None
    token_hash = fields.BinaryField()
    device_name = fields.CharField(max_length=MAX_DEVICE_NAME_LENGTH)
    ip_address = fields.CharField(max_length=45)
    authenticated_at = fields.DatetimeField(null=True)
    last_used_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)
    end_reason = fields.CharField(max_length=20, null=True)
    refused_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "sessions"


class Challenge(Model):
    """What somebody has to answer with a code before an act goes on. Its token is random and kept as SHA-256.

    device: the known device that it is about, where a code is asked for on those too; null for a new one. session_id: the only one that may
    answer. reset_id: the password reset whose link was followed. phone: a number that is to be proved; old_phone: the one before.
    email, email_canonical: the address that is asked for.
    """

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="challenges", on_delete=fields.RESTRICT
    )
    user_id: UUID
    device: fields.ForeignKeyNullableRelation[Device] = fields.ForeignKeyField(
        "domain.Device", related_name="challenges", null=True, on_delete=fields.RESTRICT
    )
    device_id: UUID | None
    purpose = fields.CharEnumField(
        ChallengePurpose, max_length=14, default=ChallengePurpose.SIGN_IN, db_default="SIGN_IN"
    )
    session_id = fields.UUIDField(null=True)
    reset_id = fields.UUIDField(null=True)
    phone = fields.CharField(max_length=MAX_E164_LENGTH, null=True)
    old_phone = fields.CharField(max_length=MAX_E164_LENGTH, null=True)
    email = fields.CharField(max_length=MAX_EMAIL_LENGTH, null=True)
    email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH, null=True)
    token_hash = fields.BinaryField()
    device_name = fields.CharField(max_length=MAX_DEVICE_NAME_LENGTH)
    expires_at = fields.DatetimeField()
    answered_at = fields.DatetimeField(null=True)
    ended_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "challenges"


class GuessCounter(Model):
    """Wrong guesses in a row at one secret of one subject (`guesses.py`). locks: how often it was locked since the last success."""

    key = fields.CharField(max_length=120, primary_key=True)
    failures = fields.IntField()
    locks = fields.IntField(default=0)
    locked_until = fields.DatetimeField(null=True)
    updated_at = fields.DatetimeField()

    class Meta:
        table = "guess_counters"


class Budget(Model):
    """How much of an allowance was used in one window of time (`budgets.py`)."""

    id = fields.BigIntField(primary_key=True, generated=True)
    key = fields.CharField(max_length=120)
    window_starts_at = fields.DatetimeField()
    window_ends_at = fields.DatetimeField()
    used = fields.IntField()

    class Meta:
        table = "budgets"


class CodeStop(Model):
    """Codes to new phones that are held back (`money_guard.py`): one row a scope and subject, for the latest time that it was."""

    id = id_column()
    scope = fields.CharField(max_length=8)
    subject = fields.CharField(max_length=36)
    numbers = fields.IntField()
    verified = fields.IntField()
    began_at = fields.DatetimeField()
    ends_at = fields.DatetimeField()

    class Meta:
        table = "code_stops"
