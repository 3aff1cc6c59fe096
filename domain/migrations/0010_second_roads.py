"""Second roads: which carrier was asked last, tries without an answer, and texts that a call followed."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

CHECKS = {
    "deliveries": {
        "carrier": "carrier IN ('FIRST', 'SECOND')",
        "unanswered": "unanswered >= 0",
    },
    # Only a text is followed by a call, and that is settled once: no code is called about twice.
    "security_codes": {"fallback": "fallback_at IS NULL OR channel = 'SMS'"},
}

INDEXES = {
    # What may still want a call; the schedule looks through it every few seconds.
    "ix_security_codes_texted": (
        "INDEX {} ON security_codes (expires_at)"
        " WHERE channel = 'SMS' AND fallback_at IS NULL AND consumed_at IS NULL AND superseded_at IS NULL"
    ),
}

IN_FORCE = """
CREATE OR REPLACE VIEW login_settings_in_force AS
SELECT u.practice_id, u.id AS user_id,
    coalesce(o.security_code, p.security_code, 'NEW_DEVICE') AS security_code,
    coalesce(o.practice_access_code, p.practice_access_code, 'INVITATION') AS practice_access_code,
    coalesce(o.trusted_device_days, p.trusted_device_days, 30::smallint) AS trusted_device_days,
    coalesce(o.idle_timeout_minutes, p.idle_timeout_minutes, 30::smallint) AS idle_timeout_minutes,
    coalesce(o.session_hours, p.session_hours, 12::smallint) AS session_hours,
    coalesce(o.allowed_hours, p.allowed_hours, '[]') AS allowed_hours,
    coalesce(o.allowed_networks, p.allowed_networks, '[]') AS allowed_networks,
    coalesce(o.phone_channels, p.phone_channels, '["SMS", "VOICE"]') AS phone_channels{more}
FROM users u
    LEFT JOIN login_settings p ON p.practice_id = u.practice_id AND p.user_id IS NULL
    LEFT JOIN login_settings o ON o.user_id = u.id AND o.practice_id = u.practice_id
"""
WITH_FALLBACK = ",\n    coalesce(o.voice_fallback, p.voice_fallback, true) AS voice_fallback"
DROP_VIEW = "DROP VIEW login_settings_in_force"


class Migration(migrations.Migration):
    dependencies = [("domain", "0009_reset_links")]

    operations = [
        ops.AddField(model_name="Delivery", name="carrier", field=fields.CharField(max_length=6, null=True)),
        ops.AddField(model_name="Delivery", name="unanswered", field=fields.SmallIntField(default=0, db_default=0)),
        ops.AddField(
            model_name="SecurityCode",
            name="fallback_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(model_name="LoginSettings", name="voice_fallback", field=fields.BooleanField(null=True)),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{rule} CHECK ({condition})",
                f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{rule}",
            )
            for table, rules in CHECKS.items()
            for rule, condition in rules.items()
        ),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
        # A view's columns can be added to in place, and taken away only by making it anew.
        ops.RunSQL(IN_FORCE.format(more=WITH_FALLBACK), DROP_VIEW + ";" + IN_FORCE.format(more="")),
    ]
