"""What Amazon SES tells of our mails, by way of an SNS topic (`sns.py`): bounces, complaints, deliveries, delays.

SES gives a mail another Message-ID, so a delivery is recognised by what SES repeats of it: the envelope sender, where BOUNCE_ADDRESS is
set (always there, and never cut short), else our own Message-ID among the headers of the mail ("include original headers"). Each
notification is taken once, by its id.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from domain import delivery_faults, mail_reports, return_paths
from domain.delivery_faults import Fault, Stage
from domain.mail_reports import MailReport, Verdict
from domain.settings import SesTopic, Settings
from graph import sns
from graph.bodies import read_json
from graph.sns import Fetch, NotBelieved, SigningKeys

logger = logging.getLogger(__name__)

PATH = "/webhooks/ses"
MAX_BYTES = 512 * 1024  # SNS sends 256 KiB at most, which escaping can double

_MESSAGE_ID = re.compile(r"<?([0-9a-f]{32})@[^@<>\s]+>?", re.ASCII)


def routes(settings: Settings, *, fetch: Fetch | None = None) -> list[BaseRoute]:
    """The topic's subscription, where a topic is set. fetch: gets a page of SNS's; left out, over the network."""
    topic = settings.ses_topic
    if topic is None:
        return []
    get = fetch or sns.fetch
    keys = SigningKeys(topic, get)

    async def notified(request: Request) -> Response:
        message = await read_json(request, MAX_BYTES)
        if message is None:
            return Response(status_code=413)
        try:
            await sns.require_genuine(topic, keys, message)
            await _act(topic, get, settings.bounce_address, message)
        except NotBelieved as error:
            logger.warning("A message to %s is not believed: %s", PATH, error)
            return Response(status_code=403)
        except httpx.HTTPError as error:
            logger.warning("SNS cannot be asked for its certificate or a subscription: %s", type(error).__name__)
            return Response(status_code=503)  # it comes again
        return Response(status_code=204)

    return [Route(PATH, notified, methods=["POST"])]


async def _act(topic: SesTopic, get: Fetch, bounce_address: str | None, message: Mapping[str, Any]) -> None:
    if message["Type"] == "SubscriptionConfirmation":
        await get(sns.subscribe_url(topic, message["SubscribeURL"]))
        logger.info("The subscription of %s is confirmed", topic.arn)
    elif message["Type"] == "Notification":
        report = report_of(_object(message["Message"]), bounce_address)
        if report is not None:
            await mail_reports.take(report, event_id=f"ses:{message['MessageId']}"[:255])


def report_of(event: Mapping[str, Any], bounce_address: str | None) -> MailReport | None:
    """What SES says of a delivery of ours; None for what is not about one, or says nothing that matters."""
    delivery_id = _delivery(_dict(event.get("mail")), bounce_address)
    describe = _EVENTS.get(str(event.get("notificationType") or event.get("eventType")))
    return describe(delivery_id, event) if describe and delivery_id else None


def _delivery(mail: Mapping[str, Any], bounce_address: str | None) -> UUID | None:
    if bounce_address is not None and (found := return_paths.delivery_of(bounce_address, str(mail.get("source")))):
        return found
    headers = mail.get("headers")
    ids = [
        header.get("value")
        for header in (headers if isinstance(headers, list) else [])
        if isinstance(header, dict) and str(header.get("name")).lower() == "message-id"
    ]
    ids.append(_dict(mail.get("commonHeaders")).get("messageId"))
    matches = (_MESSAGE_ID.fullmatch(str(text).strip().lower()) for text in ids)
    return next((UUID(hex=match.group(1)) for match in matches if match), None)


def _delivered(delivery_id: UUID, event: Mapping[str, Any]) -> MailReport:
    return MailReport(delivery_id=delivery_id, verdict=Verdict.DELIVERED)


def _complaint(delivery_id: UUID, event: Mapping[str, Any]) -> MailReport | None:
    if _dict(event.get("complaint")).get("complaintFeedbackType") == "not-spam":
        return None
    return MailReport(delivery_id=delivery_id, verdict=Verdict.COMPLAINED)


def _reject(delivery_id: UUID, event: Mapping[str, Any]) -> MailReport:
    """SES took the mail and found something in it, a virus, before it sent it."""
    problem = (
        "The mail provider refuses to send it. The address is not at fault. The operator of this product has been told."
    )
    return MailReport(
        delivery_id=delivery_id, verdict=Verdict.FAILED, problem=problem, fault=Fault.SENDER, cause="rejected by SES"
    )


def _bounce(delivery_id: UUID, event: Mapping[str, Any]) -> MailReport:
    bounce = _dict(event.get("bounce"))
    code, text = _first(bounce.get("bouncedRecipients"))
    judgment = delivery_faults.of_ses_bounce(
        str(bounce.get("bounceType")), str(bounce.get("bounceSubType")), code, text
    )
    return mail_reports.failed(delivery_id, judgment)


def _delay(delivery_id: UUID, event: Mapping[str, Any]) -> MailReport:
    code, text = _first(_dict(event.get("deliveryDelay")).get("delayedRecipients"))
    return mail_reports.delayed(delivery_id, delivery_faults.of_status(code or "4.0.0", text, stage=Stage.REPORT))


_EVENTS: dict[str, Callable[[UUID, Mapping[str, Any]], MailReport | None]] = {
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Delivery": _delivered,
    "DeliveryDelay": _delay,
    "Reject": _reject,
}


def _first(recipients: object) -> tuple[str | None, str]:
    """The status code and the words of the first recipient; our mails have one."""
    first = _dict(recipients[0]) if isinstance(recipients, list) and recipients else {}
    code, text = first.get("status"), first.get("diagnosticCode")
    return code if isinstance(code, str) else None, text if isinstance(text, str) else ""


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _object(text: str) -> Mapping[str, Any]:
    try:
        return _dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}
