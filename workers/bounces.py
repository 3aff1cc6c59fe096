"""What came back: one mail, read as a delivery status notification (RFC 3464) about one of ours.

A mail can be anything and come from anybody. So no more than its beginning is read, nothing that it says decides which delivery it is
about but the address that it was sent to (`domain.return_paths`), its words go nowhere, and whatever is wrong with it makes it a mail
that is not for us. An answer of a person or a robot, an out of office note say, is one of those: it is no notification.
"""

import email
import logging
import re
from collections.abc import Iterator, Sequence
from email.message import Message
from email.policy import compat32
from itertools import islice
from uuid import UUID

from domain import delivery_faults, mail_reports, return_paths
from domain.delivery_faults import Judgment, Stage
from domain.mail_reports import MailReport, Verdict

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024  # a notification's own parts come before the mail that it sends back
MAX_PARTS = 20
MAX_RECIPIENTS = 50
MAX_HEADER = 4096
_TO = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "Apparently-To")
_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status")
_ORIGINALS = ("message/rfc822", "message/global")
_ORIGINAL_HEADERS = ("text/rfc822-headers", "message/global-headers")
_BETWEEN_ADDRESSES = re.compile(r"[\s,;<>\"]+")
_OUR_MESSAGE_ID = re.compile(r"\s*<([0-9a-f]{32})@[^@>]+>\s*")


async def take(raw: bytes, bounce_address: str, recipients: Sequence[str] = ()) -> bool:
    """Note what a mail says about one of our deliveries; whether it is for us. Raises what the database raises when it is away.

    recipients: the envelope's, where they are known; else the mail's headers tell.
    """
    report = read(raw, bounce_address, recipients)
    if report is None:
        return False
    is_news = await mail_reports.take(report)
    logger.info("Delivery %s: %s%s", report.delivery_id, report.verdict, "" if is_news else ", which is no news")
    return True


def read(raw: bytes, bounce_address: str, recipients: Sequence[str] = ()) -> MailReport | None:
    """What a mail says about one of our deliveries; None when it is not for us, or no notification, or broken."""
    try:
        mail = email.message_from_bytes(raw[:MAX_BYTES], policy=compat32)
        delivery_id = _about(mail, bounce_address, recipients)
        if delivery_id is None or not _is_notification(mail):
            return None
        if (other := _original_id(mail)) is not None and other != delivery_id:
            return None  # it contradicts itself
        return _verdict(delivery_id, list(islice(_per_recipient(mail), MAX_RECIPIENTS)))
    except Exception as error:  # noqa: BLE001 -- the parser meets whatever anybody sends, and has raised nearly everything
        logger.warning("A mail cannot be read: %s", type(error).__name__)
        return None


def _about(mail: Message, bounce_address: str, recipients: Sequence[str]) -> UUID | None:
    texts = recipients or [str(value)[:MAX_HEADER] for name in _TO for value in (mail.get_all(name) or [])[:MAX_PARTS]]
    tokens = (token for text in texts for token in _BETWEEN_ADDRESSES.split(text))
    found = {one for token in tokens if (one := return_paths.delivery_of(bounce_address, token)) is not None}
    return found.pop() if len(found) == 1 else None


def _is_notification(mail: Message) -> bool:
    kind = mail.get_param("report-type")
    is_report = mail.get_content_type() == "multipart/report"
    return is_report and isinstance(kind, str) and kind.lower() == "delivery-status"


def _parts(mail: Message) -> list[Message]:
    payload = mail.get_payload()
    return [part for part in payload[:MAX_PARTS] if isinstance(part, Message)] if isinstance(payload, list) else []


def _per_recipient(mail: Message) -> Iterator[Message]:
    """The groups of fields of each recipient; some programs put the first in one group with what is about them all."""
    for part in _parts(mail):
        if part.get_content_type() in _STATUS_PARTS:
            yield from (group for group in _parts(part) if "Action" in group)


def _original_id(mail: Message) -> UUID | None:
    """Which delivery the mail that was sent back says it is; None when it does not say, or a relay gave it another Message-ID."""
    for part in _parts(mail):
        kind = part.get_content_type()
        if kind in _ORIGINALS and _parts(part):
            original: Message = _parts(part)[0]
        elif kind in _ORIGINAL_HEADERS and isinstance(text := part.get_payload(), str):
            original = email.message_from_string(text, policy=compat32)
        else:
            continue
        if match := _OUR_MESSAGE_ID.fullmatch(str(original.get("Message-ID", "")).lower()):
            return UUID(hex=match.group(1))
    return None


def _verdict(delivery_id: UUID, groups: Sequence[Message]) -> MailReport | None:
    """Our mails have one recipient each; where several are told of, it was passed on, and came back only if all of them failed."""
    reports = [_of_group(delivery_id, group) for group in groups]
    for verdict in (Verdict.DELIVERED, Verdict.DELAYED):
        for report in reports:
            if report is not None and report.verdict is verdict:
                return report
    failed = [report for report in reports if report is not None]
    if not failed or len(failed) < len(reports):
        return None
    return next((report for report in failed if report.verdict is Verdict.FAILED), failed[0])


def _of_group(delivery_id: UUID, group: Message) -> MailReport | None:
    action = str(group.get("Action", "")).strip().lower()
    if action == "delivered":
        return MailReport(delivery_id=delivery_id, verdict=Verdict.DELIVERED)
    if action == "delayed":
        return mail_reports.delayed(delivery_id, _judge(group))
    if action != "failed":  # relayed and expanded say nothing about the end
        return None
    return mail_reports.failed(delivery_id, _judge(group))


def _judge(group: Message) -> Judgment:
    status = str(group.get("Status", ""))[:MAX_HEADER]
    words = str(group.get("Diagnostic-Code", ""))[:MAX_HEADER]
    return delivery_faults.of_status(status, words, stage=Stage.REPORT)
