"""Reminders of invitations, messages that are sent again, and what it takes to look through deliveries and throw old ones away."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

INDEXES = {
    # A dead message is sent again once; the new one can be sent again if it dies too.
    "uq_deliveries_redelivery": "UNIQUE INDEX {} ON deliveries (redelivery_of) WHERE redelivery_of IS NOT NULL",
    "ix_deliveries_practice": "INDEX {} ON deliveries (practice_id, queued_at, id)",
    "ix_deliveries_queued": "INDEX {} ON deliveries (queued_at, id)",
    "ix_invitations_end": "INDEX {} ON invitations (expires_at) WHERE state = 'PENDING'",
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0013_money_guard")]

    operations = [
        ops.AddField(model_name="Delivery", name="redelivery_of", field=fields.UUIDField(null=True)),
        ops.AddField(model_name="Delivery", name="occurred_at", field=fields.DatetimeField(null=True)),
        ops.AddField(model_name="Invitation", name="reminder_id", field=fields.UUIDField(null=True)),
        ops.AddField(model_name="Invitation", name="summarized_at", field=fields.DatetimeField(null=True)),
        ops.AddField(model_name="Practice", name="invitations_summarized_on", field=fields.DateField(null=True)),
        *(ops.RunSQL(f"CREATE {what.format(name)}", f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
