"""Recovery codes, which stand in for a lost phone."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops

from domain.models.columns import uuid7

CHECKS = {
    "recovery_codes": {
        "mac": "octet_length(mac) = 32",
        "end": "used_at IS NULL OR superseded_at IS NULL",
    },
}
INDEXES = {
    "ix_recovery_codes_user": "INDEX {} ON recovery_codes (user_id, superseded_at)",
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0016_addresses")]

    operations = [
        ops.CreateModel(
            name="RecoveryCode",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "user",
                    fields.ForeignKeyField(
                        "domain.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="recovery_codes",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("mac", fields.BinaryField()),
                ("key_id", fields.CharField(max_length=8)),
                ("used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("superseded_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "recovery_codes",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "A code that stands in for a user's phone once. The code itself is not stored, only its HMAC under a server key.",
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
        *(ops.RunSQL(f"CREATE {what.format(name)}", f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
