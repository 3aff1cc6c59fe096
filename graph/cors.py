"""Which pages in browsers may call the API: the origins that the operator names, and in development every page of this machine.

After https://fetch.spec.whatwg.org/#http-cors-protocol. Sessions travel in a header that scripts set, never in cookies, so a page gets
nothing by calling us that its author could not get without a browser; credentials stay off.
"""

import logging
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.seen import HEADER

logger = logging.getLogger(__name__)

PREFLIGHT_SECONDS = 7200  # as long as Chromium remembers one at most; what is asked for then is looked at each time
METHODS = "GET, POST"
MAX_LOGGED_ORIGINS = 100
VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"

# A host of this machine, by name or number (RFC 6761 6.3), whatever its port.
_LOOPBACK = re.compile(r"https?://(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?")
# What browsers send, and what may be repeated in a log and in an answer.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[a-zA-Z0-9._:\[\]-]{1,255}")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+){0,63}")


class CrossOrigin:
    """ASGI middleware around one path. origins: as browsers send them. is_development: pages of this machine are allowed too."""

    def __init__(self, app: ASGIApp, *, path: str, origins: Collection[str], is_development: bool) -> None:
        self._app = app
        self._path = path
        self._origins = frozenset(origins)
        self._is_development = is_development
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; answer a preflight."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_allowed = origin is not None and self._is_allowed(origin)
        if origin is not None and not is_allowed and not _is_own(origin, headers):
            self._log(origin)
        if origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            answer = _preflight(origin, headers) if is_allowed else _refusal(origin)
            await answer(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                outgoing = MutableHeaders(scope=message)
                outgoing.add_vary_header("Origin")
                if is_allowed:
                    outgoing["access-control-allow-origin"] = origin or ""
                    outgoing["access-control-expose-headers"] = HEADER
            await send(message)

        await self._app(scope, receive, marked)

    def _is_allowed(self, origin: str) -> bool:
        return origin in self._origins or (self._is_development and _LOOPBACK.fullmatch(origin) is not None)

    def _log(self, origin: str) -> None:
        """Name an origin in the log, once in the life of a process. Whoever sends the header must not fill the log."""
        shown = origin if _ORIGIN.fullmatch(origin) else "no origin that can be set"
        if shown not in self._logged and len(self._logged) < MAX_LOGGED_ORIGINS:
            self._logged.add(shown)
            logger.info("A page of %s may not read our answers: it is not in ALLOWED_ORIGINS", shown)


def _is_own(origin: str, headers: Headers) -> bool:
    """Whether the page came from this very host: browsers name the origin there too, and ask for no permission."""
    return urlsplit(origin).netloc == headers.get("host") if _ORIGIN.fullmatch(origin) else False


def _preflight(origin: str, headers: Headers) -> Response:
    """Any header may be sent: tracing and client libraries bring their own, and none of ours means more from a browser."""
    answer = Response(
        status_code=204,
        headers={
            "access-control-allow-origin": origin,
            "access-control-allow-methods": METHODS,
            "access-control-max-age": str(PREFLIGHT_SECONDS),
            "vary": VARY,
        },
    )
    asked = headers.get("access-control-request-headers", "")
    if _HEADER_NAMES.fullmatch(asked):
        answer.headers["access-control-allow-headers"] = asked
    if headers.get("access-control-request-private-network") == "true":
        answer.headers["access-control-allow-private-network"] = "true"
    return answer


def _refusal(origin: str) -> Response:
    if _ORIGIN.fullmatch(origin):
        problem = f"Pages of {origin} may not call this API. The operator can allow it: ALLOWED_ORIGINS={origin}"
    else:
        problem = (
            "Pages without an address of their own (opened as a file, or in a sandbox) may not call this API. "
            "Serve the page over HTTP, and have its origin put into ALLOWED_ORIGINS."
        )
    return PlainTextResponse(problem, 403, headers={"vary": VARY, "x-content-type-options": "nosniff"})
