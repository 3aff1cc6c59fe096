"""Links to another password or address, codes that stand in for a phone, and what others changed about an account."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import (
    MAX_E164_LENGTH,
    MAX_EMAIL_LENGTH,
    AccountChangeKind,
    id_column,
    key_id_column,
    new_nonce,
)
from domain.models.users import User


class PasswordReset(Model):
    """A link to set a new password with; its token is derived. user: null where nobody has the address."""

    id = id_column()
    user: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="password_resets", null=True, on_delete=fields.RESTRICT
    )
    user_id: UUID | None
    sent_by_id = fields.UUIDField(null=True)  # the administrator who sent it; null where somebody asked for it
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    expires_at = fields.DatetimeField()
    used_at = fields.DatetimeField(null=True)
    superseded_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "password_resets"


class EmailChange(Model):
    """A link to another address of a user; its token is derived. old_email: what it was when it was asked for."""

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="email_changes", on_delete=fields.RESTRICT
    )
    user_id: UUID
    email = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    old_email = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    expires_at = fields.DatetimeField()
    confirmed_at = fields.DatetimeField(null=True)
    superseded_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "email_changes"


class RecoveryCode(Model):
    """A code that stands in for a user's phone once. The code itself is not stored, only its HMAC under a server key.

    superseded_at: a newer set of codes replaced it.
    """

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="recovery_codes", on_delete=fields.RESTRICT
    )
    user_id: UUID
    mac = fields.BinaryField()
    key_id = key_id_column()
    used_at = fields.DatetimeField(null=True)
    superseded_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "recovery_codes"


class AccountChange(Model):
    """An address or phone of a user that somebody else changed, or is about to change. The token of the link that stops it is derived.

    changed_by: the name of the administrator or the operator. old_…: what comes back when it is stopped. effective_at: when it holds, which for an
    operator is later than created_at. expires_at: until then it can be stopped. email_change_id: the link that makes a corrected address
    hold; without a foreign key, because that row is deleted earlier. address_was_taken: the change was stopped, but the former address belongs
    to another account, so the present one stays.
    """

    id = id_column()
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "domain.User", related_name="account_changes", on_delete=fields.RESTRICT
    )
    user_id: UUID
    kind = fields.CharEnumField(AccountChangeKind, max_length=5)
    changed_by = fields.CharField(max_length=150)
    reason = fields.CharField(max_length=500, null=True)
    old_email = fields.CharField(max_length=MAX_EMAIL_LENGTH, null=True)
    old_email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH, null=True)
    old_phone = fields.CharField(max_length=MAX_E164_LENGTH, null=True)
    old_phone_verified_at = fields.DatetimeField(null=True)
    nonce = fields.BinaryField(default=new_nonce)
    key_id = key_id_column()
    effective_at = fields.DatetimeField()
    expires_at = fields.DatetimeField()
    carried_out_at = fields.DatetimeField(null=True)
    email_change_id = fields.UUIDField(null=True)
    address_was_taken = fields.BooleanField(default=False, db_default=False)
    stopped_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "account_changes"
