"""What a second answer is read from: whose account an enrollment ended with, and in which session an access code was replaced."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

INDEXES = {
    # For links that are opened again after the account was set up.
    "ix_enrollments_done_invitation": "INDEX {} ON enrollments (invitation_id) WHERE next_step = 'DONE'",
    "ix_enrollments_done_sign_up": "INDEX {} ON enrollments (sign_up_id) WHERE next_step = 'DONE'",
}


class Migration(migrations.Migration):
    """Add the two columns and the indexes, or take them away."""

    dependencies = [("domain", "0018_account_changes")]

    operations = [
        ops.AddField(model_name="Enrollment", name="user_id", field=fields.UUIDField(null=True)),
        ops.AddField(model_name="PracticeAccessCode", name="session_id", field=fields.UUIDField(null=True)),
        *(ops.RunSQL(f"CREATE {what.format(name)}", f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
