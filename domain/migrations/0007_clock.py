"""What the schedule needs: a practice's choices for its access code, what was told when, and when access ends.

The columns have defaults in the database too, so that a process of the version before can still make a practice.
"""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops

from domain.models.columns import PracticeNoticeKind, uuid7

CHECKS = {
    "practices": {
        "access_code_rotation": "access_code_rotation_days BETWEEN 0 AND 365",
        "access_code_grace": "access_code_grace_hours BETWEEN 0 AND 168",
    },
    # Without the end of what was paid nobody could tell when working on ends.
    "subscriptions": {"past_due": "status <> 'PAST_DUE' OR current_period_ends_at IS NOT NULL"},
    "practice_notices": {
        "kind": "kind IN ('TRIAL_ENDS_IN_7_DAYS', 'TRIAL_ENDS_IN_3_DAYS', 'TRIAL_ENDS_IN_1_DAY', 'PAST_DUE', 'LAPSED')",
    },
    "subscription_events": {"id": "char_length(id) BETWEEN 1 AND 255"},
}

INDEXES = {
    # What makes each notice go out once, however many workers look at once.
    "uq_practice_notices_once": "UNIQUE INDEX {} ON practice_notices (practice_id, kind, about)",
    "ix_users_known_access_code": (
        "INDEX {} ON users (known_access_code_id) WHERE known_access_code_id IS NOT NULL AND removed_at IS NULL"
    ),
}

WITHOUT_END = """
UPDATE subscriptions SET current_period_ends_at = updated_at WHERE status = 'PAST_DUE' AND current_period_ends_at IS NULL
"""

# As before, and: an active subscription whose paid period is over is past due, a day later, since payments are settled some hours
# after a period's end. access_ends_at: null for never, or when nobody knows (EXPIRED
# was set by hand). 336 hours are the 14 days of grace.
STANDINGS = """
CREATE OR REPLACE VIEW practice_standings AS
SELECT practice_id, plan, trial_ends_at, current_period_ends_at,
    CASE
        WHEN status IN ('TRIALING', 'ACTIVE', 'PAST_DUE') AND access_ends_at <= clock_now() THEN 'EXPIRED'
        WHEN status = 'ACTIVE' AND current_period_ends_at + interval '24 hours' <= clock_now() THEN 'PAST_DUE'
        ELSE status
    END AS status,
    CASE status
        WHEN 'ACTIVE' THEN coalesce(access_ends_at > clock_now(), true)
        WHEN 'EXPIRED' THEN false
        ELSE coalesce(access_ends_at > clock_now(), false)
    END AS access_allowed,
    access_ends_at
FROM (
    SELECT *, CASE status
        WHEN 'TRIALING' THEN trial_ends_at
        WHEN 'CANCELED' THEN current_period_ends_at
        WHEN 'EXPIRED' THEN NULL
        ELSE current_period_ends_at + interval '336 hours'
    END AS access_ends_at
    FROM subscriptions
) s
"""
STANDINGS_BEFORE = """
CREATE VIEW practice_standings AS
SELECT practice_id, plan, trial_ends_at, current_period_ends_at,
    CASE
        WHEN status = 'TRIALING' AND trial_ends_at <= clock_now() THEN 'EXPIRED'
        WHEN status = 'PAST_DUE' AND current_period_ends_at + interval '14 days' <= clock_now() THEN 'EXPIRED'
        ELSE status
    END AS status,
    CASE status
        WHEN 'TRIALING' THEN trial_ends_at > clock_now()
        WHEN 'ACTIVE' THEN true
        WHEN 'PAST_DUE' THEN current_period_ends_at IS NULL OR current_period_ends_at + interval '14 days' > clock_now()
        WHEN 'CANCELED' THEN coalesce(current_period_ends_at > clock_now(), false)
        ELSE false
    END AS access_allowed
FROM subscriptions
"""


class Migration(migrations.Migration):
    dependencies = [("domain", "0006_factors")]

    operations = [
        ops.AddField(
            model_name="Practice",
            name="access_code_rotation_days",
            field=fields.SmallIntField(default=90, db_default=90),
        ),
        ops.AddField(
            model_name="Practice",
            name="access_code_grace_hours",
            field=fields.SmallIntField(default=24, db_default=24),
        ),
        ops.AddField(
            model_name="Practice",
            name="rotates_access_code_on_departure",
            field=fields.BooleanField(default=False, db_default=False),
        ),
        ops.AddField(model_name="User", name="known_access_code_id", field=fields.UUIDField(null=True)),
        ops.CreateModel(
            name="PracticeNotice",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                (
                    "practice",
                    fields.ForeignKeyField(
                        "domain.Practice",
                        source_field="practice_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="notices",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "kind",
                    fields.CharEnumField(
                        description="TRIAL_ENDS_IN_7_DAYS: TRIAL_ENDS_IN_7_DAYS\nTRIAL_ENDS_IN_3_DAYS: TRIAL_ENDS_IN_3_DAYS\n"
                        "TRIAL_ENDS_IN_1_DAY: TRIAL_ENDS_IN_1_DAY\nPAST_DUE: PAST_DUE\nLAPSED: LAPSED",
                        enum_type=PracticeNoticeKind,
                        max_length=20,
                    ),
                ),
                ("about", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("queued_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "practice_notices",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "Something that a practice's administrators were told about its subscription. about: the moment it is about.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SubscriptionEvent",
            fields=[
                ("id", fields.CharField(primary_key=True, max_length=255, unique=True, db_index=True)),
                (
                    "practice",
                    fields.ForeignKeyField(
                        "domain.Practice",
                        source_field="practice_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="subscription_events",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("received_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "subscription_events",
                "app": "domain",
                "pk_attr": "id",
                "table_description": "A payment provider's event that was acted upon, so that its repetition is not. id: the provider's.",
            },
            bases=["Model"],
        ),
        ops.RunSQL(WITHOUT_END, "SELECT 1"),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{rule} CHECK ({condition})",
                f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{rule}",
            )
            for table, rules in CHECKS.items()
            for rule, condition in rules.items()
        ),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
        # A column of a view cannot be taken away again by replacing it.
        ops.RunSQL(STANDINGS, "DROP VIEW practice_standings;" + STANDINGS_BEFORE),
    ]
