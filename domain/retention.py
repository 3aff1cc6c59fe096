"""What is thrown away once it is of no more use. Every statement may run twice, and at once.

Codes and tokens go within a day of their end, with everything that they could be made from (OWASP ASVS 14.2.7): until then somebody who
comes too late is told so. Who was mailed or called when, and which devices somebody had, goes after 90 days.
"""

from domain import database, guesses, jobs, lockouts

# The schedule looks each hour, or an hour and a half later at worst: what ended 22 hours ago at a look is gone within 24. What a
# waiting message tells of stays until it has gone. Tables that can have millions of rows are emptied a few thousand at a time.
# What too many wrong guesses ended stays ended until a new password or phone comes, or somebody vouches for its owner.
ENDED = " OR ".join(
    f"(key LIKE '{prefix}:%' AND failures >= {limit.disabled_after})"
    for prefix, limit in {
        "phone:user": guesses.PHONE,
        "phone:reset": lockouts.PHONE_AFTER_RESET_LINK,
        "phone:new": guesses.PHONE,
        "password:address": lockouts.PASSWORD_BY_ANYBODY,
        "password:known": lockouts.PASSWORD_ON_KNOWN_DEVICES,
        "password:user": lockouts.PASSWORD_IN_SESSION,
    }.items()
)
STATEMENTS = (
    "DELETE FROM budgets WHERE window_ends_at < clock_now() - interval '1 day'",
    # Later than the guard looks back: it counts from a stop's end on.
    "DELETE FROM code_stops WHERE ends_at < clock_now() - interval '7 days'",
    (
        "DELETE FROM guess_counters WHERE updated_at < clock_now() - interval '90 days' AND coalesce(locked_until <= clock_now(), true)"  # noqa: S608 -- a constant
        f" AND NOT ({ENDED})"
    ),
    "DELETE FROM security_codes WHERE expires_at < clock_now() - interval '22 hours'",
    (
        "DELETE FROM challenges c WHERE expires_at < clock_now() - interval '22 hours'"
        " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.subject_id = c.id AND d.status IN ('QUEUED', 'SENDING', 'RETRYING'))"
        " AND NOT EXISTS (SELECT 1 FROM security_codes s WHERE s.challenge_id = c.id)"
    ),
    (
        "DELETE FROM enrollments e WHERE least(ended_at, expires_at) < clock_now() - interval '22 hours'"
        " AND NOT EXISTS (SELECT 1 FROM security_codes s WHERE s.enrollment_id = e.id)"
    ),
    # Names and addresses of people, some of whom never meant to sign up.
    (
        "DELETE FROM sign_ups s WHERE least(completed_at, expires_at) < clock_now() - interval '22 hours'"
        " AND NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.sign_up_id = s.id)"
    ),
    "DELETE FROM sessions WHERE least(ended_at, expires_at) < clock_now() - interval '22 hours'",
    "DELETE FROM password_resets WHERE least(used_at, superseded_at, expires_at) < clock_now() - interval '22 hours'",
    (
        "DELETE FROM email_changes e WHERE least(confirmed_at, superseded_at, expires_at) < clock_now() - interval '22 hours'"
        " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.subject_id = e.id AND d.status IN ('QUEUED', 'SENDING', 'RETRYING'))"
    ),
    "DELETE FROM practice_access_codes WHERE valid_until < clock_now() - interval '22 hours'",
    # The latest e-mail of an invitation stays with its person, since the users tile tells of it. Attempts go with their delivery.
    """
    DELETE FROM deliveries WHERE id IN (
        SELECT d.id FROM deliveries d
        WHERE d.queued_at < clock_now() - interval '90 days' AND d.status IN ('SENT', 'DELIVERED', 'BOUNCED', 'FAILED', 'CANCELED')
            AND NOT EXISTS (SELECT 1 FROM invitations i WHERE i.id = d.subject_id AND i.delivery_id = d.id)
        ORDER BY d.queued_at LIMIT 5000 FOR UPDATE SKIP LOCKED
    )
    """,
    # Neither of use nor seen by anybody; the trail names devices by id alone, and keeps what was done with them.
    """
    DELETE FROM devices WHERE id IN (
        SELECT d.id FROM devices d
        WHERE least(d.forgotten_at, greatest(d.trusted_until, d.last_seen_at)) < clock_now() - interval '90 days'
            AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.device_id = d.id)
            AND NOT EXISTS (SELECT 1 FROM challenges c WHERE c.device_id = d.id)
        LIMIT 5000 FOR UPDATE SKIP LOCKED
    )
    """,
    # Former addresses and numbers, once nobody can put them back.
    (
        "DELETE FROM account_changes c WHERE expires_at < clock_now() - interval '22 hours'"
        " AND coalesce(carried_out_at < clock_now() - interval '46 hours', true)"
        " AND (carried_out_at IS NOT NULL OR stopped_at IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.subject_id = c.id AND d.status IN ('QUEUED', 'SENDING', 'RETRYING'))"
    ),
    # Until then, whoever types a code that is crossed out already is told so.
    (
        "DELETE FROM recovery_codes WHERE least(used_at, superseded_at) < clock_now() - interval '90 days'"
        " AND (used_at IS NOT NULL OR superseded_at IS NOT NULL)"  # as its index says
    ),
    # Far older notifications than these are not taken any more, so none of them can come twice.
    "DELETE FROM feedback_events WHERE received_at < clock_now() - interval '7 days'",
    # A complaint is kept: nobody is to be mailed again who asked not to be.
    "DELETE FROM bounced_addresses WHERE bounced_at < clock_now() - interval '8 days' AND NOT is_complaint",
    # On a quiet system refusals of different days say nothing about each other.
    "DELETE FROM channel_refusals WHERE refused_at < clock_now() - interval '1 day'",
    # Long after a payment provider has given up repeating an event.
    "DELETE FROM subscription_events WHERE received_at < clock_now() - interval '90 days'",
)


async def purge() -> None:
    """Throw away what nobody can use any more. Raises ExceptionGroup when some statements failed, once the others are done."""
    await jobs.each(STATEMENTS, _run)


async def _run(statement: str) -> bool:
    """Until nothing is left: some take a limited number at once."""
    deleted = 0
    while number := await database.execute(statement):
        deleted += number
    return deleted > 0
