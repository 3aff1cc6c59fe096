"""What others than the owner changed about an account, and the links that stop it."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops

from domain.models.columns import AccountChangeKind, new_nonce, uuid7

CHECKS = {
    "account_changes": {
        "kind": "kind IN ('EMAIL', 'PHONE')",
        "nonce": "octet_length(nonce) = 16",
        "email": "(kind = 'EMAIL') = (old_email IS NOT NULL AND old_email_canonical IS NOT NULL)",
        "phone": "(old_phone IS NULL) = (old_phone_verified_at IS NULL)",
        "window": "effective_at >= created_at AND expires_at > effective_at",
    },
}
INDEXES = {
    "ix_account_changes_user": "INDEX {} ON account_changes (user_id, created_at)",
    # One phone at a time is about to be taken away from somebody.
    "uq_account_changes_pending": "UNIQUE INDEX {} ON account_changes (user_id) WHERE carried_out_at IS NULL AND stopped_at IS NULL",
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0017_recovery_codes")]

    operations = [
        ops.CreateModel(
            name="AccountChange",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "user",
                    fields.ForeignKeyField(
                        "domain.User",
                        source_field="user_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="account_changes",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("kind", fields.CharEnumField(enum_type=AccountChangeKind, max_length=5)),
                ("changed_by", fields.CharField(max_length=150)),
                ("reason", fields.CharField(max_length=500, null=True)),
                ("old_email", fields.CharField(max_length=254, null=True)),
                ("old_email_canonical", fields.CharField(max_length=254, null=True)),
                ("old_phone", fields.CharField(max_length=16, null=True)),
                ("old_phone_verified_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("nonce", fields.BinaryField(default=new_nonce)),
                ("key_id", fields.CharField(max_length=8)),
                ("effective_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("carried_out_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("stopped_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "account_changes",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "An address or phone of a user that somebody else changed, or is about to change. The token of the link that stops it is derived.",
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
