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


class Migration(migrations.Migration):
    dependencies = [("domain", "0022_search")]

    operations = [
        ops.RunSQL(TABLE, "DROP TABLE audit_findings"),
        ops.RunSQL(
            "CREATE INDEX ix_audit_findings_due_at ON audit_findings (due_at)", "DROP INDEX ix_audit_findings_due_at"
        ),
    ]
