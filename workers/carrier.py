"""A Twilio-compatible carrier's REST interface, as far as texts and calls need it."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx

from domain import delivery_faults, tracing
from domain.delivery_faults import Fault, Scope
from domain.settings import CALLBACK_PATHS, CarrierName, Twilio
from workers.breakers import LONGEST_ASKED_SECONDS
from workers.deliveries import (
    Bounced,
    ChannelDown,
    DeliveryError,
    Faulty,
    NotTheCarrier,
    Temporary,
    Unanswered,
    Unroutable,
)

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
SID = re.compile(r"[A-Za-z0-9_-]{8,64}")
FAILED = frozenset(("failed", "undelivered", "canceled", "busy", "no-answer"))


class Carrier:
    """One kept client for texts and calls. callback_url: where the carrier tells what became of them; None for nowhere.

    connections: open at most; as many as are ever asked for at once, so that none waits for another.
    """

    def __init__(self, name: CarrierName, account: Twilio, callback_url: str | None, *, connections: int) -> None:
        self.name = name
        self._sender = account.sender
        self._callback = f"{callback_url}{CALLBACK_PATHS[name]}" if callback_url else None
        self._http = httpx.AsyncClient(
            base_url=f"{account.api_url}/2010-04-01/Accounts/{account.account_sid}",
            auth=(account.account_sid, account.auth_token),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=connections),
            follow_redirects=False,  # the account's token goes nowhere else
            trust_env=False,
        )

    async def post(self, resource: str, to: str, delivery_id: UUID, **form: str) -> str:
        """Ask for a message or a call; the carrier's id of it, which proves that it has it.

        delivery_id: the same on every try, for carriers that know a repeated request by its Idempotency-Key.
        Raises Temporary, Faulty, Unanswered, NotTheCarrier, Unroutable, Bounced, ChannelDown.
        """
        if self._callback is not None:
            form["StatusCallback"] = f"{self._callback}/{delivery_id}"
        try:
            with tracing.span(f"carrier {resource}", tracing.CLIENT):
                answer = await self._http.post(
                    f"/{resource}.json",
                    data={"To": to, "From": self._sender, **form},
                    headers={"Idempotency-Key": str(delivery_id)},
                )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ChannelDown(f"The carrier cannot be reached ({type(error).__name__}).") from None
        except httpx.HTTPError as error:
            # It may have been taken all the same.
            raise Unanswered(f"The carrier broke off ({type(error).__name__}).") from None
        if 200 <= answer.status_code < 300:
            return self._taken(answer)
        raise self._refusal(answer, (_json(answer) or {}).get("code"))

    def _taken(self, answer: httpx.Response) -> str:
        """The id of what a carrier says that it took. Raises what it is otherwise: a page, half an answer, or that it failed at once."""
        found = _json(answer)
        if found is None:
            judgment = delivery_faults.of_answer(300, sender=self._sender)
            raise NotTheCarrier("What answered is not our carrier, or not all of its answer came.", judgment)
        if found.get("status") in FAILED:
            raise self._refusal(answer, found.get("error_code") or found.get("code"))
        sid = found.get("sid")
        if not isinstance(sid, str) or not SID.fullmatch(sid):
            raise Unanswered("The carrier did not say whether it took the message.")
        return sid

    def _refusal(self, answer: httpx.Response, code: object) -> DeliveryError:
        """What becomes of a message that a carrier does not take, by whose fault that is."""
        judgment = delivery_faults.of_answer(answer.status_code, code, sender=self._sender)
        wait = _retry_after(answer)
        if judgment.fault is Fault.RECIPIENT:
            return Bounced(judgment.problem, judgment)
        if judgment.cause.scope is Scope.ACCOUNT or wait is not None:
            return ChannelDown(judgment.problem, judgment, wait)
        if judgment.cause.scope is Scope.MESSAGE:
            return Unroutable(judgment.problem, judgment)
        if judgment.fault is Fault.UNKNOWN:  # whoever knows a number with a strange code stops nobody else's texts
            return Temporary(judgment.problem, judgment)
        return Faulty(judgment.problem, judgment)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._http.aclose()


def _json(answer: httpx.Response) -> dict[str, object] | None:
    """The object that an answer holds; None where it is something else, such as a page."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _retry_after(answer: httpx.Response) -> float | None:
    """How many seconds a carrier asks to be left alone for, which may be told as a moment too (RFC 9110 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if answer.status_code not in (429, 503) or not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_ASKED_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Counted from the carrier's own clock where it tells that.
    try:
        now = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        now = datetime.now(UTC)
    seconds = (moment - (now if now.tzinfo else now.replace(tzinfo=UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_ASKED_SECONDS)
