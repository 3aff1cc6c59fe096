"""People in practices."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import (
    KEY_ID_LENGTH,
    MAX_E164_LENGTH,
    MAX_EMAIL_LENGTH,
    MAX_NAME_LENGTH,
    AccessLevel,
    UserStatus,
    id_column,
)
from domain.models.practices import Practice


class User(Model):
    """A person in a practice, from the invitation on; never deleted.

    email: as typed. email_canonical: what is compared. holds_email: whether this is the one account with the address; a trigger keeps
    it (`migrations/0016_addresses.py`): true once a password is set, until address_released_at. An invited person holds nothing.
    address_released_at: the practice let go of the address of somebody deactivated; the row keeps it for the record. removed_at: an
    invitation was revoked before anything came of it; nobody sees the row again.
    phone_reset_at: an administrator took the phone away; the next sign-in proves another. sort_name: last and first name folded for
    order. password_key_id: the key of the ring that peppers the hash. known_access_code_id: the practice access code that was the
    current one when the person stopped being an active administrator. search_text: what the tile's search compares, written by a trigger.
    """

    id = id_column()
    practice: fields.ForeignKeyRelation[Practice] = fields.ForeignKeyField(
        "domain.Practice", related_name="users", on_delete=fields.RESTRICT
    )
    practice_id: UUID
    first_name = fields.CharField(max_length=MAX_NAME_LENGTH)
    last_name = fields.CharField(max_length=MAX_NAME_LENGTH)
    sort_name = fields.CharField(max_length=4 * MAX_NAME_LENGTH)
    search_text = fields.TextField(null=True)
    email = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    holds_email = fields.BooleanField(default=True)
    access_level = fields.CharEnumField(AccessLevel, max_length=16)
    status = fields.CharEnumField(UserStatus, max_length=8)
    phone = fields.CharField(max_length=MAX_E164_LENGTH, null=True)
    phone_verified_at = fields.DatetimeField(null=True)
    phone_reset_at = fields.DatetimeField(null=True)
    password_hash = fields.CharField(max_length=255, null=True)
    password_key_id = fields.CharField(max_length=KEY_ID_LENGTH, null=True)
    password_changed_at = fields.DatetimeField(null=True)
    last_sign_in_at = fields.DatetimeField(null=True)
    deactivated_at = fields.DatetimeField(null=True)
    deactivation_reason = fields.CharField(max_length=500, null=True)
    known_access_code_id = fields.UUIDField(null=True)
    address_released_at = fields.DatetimeField(null=True)
    removed_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()

    class Meta:
        table = "users"


def sort_name(first_name: str, last_name: str) -> str:
    """What the users tile orders by."""
    return f"{last_name.casefold()} {first_name.casefold()}".strip()[: 4 * MAX_NAME_LENGTH]
