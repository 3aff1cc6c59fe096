"""What verifying each chain of the audit log showed last, and when it is to be verified again by the schedule."""

from tortoise import migrations
from tortoise.migrations import operations as ops

TABLE = """
CREATE TABLE audit_findings (
    chain_id uuid PRIMARY KEY,
    checked_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    problem varchar(300)
)
"""
INDEXES = {
    "ix_audit_findings_due_at": "(due_at)",
    "ix_audit_findings_checked_at": "(checked_at)",
    "ix_audit_findings_broken": "(chain_id) WHERE problem IS NOT NULL",
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0028_growing_tables")]

    operations = [
        ops.RunSQL(TABLE, "DROP TABLE audit_findings"),
        *(
            ops.RunSQL(f"CREATE INDEX {name} ON audit_findings {what}", f"DROP INDEX {name}")
            for name, what in INDEXES.items()
        ),
    ]
