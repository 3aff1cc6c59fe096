"""A carrier for texts and calls that speaks Twilio's REST and posts its signed status callbacks.

with carrier.running() as server:
    server.api_url, server.account_sid, server.auth_token       # TWILIO_API_URL and so on
    server.refuse("+12025550143", 400, 21211, "not a number")   # this number, from now on; forget() takes it back
    server.sent_to("+12025550144")                              # texts and calls, oldest first
    server.hold(); server.release()                             # between the two no request is answered
    server.report(message, "delivered")                         # post to the StatusCallback that came with it
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.servers.web import serving

WAIT_SECONDS = 60.0  # a machine may be slow; what is waited for comes much sooner


@dataclass(frozen=True, slots=True)
class Taken:
    """One text or call that the carrier took on, with the form as it came."""

    sid: str
    channel: str  # "SMS" or "VOICE"
    form: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def to(self) -> str:
        """The number."""
        return self.form["To"]

    @property
    def text(self) -> str:
        """What is read or heard: a text's body, or everything that a call says."""
        if self.channel == "SMS":
            return self.form["Body"]
        spoken = ET.fromstring(self.form["Twiml"]).iter("Say")  # noqa: S314 - of this project's own making
        return " ".join("".join(say.itertext()) for say in spoken)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Twilio answers instead: an HTTP status and its own code and message."""

    status: int
    code: int
    message: str

    def response(self) -> JSONResponse:
        """As JSON, in the form that Twilio documents."""
        body = {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "more_info": "https://example.invalid",
        }
        return JSONResponse(body, self.status)


class Carrier:
    """The server's memory and its moods.

    delay_seconds: how long each answer takes; delayed: to which channels.
    final_status: what it reports of everything that came with a StatusCallback; None leaves that to `report`.
    """

    def __init__(self) -> None:
        self.account_sid = f"AC{secrets.token_hex(16)}"
        self.auth_token = secrets.token_hex(16)
        self.api_url = ""
        self.delay_seconds = 0.0
        self.delayed: tuple[str, ...] = ("SMS", "VOICE")
        self.final_status: str | None = None
        self.idempotency_keys: list[str] = []  # of every request that came, whatever became of it
        self.asked = 0  # requests that were begun, whatever became of them
        self._taken: list[Taken] = []
        self._refusals: dict[str, Refusal] = {}
        self._arrival = threading.Condition()
        self._held: tuple[str, ...] = ()
        self._let_go = threading.Event()
        self._let_go.set()

    def refuse(self, number: str, status: int, code: int, message: str) -> None:
        """Refuse a number from now on; "SMS" for all texts, "VOICE" for all calls, "*" for everything."""
        self._refusals[number] = Refusal(status, code, message)

    def forget(self) -> None:
        """Drop what was taken, and take everything again."""
        with self._arrival:
            self._taken.clear()
        self.asked = 0
        self._refusals.clear()
        self.delay_seconds = 0.0
        self.final_status = None
        self.release()

    def hold(self, *channels: str) -> None:
        """Answer no request from now on, or none of these channels; `asked` counts those that came."""
        self._held = channels or ("SMS", "VOICE")
        self._let_go.clear()

    def release(self) -> None:
        """Answer what was held, and everything to come."""
        self._let_go.set()

    @property
    def taken(self) -> list[Taken]:
        """Everything taken so far, oldest first."""
        with self._arrival:
            return list(self._taken)

    def sent_to(self, number: str) -> list[Taken]:
        """What was taken for one number, oldest first."""
        return [one for one in self.taken if one.to == number]

    def wait_for(self, count: int, seconds: float = WAIT_SECONDS) -> list[Taken]:
        """Block until so many were taken in all. Raises TimeoutError."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self._taken) >= count, seconds):
                raise TimeoutError(f"{len(self._taken)} of {count} texts and calls came within {seconds} s")
            return list(self._taken)

    def report(self, one: Taken, status: str, **more: str) -> httpx.Response:
        """Post a signed status callback for something that was taken, such as `report(text, "undelivered", ErrorCode="30003")`."""
        prefix = "Message" if one.channel == "SMS" else "Call"
        form = {
            f"{prefix}Sid": one.sid,
            f"{prefix}Status": status,
            "AccountSid": self.account_sid,
            "To": one.to,
            **more,
        }
        url = one.form["StatusCallback"]
        return httpx.post(
            url, data=form, headers={"X-Twilio-Signature": self.signature(url, form)}, timeout=WAIT_SECONDS
        )

    def signature(self, url: str, form: Mapping[str, str]) -> str:
        """Twilio's: HMAC-SHA1 with the account's token over the URL and the form's names and values, sorted by name."""
        signed = url + "".join(name + form[name] for name in sorted(form))
        return base64.b64encode(hmac.digest(self.auth_token.encode(), signed.encode(), hashlib.sha1)).decode()

    async def take_text(self, request: Request) -> JSONResponse:
        """`POST /2010-04-01/Accounts/{sid}/Messages.json`."""
        return await self._take(request, "SMS", ("Body",), "SM")

    async def take_call(self, request: Request) -> JSONResponse:
        """`POST /2010-04-01/Accounts/{sid}/Calls.json`."""
        return await self._take(request, "VOICE", ("Twiml", "Url"), "CA")

    async def _take(self, request: Request, channel: str, content: tuple[str, ...], prefix: str) -> JSONResponse:
        self.idempotency_keys.append(request.headers.get("idempotency-key", ""))
        self.asked += 1
        if self.delay_seconds and channel in self.delayed:
            await asyncio.sleep(self.delay_seconds)
        while channel in self._held and not self._let_go.is_set():  # noqa: ASYNC110 -- it is set in another thread
            await asyncio.sleep(0.005)
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        refusal = self._refusal(request, channel, form, content)
        if refusal is not None:
            return refusal.response()
        one = Taken(f"{prefix}{secrets.token_hex(16)}", channel, form)
        with self._arrival:
            self._taken.append(one)
            self._arrival.notify_all()
        status = self.final_status if "StatusCallback" in form else None
        after = BackgroundTask(self.report, one, status) if status else None  # in a thread: it blocks
        return JSONResponse(
            {"sid": one.sid, "status": "queued", "to": one.to, "error_code": None}, 201, background=after
        )

    def _refusal(
        self, request: Request, channel: str, form: Mapping[str, str], content: tuple[str, ...]
    ) -> Refusal | None:
        expected = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if (
            request.headers.get("authorization") != f"Basic {expected}"
            or request.path_params["sid"] != self.account_sid
        ):
            return Refusal(401, 20003, "Authenticate")
        if not form.get("To"):
            return Refusal(400, 21604, "A 'To' phone number is required.")
        if not form.get("From") and not form.get("MessagingServiceSid"):
            return Refusal(400, 21603, "A 'From' phone number is required.")
        if not any(form.get(name) for name in content):
            return Refusal(400, 21602, "Message body is required.")
        return next((self._refusals[key] for key in (form["To"], channel, "*") if key in self._refusals), None)


@contextlib.contextmanager
def running() -> Iterator[Carrier]:
    """A carrier while the block runs."""
    carrier = Carrier()
    account = "/2010-04-01/Accounts/{sid}"
    routes = [
        Route(f"{account}/Messages.json", carrier.take_text, methods=["POST"]),
        Route(f"{account}/Calls.json", carrier.take_call, methods=["POST"]),
    ]
    with serving(Starlette(routes=routes)) as url:
        carrier.api_url = url
        yield carrier
