"""What is thrown away once it is of no more use. Every statement may run twice, and at once.

Codes and tokens go a day after their end, with everything that they could be made from (OWASP ASVS 14.2.7): until then somebody who
comes too late is told so.
"""

from domain import database, guesses, jobs

STATEMENTS = (
    "DELETE FROM budgets WHERE window_ends_at < clock_now() - interval '1 day'",
    # Later than the guard looks back: it counts from a stop's end on.
    "DELETE FROM code_stops WHERE ends_at < clock_now() - interval '7 days'",
    # A phone that ended with too many wrong codes stays ended until an administrator vouches for its owner.
    (
        "DELETE FROM guess_counters WHERE updated_at < clock_now() - interval '90 days' AND coalesce(locked_until <= clock_now(), true)"  # noqa: S608 -- a constant
        f" AND NOT (key LIKE 'phone:user:%' AND failures >= {guesses.PHONE.disabled_after})"
    ),
    "DELETE FROM security_codes WHERE expires_at < clock_now() - interval '1 day'",
    (
        "DELETE FROM challenges c WHERE expires_at < clock_now() - interval '1 day'"
        " AND NOT EXISTS (SELECT 1 FROM security_codes s WHERE s.challenge_id = c.id)"
    ),
    (
        "DELETE FROM enrollments e WHERE least(ended_at, expires_at) < clock_now() - interval '1 day'"
        " AND NOT EXISTS (SELECT 1 FROM security_codes s WHERE s.enrollment_id = e.id)"
    ),
    # Names and addresses of people, some of whom never meant to sign up.
    (
        "DELETE FROM sign_ups s WHERE least(completed_at, expires_at) < clock_now() - interval '1 day'"
        " AND NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.sign_up_id = s.id)"
    ),
    "DELETE FROM sessions WHERE least(ended_at, expires_at) < clock_now() - interval '1 day'",
    "DELETE FROM password_resets WHERE expires_at < clock_now() - interval '1 day'",
    "DELETE FROM email_changes WHERE expires_at < clock_now() - interval '1 day'",
    "DELETE FROM practice_access_codes WHERE valid_until < clock_now() - interval '1 day'",
    # Far older notifications than these are not taken any more, so none of them can come twice.
    "DELETE FROM feedback_events WHERE received_at < clock_now() - interval '7 days'",
    # A complaint is kept: nobody is to be mailed again who asked not to be.
    "DELETE FROM bounced_addresses WHERE bounced_at < clock_now() - interval '8 days' AND NOT is_complaint",
    # Long after a payment provider has given up repeating an event.
    "DELETE FROM subscription_events WHERE received_at < clock_now() - interval '90 days'",
)


async def purge() -> None:
    """Throw away what nobody can use any more. Raises ExceptionGroup when some statements failed, once the others are done."""
    await jobs.each(STATEMENTS, _run)


async def _run(statement: str) -> bool:
    return await database.execute(statement) > 0
