"""Deliveries keep what the carrier reported of them."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("domain", "0007_clock")]

    operations = [
        ops.AddField(model_name="Delivery", name="reported_status", field=fields.CharField(max_length=9, null=True)),
        ops.AddField(model_name="Delivery", name="reported_problem", field=fields.CharField(max_length=300, null=True)),
        ops.RunSQL(
            "ALTER TABLE deliveries ADD CONSTRAINT ck_deliveries_report"
            " CHECK (reported_status IS NULL OR reported_status IN ('DELIVERED', 'BOUNCED', 'FAILED'))",
            "ALTER TABLE deliveries DROP CONSTRAINT ck_deliveries_report",
        ),
    ]
