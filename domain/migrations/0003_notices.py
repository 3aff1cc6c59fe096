"""Deliveries say which notice they are."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("domain", "0002_guards")]

    operations = [
        ops.AddField(model_name="Delivery", name="notice", field=fields.CharField(max_length=40, null=True)),
        ops.RunSQL(
            "ALTER TABLE deliveries ADD CONSTRAINT ck_deliveries_notice CHECK ((kind = 'notice') = (notice IS NOT NULL))",
            "ALTER TABLE deliveries DROP CONSTRAINT ck_deliveries_notice",
        ),
    ]
