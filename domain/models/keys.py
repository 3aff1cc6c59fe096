"""The server keys that a database is used with (`domain.keys`)."""

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import KEY_ID_LENGTH


class ServerKey(Model):
    """A key of SECRET_KEYS that a process was started with, or that rows name.

    fingerprint: made with the key, so that another key under the same id is noticed; null until a process that has the key was started.
    first_seen_at: tells which of two keys is the newer one.
    """

    key_id = fields.CharField(primary_key=True, max_length=KEY_ID_LENGTH)
    fingerprint = fields.BinaryField(null=True)
    first_seen_at = fields.DatetimeField()

    class Meta:
        table = "server_keys"
