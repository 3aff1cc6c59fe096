"""Indexes on what grows: for what the schedule removes, for what is about one user or one flow, and for counting one practice's people."""

from tortoise import migrations

from domain import migration_indexes

INDEXES = {
    # What the schedule removes (`domain.retention`), each by the moment from which its time is counted.
    "ix_guess_counters_updated": "INDEX {} ON guess_counters (updated_at)",
    "ix_security_codes_end": "INDEX {} ON security_codes (expires_at)",
    "ix_challenges_end": "INDEX {} ON challenges (expires_at)",
    "ix_enrollments_end": "INDEX {} ON enrollments (least(ended_at, expires_at))",
    "ix_sign_ups_end": "INDEX {} ON sign_ups (least(completed_at, expires_at))",
    "ix_sessions_end": "INDEX {} ON sessions (least(ended_at, expires_at))",
    "ix_password_resets_end": "INDEX {} ON password_resets (least(used_at, superseded_at, expires_at))",
    "ix_email_changes_end": "INDEX {} ON email_changes (least(confirmed_at, superseded_at, expires_at))",
    "ix_account_changes_end": "INDEX {} ON account_changes (expires_at)",
    "ix_recovery_codes_end": (
        "INDEX {} ON recovery_codes (least(used_at, superseded_at)) WHERE used_at IS NOT NULL OR superseded_at IS NOT NULL"
    ),
    "ix_devices_end": "INDEX {} ON devices (least(forgotten_at, greatest(trusted_until, last_seen_at)))",
    "ix_practice_access_codes_end": "INDEX {} ON practice_access_codes (valid_until) WHERE valid_until IS NOT NULL",
    "ix_feedback_events_received": "INDEX {} ON feedback_events (received_at)",
    "ix_subscription_events_received": "INDEX {} ON subscription_events (received_at)",
    "ix_bounced_addresses_end": "INDEX {} ON bounced_addresses (bounced_at) WHERE NOT is_complaint",
    # What is looked for before any of these goes, and codes of one flow.
    "ix_security_codes_enrollment": (
        "INDEX {} ON security_codes (enrollment_id, created_at) WHERE enrollment_id IS NOT NULL"
    ),
    "ix_security_codes_challenge": "INDEX {} ON security_codes (challenge_id, created_at) WHERE challenge_id IS NOT NULL",
    "ix_enrollments_sign_up": "INDEX {} ON enrollments (sign_up_id) WHERE sign_up_id IS NOT NULL",
    "ix_sessions_device": "INDEX {} ON sessions (device_id) WHERE device_id IS NOT NULL",
    "ix_challenges_device": "INDEX {} ON challenges (device_id) WHERE device_id IS NOT NULL",
    # All sessions of a user, and all links that somebody asked for.
    "ix_sessions_of_user": "INDEX {} ON sessions (user_id)",
    "ix_password_resets_of_user": "INDEX {} ON password_resets (user_id) WHERE user_id IS NOT NULL",
    # How many people of a practice stand where, from the index alone.
    "ix_users_standing": "INDEX {} ON users (practice_id, status, access_level) WHERE removed_at IS NULL",
}
OLD_INDEXES = {"ix_sessions_user": "INDEX {} ON sessions (user_id) WHERE ended_at IS NULL"}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("domain", "0027_outbox_indexes")]

    operations = [*migration_indexes.created(INDEXES), *migration_indexes.dropped(OLD_INDEXES)]
