"""What became of one try, in the outbox's words: sent, later, never."""

import random
from dataclasses import dataclass

from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Outcome

CODE_PAUSES = (2.0, 5.0, 10.0, 30.0, 60.0)
MAIL_FIRST_PAUSE = 10.0
MAIL_LONGEST_PAUSE = 3600.0
JITTER = 0.2
CHANNEL_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass
class DeliveryError(Exception):
    """One try did not work. problem: a sentence for an administrator, without addresses, secrets or a server's own words."""

    problem: str


class Temporary(DeliveryError):
    """It may work later."""


class Faulty(Temporary):
    """It may work later, and it is likely the relay or carrier that is at fault, not the message."""


class Unanswered(Faulty):
    """Nobody knows whether the carrier took the message over."""


class Permanent(DeliveryError):
    """It will never work for this message."""


class Bounced(Permanent):
    """The receiving side refused the recipient."""


class ChannelDown(DeliveryError):
    """It is not the message: the relay or carrier cannot be used at all just now, or not with our settings."""


def sent(row: Claimed, recipient: str, provider_id: str | None = None) -> Outcome:
    """The receiving side took it over."""
    return Outcome(row=row, status=DeliveryStatus.SENT, recipient=recipient, provider_id=provider_id)


def not_sent(row: Claimed, error: DeliveryError, recipient: str | None, channel_pause: float) -> Outcome:
    """The outcome of a try that failed. channel_pause: seconds, where the channel is at fault; the try is not counted then."""
    if isinstance(error, Permanent):
        status = DeliveryStatus.BOUNCED if isinstance(error, Bounced) else DeliveryStatus.FAILED
        return Outcome(row=row, status=status, recipient=recipient, problem=error.problem)
    if isinstance(error, ChannelDown):
        return Outcome(
            row=row,
            status=DeliveryStatus.RETRYING,
            retry_after_seconds=channel_pause,
            attempt_counts=False,
            problem=error.problem,
        )
    return Outcome(row=row, status=DeliveryStatus.RETRYING, retry_after_seconds=pause(row), problem=error.problem)


def given_back(row: Claimed) -> Outcome:
    """Not tried at all: another worker may have it at once."""
    return Outcome(row=row, status=DeliveryStatus.RETRYING, attempt_counts=False)


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
