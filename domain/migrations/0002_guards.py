"""The rules that the database itself keeps: the clock, CHECKs, unique indexes over part of a table, the standing of a practice.

The ORM carries constraints in its state without creating them for a new table, so they are written out here, and
`tests/test_schema_guards.py` looks for each of them in the catalogue.
"""

from tortoise import migrations
from tortoise.migrations import operations as ops

CLOCK = """
CREATE FUNCTION clock_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT now()'
"""

CHECKS = {
    "practices": {
        "name": "char_length(name) BETWEEN 1 AND 120",
        "phone": "phone ~ '^\\+[1-9][0-9]{4,14}$'",
    },
    "subscriptions": {
        "status": "status IN ('TRIALING', 'ACTIVE', 'PAST_DUE', 'CANCELED', 'EXPIRED')",
        "trial": "status <> 'TRIALING' OR trial_ends_at IS NOT NULL",
    },
    "practice_access_codes": {
        "nonce": "octet_length(nonce) = 16",
        "validity": "valid_until IS NULL OR valid_until >= issued_at",
    },
    "users": {
        "status": "status IN ('INVITED', 'ACTIVE', 'INACTIVE')",
        "access_level": "access_level IN ('ADMINISTRATOR', 'PROVIDER', 'CLINICAL_STAFF', 'FRONT_DESK', 'BILLING', 'READ_ONLY')",
        "first_name": "char_length(first_name) BETWEEN 1 AND 60",
        "last_name": "char_length(last_name) BETWEEN 1 AND 60",
        "email": "email_canonical = lower(email_canonical) AND email_canonical ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'",
        "phone": "phone ~ '^\\+[1-9][0-9]{4,14}$'",
        "verified_phone": "phone_verified_at IS NULL OR phone IS NOT NULL",
        "active_is_complete": "status <> 'ACTIVE' OR (password_hash IS NOT NULL AND phone_verified_at IS NOT NULL AND holds_email)",
        "invited_has_no_password": "status <> 'INVITED' OR password_hash IS NULL",
        "password_is_hashed": "password_hash LIKE '$argon2id$%' AND password_key_id IS NOT NULL OR password_hash IS NULL",
        "removed_was_invited": "removed_at IS NULL OR (status = 'INVITED' AND NOT holds_email)",
    },
    "sign_ups": {
        "email": "email_canonical = lower(email_canonical) AND email_canonical ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'",
        "nonce": "octet_length(nonce) = 16",
    },
    "invitations": {
        "state": "state IN ('PENDING', 'ACCEPTED', 'REVOKED')",
        "accepted": "(state = 'ACCEPTED') = (accepted_at IS NOT NULL)",
        "revoked": "(state = 'REVOKED') = (revoked_at IS NOT NULL)",
        "nonce": "octet_length(nonce) = 16",
        "sends": "sends >= 1",
    },
    "enrollments": {
        "one_way_in": "num_nonnulls(invitation_id, sign_up_id) = 1",
        "next_step": "next_step IN ('SEND_PHONE_CODE', 'VERIFY_PHONE', 'SET_PASSWORD', 'DONE')",
        "code_needs_phone": "next_step = 'SEND_PHONE_CODE' OR phone IS NOT NULL",
        "password_needs_verified_phone": "next_step IN ('SEND_PHONE_CODE', 'VERIFY_PHONE') = (phone_verified_at IS NULL)",
        "done_is_ended": "next_step <> 'DONE' OR ended_at IS NOT NULL",
        "phone": "phone ~ '^\\+[1-9][0-9]{4,14}$'",
        "nonce": "octet_length(nonce) = 16",
    },
    "security_codes": {
        "one_flow": "num_nonnulls(enrollment_id, challenge_id) = 1",
        "attempts": "attempts BETWEEN 0 AND 5",
        "channel": "channel IN ('SMS', 'VOICE')",
        "phone": "phone ~ '^\\+[1-9][0-9]{4,14}$'",
        "nonce": "octet_length(nonce) = 16",
        "lifetime": "expires_at <= created_at + interval '11 minutes'",
    },
    "devices": {"token_hash": "octet_length(token_hash) = 32"},
    "sessions": {"token_hash": "octet_length(token_hash) = 32"},
    "challenges": {"token_hash": "octet_length(token_hash) = 32"},
    "guess_counters": {"failures": "failures >= 0 AND locks >= 0"},
    "budgets": {"used": "used >= 0", "window": "window_ends_at > window_starts_at"},
    "deliveries": {
        "channel": "channel IN ('EMAIL', 'SMS', 'VOICE')",
        "lane": "lane BETWEEN 0 AND 2",
        "status": "status IN ('QUEUED', 'SENDING', 'RETRYING', 'SENT', 'DELIVERED', 'BOUNCED', 'FAILED', 'CANCELED')",
        "lease": "(status = 'SENDING') = (lease_owner IS NOT NULL)",
        "attempts": "attempts >= 0",
        "sent": "status NOT IN ('SENT', 'DELIVERED') OR sent_at IS NOT NULL",
    },
    "audit_events": {"action": "action ~ '^[a-z_]+\\.[a-z_]+$'"},
}

INDEXES = {
    # An address belongs to one account or pending invitation of all practices.
    "uq_users_email": 'UNIQUE INDEX {} ON users (email_canonical COLLATE "C") WHERE holds_email',
    "ix_users_tile": 'INDEX {} ON users (practice_id, sort_name COLLATE "C", id) WHERE removed_at IS NULL',
    "uq_practice_access_codes_current": "UNIQUE INDEX {} ON practice_access_codes (practice_id) WHERE valid_until IS NULL",
    "ix_practice_access_codes_practice": "INDEX {} ON practice_access_codes (practice_id)",
    "ix_sign_ups_email": 'INDEX {} ON sign_ups (email_canonical COLLATE "C")',
    "ix_invitations_practice": "INDEX {} ON invitations (practice_id)",
    "ix_invitations_invited_by": "INDEX {} ON invitations (invited_by_id) WHERE state = 'PENDING'",
    # One enrollment and one good code at a time, whatever races.
    "uq_enrollments_invitation": "UNIQUE INDEX {} ON enrollments (invitation_id) WHERE ended_at IS NULL",
    "uq_enrollments_sign_up": "UNIQUE INDEX {} ON enrollments (sign_up_id) WHERE ended_at IS NULL",
    "uq_security_codes_enrollment": (
        "UNIQUE INDEX {} ON security_codes (enrollment_id) WHERE consumed_at IS NULL AND superseded_at IS NULL"
    ),
    "uq_security_codes_challenge": (
        "UNIQUE INDEX {} ON security_codes (challenge_id) WHERE consumed_at IS NULL AND superseded_at IS NULL"
    ),
    "uq_devices_token": "UNIQUE INDEX {} ON devices (token_hash)",
    "ix_devices_user": "INDEX {} ON devices (user_id) WHERE forgotten_at IS NULL",
    "uq_sessions_token": "UNIQUE INDEX {} ON sessions (token_hash)",
    "ix_sessions_user": "INDEX {} ON sessions (user_id) WHERE ended_at IS NULL",
    "uq_challenges_token": "UNIQUE INDEX {} ON challenges (token_hash)",
    "ix_challenges_user": "INDEX {} ON challenges (user_id) WHERE ended_at IS NULL AND answered_at IS NULL",
    "uq_budgets_window": "UNIQUE INDEX {} ON budgets (key, window_starts_at)",
    "ix_budgets_end": "INDEX {} ON budgets (window_ends_at)",
    # What a worker looks through each time: only rows that are still on their way.
    "ix_deliveries_due": "INDEX {} ON deliveries (lane, due_at) WHERE status IN ('QUEUED', 'RETRYING', 'SENDING')",
    "ix_deliveries_user": "INDEX {} ON deliveries (user_id) WHERE status IN ('QUEUED', 'RETRYING', 'SENDING')",
    "ix_deliveries_subject": "INDEX {} ON deliveries (subject_id)",
    "ix_delivery_attempts_delivery": "INDEX {} ON delivery_attempts (delivery_id, number)",
    "ix_audit_events_practice": "INDEX {} ON audit_events (practice_id, occurred_at, id)",
}

# Whether a practice's staff may work, told from the database's clock: a trial that ran out needs no job to end it.
# 14 days: how long a practice that is behind with paying goes on working.
STANDINGS = """
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


def check_name(table: str, rule: str) -> str:
    """What a CHECK is called in the catalogue."""
    return f"ck_{table}_{rule}"


class Migration(migrations.Migration):
    """Put the guards up, or take them down."""

    dependencies = [("domain", "0001_initial")]

    operations = [
        ops.RunSQL(CLOCK, "DROP FUNCTION clock_now()"),
        *(
            ops.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT {check_name(table, rule)} CHECK ({condition})",
                f"ALTER TABLE {table} DROP CONSTRAINT {check_name(table, rule)}",
            )
            for table, rules in CHECKS.items()
            for rule, condition in rules.items()
        ),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
        ops.RunSQL(
            "ALTER TABLE security_codes ADD CONSTRAINT fk_security_codes_challenge FOREIGN KEY (challenge_id) REFERENCES challenges (id)",
            "ALTER TABLE security_codes DROP CONSTRAINT fk_security_codes_challenge",
        ),
        ops.RunSQL(STANDINGS, "DROP VIEW practice_standings"),
    ]
