"""People, practices, messages and what else grows, by the thousand: for tests of plans and for `benchmarks/growth.py`.

Twenty people a practice; a third each has an account, is invited, or was deactivated. Rows are written as a replica writes them, without
triggers and foreign keys. Ids rise with the numbers, as real ones do with time.
"""

from domain import database

PEOPLE_A_PRACTICE = 20
SOON = "interval '10 days'"  # later than any test lets the clock go


def row_id(kind: str, number: str = "n") -> str:
    """The SQL of the id of a filler's row, by the kind of row and the SQL of its number."""
    first = sum(kind.encode()) * 7919 % 0xFFFFFFF
    return f"('{first:08x}-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"


PRACTICE = row_id("practice", f"n / {PEOPLE_A_PRACTICE}")
USER = row_id("user")
NONCE = "'\\x00112233445566778899aabbccddeeff'"
EACH = "FROM generate_series($1::int, $2::int) n"
ACTIVE = f"{EACH} WHERE n % 3 = 0"
INVITED = f"{EACH} WHERE n % 3 = 1"
EACH_PRACTICE = f"{EACH} WHERE n % {PEOPLE_A_PRACTICE} = 0"

STATEMENTS = {
    "practices": f"""
        INSERT INTO practices (id, name, specialty, phone, time_zone, invitations_summarized_on, created_at)
        SELECT {PRACTICE}, 'Practice ' || n, 'Family', '+12025550100', 'UTC', clock_now()::date, clock_now() {EACH_PRACTICE}
    """,
    "subscriptions": f"""
        INSERT INTO subscriptions (practice_id, plan, status, updated_at)
        SELECT {PRACTICE}, 'standard', 'ACTIVE', clock_now() {EACH_PRACTICE}
    """,
    "practice_access_codes": f"""
        INSERT INTO practice_access_codes (id, practice_id, nonce, key_id, issued_at)
        SELECT {row_id("access code")}, {PRACTICE}, {NONCE}, 'key', clock_now() {EACH_PRACTICE}
    """,
    "practice_notices": f"""
        INSERT INTO practice_notices (id, practice_id, kind, about, queued_at)
        SELECT {row_id("notice")}, {PRACTICE}, 'PAST_DUE', clock_now(), clock_now() {EACH_PRACTICE}
    """,
    "subscription_events": f"""
        INSERT INTO subscription_events (id, practice_id, received_at)
        SELECT 'filler' || n, {PRACTICE}, clock_now() - interval '1 hour' {EACH}
    """,
    "users": f"""
        INSERT INTO users (id, practice_id, first_name, last_name, sort_name, search_text, email, email_canonical, holds_email,
            access_level, status, phone, phone_verified_at, password_hash, password_key_id, created_at)
        SELECT {USER}, {PRACTICE}, 'Ann', 'Bell', 'bell ann' || n, ' ann bell u' || n || '@filler.example', 'u' || n || '@filler.example',
            'u' || n || '@filler.example', n % 3 <> 1, CASE WHEN n % 50 = 0 THEN 'ADMINISTRATOR' ELSE 'PROVIDER' END,
            (ARRAY['ACTIVE', 'INVITED', 'INACTIVE'])[1 + n % 3],
            CASE WHEN n % 3 <> 1 THEN '+12025550100' END, CASE WHEN n % 3 <> 1 THEN clock_now() END,
            CASE WHEN n % 3 <> 1 THEN '$argon2id$' END, CASE WHEN n % 3 <> 1 THEN 'key' END, clock_now() {EACH}
    """,
    "invitations": f"""
        INSERT INTO invitations (id, practice_id, user_id, invited_by_id, state, nonce, key_id, delivery_id, sends, last_send_at,
            expires_at, created_at)
        SELECT {row_id("invitation")}, {PRACTICE}, {USER}, {row_id("user", "n - 1")}, 'PENDING', {NONCE}, 'key', {row_id("sent")}, 1,
            clock_now(), clock_now() + interval '7 days', clock_now() {INVITED}
    """,
    "sign_ups": f"""
        INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone, nonce,
            key_id, expires_at, created_at)
        SELECT {row_id("sign-up")}, 'Ann', 'Bell', 's' || n || '@filler.example', 's' || n || '@filler.example', '+12025550100', 'P',
            'Family', 'UTC', {NONCE}, 'key', clock_now() + {SOON}, clock_now() {INVITED}
    """,
    "enrollments": f"""
        INSERT INTO enrollments (id, invitation_id, next_step, nonce, key_id, expires_at, created_at)
        SELECT {row_id("enrollment")}, {row_id("invitation")}, 'SEND_PHONE_CODE', {NONCE}, 'key', clock_now() + {SOON}, clock_now()
        {INVITED}
    """,
    "security_codes": f"""
        INSERT INTO security_codes (id, enrollment_id, phone, channel, nonce, key_id, attempts, expires_at, consumed_at,
            created_at)
        SELECT {row_id("code")}, {row_id("enrollment")}, '+12025550100', 'SMS', {NONCE}, 'key', 0, clock_now() - interval '6 hours',
            clock_now() - interval '6 hours', clock_now() - interval '6 hours' {INVITED}
    """,
    "devices": f"""
        INSERT INTO devices (id, user_id, token_hash, name, trusted_until, created_at)
        SELECT {row_id("device")}, {USER}, sha256(('device' || n)::bytea), 'A device', clock_now() + {SOON}, clock_now() {ACTIVE}
    """,
    "sessions": f"""
        INSERT INTO sessions (id, user_id, device_id, token_hash, device_name, ip_address, authenticated_at, last_used_at, expires_at,
            created_at)
        SELECT {row_id("session")}, {USER}, {row_id("device")}, sha256(('session' || n)::bytea), 'A device', '192.0.2.1', clock_now(),
            clock_now(), clock_now() + {SOON}, clock_now() {ACTIVE}
    """,
    "challenges": f"""
        INSERT INTO challenges (id, user_id, device_id, token_hash, device_name, expires_at, ended_at, created_at)
        SELECT {row_id("challenge")}, {USER}, {row_id("device")}, sha256(('challenge' || n)::bytea), 'A device', clock_now(), clock_now(),
            clock_now() {ACTIVE}
    """,
    "password_resets": f"""
        INSERT INTO password_resets (id, user_id, nonce, key_id, expires_at, created_at)
        SELECT {row_id("reset")}, {USER}, {NONCE}, 'key', clock_now() + {SOON}, clock_now() {ACTIVE}
    """,
    "email_changes": f"""
        INSERT INTO email_changes (id, user_id, email, email_canonical, old_email, nonce, key_id, expires_at, created_at)
        SELECT {row_id("email change")}, {USER}, 'n' || n || '@filler.example', 'n' || n || '@filler.example', 'u' || n, {NONCE}, 'key',
            clock_now() + {SOON}, clock_now() {ACTIVE}
    """,
    "account_changes": f"""
        INSERT INTO account_changes (id, user_id, kind, changed_by, old_email, old_email_canonical, nonce, key_id, effective_at, expires_at, carried_out_at,
            created_at)
        SELECT {row_id("account change")}, {USER}, 'EMAIL', 'Ann Bell', 'o@filler.example', 'o@filler.example', {NONCE}, 'key', clock_now(), clock_now() + {SOON},
            clock_now(), clock_now() {ACTIVE}
    """,
    "recovery_codes": f"""
        INSERT INTO recovery_codes (id, user_id, mac, key_id, created_at)
        SELECT {row_id("recovery code")}, {USER}, sha256(('recovery' || n)::bytea), 'key', clock_now() {ACTIVE}
    """,
    "login_settings": f"""
        INSERT INTO login_settings (id, practice_id, user_id, session_hours, updated_at)
        SELECT {row_id("settings")}, {PRACTICE}, {USER}, 8, clock_now() {ACTIVE}
    """,
    "guess_counters": f"""
        INSERT INTO guess_counters (key, failures, locks, updated_at)
        SELECT 'password:address:filler' || n, 1, 0, clock_now() {EACH}
    """,
    "budgets": f"""
        INSERT INTO budgets (key, window_starts_at, window_ends_at, used)
        SELECT 'filler' || n, clock_now(), clock_now() + interval '1 hour', 1 {EACH}
    """,
    "bounced_addresses": f"""
        INSERT INTO bounced_addresses (id, practice_id, email_canonical, delivery_id, is_complaint, reason, bounced_at)
        SELECT {row_id("bounce")}, {PRACTICE}, 'u' || n || '@filler.example', {row_id("sent")}, false, 'Nobody is there.', clock_now()
        {INVITED}
    """,
    "feedback_events": f"""
        INSERT INTO feedback_events (id, received_at) SELECT 'filler' || n, clock_now() {EACH}
    """,
    "deliveries": f"""
        INSERT INTO deliveries (id, practice_id, user_id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, sent_at,
            expires_at, recipient)
        SELECT {row_id("sent")}, {PRACTICE}, {USER}, {row_id("invitation")}, 'invitation', 'EMAIL', 2, 'DELIVERED', 1,
            clock_now() - interval '2 days', clock_now() - interval '2 days', clock_now() - interval '2 days',
            clock_now() + interval '5 days', 'u' || n || '@filler.example' {EACH}
    """,
    "delivery_attempts": f"""
        INSERT INTO delivery_attempts (id, delivery_id, number, lease_owner, started_at, finished_at, outcome)
        SELECT {row_id("attempt")}, {row_id("sent")}, 1, {row_id("owner")}, clock_now(), clock_now(), 'SENT' {EACH}
    """,
    "audit_events": f"""
        INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_user_id, actor_name, subject_user_id, details)
        SELECT {row_id("event")}, {PRACTICE}, clock_now() - interval '2 days', 'session.started', {USER}, 'Ann Bell', {USER}, '{{}}' {EACH}
    """,
    "audit_links": f"""
        INSERT INTO audit_links (chain_id, position, event_id, hash)
        SELECT {PRACTICE}, n, {row_id("event")}, sha256(n::text::bytea) {EACH}
    """,
    "audit_chains": f"""
        INSERT INTO audit_chains (id, position, hash) SELECT {PRACTICE}, n + 19, sha256(n::text::bytea) {EACH_PRACTICE}
    """,
}
# Messages that wait, the first of them the longest. $3: in how many seconds they are due.
WAITING = f"""
    INSERT INTO deliveries (id, practice_id, user_id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at)
    SELECT {row_id("waiting")}, {PRACTICE}, {USER}, {row_id("invitation")}, 'invitation', 'EMAIL', 2, 'QUEUED', 0,
        clock_now() - interval '1 hour' + n * interval '1 millisecond',
        clock_now() + $3::float8 * interval '1 second' + n * interval '1 millisecond', clock_now() + interval '7 days' {EACH}
"""
# As if all of them had waited for an hour.
MAKE_DUE = "UPDATE deliveries SET due_at = queued_at WHERE status = 'QUEUED' AND recipient IS NULL AND lane = 2"
MEMBERS_OF_ONE = 1_500
# More people in one practice. $3: its administrator.
MEMBERS = f"""
    INSERT INTO users (id, practice_id, first_name, last_name, sort_name, search_text, email, email_canonical, holds_email,
        access_level, status, phone, phone_verified_at, password_hash, password_key_id, created_at)
    SELECT {row_id("member")}, u.practice_id, 'Zoe', 'Young', 'young zoe' || n, ' zoe young m' || n || '@filler.example',
        'm' || n || '@filler.example', 'm' || n || '@filler.example', true, 'PROVIDER', 'ACTIVE', '+12025550100', clock_now(),
        '$argon2id$', 'key', clock_now()
    FROM generate_series($1::int, $2::int) n, users u WHERE u.id = $3
"""
# What is kept for one practice: events and messages. $3: its administrator.
EVENTS_OF_ONE = f"""
    INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_user_id, actor_name, subject_user_id, details)
    SELECT gen_random_uuid(), u.practice_id, clock_now() - interval '2 days', 'session.started', {row_id("user", "n % 300")}, 'Ann Bell',
        {row_id("user", "n % 300")}, '{{}}'
    FROM generate_series($1::int, $2::int) n, users u WHERE u.id = $3
"""
# Rows whose time is over, so that the schedule has something to remove.
EXPIRED = (
    *(
        f"UPDATE {table} SET expires_at = clock_now() - interval '30 hours' WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT 10)"
        for table in (
            "security_codes",
            "challenges",
            "sign_ups",
            "sessions",
            "enrollments",
            "password_resets",
            "email_changes",
        )
    ),
    (
        "UPDATE account_changes SET created_at = clock_now() - interval '9 days', effective_at = clock_now() - interval '9 days',"
        " carried_out_at = clock_now() - interval '9 days', expires_at = clock_now() - interval '2 days'"
        " WHERE id IN (SELECT id FROM account_changes ORDER BY id LIMIT 10)"
    ),
    # The others get a few rows of their own.
    "INSERT INTO feedback_events (id, received_at) SELECT 'old' || n, clock_now() - interval '8 days' FROM generate_series(1, 50) n",
    "INSERT INTO budgets (key, window_starts_at, window_ends_at, used) SELECT 'old' || n, clock_now() - interval '3 days', clock_now() - interval '2 days', 1 FROM generate_series(1, 50) n",
    "INSERT INTO guess_counters (key, failures, locks, updated_at) SELECT 'old' || n, 1, 0, clock_now() - interval '91 days' FROM generate_series(1, 50) n",
    "UPDATE bounced_addresses SET bounced_at = clock_now() - interval '9 days' WHERE id IN (SELECT id FROM bounced_addresses ORDER BY id LIMIT 10)",
    "UPDATE recovery_codes SET used_at = clock_now() - interval '91 days' WHERE id IN (SELECT id FROM recovery_codes ORDER BY id LIMIT 10)",
    # Due: a code to be replaced, an invitation that is about to end, a trial that ends tomorrow, messages that nobody sent.
    "UPDATE practice_access_codes SET issued_at = clock_now() - interval '91 days' WHERE id = (SELECT min(id::text)::uuid FROM practice_access_codes)",
    f"UPDATE deliveries SET sent_at = clock_now() WHERE id = {row_id('sent', '1')}",
    f"UPDATE invitations SET expires_at = clock_now() + interval '40 hours', last_send_at = clock_now() - interval '5 days' WHERE id = {row_id('invitation', '1')}",
    f"UPDATE practices SET invitations_summarized_on = clock_now()::date - 1 WHERE id = {row_id('practice', '0')}",
    f"UPDATE subscriptions SET status = 'TRIALING', trial_ends_at = clock_now() + interval '20 hours' WHERE practice_id = {row_id('practice', '1')}",
    "UPDATE devices SET trusted_until = clock_now() - interval '100 days' WHERE id IN (SELECT id FROM devices ORDER BY id LIMIT 10)",
    "UPDATE deliveries SET queued_at = clock_now() - interval '100 days' WHERE id IN (SELECT id FROM deliveries WHERE status = 'DELIVERED' ORDER BY id LIMIT 10)",
)


async def fill(first: int, last: int) -> None:
    """Write everything for the people with these numbers, and their practices."""
    await write(*((statement, first, last) for statement in STATEMENTS.values()))


async def write(*statements: tuple[object, ...]) -> None:
    """Run statements of this module, each with its values, in one transaction as a replica does."""
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        for sql, *values in statements:
            await database.execute(str(sql), *values)
