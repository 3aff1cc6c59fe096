"""A Twilio-compatible carrier's REST interface, as far as texts and calls need it."""

import re
from uuid import UUID

import httpx

from domain import tracing
from domain.settings import CALLBACK_PATHS, CarrierName, Twilio
from workers.deliveries import Bounced, ChannelDown, Faulty, Permanent, Temporary, Unanswered

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Twilio's codes for numbers that cannot be reached at all: invalid, not a mobile, blocked, region not permitted.
UNREACHABLE = {21211, 21214, 21408, 21610, 21612, 21614, 13223, 13224}
# Its codes for a sender that is not the account's, or cannot text or call: our settings, not the message.
SENDER_WRONG = {21210, 21212, 21603, 21606, 21659, 21660}
NOT_OURS = (401, 403, 404)  # also the address without its account: the account's id is in it
MAY_PASS = (408, 409, 425, 429)


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
            trust_env=False,
        )

    async def post(self, resource: str, to: str, delivery_id: UUID, **form: str) -> str | None:
        """Ask for a message or a call; the carrier's id of it.

        delivery_id: the same on every try, for carriers that know a repeated request by its Idempotency-Key.
        Raises Temporary, Faulty, Unanswered, Permanent, Bounced, ChannelDown.
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
        if answer.status_code < 300:
            sid = _json(answer).get("sid")
            return sid if isinstance(sid, str) and SID.fullmatch(sid) else None
        raise _refusal(answer)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._http.aclose()


def _json(answer: httpx.Response) -> dict[str, object]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(answer: httpx.Response) -> Temporary | Permanent | ChannelDown:
    status, code = answer.status_code, _json(answer).get("code")
    number = code if isinstance(code, int) and 0 < code < 100_000 else status
    if number in UNREACHABLE:
        return Bounced(f"The carrier cannot reach this number ({number}). Use another phone.")
    if number in SENDER_WRONG or status in NOT_OURS:
        return ChannelDown(f"The carrier refuses our account or sender ({number}).")
    if status in MAY_PASS or status >= 500:
        return Faulty(f"The carrier is busy or faulty ({number}).")
    return Permanent(f"The carrier refuses the message ({number}).")
