"""Which link makes a corrected address hold, and which stopped changes could not be taken back."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

# Both rows of a correction are made in one transaction, the change just before its link.
LINK = """
UPDATE account_changes c SET email_change_id = (
    SELECT e.id FROM email_changes e WHERE e.user_id = c.user_id AND e.old_email = c.old_email AND e.created_at >= c.created_at
    ORDER BY e.created_at LIMIT 1
) WHERE c.kind = 'EMAIL'
"""


class Migration(migrations.Migration):
    """Add the two columns, or drop them."""

    dependencies = [("domain", "0022_search")]

    operations = [
        ops.AddField(model_name="AccountChange", name="email_change_id", field=fields.UUIDField(null=True)),
        ops.AddField(
            model_name="AccountChange",
            name="address_was_taken",
            field=fields.BooleanField(default=False, db_default=False),
        ),
        ops.RunSQL(LINK, "SELECT 1"),
    ]
