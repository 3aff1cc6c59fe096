"""Codes that were not sent, or not taken, put on record: whoever helps somebody who waits for one has to see why none came.

Only of people who are known: they hold the token of an enrollment or a challenge, so they have proved a link and an access code, or a password.
And only a few an hour: a client that asks again and again must not fill the log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from domain import audit, budgets
from domain.actors import Actor
from domain.audit import Action
from domain.budgets import HOUR_SECONDS, Budget
from domain.errors import (
    Allowance,
    ChannelNotAllowed,
    CodeExpired,
    LimitReached,
    PhoneNumberUnusable,
    Refusal,
    TooSoon,
)
from domain.models.columns import PhoneChannel

if TYPE_CHECKING:
    from domain.security_codes import Holder

PER_ACCOUNT = Budget(allowance=Allowance.CODES, amount=20, window_seconds=HOUR_SECONDS)
COUNTRY_NOT_SERVED = "country not served"


@asynccontextmanager
async def on_record(actor: Actor, holder: "Holder", channel: PhoneChannel | None = None) -> AsyncIterator[None]:
    """Put on record why the block sends no code, or takes none, once its transaction is undone; 20 an hour for an account.

    channel: by which a code was asked for. Raises what the block raises. Writes: audit "security_code.refused".
    """
    try:
        yield
    except (TooSoon, LimitReached, ChannelNotAllowed, PhoneNumberUnusable, CodeExpired) as refusal:
        await _record(actor, holder, _details(refusal, channel))
        raise


async def _record(actor: Actor, holder: "Holder", details: dict[str, object]) -> None:
    try:
        await budgets.take(f"refusals-on-record:{holder.account_key}", PER_ACCOUNT)
    except LimitReached:
        return
    if holder.user_id is None:  # a sign-up is nobody's user, and has no other id
        details |= {"account": holder.account_key}
    await audit.record(
        actor,
        Action.CODE_REFUSED,
        practice_id=holder.practice_id,
        as_user=(holder.user_id, holder.name) if holder.user_id else None,
        subject_id=holder.user_id,
        subject_name=holder.name,
        details=details,
    )


def _details(refusal: Refusal, channel: PhoneChannel | None) -> dict[str, object]:
    found: dict[str, object] = {"channel": channel.value} if channel is not None else {}
    match refusal:
        case TooSoon(retry_at):
            return found | {"reason": "too soon after the code before", "retry_at": retry_at.isoformat()}
        case LimitReached(allowance, retry_at):
            return found | {"reason": "limit", "limit": allowance.value, "retry_at": retry_at.isoformat()}
        case ChannelNotAllowed():
            return found | {"reason": "channel not allowed"}
        case PhoneNumberUnusable(_, _, str(country)):
            return found | {"reason": COUNTRY_NOT_SERVED, "country": country}
        case PhoneNumberUnusable(reason):
            return found | {"reason": "number cannot be used", "number": reason}
    return found | {"reason": "no code that is good any more"}
