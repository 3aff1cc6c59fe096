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

from domain import delivery_faults, mail_reports
from domain.delivery_faults import POSTMARK_DELAYS
from domain.mail_reports import MailReport, Verdict
from domain.settings import PostmarkWebhook, Settings
from graph.bodies import read_json

PATH = "/webhooks/postmark"
MAX_BYTES = 512 * 1024
METADATA = "delivery"


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
    judgment = delivery_faults.of_postmark_bounce(kind, details)
    if judgment is None:
        return None
    return (
        mail_reports.delayed(delivery_id, judgment)
        if kind in POSTMARK_DELAYS
        else mail_reports.failed(delivery_id, judgment)
    )


def _delivery(event: Mapping[str, Any]) -> UUID | None:
    metadata = event.get("Metadata")
    found = metadata.get(METADATA) if isinstance(metadata, dict) else None
    try:
        return UUID(hex=found) if isinstance(found, str) else None
    except ValueError:
        return None
