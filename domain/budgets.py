"""Allowances in a window of time: messages to a number a day, invitations a day, sign-ups from a network an hour.

Taken by one conditional statement, so that parallel requests cannot take more than there is; kept in the database, so that losing
Redis lifts none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
# One link an hour goes to an address whoever asks. It is good for that hour, so the owner has one or gets one, however many strangers ask.
RESET_OF_THE_HOUR = Budget(allowance=Allowance.RESETS, amount=1, window_seconds=HOUR_SECONDS)
# Beyond it. Those of an address are for whoever asks first; a known device has its own.
RESETS_PER_NETWORK = Budget(allowance=Allowance.RESETS, amount=20, window_seconds=HOUR_SECONDS)
RESETS_PER_ADDRESS = Budget(allowance=Allowance.RESETS, amount=4, window_seconds=DAY_SECONDS)
RESETS_PER_DEVICE = Budget(allowance=Allowance.RESETS, amount=5, window_seconds=DAY_SECONDS)
# Of all addresses together, against somebody who asks for links to a whole directory.
RESET_REQUESTS_PER_NETWORK = Budget(allowance=Allowance.RESETS, amount=300, window_seconds=HOUR_SECONDS)
LINK_CODES_PER_NETWORK = Budget(allowance=Allowance.LINK_CODES, amount=60, window_seconds=HOUR_SECONDS)
# Never told: a mail that leads an invited person on is sent or is not.
SIGN_IN_MAILS_PER_ADDRESS = Budget(allowance=Allowance.SIGN_INS, amount=1, window_seconds=DAY_SECONDS)
RESETS_BY_ADMINISTRATORS = Budget(allowance=Allowance.RESETS, amount=10, window_seconds=DAY_SECONDS)
EMAIL_CHANGES_PER_USER = Budget(allowance=Allowance.EMAIL_CHANGES, amount=5, window_seconds=DAY_SECONDS)
# Links that prove a new address, of all practices together: an address belongs to no practice before it is proved.
EMAIL_CHANGE_MAILS_PER_ADDRESS = Budget(allowance=Allowance.EMAIL_CHANGES, amount=10, window_seconds=DAY_SECONDS)
# Of any kind, beside what a message of the kind costs anyway.
REDELIVERIES_PER_USER = Budget(allowance=Allowance.REDELIVERIES, amount=10, window_seconds=DAY_SECONDS)
# Right or wrong, of somebody who is signed in: comparing one is costly (`passwords`).
PASSWORDS_IN_SESSION = Budget(allowance=Allowance.SIGN_INS, amount=20, window_seconds=HOUR_SECONDS)
# Each renewal writes ten rows and a mail.
RECOVERY_CODES_PER_USER = Budget(allowance=Allowance.RECOVERY_CODES, amount=10, window_seconds=DAY_SECONDS)
AUDIT_VERIFICATIONS = Budget(allowance=Allowance.AUDIT_VERIFICATIONS, amount=6, window_seconds=HOUR_SECONDS)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUp:
    """A budget of which nothing is left now."""

    key: str
    budget: Budget
    refusal: LimitReached


async def take_all(wanted: Sequence[tuple[str, Budget]]) -> list[UsedUp]:
    """Take one of each of different budgets by one statement, in the transaction under way; those that are used up, as ordered.

    When the answer is not empty, the caller has to roll back, and with that nothing was taken. The rows are locked in the order given:
    callers name the kinds always in the same order, what most people share last.
    """
    if not database.is_in_transaction():
        raise RuntimeError("taking of all budgets or of none needs a transaction")
    rows = await database.fetch(
        """
        WITH wanted AS (
            SELECT w.*, to_timestamp(floor(extract(epoch FROM clock_now()) / seconds) * seconds) AS starts
            FROM unnest($1::text[], $2::float8[], $3::int[]) WITH ORDINALITY AS w (key, seconds, amount, place)
        ),
        taken AS (
            INSERT INTO budgets AS b (key, window_starts_at, window_ends_at, used)
            SELECT key, starts, starts + seconds * interval '1 second', 1 FROM wanted ORDER BY place
            ON CONFLICT (key, window_starts_at) DO UPDATE SET used = b.used + 1
            WHERE b.used < (SELECT w.amount FROM wanted w WHERE w.key = b.key)
            RETURNING key
        )
        SELECT w.place, w.starts + w.seconds * interval '1 second' AS ends FROM wanted w
        WHERE NOT EXISTS (SELECT FROM taken t WHERE t.key = w.key) ORDER BY w.place
        """,
        [key for key, _ in wanted],
        [float(budget.window_seconds) for _, budget in wanted],
        [budget.amount for _, budget in wanted],
    )
    found = [(wanted[row["place"] - 1], row["ends"]) for row in rows]
    return [
        UsedUp(key=key, budget=budget, refusal=LimitReached(budget.allowance, ends)) for (key, budget), ends in found
    ]


async def used(keys: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """How much is used of budgets in the windows that are open now, and when those end; without those of which nothing is."""
    rows = await database.fetch(
        "SELECT key, used, window_ends_at FROM budgets"
        " WHERE key = ANY($1::text[]) AND window_starts_at <= clock_now() AND window_ends_at > clock_now()",
        list(keys),
    )
    return {row["key"]: (row["used"], row["window_ends_at"]) for row in rows}


async def give_back(key: str, budget: Budget) -> None:
    """Return one that was taken just now and turned out not to count."""
    await database.execute(
        "UPDATE budgets SET used = used - 1 WHERE key = $1 AND used > 0"
        " AND window_starts_at = to_timestamp(floor(extract(epoch FROM clock_now()) / $2) * $2)",
        key,
        float(budget.window_seconds),
    )
