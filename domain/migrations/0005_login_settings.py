"""Settings of the practice and of single users, and the view that lays one over the other.

The view ends with the product's defaults, which `login_settings.DEFAULTS` has too: `tests/test_login_settings.py` compares the two.
"""

import functools
from json import dumps, loads

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops

from domain.models.columns import PracticeAccessCodePolicy, SecurityCodePolicy, uuid7

CHECKS = {
    "login_settings": {
        "security_code": "security_code IN ('NEW_DEVICE', 'EVERY_SIGN_IN')",
        "practice_access_code": "practice_access_code IN ('INVITATION', 'NEW_DEVICE')",
        "trusted_device_days": "trusted_device_days BETWEEN 0 AND 90",
        "idle_timeout_minutes": "idle_timeout_minutes BETWEEN 5 AND 60",
        "session_hours": "session_hours BETWEEN 1 AND 24",
        "allowed_hours": "jsonb_typeof(allowed_hours) = 'array'",
        "allowed_networks": "jsonb_typeof(allowed_networks) = 'array'",
        # Some array of these, and not the empty one: without a channel nobody could prove a phone.
        "phone_channels": (
            "jsonb_typeof(phone_channels) = 'array' AND phone_channels <@ '[\"SMS\", \"VOICE\"]' AND phone_channels <> '[]'"
        ),
    }
}

INDEXES = {
    "uq_login_settings_practice": "UNIQUE INDEX {} ON login_settings (practice_id) WHERE user_id IS NULL",
    "ix_login_settings_practice": "INDEX {} ON login_settings (practice_id)",
    "uq_login_settings_user": "UNIQUE INDEX {} ON login_settings (user_id) WHERE user_id IS NOT NULL",
}

# One row a user: each setting as the user has it, else the practice, else the product. Read on every request, so it is made of
# look-ups by unique indexes alone.
IN_FORCE = """
CREATE VIEW login_settings_in_force AS
SELECT u.practice_id, u.id AS user_id,
    coalesce(o.security_code, p.security_code, 'NEW_DEVICE') AS security_code,
    coalesce(o.practice_access_code, p.practice_access_code, 'INVITATION') AS practice_access_code,
    coalesce(o.trusted_device_days, p.trusted_device_days, 30::smallint) AS trusted_device_days,
    coalesce(o.idle_timeout_minutes, p.idle_timeout_minutes, 30::smallint) AS idle_timeout_minutes,
    coalesce(o.session_hours, p.session_hours, 12::smallint) AS session_hours,
    coalesce(o.allowed_hours, p.allowed_hours, '[]') AS allowed_hours,
    coalesce(o.allowed_networks, p.allowed_networks, '[]') AS allowed_networks,
    coalesce(o.phone_channels, p.phone_channels, '["SMS", "VOICE"]') AS phone_channels
FROM users u
    LEFT JOIN login_settings p ON p.practice_id = u.practice_id AND p.user_id IS NULL
    LEFT JOIN login_settings o ON o.user_id = u.id AND o.practice_id = u.practice_id
"""


def _json() -> fields.JSONField[list[object]]:
    return fields.JSONField(null=True, encoder=functools.partial(dumps, separators=(",", ":")), decoder=loads)


class Migration(migrations.Migration):
    dependencies = [("domain", "0004_audit_chain")]

    operations = [
        ops.CreateModel(
            name="LoginSettings",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "practice",
                    fields.ForeignKeyField(
                        "domain.Practice",
                        source_field="practice_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="login_settings",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "user",
                    fields.ForeignKeyField(
                        "domain.User",
                        source_field="user_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name="login_settings",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "security_code",
                    fields.CharEnumField(
                        null=True,
                        description="NEW_DEVICE: NEW_DEVICE\nEVERY_SIGN_IN: EVERY_SIGN_IN",
                        enum_type=SecurityCodePolicy,
                        max_length=13,
                    ),
                ),
                (
                    "practice_access_code",
                    fields.CharEnumField(
                        null=True,
                        description="INVITATION: INVITATION\nNEW_DEVICE: NEW_DEVICE",
                        enum_type=PracticeAccessCodePolicy,
                        max_length=10,
                    ),
                ),
                ("trusted_device_days", fields.SmallIntField(null=True)),
                ("idle_timeout_minutes", fields.SmallIntField(null=True)),
                ("session_hours", fields.SmallIntField(null=True)),
                ("allowed_hours", _json()),
                ("allowed_networks", _json()),
                ("phone_channels", _json()),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
            ],
            options={
                "table": "login_settings",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "What was set for a practice, or for one user of it. user: null for the practice's own. A null setting: as the level above.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Device",
            name="trusted_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Session",
            name="refused_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Challenge",
            name="device",
            field=fields.ForeignKeyField(
                "domain.Device",
                source_field="device_id",
                null=True,
                db_constraint=True,
                to_field="id",
                related_name="challenges",
                on_delete=OnDelete.RESTRICT,
            ),
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
        ops.RunSQL(IN_FORCE, "DROP VIEW login_settings_in_force"),
    ]
