"""What carriers tell us by HTTP: Twilio's status callbacks."""

import base64
import hmac
import logging
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from domain import delivery_faults, delivery_reports
from domain.models.columns import DeliveryStatus
from domain.settings import CALLBACK_PATHS, CarrierName, Settings, Twilio

logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024
MAX_FIELDS = 100

_ARRIVED = ("delivered", "completed")  # a call that was answered is completed
_FAILED = ("undelivered", "failed", "canceled", "busy", "no-answer")
_STANDARD_PORTS = {"https": 443, "http": 80}

Form = dict[str, list[str]]


def routes(settings: Settings) -> list[BaseRoute]:
    """The callbacks' route of each carrier, where one and the address that it calls back are set."""
    if settings.callback_url is None:
        return []
    return [_route(name, one, settings.callback_url) for name, one in settings.carriers.items()]


def _route(carrier: CarrierName, account: Twilio, base: str) -> BaseRoute:
    bases = _with_and_without_port(base)

    async def report(request: Request) -> Response:
        body = await _form(request)
        if body is None:
            return Response(status_code=413)
        # The address is the configured one: what the request says of itself may be a proxy's doing, or somebody's.
        given = request.headers.get("x-twilio-signature", "").encode()
        expected = [signature(account.auth_token, one + request.scope["path"], body).encode() for one in bases]
        if not any(hmac.compare_digest(one, given) for one in expected):
            logger.warning(
                "A callback to %s is not signed with the carrier's token over CALLBACK_URL", CALLBACK_PATHS[carrier]
            )
            return Response(status_code=403)
        await _take(request.path_params["delivery_id"], carrier, account.sender, body)
        return Response(status_code=204)

    return Route(CALLBACK_PATHS[carrier] + "/{delivery_id:uuid}", report, methods=["POST"])


def signature(auth_token: str, url: str, form: Mapping[str, list[str]]) -> str:
    """What Twilio signs a callback with (https://www.twilio.com/docs/usage/security). form: each name with its values.

    Names in order, and of a name that comes more than once each different value, in order too.
    """
    signed = url + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), "sha1")).decode()


def _with_and_without_port(base: str) -> tuple[str, ...]:
    """The addresses that a carrier may have signed for one: Twilio signs with the port or without it, and its libraries take both."""
    parts = urlsplit(base)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    port = parts.port or _STANDARD_PORTS[parts.scheme]
    bare, full = (urlunsplit(parts._replace(netloc=netloc)) for netloc in (host, f"{host}:{port}"))
    return tuple(dict.fromkeys((base, bare, full)))


async def _form(request: Request) -> Form | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        return {}


async def _take(delivery_id: UUID, carrier: CarrierName, sender: str, form: Form) -> None:
    name = _last(form, "MessageStatus") or _last(form, "CallStatus")
    if name in _ARRIVED:
        await delivery_reports.take(delivery_id, DeliveryStatus.DELIVERED, None, carrier=carrier)
    elif name in _FAILED:
        judgment = delivery_faults.of_callback(name, _last(form, "ErrorCode"), sender=sender)
        await delivery_reports.take_failure(delivery_id, judgment, carrier=carrier)
    # Everything else is still on its way.


def _last(form: Form, name: str) -> str:
    return form.get(name, [""])[-1]
