"""A link to another password that somebody asks for leaves those before it alone; those that administrators send replace each other."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

# Strangers can ask too, and must not end the link that its owner is about to use.
INDEXES = {
    "uq_password_resets_user": "UNIQUE INDEX {} ON password_resets (user_id)"
    " WHERE sent_by_id IS NOT NULL AND used_at IS NULL AND superseded_at IS NULL",
}
OLD_INDEX = "UNIQUE INDEX {} ON password_resets (user_id) WHERE used_at IS NULL AND superseded_at IS NULL"


class Migration(migrations.Migration):
    dependencies = [("domain", "0008_delivery_reports")]

    operations = [
        ops.AddField(model_name="PasswordReset", name="sent_by_id", field=fields.UUIDField(null=True)),
        *(
            ops.RunSQL(
                f"DROP INDEX {name}; CREATE {what.format(name)}", f"DROP INDEX {name}; CREATE {OLD_INDEX.format(name)}"
            )
            for name, what in INDEXES.items()
        ),
    ]
