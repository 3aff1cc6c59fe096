"""What codes may cost: budgets for each number, account, practice, range of numbers, network, country and day; calls apart from texts.

Whoever makes a server send texts to numbers of their own earns money with it (SMS pumping). Each code takes one of every budget that
it falls under, of all or of none, before the transaction that queues it, and gives them back if that fails; so they hold when Redis is
lost, and whatever races, and no process can stop while it holds a row that others need (`docs/decisions/0034-taken-before-the-act.md`).
What people share is counted apart for three crowds, so that strangers can use up nothing that staff need.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import addresses, audit, budgets, database, money_guard, networks, phone_countries, secrets
from domain.actors import Actor
from domain.audit import Action, Entry
from domain.budgets import DAY_SECONDS, Budget, NotTaken, UsedUp
from domain.errors import Allowance, LimitReached
from domain.models.columns import Crowd, PhoneChannel
from domain.settings import DEFAULT_CALLS_PER_DAY, DEFAULT_CODES_PER_DAY, Settings

logger = logging.getLogger(__name__)


def _per_day(amount: int, allowance: Allowance = Allowance.NEW_PHONES) -> Budget:
    return Budget(allowance=allowance, amount=amount, window_seconds=DAY_SECONDS)


# One's own: texts and calls together, then calls to new phones.
PER_NUMBER = Budget(allowance=Allowance.CODES, amount=5, window_seconds=600)  # as Twilio Verify (error 60203)
PER_NUMBER_A_DAY = _per_day(20, Allowance.CODES)
CALLS_PER_NUMBER = _per_day(10, Allowance.CODES)
PER_ACCOUNT = _per_day(30, Allowance.CODES)
CALLS_PER_ACCOUNT = _per_day(15, Allowance.CODES)
# What is shared, by those whose phone is still to be proved. A prefix is 10,000 numbers, which those who live on this rent whole.
PER_PREFIX = {PhoneChannel.SMS: _per_day(60), PhoneChannel.VOICE: _per_day(20)}
PER_NETWORK = {PhoneChannel.SMS: _per_day(200), PhoneChannel.VOICE: _per_day(40)}
PER_PRACTICE = {PhoneChannel.SMS: _per_day(300), PhoneChannel.VOICE: _per_day(60)}
# Staff who sign in, of one practice; where each sign-in asks for a code, that is several a person and day.
SIGN_INS_PER_PRACTICE = {
    PhoneChannel.SMS: _per_day(5000, Allowance.CODES),
    PhoneChannel.VOICE: _per_day(1000, Allowance.CODES),
}
# How the account's key begins where a reset link was followed before.
AFTER_RESET_LINK = "reset:"
ABROAD_SHARE = 10  # a country other than home gets a tenth of the day's
# Sign-ins of all practices get five times what new phones do: the last stop of a fault, not of a thief.
SIGN_IN_SHARE = 5

_a_day = {PhoneChannel.SMS: DEFAULT_CODES_PER_DAY, PhoneChannel.VOICE: DEFAULT_CALLS_PER_DAY}


def use_settings(settings: Settings) -> None:
    """Set what the operator allows: countries, texts and calls a day. Called once at the start of a process."""
    phone_countries.use_countries(settings.phone_countries)
    addresses.use_area_codes(settings.extra_area_codes)
    _a_day.update({PhoneChannel.SMS: settings.codes_per_day, PhoneChannel.VOICE: settings.calls_per_day})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A code that is about to be sent. phone: E.164. account_key: "user:<id>", "reset:<id>" or "sign-up:<id>"."""

    phone: str
    channel: PhoneChannel
    account_key: str
    practice_id: UUID | None
    crowd: Crowd

    @property
    def prefix(self) -> str:
        """The range of 10,000 numbers that the phone is out of."""
        return money_guard.prefix_of(self.phone)


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """How much of a budget is used now. name: such as "strangers:day:SMS". ends_at: of the window, or None while nothing is used."""

    name: str
    used: int
    amount: int
    ends_at: datetime | None


async def prepare(
    actor: Actor, *, phone: str, channel: PhoneChannel, account_key: str, practice_id: UUID | None, is_proved: bool
) -> Sending:
    """Look, outside every transaction, at a code that is about to be sent; what `spending` needs.

    is_proved: whether the account has proved that the phone is theirs. Writes: where too few of many numbers were proved, a stop and
    its alert (`money_guard.py`).
    """
    crowd = Crowd.STAFF if is_proved else await _crowd_of(practice_id)
    if crowd is not Crowd.STAFF:
        await money_guard.watch(actor, crowd, practice_id, phone)
    return Sending(phone=phone, channel=channel, account_key=account_key, practice_id=practice_id, crowd=crowd)


async def _crowd_of(practice_id: UUID | None) -> Crowd:
    """Whose money a new phone's code is: of a practice that pays for the product, or of anybody who signed up."""
    if practice_id is None:
        return Crowd.STRANGERS
    pays = await database.fetch_one(
        "SELECT 1 AS found FROM subscriptions WHERE practice_id = $1 AND status IN ('ACTIVE', 'PAST_DUE')", practice_id
    )
    return Crowd.CUSTOMERS if pays else Crowd.STRANGERS


@contextlib.asynccontextmanager
async def spending(actor: Actor, sending: Sending) -> AsyncIterator[None]:
    """Take one of each budget that a code falls under for the act in the block, which sends it; they are given back if the act fails.

    Around the act's transaction, not in it. Raises LimitReached, also while the guard holds codes back; then nothing was taken.
    Writes: when a shared budget is first found used up, audit "code_budget.used_up".
    """
    if sending.crowd is not Crowd.STAFF:
        await money_guard.require_open(sending.crowd, sending.practice_id, sending.phone)
    kinds = [*_own(sending), *_shared(actor, sending)]
    try:
        async with budgets.spending_all([(key, budget) for key, budget, _ in kinds]):
            yield
    except NotTaken as refusal:
        shared = {key: name for key, _, name in kinds if name is not None}
        for one in refusal.used_up:
            if one.key in shared:
                await _tell(actor, sending, one, shared[one.key])
        # Whoever waits until all of them are there again does not wait for nothing.
        raise max((one.refusal for one in refusal.used_up), key=lambda refusal: refusal.retry_at) from None


async def may_text(actor: Actor, phone: str, practice_id: UUID | None) -> bool:
    """Take what a text that nobody asked for costs of the budgets that many share; False where one of them is used up.

    Outside every transaction. It counts with the texts to new phones, and the number's and the account's own budgets stay untouched.
    """
    crowd = await _crowd_of(practice_id)
    sending = Sending(phone=phone, channel=PhoneChannel.SMS, account_key="", practice_id=practice_id, crowd=crowd)
    try:
        await money_guard.require_open(crowd, practice_id, phone)
        async with budgets.spending_all([(key, budget) for key, budget, _ in _shared(actor, sending)]):
            return True
    except (LimitReached, NotTaken):
        return False


_Kind = tuple[str, Budget, str | None]


def _own(sending: Sending) -> list[_Kind]:
    """Budgets of the number and the account: no news to the operator when they are used up."""
    # Counted apart: a stranger who says of a number that it is theirs must not use up what its owner needs to sign in, nor somebody
    # who knows only the password what its owner needs after a reset link.
    purpose = "prove"
    if sending.crowd is Crowd.STAFF:
        purpose = "reset" if sending.account_key.startswith(AFTER_RESET_LINK) else "sign-in"
    number = secrets.fingerprint("phone", sending.phone)
    found: list[_Kind] = [
        (f"codes:{purpose}:number:{number}", PER_NUMBER, None),
        (f"codes:{purpose}:number-a-day:{number}", PER_NUMBER_A_DAY, None),
        (f"codes:account:{sending.account_key}", PER_ACCOUNT, None),
    ]
    # Who signs in may do so by calls alone, and a desk's line be the phone of several: theirs count with the texts.
    if sending.channel is PhoneChannel.VOICE and sending.crowd is not Crowd.STAFF:
        found.append((f"codes:prove:calls-to-number:{number}", CALLS_PER_NUMBER, None))
        found.append((f"codes:prove:calls-for-account:{sending.account_key}", CALLS_PER_ACCOUNT, None))
    return found


def _shared(actor: Actor, sending: Sending) -> list[_Kind]:
    """Budgets that many share, those that most do last: always in this order, so that nobody waits in a circle."""
    crowd, channel = sending.crowd, sending.channel
    found: list[tuple[str, Budget]] = []
    if sending.practice_id is not None:
        per_practice = SIGN_INS_PER_PRACTICE if crowd is Crowd.STAFF else PER_PRACTICE
        purpose = "sign-in" if crowd is Crowd.STAFF else "prove"
        found.append((f"{purpose}:practice:{sending.practice_id}:{channel}", per_practice[channel]))
    if crowd is not Crowd.STAFF:
        found.append((f"{crowd.lower()}:prefix:{sending.prefix}:{channel}", PER_PREFIX[channel]))
        if actor.ip_address:  # what a worker sends by itself comes from no network
            found.append(
                (f"{crowd.lower()}:network:{networks.block(actor.ip_address)}:{channel}", PER_NETWORK[channel])
            )
        country = phone_countries.country_of(sending.phone)
        if country != phone_countries.served()[0]:
            found.append((_country(crowd, country, channel), _abroad(channel)))
    found.append((_day(crowd, channel), _of_the_day(crowd, channel)))
    return [(f"codes:{name}", budget, name) for name, budget in found]


def _country(crowd: Crowd, country: str, channel: PhoneChannel) -> str:
    return f"{crowd.lower()}:country:{country}:{channel}"


def _day(crowd: Crowd, channel: PhoneChannel) -> str:
    return f"{crowd.lower()}:day:{channel}"


def _abroad(channel: PhoneChannel) -> Budget:
    return _per_day(max(_a_day[channel] // ABROAD_SHARE, 1))


def _of_the_day(crowd: Crowd, channel: PhoneChannel) -> Budget:
    if crowd is Crowd.STAFF:
        return _per_day(_a_day[channel] * SIGN_IN_SHARE, Allowance.CODES)
    return _per_day(_a_day[channel])


async def _tell(actor: Actor, sending: Sending, used_up: UsedUp, name: str) -> None:
    """One row in the trail and one line in the log for each window of a budget, however many are refused in it.

    A failure is logged, not raised: the refusal counts.
    """
    entry = Entry(action=Action.CODE_BUDGET_USED_UP, details={"budget": name, "amount": used_up.budget.amount})
    practice_id = sending.practice_id if ":practice:" in name else None
    try:
        is_first = await audit.record_with(
            money_guard.on_behalf_of(actor),
            entry,
            *budgets.first_in_window(f"told:{used_up.key}", used_up.budget),
            practice_id=practice_id,
        )
    except Exception as error:  # noqa: BLE001 -- the refusal counts
        logger.error("A budget for codes is used up: %s. It cannot be written down: %s", name, type(error).__name__)  # noqa: TRY400 -- a traceback may hold values
        return
    if is_first:
        logger.error("A budget for codes is used up until %s: %s", used_up.refusal.retry_at.isoformat(), name)


async def in_use() -> Sequence[InUse]:
    """What is used of the budgets of the whole product: the day's, and those of countries other than home. For metrics and the terminal."""
    amounts = {_day(crowd, channel): _of_the_day(crowd, channel).amount for crowd in Crowd for channel in PhoneChannel}
    for country in phone_countries.served()[1:]:
        for crowd in (Crowd.STRANGERS, Crowd.CUSTOMERS):
            amounts |= {_country(crowd, country, channel): _abroad(channel).amount for channel in PhoneChannel}
    rows = await budgets.used([f"codes:{name}" for name in amounts])
    found = {name: rows.get(f"codes:{name}", (0, None)) for name in amounts}
    return [InUse(name=name, used=used, amount=amounts[name], ends_at=ends) for name, (used, ends) in found.items()]


async def shares() -> dict[str, float]:
    """How much of each of `in_use` is used, from 0 to 1."""
    return {one.name: one.used / one.amount for one in await in_use() if one.amount}
