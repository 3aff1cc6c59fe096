"""What Postmark tells of our mails: bounces, complaints, deliveries.

Postmark signs nothing; it signs in, with what the operator has put into the webhook's address. A delivery is recognised by its id in the
mail's metadata, which Postmark takes from a header of ours and repeats. A notification may come again: what it says is noted once.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from domain import mail_advice, mail_reports
from domain.mail_reports import MailReport, Verdict
from domain.settings import PostmarkWebhook, Settings
from graph.bodies import read_json

PATH = "/webhooks/postmark"
MAX_BYTES = 512 * 1024
METADATA = "delivery"

# https://postmarkapp.com/developer/api/bounce-api#bounce-types; the types that are not here say nothing about whether it arrived.
_BOUNCED = {
    "HardBounce": "There is no such mailbox, or it takes no mail. Check the address, and send again to the right one.",
    "BadEmailAddress": "This is not an address that mail can be sent to. Check it, and send again to the right one.",
    "ManuallyDeactivated": "The mail provider sends nothing to this address any more. Ask for another one.",
}
_FAILED = {
    "SoftBounce": "The mailbox could not take it, perhaps since it is full. Send it again later.",
    "DnsError": "No server takes mail for this domain just now. Check the address, or try again later.",
    "Blocked": "The receiving server refuses mail from us by its rules. Ask the person for another address.",
    "SpamNotification": "The receiving server takes the mail for spam. Ask the person for another address.",
    "DMARCPolicy": "The receiving server refuses mail from us by its rules. Whoever runs this product has to look into that.",
    "VirusNotification": "The receiving server refuses what the mail holds. Ask the person for another address.",
    "SMTPApiError": "The mail provider could not send it. Whoever runs this product has to look into that.",
    "Unknown": "It came back, and nobody says why. Check the address, or try again later.",
}


def routes(settings: Settings) -> list[BaseRoute]:
    """The webhook, where Postmark's credentials are set."""
    credentials = settings.postmark_webhook
    if credentials is None:
        return []

    async def notified(request: Request) -> Response:
        if not _is_postmark(request.headers.get("authorization", ""), credentials):
            return Response(status_code=403)
        event = await read_json(request, MAX_BYTES)
        if event is None:
            return Response(status_code=413)
        report = report_of(event)
        if report is not None:
            await mail_reports.take(report)
        return Response(status_code=204)

    return [Route(PATH, notified, methods=["POST"])]


def _is_postmark(authorization: str, credentials: PostmarkWebhook) -> bool:
    scheme, _, text = authorization.partition(" ")
    try:
        given = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    expected = f"{credentials.user}:{credentials.password}".encode()
    return hmac.compare_digest(given, expected) and scheme.lower() == "basic"


def report_of(event: Mapping[str, Any]) -> MailReport | None:
    """What Postmark says of a delivery of ours; None for what is not about one, or says nothing that matters."""
    delivery_id = _delivery(event)
    if delivery_id is None:
        return None
    match event.get("RecordType"):
        case "Delivery":
            return MailReport(delivery_id=delivery_id, verdict=Verdict.DELIVERED)
        case "SpamComplaint":
            return MailReport(delivery_id=delivery_id, verdict=Verdict.COMPLAINED)
        case "Bounce":
            return _bounce(delivery_id, str(event.get("Type")), str(event.get("Details")))
    return None


def _bounce(delivery_id: UUID, kind: str, details: str) -> MailReport | None:
    if kind == "SpamComplaint":
        return MailReport(delivery_id=delivery_id, verdict=Verdict.COMPLAINED)
    if kind == "Transient":
        problem = mail_advice.put_off(mail_advice.found(details) or "4.0.0")
        return MailReport(delivery_id=delivery_id, verdict=Verdict.DELAYED, problem=problem)
    if kind in _BOUNCED:
        return MailReport(delivery_id=delivery_id, verdict=Verdict.BOUNCED, problem=_BOUNCED[kind])
    if kind in _FAILED:
        return MailReport(delivery_id=delivery_id, verdict=Verdict.FAILED, problem=_FAILED[kind])
    return None


def _delivery(event: Mapping[str, Any]) -> UUID | None:
    metadata = event.get("Metadata")
    found = metadata.get(METADATA) if isinstance(metadata, dict) else None
    try:
        return UUID(hex=found) if isinstance(found, str) else None
    except ValueError:
        return None
