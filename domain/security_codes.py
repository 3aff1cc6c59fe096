"""The digits that go to a phone: sent, counted, compared, consumed.

A code belongs to one enrollment or one challenge and is good nowhere else. A guess is counted twice before it is compared, on the
code and on the account's phone factor, each by a committed statement of its own; a new code does not refill the second.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal
from uuid import UUID

from domain import (
    addresses,
    audit,
    code_budgets,
    code_refusals,
    database,
    enrollment,
    guesses,
    login_settings,
    names,
    notices,
    outbox,
    phone_countries,
    secrets,
    typed_codes,
)
from domain.actors import Actor
from domain.audit import Action
from domain.code_budgets import Sending
from domain.database import Row
from domain.errors import (
    Allowance,
    ChannelNotAllowed,
    CodeExpired,
    CodeIncorrect,
    EnrollmentInvalid,
    LimitReached,
    StepOutOfOrder,
    TooManyAttempts,
    TooSoon,
)
from domain.login_settings import DEFAULTS
from domain.models.columns import ChallengePurpose, Channel, EnrollmentStep, PhoneChannel, new_nonce, uuid7
from domain.outbox import Kind, Message, Notice

LIFETIME = timedelta(minutes=10)  # NIST SP 800-63B-4 3.1.3.2
COOL_DOWN = timedelta(seconds=30)
ATTEMPTS = 5

Flow = Literal["enrollment_id", "challenge_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSent:
    """A code is on its way. phone: masked. resendable_at: when another may be asked for."""

    channel: PhoneChannel
    phone: str
    expires_at: datetime
    resendable_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose phone is asked about, for counters and the trail. account_key: "user:<id>" or "sign-up:<id>".

    counted_on: the account's counter of wrong codes, where it is another than the account's usual one. limit: of that counter.
    """

    account_key: str
    practice_id: UUID | None
    user_id: UUID | None
    name: str
    counted_on: str | None = None
    limit: guesses.Limit = guesses.PHONE

    @property
    def counter(self) -> str:
        """The key of the counter of wrong codes."""
        return self.counted_on or f"phone:{self.account_key}"


async def send_to_prove_phone(actor: Actor, token: str, raw_phone: str, channel: PhoneChannel) -> CodeSent:
    """Send a code to the phone that somebody who sets up an account says is theirs.

    Raises EnrollmentInvalid, StepOutOfOrder, PhoneNumberUnusable, ChannelNotAllowed, TooSoon, LimitReached.
    Writes: security_code, delivery, enrollment.phone, audit "security_code.sent" or "security_code.refused".
    """
    row = await enrollment.require(token, EnrollmentStep.SEND_PHONE_CODE, EnrollmentStep.VERIFY_PHONE)
    async with code_refusals.on_record(actor, _enrolling(row), channel):
        return await _send_to_prove_phone(actor, row, raw_phone, channel)


async def _send_to_prove_phone(actor: Actor, row: Row, raw_phone: str, channel: PhoneChannel) -> CodeSent:
    phone = phone_countries.number_for_codes(raw_phone)
    holder = _enrolling(row)
    await require_channel(channel, holder)
    await require_unlocked(holder)
    sending = await prepare(actor, phone=phone, channel=channel, holder=holder, is_proved=False)
    async with (
        spending(actor, "enrollment_id", row["id"], sending),
        database.transaction(),
    ):
        await enrollment.hold(row)
        sent = await send(actor, "enrollment_id", row["id"], sending, holder)
        moved = await database.execute(
            "UPDATE enrollments SET phone = $2, next_step = 'VERIFY_PHONE' WHERE id = $1 AND next_step IN ('SEND_PHONE_CODE', 'VERIFY_PHONE')",
            row["id"],
            phone,
        )
        if not moved:  # another request proved the phone meanwhile
            raise EnrollmentInvalid
    return sent


async def prove_phone(actor: Actor, token: str, typed: str) -> enrollment.Progress:
    """Prove with the digits that came that the phone is theirs.

    Once it is proved, another try answers how the enrollment stands, and counts nothing. Raises InputInvalid (cannot be a code: not
    counted), EnrollmentInvalid, StepOutOfOrder, CodeIncorrect (guess counted), CodeExpired, TooManyAttempts. Writes: security_code,
    enrollment.phone_verified_at, audit "phone.verified". The count is kept whatever happens.
    """
    try:
        await _prove_phone(actor, token, typed)
    except (EnrollmentInvalid, StepOutOfOrder, CodeExpired, TooManyAttempts):
        # The first of two copies may have proved it before this one began, or between its guess and its use.
        found = await enrollment.find(token)
        if found is not None and found.next_step in (EnrollmentStep.SET_PASSWORD, EnrollmentStep.DONE):
            return found
        row = await enrollment.find_row(token)
        if row is None:
            raise
        async with code_refusals.on_record(actor, _enrolling(row)):
            raise
    found = await enrollment.find(token)
    if found is None:
        raise EnrollmentInvalid
    return found


async def _prove_phone(actor: Actor, token: str, typed: str) -> None:
    row = await enrollment.require(token, EnrollmentStep.VERIFY_PHONE)
    holder = _enrolling(row)
    code = await guess(actor, "enrollment_id", row["id"], typed, holder)
    async with database.transaction():
        database.after_rollback(partial(not_used, code, holder))
        await enrollment.hold(row)
        await consume(code, holder)
        await database.execute(
            "UPDATE enrollments SET phone = $2, phone_verified_at = clock_now(), next_step = 'SET_PASSWORD'"
            " WHERE id = $1 AND next_step = 'VERIFY_PHONE'",
            row["id"],
            code["phone"],
        )
        await _record(actor, Action.PHONE_VERIFIED, holder)


def _enrolling(row: Row) -> Holder:
    return Holder(
        account_key=row["account_key"],
        practice_id=row["practice_id"],
        user_id=row["user_id"],
        name=names.full_name(row["first_name"], row["last_name"]),
    )


async def require_channel(channel: PhoneChannel, holder: Holder) -> None:
    """Raises ChannelNotAllowed when the settings in force do not have it; for a practice that is yet to be, the product's."""
    settings = DEFAULTS
    if holder.practice_id is not None and holder.user_id is not None:
        settings = await login_settings.of_user(holder.practice_id, holder.user_id)
    if channel not in settings.phone_channels:
        raise ChannelNotAllowed(list(settings.phone_channels))


async def require_unlocked(holder: Holder) -> None:
    """Look that a code could be given at all before money is spent on one. Raises LimitReached."""
    try:
        await guesses.check(holder.counter, holder.limit)
    except guesses.Locked as locked:
        raise LimitReached(Allowance.WRONG_CODES, locked.until or await database.now() + timedelta(days=1)) from None


async def prepare(actor: Actor, *, phone: str, channel: PhoneChannel, holder: Holder, is_proved: bool) -> Sending:
    """As `code_budgets.prepare`, for a holder; outside every transaction. Raises PhoneNumberUnusable when its country is not served any more."""
    phone_countries.require_served(phone, is_proved=is_proved)
    return await code_budgets.prepare(
        actor,
        phone=phone,
        channel=channel,
        account_key=holder.account_key,
        practice_id=holder.practice_id,
        is_proved=is_proved,
    )


@asynccontextmanager
async def spending(actor: Actor, flow: Flow, flow_id: UUID, sending: Sending) -> AsyncIterator[None]:
    """As `code_budgets.spending`, for a code that is sent in a flow. Raises TooSoon, and then nothing was taken, LimitReached."""
    await _require_pause(flow, flow_id)
    async with code_budgets.spending(actor, sending):
        yield


async def _require_pause(flow: Flow, flow_id: UUID) -> None:
    latest = await database.fetch_one(
        f"SELECT max(created_at) + $2::interval AS free_at FROM security_codes WHERE {flow} = $1"  # noqa: S608 -- one of two literals
        " HAVING max(created_at) + $2::interval > clock_now()",
        flow_id,
        COOL_DOWN,
    )
    if latest is not None:
        raise TooSoon(latest["free_at"])


async def send(actor: Actor, flow: Flow, flow_id: UUID, sending: Sending, holder: Holder) -> CodeSent:
    """Send a fresh code in a flow whose row the caller holds, in the transaction under way; the code before it dies.

    sending: from `prepare`; what it costs was taken by `spending`, before the transaction. Raises TooSoon.
    """
    await _require_pause(flow, flow_id)  # once more: a copy of the request may have been first
    await _supersede(flow, flow_id)
    code = (
        await database.fetch(
            f"""
            INSERT INTO security_codes (id, {flow}, phone, channel, nonce, key_id, attempts, expires_at, created_at, practice_id, crowd)
            VALUES ($1, $2, $3, $4, $5, $6, 0, clock_now() + $7::interval, clock_now(), $9, $10)
            RETURNING id, expires_at, created_at + $8::interval AS resendable_at
            """,  # noqa: S608 -- one of two literals
            uuid7(),
            flow_id,
            sending.phone,
            sending.channel.value,
            new_nonce(),
            secrets.newest_key_id(),
            LIFETIME,
            COOL_DOWN,
            sending.practice_id,
            sending.crowd.value,
        )
    )[0]
    await outbox.queue(
        Message(
            kind=Kind.SECURITY_CODE,
            channel=Channel(sending.channel.value),
            subject_id=code["id"],
            expires_at=code["expires_at"],
            practice_id=holder.practice_id,
            user_id=holder.user_id,
        )
    )
    await _record(actor, Action.CODE_SENT, holder, {"channel": sending.channel.value})
    return CodeSent(
        channel=sending.channel,
        phone=addresses.masked_phone(sending.phone),
        expires_at=code["expires_at"],
        resendable_at=code["resendable_at"],
    )


async def _supersede(flow: Flow, flow_id: UUID) -> None:
    old = await database.fetch(
        f"UPDATE security_codes SET superseded_at = clock_now()"  # noqa: S608 -- one of two literals
        f" WHERE {flow} = $1 AND consumed_at IS NULL AND superseded_at IS NULL RETURNING id",
        flow_id,
    )
    for row in old:
        await outbox.cancel(subject_id=row["id"], reason="A newer code took its place.")


async def guess(actor: Actor, flow: Flow, flow_id: UUID, typed: str, holder: Holder) -> Row:
    """Count a guess, then compare it; the row of the code that it hit, still to be consumed. Outside every transaction.

    typed: as somebody typed it; what cannot be a code is not counted, nor what cannot be compared here. Raises InputInvalid, CodeIncorrect,
    CodeExpired, TooManyAttempts, KeyUnknown.
    """
    given = typed_codes.security_code(typed)
    code = await database.fetch_one(
        f"""
        UPDATE security_codes SET attempts = attempts + 1
        WHERE {flow} = $1 AND consumed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now() AND attempts < $2
            AND key_id = ANY($3::text[])
        RETURNING id, nonce, key_id, phone, attempts
        """,  # noqa: S608 -- one of two literals
        flow_id,
        ATTEMPTS,
        list(secrets.ring().keys),
    )
    if code is None:
        refusal = await _why_not(flow, flow_id)
        if isinstance(refusal, TooManyAttempts):
            await _record(actor, Action.CODE_REFUSED, holder, {"reason": "too many wrong codes"})
        raise refusal
    try:
        number = await guesses.count(holder.counter, holder.limit)
    except guesses.Locked as locked:
        await _record(actor, Action.CODE_REFUSED, holder, {"reason": "too many wrong codes"})
        raise TooManyAttempts(locked.until) from None
    if not secrets.matches(secrets.security_code(code["id"], code["nonce"], code["key_id"]), given):
        await _record(actor, Action.CODE_REFUSED, holder, {"reason": "wrong code"})
        if flow == "challenge_id" and number % holder.limit.in_a_row == 0:
            await _tell_of_lock(holder, is_for_good=number >= (holder.limit.disabled_after or number + 1))
        raise CodeIncorrect(ATTEMPTS - code["attempts"])
    return code


async def _tell_of_lock(holder: Holder, *, is_for_good: bool) -> None:
    """Tell the account's owner by mail: whoever guesses codes has the password, or reads the mailbox."""
    if holder.user_id is None:
        return
    async with database.transaction():
        notice = Notice.CODES_ENDED if is_for_good else Notice.CODES_LOCKED
        await notices.tell(holder.practice_id, holder.user_id, notice)


async def _why_not(flow: Flow, flow_id: UUID) -> CodeExpired | TooManyAttempts:
    """Why a code takes no guess. Raises KeyUnknown."""
    spent = await database.fetch_one(
        f"""
        SELECT key_id FROM security_codes
        WHERE {flow} = $1 AND consumed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()
        """,  # noqa: S608 -- one of two literals
        flow_id,
    )
    if spent is None:
        return CodeExpired()
    secrets.ring().key(spent["key_id"])
    return TooManyAttempts(None)


async def consume(code: Row, holder: Holder) -> None:
    """Use up a code that was guessed right, in the transaction under way. Raises CodeExpired when another request did first."""
    used = await database.execute(
        "UPDATE security_codes SET consumed_at = clock_now()"
        " WHERE id = $1 AND consumed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()",
        code["id"],
    )
    if not used:
        raise CodeExpired
    await guesses.succeed(holder.counter)


async def not_used(code: Row, holder: Holder) -> None:
    """Take back a right guess after which the act was refused for another reason: the code stays as good as it was."""
    await database.execute(
        "UPDATE security_codes SET attempts = attempts - 1 WHERE id = $1 AND attempts > 0", code["id"]
    )
    await guesses.succeed(holder.counter)


async def end_challenges(user_id: UUID, *purposes: ChallengePurpose) -> None:
    """End what a user has still to answer, and the codes for that, in the transaction under way. purposes: all where left out."""
    await database.execute(
        """
        WITH ended AS (
            UPDATE challenges SET ended_at = clock_now() WHERE user_id = $1 AND ended_at IS NULL AND answered_at IS NULL
                AND (cardinality($2::text[]) = 0 OR purpose = ANY($2)) RETURNING id
        )
        UPDATE security_codes SET superseded_at = clock_now()
        WHERE challenge_id IN (SELECT id FROM ended) AND consumed_at IS NULL AND superseded_at IS NULL
        """,
        user_id,
        [purpose.value for purpose in purposes],
    )


async def _record(actor: Actor, action: Action, holder: Holder, details: dict[str, object] | None = None) -> None:
    await audit.record(
        actor,
        action,
        practice_id=holder.practice_id,
        as_user=(holder.user_id, holder.name) if holder.user_id else None,
        subject_id=holder.user_id,
        subject_name=holder.name,
        details=details,
    )
