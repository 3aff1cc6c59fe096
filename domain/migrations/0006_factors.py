"""Challenges have a purpose and carry what their answer changes; links to reset a password and to confirm an address; lost phones."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops

from domain.models.columns import ChallengePurpose, new_nonce, uuid7

CHECKS = {
    "challenges": {
        "purpose": "purpose IN ('SIGN_IN', 'PASSWORD_RESET', 'RENEWAL', 'EMAIL_CHANGE', 'PHONE_CHANGE')",
        "reset": "(purpose = 'PASSWORD_RESET') = (reset_id IS NOT NULL)",
        "session": "(purpose IN ('RENEWAL', 'EMAIL_CHANGE', 'PHONE_CHANGE')) = (session_id IS NOT NULL)",
        "email": "(purpose = 'EMAIL_CHANGE') = (email IS NOT NULL AND email_canonical IS NOT NULL)",
        "phone": "(purpose = 'PHONE_CHANGE') = (phone IS NOT NULL) AND phone ~ '^\\+[1-9][0-9]{4,14}$'",
    },
    "password_resets": {"nonce": "octet_length(nonce) = 16"},
    "email_changes": {
        "nonce": "octet_length(nonce) = 16",
        "email": "email_canonical = lower(email_canonical) AND email_canonical ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'",
    },
    "users": {
        "active_is_complete": "status <> 'ACTIVE' OR (password_hash IS NOT NULL AND holds_email"
        " AND (phone_verified_at IS NOT NULL) <> (phone_reset_at IS NOT NULL))",
    },
}
INDEXES = {
    # One good link of each kind a user, whatever races.
    "uq_password_resets_user": "UNIQUE INDEX {} ON password_resets (user_id) WHERE used_at IS NULL AND superseded_at IS NULL",
    "uq_email_changes_user": "UNIQUE INDEX {} ON email_changes (user_id) WHERE confirmed_at IS NULL AND superseded_at IS NULL",
}
OLD_RULE = "status <> 'ACTIVE' OR (password_hash IS NOT NULL AND phone_verified_at IS NOT NULL AND holds_email)"


class Migration(migrations.Migration):
    dependencies = [("domain", "0005_login_settings")]

    operations = [
        ops.CreateModel(
            name="PasswordReset",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "user",
                    fields.ForeignKeyField(
                        "domain.User",
                        source_field="user_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name="password_resets",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("nonce", fields.BinaryField(default=new_nonce)),
                ("key_id", fields.CharField(max_length=8)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("superseded_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "password_resets",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "A link to set a new password with; its token is derived. user: null where nobody has the address.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EmailChange",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "user",
                    fields.ForeignKeyField(
                        "domain.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="email_changes",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("email", fields.CharField(max_length=254)),
                ("email_canonical", fields.CharField(max_length=254)),
                ("old_email", fields.CharField(max_length=254)),
                ("nonce", fields.BinaryField(default=new_nonce)),
                ("key_id", fields.CharField(max_length=8)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("confirmed_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("superseded_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "email_changes",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "A link to another address of a user; its token is derived. old_email: what it was when it was asked for.",
            },
            bases=["Model"],
        ),
        ops.AlterModelOptions(
            name="Challenge",
            options={
                "table": "challenges",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "What somebody has to answer with a code before an act goes on. Its token is random and kept as SHA-256.",
            },
        ),
        ops.AddField(
            model_name="Challenge",
            name="purpose",
            # The rows that are there, and code from before this migration, name no purpose: they know one only.
            field=fields.CharEnumField(
                default=ChallengePurpose.SIGN_IN, db_default="SIGN_IN", enum_type=ChallengePurpose, max_length=14
            ),
        ),
        ops.AddField(model_name="Challenge", name="session_id", field=fields.UUIDField(null=True)),
        ops.AddField(model_name="Challenge", name="reset_id", field=fields.UUIDField(null=True)),
        ops.AddField(model_name="Challenge", name="phone", field=fields.CharField(max_length=16, null=True)),
        ops.AddField(model_name="Challenge", name="old_phone", field=fields.CharField(max_length=16, null=True)),
        ops.AddField(model_name="Challenge", name="email", field=fields.CharField(max_length=254, null=True)),
        ops.AddField(model_name="Challenge", name="email_canonical", field=fields.CharField(max_length=254, null=True)),
        ops.AddField(
            model_name="User",
            name="phone_reset_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AlterField(
            model_name="Session",
            name="authenticated_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.RunSQL(
            "ALTER TABLE users DROP CONSTRAINT ck_users_active_is_complete",
            f"ALTER TABLE users ADD CONSTRAINT ck_users_active_is_complete CHECK ({OLD_RULE})",
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
