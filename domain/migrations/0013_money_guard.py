"""Codes say whom the money guard counts them with, and the guard keeps what it holds back."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from domain.models.columns import Crowd, uuid7

CHECKS = {
    "security_codes": {"crowd": "crowd IN ('STRANGERS', 'CUSTOMERS', 'STAFF')"},
    "code_stops": {
        "scope": "scope IN ('PRACTICE', 'PREFIX', 'ALL') AND (scope = 'ALL') = (subject = '')",
        "numbers": "verified BETWEEN 0 AND numbers",
        "window": "ends_at >= began_at",
    },
}
INDEXES = {
    "uq_code_stops_subject": "UNIQUE INDEX {} ON code_stops (scope, subject)",
    # What the guard counts before each code to a new phone.
    "ix_security_codes_new_phones": "INDEX {} ON security_codes (created_at) WHERE crowd <> 'STAFF'",
}


class Migration(migrations.Migration):
    dependencies = [("domain", "0012_traces")]

    operations = [
        ops.AddField(model_name="SecurityCode", name="practice_id", field=fields.UUIDField(null=True)),
        ops.AddField(
            model_name="SecurityCode",
            name="crowd",
            field=fields.CharEnumField(enum_type=Crowd, null=True, max_length=9),
        ),
        ops.CreateModel(
            name="CodeStop",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                ("scope", fields.CharField(max_length=8)),
                ("subject", fields.CharField(max_length=36)),
                ("numbers", fields.IntField()),
                ("verified", fields.IntField()),
                ("began_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("ends_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "code_stops",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "Codes to new phones that are held back (`money_guard.py`): one row a scope and subject, for the latest time that it was.",
            },
            bases=["Model"],
        ),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{rule} CHECK ({text})",
                f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{rule}",
            )
            for table, rules in CHECKS.items()
            for rule, text in rules.items()
        ),
        *(ops.RunSQL(f"CREATE {what.format(name)}", f"DROP INDEX {name}") for name, what in INDEXES.items()),
    ]
