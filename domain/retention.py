"""What is thrown away once it is of no more use. Every statement may run twice, and at once."""

from domain import database

STATEMENTS = (
    "DELETE FROM budgets WHERE window_ends_at < clock_now() - interval '1 day'",
    "DELETE FROM guess_counters WHERE updated_at < clock_now() - interval '90 days' AND coalesce(locked_until <= clock_now(), true)",
    "DELETE FROM security_codes WHERE expires_at < clock_now() - interval '1 day'",
    (
        "DELETE FROM challenges c WHERE expires_at < clock_now() - interval '1 day'"
        " AND NOT EXISTS (SELECT 1 FROM security_codes s WHERE s.challenge_id = c.id)"
    ),
)


async def purge() -> None:
    """Throw away counters of past windows, and codes and challenges a day after their end."""
    for statement in STATEMENTS:
        await database.execute(statement)
