"""What the world answers to our mail: addresses that do not take it, and notifications that were acted upon."""

from tortoise import fields
from tortoise.models import Model

from domain.models.columns import MAX_EMAIL_LENGTH, id_column

MAX_EVENT_ID_LENGTH = 255


class BouncedAddress(Model):
    """An address that a practice's invitations do not go to for now. One row a practice and address.

    delivery_id: the mail that came back. is_complaint: it arrived, and its receiver wants no more of them: called it spam, or said that
    they do not know the practice (is_unknown_practice). reason: for an administrator.
    """

    id = id_column()
    practice_id = fields.UUIDField()
    email_canonical = fields.CharField(max_length=MAX_EMAIL_LENGTH)
    delivery_id = fields.UUIDField()
    is_complaint = fields.BooleanField(default=False)
    is_unknown_practice = fields.BooleanField(default=False, db_default=False)
    reason = fields.CharField(max_length=300)
    bounced_at = fields.DatetimeField()

    class Meta:
        table = "bounced_addresses"


class FeedbackEvent(Model):
    """A mail provider's notification that was acted upon, so that its repetition is not. id: provider, colon, the provider's id."""

    id = fields.CharField(primary_key=True, max_length=MAX_EVENT_ID_LENGTH)
    received_at = fields.DatetimeField()

    class Meta:
        table = "feedback_events"
