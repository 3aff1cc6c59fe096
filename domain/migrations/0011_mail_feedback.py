"""What the world answers to our mail: addresses that do not take it, and notifications that were acted upon."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from domain.models.columns import uuid7

CHECKS = {
    "bounced_addresses": {"email": "email_canonical = lower(email_canonical)"},
    "feedback_events": {"id": "char_length(id) BETWEEN 1 AND 255"},
}

INDEXES = {"uq_bounced_addresses_email": "UNIQUE INDEX {} ON bounced_addresses (practice_id, email_canonical)"}


class Migration(migrations.Migration):
    dependencies = [("domain", "0010_second_roads")]

    operations = [
        ops.CreateModel(
            name="BouncedAddress",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                ("practice_id", fields.UUIDField()),
                ("email_canonical", fields.CharField(max_length=254)),
                ("delivery_id", fields.UUIDField()),
                ("is_complaint", fields.BooleanField(default=False)),
                ("reason", fields.CharField(max_length=300)),
                ("bounced_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "bounced_addresses",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "An address that a practice's invitations do not go to for now. One row a practice and address.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="FeedbackEvent",
            fields=[
                ("id", fields.CharField(primary_key=True, max_length=255, unique=True, db_index=True)),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "feedback_events",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "A mail provider's notification that was acted upon, so that its repetition is not. id: provider, colon, the provider's id.",
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
