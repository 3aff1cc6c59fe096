"""Channels that pause: what was refused since the latest success, and the pause itself (`domain.channel_pauses`)."""

from tortoise import fields
from tortoise.models import Model


class ChannelRefusal(Model):
    """Refusals since the latest message of a channel was taken, one row a code, organization and practice.

    code: as people are told, such as "554 5.7.1". organization: the recipients' domain without its hosts.
    """

    id = fields.UUIDField(primary_key=True)
    channel = fields.CharField(max_length=5)
    code = fields.CharField(max_length=40)
    organization = fields.CharField(max_length=253)
    practice_id = fields.UUIDField()
    refused_at = fields.DatetimeField()

    class Meta:
        table = "channel_refusals"


class ChannelPause(Model):
    """A channel that nothing is sent by but a probe a minute. The row goes when a message is taken."""

    channel = fields.CharField(primary_key=True, max_length=5)
    code = fields.CharField(max_length=40)
    problem = fields.CharField(max_length=300)
    paused_at = fields.DatetimeField()
    next_probe_at = fields.DatetimeField()

    class Meta:
        table = "channel_pauses"
