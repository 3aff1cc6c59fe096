"""The pages and files of the development site, and the headers that keep each to itself."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from domain import mailbox

HERE = Path(__file__).parent

# Where links in e-mails lead. assets/landing.js says what each is.
LANDING_PATHS = ("/verify-email", "/join", "/reset-password", "/confirm-email", "/stop-change")

# What of "#token=" is left in a path that was decoded once.
_ENCODED_FRAGMENT = re.compile(r"/?(#|%(25)*23)", re.IGNORECASE)

# 'unsafe-inline' for styles only: Monaco makes style elements as it runs, and the e-mails that the mailbox shows carry their
# own. frame-ancestors cannot be said in a meta element, so the policy is a header.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
HEADERS = {
    **_PRIVATE,
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def page() -> str:
    """The HTML of GraphiQL, for GET /graphql from a browser; to be sent with `HEADERS`."""
    return _html("graphiql")


def routes(mailbox_dir: Path) -> list[BaseRoute]:
    """Everything but the GraphiQL page itself. They come before any route that takes all below /graphql.

    mailbox_dir: the folder that `domain.mailbox` reads; it need not exist yet.
    """
    return [
        Route("/mailbox", _page("mailbox")),
        Route("/mailbox.json", _mailbox_json(mailbox_dir)),
        *(Route(path, _page("landing")) for path in LANDING_PATHS),
        *(Route(f"{path}{{rest:path}}", _mangled(path)) for path in LANDING_PATHS),
        Mount("/graphql/ide/assets", _Files(directory=HERE / "assets")),
        Mount("/graphql/ide/static", _Files(directory=HERE / "static")),
    ]


class _Files(StaticFiles):
    """Files that a browser keeps but asks about each time: their names stay the same when a new version changes them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(
            {
                "Cache-Control": "no-cache",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Resource-Policy": "same-origin",
            }
        )
        return response


def _html(name: str) -> str:
    return (HERE / "pages" / f"{name}.html").read_text(encoding="utf-8")


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    html = _html(name)

    async def show(request: Request) -> Response:
        return HTMLResponse(html, headers=HEADERS)

    return show


def _mangled(path: str) -> Callable[[Request], Awaitable[Response]]:
    """The landing page where a gateway wrote the "#" of a link as "%23" or "%2523": the page moves the token back behind a "#"."""
    show = _page("landing")

    async def show_mangled(request: Request) -> Response:
        rest = request.scope["path"].removeprefix(path)
        if not _ENCODED_FRAGMENT.match(rest):
            raise HTTPException(404)
        return await show(request)

    return show_mangled


def _mailbox_json(folder: Path) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        to, after = request.query_params.get("to"), request.query_params.get("after", "")
        if to is not None and to.startswith(" "):
            to = "+" + to[1:]  # a number whose plus was not escaped, as people type it behind curl
        found = await asyncio.to_thread(mailbox.messages, folder, to, after=after)
        return JSONResponse({"messages": [_described(message) for message in found]}, headers=_PRIVATE)

    return show


def _described(message: mailbox.Message) -> dict[str, str | None]:
    return {
        "id": message.id,
        "channel": message.channel.value,
        "kind": message.kind,
        "from": message.sender,
        "to": message.to,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "sentAt": message.sent_at.isoformat(),
    }
