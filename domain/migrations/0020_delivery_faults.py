"""Whose fault it is that a message does not arrive, and channels that pause because what they use refuses everything."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

CHECKS = {
    "deliveries": {"fault": "fault IS NULL OR fault IN ('RECIPIENT', 'SENDER', 'RELAY', 'UNKNOWN')"},
}

INDEXES = {
    "uq_channel_refusals_refusal": "UNIQUE INDEX {} ON channel_refusals (channel, code, organization, practice_id)"
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0014_reminders")]

    operations = [
        ops.AddField(model_name="Delivery", name="fault", field=fields.CharField(max_length=9, null=True)),
        ops.CreateModel(
            name="ChannelRefusal",
            fields=[
                ("id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("channel", fields.CharField(max_length=5)),
                ("code", fields.CharField(max_length=40)),
                ("organization", fields.CharField(max_length=253)),
                ("practice_id", fields.UUIDField()),
                ("refused_at", fields.DatetimeField()),
            ],
            options={
                "table": "channel_refusals",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "Refusals since the latest message of a channel was taken, one row a code, organization and practice.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ChannelPause",
            fields=[
                ("channel", fields.CharField(primary_key=True, max_length=5, unique=True, db_index=True)),
                ("code", fields.CharField(max_length=40)),
                ("problem", fields.CharField(max_length=300)),
                ("paused_at", fields.DatetimeField()),
                ("next_probe_at", fields.DatetimeField()),
            ],
            options={
                "table": "channel_pauses",
                "app": "domain",
                "pk_attr": "channel",
                "table_description": "A channel that nothing is sent by but a probe a minute. The row goes when a message is taken.",
            },
            bases=["Model"],
        ),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{rule} CHECK ({condition})",
                f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{rule}",
            )
            for table, rules in CHECKS.items()
            for rule, condition in rules.items()
        ),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
