"""What came back: one mail, read as what a mail system, a robot or a person says about one of our deliveries.

A mail can be anything and come from anybody. So no more than its beginning is read, and nothing that it says decides which delivery it is
about but the address that it was sent to (`domain.return_paths`). Its words are looked at for the reason and go nowhere. What came to
such an address and cannot be read is noted with the delivery, so that nobody waits for an answer that was there.
"""

import email
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32
from enum import StrEnum
from uuid import UUID

from domain import delivery_faults, keys, mail_reports, return_paths
from domain.delivery_faults import Cause, Stage
from domain.mail_reports import MailReport, Verdict
from workers import bounce_reports, bounce_texts
from workers.bounce_reports import Finding, Outcome

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024  # a notification's own parts come before the mail that it sends back
MAX_HEADERS = 20
MAX_HEADER = 4096
_TO = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "Apparently-To")
_BETWEEN_ADDRESSES = re.compile(r"[\s,;<>\"]+")
_OUR_MESSAGE_ID = re.compile(r"^[ \t>]*Message-ID:\s*<([0-9a-f]{32})@[^@>\s]+>", re.IGNORECASE | re.MULTILINE)


class Kind(StrEnum):
    """What a mail is. FOREIGN: not about a delivery of ours. REPORT: tells how one fared. ANSWER: needs no note. UNREADABLE: nobody knows."""

    FOREIGN = "foreign"
    REPORT = "report"
    ANSWER = "answer"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mail is, and what it says of which delivery. report: for REPORT and UNREADABLE."""

    kind: Kind
    delivery_id: UUID | None = None
    report: MailReport | None = None


_FOREIGN = Reading(Kind.FOREIGN)


async def take(raw: bytes, bounce_address: str, recipients: Sequence[str] = ()) -> Kind:
    """Note what a mail says about one of our deliveries; what it was.

    recipients: the envelope's, where they are known; else the mail's headers tell. Raises what the database raises when it is away, and
    KeysBehind: then it is to be brought again later.
    """
    reading = read(raw, bounce_address, recipients)
    if reading.kind is Kind.FOREIGN and _may_be_ours(raw, bounce_address, recipients):
        await require_keys()
    if reading.report is not None:
        is_news = await mail_reports.take(reading.report)
        logger.log(
            logging.WARNING if reading.kind is Kind.UNREADABLE and is_news else logging.INFO,
            "Delivery %s: %s%s",
            reading.delivery_id,
            "something came back that cannot be read" if reading.kind is Kind.UNREADABLE else reading.report.verdict,
            "" if is_news else ", which is no news",
        )
    elif reading.kind is Kind.ANSWER:
        logger.info("Delivery %s: an answer that says nothing of how it fared", reading.delivery_id)
    return reading.kind


class KeysBehind(Exception):
    """The return path may have been made with a newer server key, which this process has to be started with."""


async def require_keys() -> None:
    """Raises KeysBehind while other processes have a newer server key than this one."""
    if await keys.is_behind():
        logger.warning(
            "What came back cannot be read without the newest of SECRET_KEYS, which is not here; it is to be brought again"
        )
        raise KeysBehind


def _may_be_ours(raw: bytes, bounce_address: str, recipients: Sequence[str]) -> bool:
    """Whether a mail came to what another process may have made as a return path."""
    try:
        tokens = list(_tokens(email.message_from_bytes(raw[:MAX_BYTES], policy=compat32), recipients))
    except Exception:  # noqa: BLE001 -- as in `read`, which has told of it
        return False
    own = [token for token in tokens if return_paths.has_form(bounce_address, token)]
    return any(return_paths.delivery_of(bounce_address, token) is None for token in own)


def read(raw: bytes, bounce_address: str, recipients: Sequence[str] = ()) -> Reading:
    """What a mail is and says; FOREIGN when it did not come to a return path of ours, or contradicts itself."""
    delivery_id: UUID | None = None
    try:
        mail = email.message_from_bytes(raw[:MAX_BYTES], policy=compat32)
        delivery_id = _about(mail, bounce_address, recipients)
        if delivery_id is None:
            return _FOREIGN
        sent_back = {UUID(hex=found) for found in _OUR_MESSAGE_ID.findall(_after_header(raw))}
        if sent_back and delivery_id not in sent_back:
            return _FOREIGN  # it contradicts itself
        return _reading(mail, delivery_id)
    except Exception as error:  # noqa: BLE001 -- the parser meets whatever anybody sends, and has raised nearly everything
        logger.warning("A mail cannot be read: %s", type(error).__name__)
        return _unreadable(delivery_id) if delivery_id else _FOREIGN


def _about(mail: Message, bounce_address: str, recipients: Sequence[str]) -> UUID | None:
    tokens = _tokens(mail, recipients)
    found = {one for token in tokens if (one := return_paths.delivery_of(bounce_address, token)) is not None}
    return found.pop() if len(found) == 1 else None


def _tokens(mail: Message, recipients: Sequence[str]) -> Iterator[str]:
    """What may be an address that the mail came to."""
    texts = recipients or [
        str(value)[:MAX_HEADER] for name in _TO for value in (mail.get_all(name) or [])[:MAX_HEADERS]
    ]
    return (token for text in texts for token in _BETWEEN_ADDRESSES.split(text))


def _after_header(raw: bytes) -> str:
    """The mail without its own header, which has a Message-ID of its own, as text in which the sent-back mail's header can be found."""
    _, _, rest = raw[:MAX_BYTES].replace(b"\r\n", b"\n").partition(b"\n\n")
    return rest.decode("ascii", "replace")


def _unreadable(delivery_id: UUID) -> Reading:
    report = MailReport(delivery_id=delivery_id, verdict=Verdict.UNREADABLE, problem=mail_reports.UNREADABLE)
    return Reading(Kind.UNREADABLE, delivery_id, report)


def _reading(mail: Message, delivery_id: UUID) -> Reading:
    leaves = list(bounce_reports.parts(mail))
    complains = bounce_reports.is_complaint(leaves)
    if complains is not None:
        report = MailReport(delivery_id=delivery_id, verdict=Verdict.COMPLAINED)
        return Reading(Kind.REPORT, delivery_id, report) if complains else Reading(Kind.ANSWER, delivery_id)
    told = bounce_reports.findings(leaves)
    text = bounce_texts.finding(mail, leaves)
    if told:
        report_of = _of_all(delivery_id, told, text)
        return Reading(Kind.REPORT, delivery_id, report_of) if report_of else Reading(Kind.ANSWER, delivery_id)
    if text is not None:
        return Reading(Kind.REPORT, delivery_id, _of(delivery_id, text, None))
    if "disposition-notification" in bounce_reports.report_types(mail) or bounce_texts.is_answer(mail):
        return Reading(Kind.ANSWER, delivery_id)
    return _unreadable(delivery_id)


def _of_all(delivery_id: UUID, told: Sequence[Finding | None], text: Finding | None) -> MailReport | None:
    """Our mails have one recipient each; where several are told of, it was passed on, and came back only if all of them failed."""
    for outcome in (Outcome.DELIVERED, Outcome.DELAYED):
        for one in told:
            if one is not None and one.outcome is outcome:
                return _of(delivery_id, one, text)
    failed = [one for one in told if one is not None]
    if len(failed) < len(told):
        return None
    reports = [_of(delivery_id, one, text) for one in failed]
    return next((report for report in reports if report.verdict is Verdict.FAILED), reports[0])


def _of(delivery_id: UUID, found: Finding, text: Finding | None) -> MailReport:
    """What one finding says. text: what is written for people, where the part for programs gives no reason."""
    if found.outcome is Outcome.DELIVERED:
        return MailReport(delivery_id=delivery_id, verdict=Verdict.DELIVERED)
    judgment = delivery_faults.of_status(found.status, found.words, stage=Stage.REPORT)
    if judgment.cause is Cause.NOT_SAID and text is not None:
        judgment = delivery_faults.of_status(found.status, f"{found.words} {text.words}", stage=Stage.REPORT)
    if found.outcome is Outcome.DELAYED and not (text and bounce_texts.is_expired(text.words)):
        return mail_reports.delayed(delivery_id, judgment)
    return mail_reports.failed(delivery_id, judgment)
