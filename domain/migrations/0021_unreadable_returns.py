"""When something came back of an e-mail that nobody could read."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

INDEX = "ix_deliveries_unreadable_return"


class Migration(migrations.Migration):
    dependencies = [("domain", "0020_delivery_faults")]

    operations = [
        ops.AddField(model_name="Delivery", name="unreadable_return_at", field=fields.DatetimeField(null=True)),
        ops.RunSQL(
            f"CREATE INDEX {INDEX} ON deliveries (unreadable_return_at) WHERE unreadable_return_at IS NOT NULL",
            f"DROP INDEX {INDEX}",
        ),
    ]
