"""What became of one try, in the outbox's words: sent, later, never."""

import random
from dataclasses import dataclass
from functools import partial

from domain import contents
from domain.channel_pauses import PROBE_SECONDS, Refusal
from domain.delivery_faults import Judgment, PhoneJudgment
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Outcome

CODE_PAUSES = (2.0, 5.0, 10.0, 30.0, 60.0)
MAIL_FIRST_PAUSE = 10.0
MAIL_LONGEST_PAUSE = 3600.0
JITTER = 0.2
CHANNEL_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass
class DeliveryError(Exception):
    """One try did not work. problem: a sentence for an administrator, without addresses, secrets or a server's own words.

    judgment: whose fault it is, where somebody answered. retry_after_seconds: how long the other side asks to be left alone.
    """

    problem: str
    judgment: Judgment | PhoneJudgment | None = None
    retry_after_seconds: float | None = None


class Temporary(DeliveryError):
    """It may work later."""


class Refused(Temporary):
    """A relay refuses this message for good, by no fault of its recipient's: it is tried again, for that may be mended."""


class Faulty(Temporary):
    """It may work later, and it is likely the relay or carrier that is at fault, not the message."""


class Unanswered(Faulty):
    """Nobody knows whether the carrier took the message over."""


class Permanent(DeliveryError):
    """It will never work for this message."""


class Unroutable(Permanent):
    """This carrier cannot send this message, by no fault of the number's: another carrier may."""


class Bounced(Permanent):
    """The receiving side refused the recipient."""


class ChannelDown(DeliveryError):
    """It is not the message: the relay or carrier cannot be used at all just now, or not with our settings."""


class NotTheCarrier(Unanswered, ChannelDown):
    """Something else than the carrier answered. Nobody knows whether it passed the message on."""


def sent(row: Claimed, recipient: str, provider_id: str | None = None) -> Outcome:
    """The receiving side took it over."""
    return Outcome(row=row, status=DeliveryStatus.SENT, recipient=recipient, provider_id=provider_id)


def not_sent(
    row: Claimed, error: DeliveryError, recipient: str | None, channel_pause: float, *, is_probe: bool = False
) -> Outcome:
    """The outcome of a try that failed.

    channel_pause: seconds, where the channel is at fault; the try is not counted then. recipient: where it was to go, once that is known.
    is_probe: the channel is paused, and this message was its probe: that costs it no attempt, and the next probe is another message.
    """
    outcome = partial(
        Outcome,
        row=row,
        problem=error.problem,
        fault=error.judgment.fault if error.judgment else None,
        cause=error.judgment.for_log if error.judgment else None,
    )
    if isinstance(error, Permanent):
        status = DeliveryStatus.BOUNCED if isinstance(error, Bounced) else DeliveryStatus.FAILED
        return outcome(status=status, recipient=recipient)
    if isinstance(error, ChannelDown):
        return outcome(
            status=DeliveryStatus.RETRYING,
            retry_after_seconds=channel_pause,
            attempt_counts=False,
        )
    return outcome(
        status=DeliveryStatus.RETRYING,
        retry_after_seconds=PROBE_SECONDS if is_probe else pause(row),
        attempt_counts=not is_probe,
        refusal=_refusal(row, error, recipient),
    )


def _refusal(row: Claimed, error: DeliveryError, recipient: str | None) -> Refusal | None:
    """What counts towards a pause: mail that was refused for good by no fault of its recipient, nor of what is in it."""
    if not isinstance(error, Refused) or not isinstance(error.judgment, Judgment) or recipient is None:
        return None
    return Refusal(
        delivery_id=row.id,
        channel=row.channel,
        code=error.judgment.code,
        domain=recipient.rpartition("@")[2],
        problem=error.judgment.paused,
    )


def given_back(row: Claimed) -> Outcome:
    """Not tried at all: another worker may have it at once."""
    return Outcome(row=row, status=DeliveryStatus.RETRYING, attempt_counts=False)


def without_key(row: Claimed, key_id: str) -> Outcome:
    """Not tried, since this process lacks the server key that it is made with: a worker that has it may have it at once."""
    return Outcome(
        row=row,
        status=DeliveryStatus.RETRYING,
        attempt_counts=False,
        problem=contents.KEY_AWAITED,
        awaited_key_id=key_id,
    )


def ended(row: Claimed, status: DeliveryStatus, problem: str) -> Outcome:
    """Not to be sent."""
    return Outcome(row=row, status=status, problem=problem)


def pause(row: Claimed) -> float:
    """Seconds until the next try: short for codes, which die soon; growing and jittered for mail, so that no storm follows an outage."""
    if row.channel is not Channel.EMAIL:
        return CODE_PAUSES[min(row.attempt, len(CODE_PAUSES)) - 1]
    grown = min(MAIL_FIRST_PAUSE * 2.0 ** min(row.attempt - 1, 20), MAIL_LONGEST_PAUSE)
    return grown * random.uniform(1 - JITTER, 1 + JITTER)


def channel_pause(faults_in_a_row: int) -> float:
    """Seconds to leave a channel alone that is down. faults_in_a_row: 1 or more."""
    return CHANNEL_PAUSES[min(faults_in_a_row, len(CHANNEL_PAUSES)) - 1]
