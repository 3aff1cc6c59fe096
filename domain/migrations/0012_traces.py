"""Deliveries say which request queued them, and which trace goes on with sending them."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

CHECKS = {
    "deliveries": {
        "request_id": "request_id ~ '^[0-9A-Fa-f-]{16,64}$'",
        "traceparent": "traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'",
    },
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0011_mail_feedback")]

    operations = [
        ops.AddField(model_name="Delivery", name="request_id", field=fields.CharField(max_length=64, null=True)),
        ops.AddField(model_name="Delivery", name="traceparent", field=fields.CharField(max_length=55, null=True)),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{rule} CHECK ({what})",
                f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{rule}",
            )
            for table, rules in CHECKS.items()
            for rule, what in rules.items()
        ),
    ]
