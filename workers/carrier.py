"""A Twilio-compatible carrier's REST interface, as far as texts and calls need it."""

import httpx

from domain.settings import Twilio
from workers.deliveries import Bounced, ChannelDown, Permanent, Temporary

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
MAX_CONNECTIONS = 20
# Twilio's codes for numbers that cannot be reached at all: invalid, not a mobile, blocked, region not permitted.
UNREACHABLE = {21211, 21214, 21408, 21610, 21612, 21614, 13223, 13224}


class Carrier:
    """One kept client for texts and calls."""

    def __init__(self, account: Twilio) -> None:
        self._sender = account.sender
        self._http = httpx.AsyncClient(
            base_url=f"{account.api_url}/2010-04-01/Accounts/{account.account_sid}",
            auth=(account.account_sid, account.auth_token),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            trust_env=False,
        )

    async def post(self, resource: str, to: str, **form: str) -> str:
        """Ask for a message or a call; the carrier's id of it. Raises Temporary, Permanent, Bounced, ChannelDown."""
        try:
            answer = await self._http.post(f"/{resource}.json", data={"To": to, "From": self._sender, **form})
        except httpx.ConnectError:
            raise ChannelDown("The carrier cannot be reached.") from None
        except httpx.HTTPError as error:
            raise Temporary(f"The carrier broke off ({type(error).__name__}).") from None
        if answer.status_code < 300:
            return str(_json(answer).get("sid", ""))[:100]
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
    if status in (401, 403) and code not in UNREACHABLE:
        return ChannelDown(f"The carrier refuses our account ({status}).")
    if status in (408, 409, 425, 429) or status >= 500:
        return Temporary(f"The carrier is busy or faulty ({status}).")
    if code in UNREACHABLE:
        return Bounced(f"The carrier cannot reach this number ({code}). Use another phone.")
    return Permanent(f"The carrier refuses the message ({code if isinstance(code, int) else status}).")
