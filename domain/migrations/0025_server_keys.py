"""Which server keys the database is used with, and which key a message waits for.

The keys that rows name already are listed without a fingerprint: the first process that has one writes it. Until then they are what
tells the database's own keys from another installation's.
"""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

INDEXES = {
    "ix_deliveries_awaited_key": (
        "INDEX {} ON deliveries (awaited_key_id) WHERE awaited_key_id IS NOT NULL AND status IN ('QUEUED', 'RETRYING', 'SENDING')"
    )
}

# Only rows that are made anew with each key tell when it was first used; passwords and invitations change theirs.
FILL = """
INSERT INTO server_keys (key_id, first_seen_at)
SELECT key_id, coalesce(min(used_at), timestamptz '2000-01-01 00:00Z') FROM (
    SELECT key_id, issued_at AS used_at FROM practice_access_codes
    UNION ALL SELECT key_id, created_at FROM sign_ups
    UNION ALL SELECT key_id, created_at FROM enrollments
    UNION ALL SELECT key_id, created_at FROM security_codes
    UNION ALL SELECT key_id, created_at FROM password_resets
    UNION ALL SELECT key_id, created_at FROM email_changes
    UNION ALL SELECT key_id, created_at FROM account_changes
    UNION ALL SELECT key_id, created_at FROM recovery_codes
    UNION ALL SELECT DISTINCT key_id, NULL::timestamptz FROM invitations
    UNION ALL SELECT DISTINCT password_key_id, NULL::timestamptz FROM users WHERE password_key_id IS NOT NULL
) used GROUP BY key_id
"""


class Migration(migrations.Migration):
    dependencies = [("domain", "0024_take_budgets")]

    operations = [
        ops.CreateModel(
            name="ServerKey",
            fields=[
                ("key_id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=8)),
                ("fingerprint", fields.BinaryField(null=True)),
                ("first_seen_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "server_keys",
                "app": "domain",
                "pk_attr": "key_id",
                "table_description": "A key of SECRET_KEYS that a process was started with, or that rows name.",
            },
            bases=["Model"],
        ),
        ops.RunSQL(FILL, "SELECT 1"),
        ops.AddField(model_name="Delivery", name="awaited_key_id", field=fields.CharField(null=True, max_length=8)),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
