"""An address belongs to whoever finishes: an invitation holds nothing, and a practice can let go of the address of somebody deactivated.

`holds_email` is kept by a trigger, not by the program: a version from before this migration that is still running sets it for people
whom it invites, and does not set it when they finish.
"""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from domain.models.columns import InvitationEnd

CHECKS = {
    "users": {"released_is_inactive": "address_released_at IS NULL OR status = 'INACTIVE'"},
    "invitations": {
        "end_reason": "end_reason IN ('DECLINED', 'UNKNOWN_PRACTICE', 'ADDRESS_IN_USE', 'INVITER_DEACTIVATED')",
    },
}

INDEXES = {
    # Within a practice an address stands for one person, invited or not. Across practices only accounts hold one: uq_users_email.
    "uq_users_practice_email": (
        "UNIQUE INDEX {} ON users (practice_id, email_canonical) WHERE removed_at IS NULL AND address_released_at IS NULL"
    ),
    # Whose invitations end when somebody else finishes with the address.
    "ix_users_invited_email": "INDEX {} ON users (email_canonical) WHERE status = 'INVITED' AND removed_at IS NULL",
    "ix_invitations_inviter_deactivated": "INDEX {} ON invitations (invited_by_id) WHERE end_reason = 'INVITER_DEACTIVATED'",
    # Of which administrators have still to be told.
    "ix_invitations_ended": "INDEX {} ON invitations (practice_id) WHERE end_reason IS NOT NULL AND summarized_at IS NULL",
}

HOLDS = """
CREATE FUNCTION users_hold_email() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.holds_email := NEW.password_hash IS NOT NULL AND NEW.address_released_at IS NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER users_hold_email BEFORE INSERT OR UPDATE OF holds_email, password_hash, address_released_at ON users
    FOR EACH ROW EXECUTE FUNCTION users_hold_email();
UPDATE users SET holds_email = false WHERE holds_email AND password_hash IS NULL
"""
# Back to invitations that hold their address: the earliest open one of those that want it.
HOLDS_NO_MORE = """
DROP TRIGGER users_hold_email ON users;
DROP FUNCTION users_hold_email();
UPDATE users SET holds_email = true WHERE id IN (
    SELECT DISTINCT ON (u.email_canonical) u.id FROM users u JOIN invitations i ON i.user_id = u.id
    WHERE u.status = 'INVITED' AND u.removed_at IS NULL AND i.state = 'PENDING' AND i.expires_at > clock_now()
        AND NOT EXISTS (SELECT FROM users h WHERE h.email_canonical = u.email_canonical AND h.holds_email)
    ORDER BY u.email_canonical, u.created_at, u.id
)
"""
# Nothing in the program made two rows of a practice with one address. Where they exist all the same, the migration must not fail: the
# account keeps the address, or the latest of the others.
ONE_A_PRACTICE = """
WITH ranked AS (
    SELECT id, row_number() OVER (
        PARTITION BY practice_id, email_canonical ORDER BY password_hash IS NULL, status = 'INACTIVE', created_at DESC, id DESC
    ) AS place FROM users WHERE removed_at IS NULL
)
UPDATE users u SET removed_at = CASE WHEN u.status = 'INVITED' THEN clock_now() END,
    address_released_at = CASE WHEN u.status = 'INACTIVE' THEN clock_now() END
FROM ranked r WHERE r.id = u.id AND r.place > 1
"""


class Migration(migrations.Migration):
    dependencies = [("domain", "0015_collations")]

    operations = [
        ops.AddField(model_name="User", name="address_released_at", field=fields.DatetimeField(null=True)),
        ops.AddField(
            model_name="Invitation",
            name="end_reason",
            field=fields.CharEnumField(enum_type=InvitationEnd, null=True, max_length=20),
        ),
        ops.AddField(
            model_name="BouncedAddress",
            name="is_unknown_practice",
            field=fields.BooleanField(default=False, db_default=False),
        ),
        ops.RunSQL(HOLDS, HOLDS_NO_MORE),
        ops.RunSQL(ONE_A_PRACTICE, "SELECT 1"),
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
