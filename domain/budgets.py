"""Allowances in a window of time: messages to a number a day, invitations a day, sign-ups from a network an hour.

Taken by one conditional statement, so that parallel requests cannot take more than there is; kept in the database, so that losing
Redis lifts none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from domain import database
from domain.errors import Allowance, LimitReached

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """amount: how many in each window of window_seconds, which begin at the same moments for everybody."""

    allowance: Allowance
    amount: int
    window_seconds: int


SIGN_UPS_PER_NETWORK = Budget(allowance=Allowance.SIGN_UPS, amount=20, window_seconds=HOUR_SECONDS)
SIGN_UPS_PER_ADDRESS = Budget(allowance=Allowance.SIGN_UPS, amount=5, window_seconds=DAY_SECONDS)
INVITATIONS_PER_PRACTICE = Budget(allowance=Allowance.INVITATIONS, amount=1000, window_seconds=DAY_SECONDS)
# Whatever way they are sent: invited, sent again, let back in, invited anew after the invitation was taken back.
INVITATION_MAILS_PER_ADDRESS = Budget(allowance=Allowance.INVITATION_MAILS, amount=15, window_seconds=DAY_SECONDS)
CORRECTIONS_PER_PRACTICE = Budget(allowance=Allowance.CORRECTIONS, amount=100, window_seconds=DAY_SECONDS)
RESENDS_PER_INVITATION = Budget(allowance=Allowance.RESENDS, amount=10, window_seconds=DAY_SECONDS)
WRONG_PASSWORDS_PER_NETWORK = Budget(allowance=Allowance.SIGN_INS, amount=300, window_seconds=HOUR_SECONDS)
RESETS_PER_NETWORK = Budget(allowance=Allowance.RESETS, amount=20, window_seconds=HOUR_SECONDS)
RESETS_PER_ADDRESS = Budget(allowance=Allowance.RESETS, amount=5, window_seconds=DAY_SECONDS)
RESETS_BY_ADMINISTRATORS = Budget(allowance=Allowance.RESETS, amount=10, window_seconds=DAY_SECONDS)
EMAIL_CHANGES_PER_USER = Budget(allowance=Allowance.EMAIL_CHANGES, amount=5, window_seconds=DAY_SECONDS)
# Of any kind, beside what a message of the kind costs anyway.
REDELIVERIES_PER_USER = Budget(allowance=Allowance.REDELIVERIES, amount=10, window_seconds=DAY_SECONDS)
AUDIT_VERIFICATIONS = Budget(allowance=Allowance.AUDIT_VERIFICATIONS, amount=6, window_seconds=HOUR_SECONDS)
CODES_PER_NUMBER = Budget(allowance=Allowance.CODES, amount=5, window_seconds=600)  # as Twilio Verify (error 60203)
CODES_PER_NUMBER_A_DAY = Budget(allowance=Allowance.CODES, amount=20, window_seconds=DAY_SECONDS)
CODES_PER_ACCOUNT = Budget(allowance=Allowance.CODES, amount=30, window_seconds=DAY_SECONDS)


async def take(key: str, budget: Budget, amount: int = 1) -> None:
    """Take some of an allowance, in the transaction under way if there is one. Raises LimitReached; then nothing was taken."""
    for refusal in (await take_each([key], budget, amount)).values():
        raise refusal


async def take_each(keys: Sequence[str], budget: Budget, amount: int = 1) -> dict[str, LimitReached]:
    """Take some of many allowances of one kind at once; the refusals of those that are used up, of which nothing was taken."""
    rows = await database.fetch(
        """
        WITH slot AS (SELECT to_timestamp(floor(extract(epoch FROM clock_now()) / $2) * $2) AS starts),
        wanted AS (SELECT DISTINCT unnest($1::text[]) AS key),
        taken AS (
            INSERT INTO budgets AS b (key, window_starts_at, window_ends_at, used)
            SELECT key, starts, starts + $2 * interval '1 second', $3::int FROM slot, wanted WHERE $3 <= $4 ORDER BY key
            ON CONFLICT (key, window_starts_at) DO UPDATE SET used = b.used + $3 WHERE b.used + $3 <= $4
            RETURNING key
        )
        SELECT w.key, s.starts + $2 * interval '1 second' AS ends FROM wanted w, slot s
        WHERE NOT EXISTS (SELECT FROM taken t WHERE t.key = w.key)
        """,
        list(keys),
        float(budget.window_seconds),
        amount,
        budget.amount,
    )
    return {row["key"]: LimitReached(budget.allowance, row["ends"]) for row in rows}


async def give_back(key: str, budget: Budget) -> None:
    """Return one that was taken just now and turned out not to count."""
    await database.execute(
        "UPDATE budgets SET used = used - 1 WHERE key = $1 AND used > 0"
        " AND window_starts_at = to_timestamp(floor(extract(epoch FROM clock_now()) / $2) * $2)",
        key,
        float(budget.window_seconds),
    )
