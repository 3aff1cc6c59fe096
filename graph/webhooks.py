"""What carriers tell us by HTTP: Twilio's status callbacks."""

import base64
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from domain import delivery_reports
from domain.models.columns import DeliveryStatus
from domain.settings import CALLBACK_PATHS, CarrierName, Settings

MAX_BYTES = 16 * 1024
MAX_FIELDS = 100

_ENDS = {
    "delivered": DeliveryStatus.DELIVERED,
    "completed": DeliveryStatus.DELIVERED,  # a call that was answered
    "undelivered": DeliveryStatus.FAILED,
    "failed": DeliveryStatus.FAILED,
    "canceled": DeliveryStatus.FAILED,
    "busy": DeliveryStatus.FAILED,
    "no-answer": DeliveryStatus.FAILED,
}
_CALLS = {"busy": "The line was busy.", "no-answer": "Nobody answered the call."}
# https://www.twilio.com/docs/api/errors: those that say something about the number, and what a person can do.
_NUMBERS = {
    "30003": "The phone is switched off or out of reach. Try again later, or by a call.",
    "30004": "The phone blocks texts from us. Ask for a call instead.",
    "30005": "This number does not exist any more. Use another phone.",
    "30006": "This number takes no texts. Ask for a call, or use a mobile phone.",
    "30007": "The phone's network filtered the text out. Ask for a call instead.",
    "30008": "The phone's network did not take the text. Try again, or by a call.",
}
_AT_FAULT = {"30004", "30005", "30006"}


def routes(settings: Settings) -> list[BaseRoute]:
    """The callbacks' route of each carrier, where one and the address that it calls back are set."""
    if settings.callback_url is None:
        return []
    return [_route(name, one.auth_token, settings.callback_url) for name, one in settings.carriers.items()]


def _route(carrier: CarrierName, token: str, base: str) -> BaseRoute:
    async def report(request: Request) -> Response:
        body = await _form(request)
        if body is None:
            return Response(status_code=413)
        # The address is the configured one: what the request says of itself may be a proxy's doing, or somebody's.
        url = base + request.scope["path"]
        expected = signature(token, url, body)
        if not hmac.compare_digest(expected.encode(), request.headers.get("x-twilio-signature", "").encode()):
            return Response(status_code=403)
        await _take(request.path_params["delivery_id"], carrier, body)
        return Response(status_code=204)

    return Route(CALLBACK_PATHS[carrier] + "/{delivery_id:uuid}", report, methods=["POST"])


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """What Twilio signs a callback with (https://www.twilio.com/docs/usage/security)."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), "sha1")).decode()


async def _form(request: Request) -> dict[str, str] | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError:
        return {}


async def _take(delivery_id: UUID, carrier: CarrierName, form: Mapping[str, str]) -> None:
    name = form.get("MessageStatus") or form.get("CallStatus") or ""
    status = _ENDS.get(name)
    if status is None:  # still on its way
        return
    if status is DeliveryStatus.DELIVERED:
        await delivery_reports.take(delivery_id, status, None, carrier=carrier)
        return
    code = form.get("ErrorCode", "")
    problem = _CALLS.get(name) or _NUMBERS.get(code) or "The carrier could not deliver it. Try again, or another way."
    end = DeliveryStatus.BOUNCED if code in _AT_FAULT else status
    await delivery_reports.take(delivery_id, end, problem, carrier=carrier)
