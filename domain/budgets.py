"""Allowances in a window of time: messages to a number a day, invitations a day, sign-ups from a network an hour.

Taken by one conditional statement, so that parallel requests cannot take more than there is; kept in the database, so that losing
Redis lifts none. What people share (a network's, a practice's, the day's) is taken before an act's transaction and not in it: its row
would stay locked until the commit, and a process that stops before its commit would stop everybody.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from domain import database
from domain.errors import Allowance, LimitReached

logger = logging.getLogger(__name__)

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """amount: how many in each window of window_seconds, which begin at the same moments for everybody.

    is_shared: acts of different people take from one row of it.
    """

    allowance: Allowance
    amount: int
    window_seconds: int
    is_shared: bool = False


SIGN_UPS_PER_NETWORK = Budget(allowance=Allowance.SIGN_UPS, amount=20, window_seconds=HOUR_SECONDS, is_shared=True)
SIGN_UPS_PER_ADDRESS = Budget(allowance=Allowance.SIGN_UPS, amount=5, window_seconds=DAY_SECONDS)
INVITATIONS_PER_PRACTICE = Budget(
    allowance=Allowance.INVITATIONS, amount=1000, window_seconds=DAY_SECONDS, is_shared=True
)
# Whatever way they are sent: invited, sent again, let back in, invited anew after the invitation was taken back.
INVITATION_MAILS_PER_ADDRESS = Budget(allowance=Allowance.INVITATION_MAILS, amount=15, window_seconds=DAY_SECONDS)
CORRECTIONS_PER_PRACTICE = Budget(
    allowance=Allowance.CORRECTIONS, amount=100, window_seconds=DAY_SECONDS, is_shared=True
)
RESENDS_PER_INVITATION = Budget(allowance=Allowance.RESENDS, amount=10, window_seconds=DAY_SECONDS)
WRONG_PASSWORDS_PER_NETWORK = Budget(
    allowance=Allowance.SIGN_INS, amount=300, window_seconds=HOUR_SECONDS, is_shared=True
)
# One link an hour goes to an address whoever asks. It is good for that hour, so the owner has one or gets one, however many strangers ask.
RESET_OF_THE_HOUR = Budget(allowance=Allowance.RESETS, amount=1, window_seconds=HOUR_SECONDS)
# Beyond it. Those of an address are for whoever asks first; a known device has its own.
RESETS_PER_NETWORK = Budget(allowance=Allowance.RESETS, amount=20, window_seconds=HOUR_SECONDS, is_shared=True)
RESETS_PER_ADDRESS = Budget(allowance=Allowance.RESETS, amount=4, window_seconds=DAY_SECONDS)
RESETS_PER_DEVICE = Budget(allowance=Allowance.RESETS, amount=5, window_seconds=DAY_SECONDS)
# Of all addresses together, against somebody who asks for links to a whole directory.
RESET_REQUESTS_PER_NETWORK = Budget(allowance=Allowance.RESETS, amount=300, window_seconds=HOUR_SECONDS, is_shared=True)
LINK_CODES_PER_NETWORK = Budget(allowance=Allowance.LINK_CODES, amount=60, window_seconds=HOUR_SECONDS, is_shared=True)
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
AUDIT_VERIFICATIONS = Budget(
    allowance=Allowance.AUDIT_VERIFICATIONS, amount=6, window_seconds=HOUR_SECONDS, is_shared=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Some of an allowance. It is given back to the window that it was taken from."""

    key: str
    window_starts_at: datetime
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedUp:
    """A budget of which not enough is left now."""

    key: str
    budget: Budget
    refusal: LimitReached


@dataclass
class NotTaken(Exception):
    """Not enough is left of these budgets, so none of those that were wanted was taken. In the order in which they were wanted."""

    used_up: list[UsedUp]


async def take(key: str, budget: Budget, amount: int = 1) -> Taken:
    """Take some of an allowance, in the transaction under way if there is one. Raises LimitReached; then nothing was taken.

    A budget that people share is never taken in a transaction; see `spending`.
    """
    _require_own_statement(budget)
    try:
        return (await _take([(key, budget)], amount))[0]
    except NotTaken as refusal:
        raise refusal.used_up[0].refusal from None


async def take_each(keys: Sequence[str], budget: Budget, amount: int = 1) -> dict[str, LimitReached]:
    """Take some of many allowances of one kind at once; the refusals of those that are used up, of which nothing was taken."""
    _require_own_statement(budget)
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


@asynccontextmanager
async def spending(key: str, budget: Budget, amount: int = 1) -> AsyncIterator[None]:
    """Take some of an allowance for the act in the block, and give it back if the act fails. Raises LimitReached."""
    try:
        async with spending_all([(key, budget)], amount):
            yield
    except NotTaken as refusal:
        raise refusal.used_up[0].refusal from None


@asynccontextmanager
async def spending_all(wanted: Sequence[tuple[str, Budget]], amount: int = 1) -> AsyncIterator[None]:
    """Take some of each of several budgets for the act in the block, of all or of none, and give them back if the act fails.

    They are taken before the act's transaction, by one statement that is committed by itself. So nobody waits for this process, should
    it stop in the middle of the act. The rows are locked in the order given while the statement runs: callers name what most people
    share last. Given back is what an exception or a cancellation undoes, unless the act may have been committed all the same. A process
    that ends in between gives nothing back: each act that is under way loses what it took, until the window ends. Raises NotTaken.
    """
    if database.is_in_transaction():
        raise RuntimeError("budgets are taken before a transaction, not in it")
    taken = await _take_or_undo(wanted, amount)
    with database.watched() as act:
        try:
            yield
        except BaseException:
            if not act.may_be_committed:
                await database.finished(_give_back_all(taken))
            raise


async def _take_or_undo(wanted: Sequence[tuple[str, Budget]], amount: int) -> list[Taken]:
    """Take them; if the caller is cancelled meanwhile, wait for the answer and give back what was taken."""
    taking = asyncio.ensure_future(_take(wanted, amount))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await database.finished(_undo(taking))
        raise


async def _undo(taking: "asyncio.Future[list[Taken]]") -> None:
    with suppress(Exception):  # then nothing was taken, and the caller is gone
        await _give_back_all(await taking)


async def _give_back_all(taken: Sequence[Taken]) -> None:
    """Give back one after the other, so that no row is locked while another is waited for."""
    for one in reversed(taken):  # what most people share first
        try:
            await give_back(one)
        except Exception as error:  # noqa: BLE001 -- why the act failed is what is raised; this is a loss until the window ends
            logger.warning("What an act took of a budget was not given back: %s", type(error).__name__)


async def _take(wanted: Sequence[tuple[str, Budget]], amount: int) -> list[Taken]:
    """Take some of each by one statement. Raises NotTaken."""
    rows = await database.fetch(
        "SELECT * FROM take_budgets($1, $2, $3, $4) ORDER BY place",
        [key for key, _ in wanted],
        [float(budget.window_seconds) for _, budget in wanted],
        [budget.amount for _, budget in wanted],
        amount,
    )
    found = [(*wanted[row["place"] - 1], row) for row in rows]
    used_up = [
        UsedUp(key=key, budget=budget, refusal=LimitReached(budget.allowance, row["ends"]))
        for key, budget, row in found
        if row["is_used_up"]
    ]
    if used_up:
        raise NotTaken(used_up)
    return [Taken(key=key, window_starts_at=row["starts"], amount=amount) for key, _, row in found]


def _require_own_statement(budget: Budget) -> None:
    """What people share stays locked until a transaction ends, and a process may stop in the middle of one."""
    if budget.is_shared and database.is_in_transaction():
        raise RuntimeError("a budget that people share is taken before a transaction, not in it")


def first_in_window(key: str, budget: Budget) -> tuple[str, str, float]:
    """A statement with its values that changes a row for the first caller in each window of a budget, and none for the others."""
    return _FIRST, key, float(budget.window_seconds)


_FIRST = """
    INSERT INTO budgets AS b (key, window_starts_at, window_ends_at, used)
    SELECT $1::text, starts, starts + $2::float8 * interval '1 second', 1
    FROM (SELECT to_timestamp(floor(extract(epoch FROM clock_now()) / $2::float8) * $2::float8) AS starts) AS slot
    ON CONFLICT (key, window_starts_at) DO NOTHING
"""


async def used(keys: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """How much is used of budgets in the windows that are open now, and when those end; without those of which nothing is."""
    rows = await database.fetch(
        "SELECT key, used, window_ends_at FROM budgets"
        " WHERE key = ANY($1::text[]) AND window_starts_at <= clock_now() AND window_ends_at > clock_now()",
        list(keys),
    )
    return {row["key"]: (row["used"], row["window_ends_at"]) for row in rows}


async def give_back(taken: Taken) -> None:
    """Return what was taken and turned out not to count."""
    await database.execute(
        "UPDATE budgets SET used = greatest(used - $3, 0) WHERE key = $1 AND window_starts_at = $2",
        taken.key,
        taken.window_starts_at,
        taken.amount,
    )
