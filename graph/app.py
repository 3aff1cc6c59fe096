"""The HTTP application: /graphql, the health checks, and in development GraphiQL and the mailbox."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from domain.settings import Settings
from graph import denials, ide, postmark, ses, webhooks
from graph.context import Context, context_for
from graph.cors import CrossOrigin
from graph.schema import create_schema
from graph.seen import Seen
from graph.unread import Unread
from graph.view import View

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
GRAPHQL_PATH = "/graphql"


def create_app(
    settings: Settings,
    *,
    checks: Mapping[str, Check],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The ASGI application. checks: what /readyz asks, by name; a check raises when its part is not ready."""

    async def context(request: Request, response: Response) -> Context:
        return await context_for(request, response, settings.trusted_proxies)

    view = View(
        create_schema(introspection=settings.is_development),
        context=context,
        after=denials.record,
        ide=ide.page if settings.is_development else None,
        ide_headers=ide.HEADERS,
    )
    routes: list[BaseRoute] = [
        Route(GRAPHQL_PATH, view),
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", _readiness(checks), methods=["GET"]),
    ]
    routes += webhooks.routes(settings) + ses.routes(settings) + postmark.routes(settings)
    if settings.is_development:
        routes += ide.routes(settings.mailbox_dir)
    return Starlette(routes=routes, middleware=_middleware(settings), lifespan=lifespan)


def _middleware(settings: Settings) -> list[Middleware]:
    used = [Middleware(Unread), Middleware(Seen)]
    if settings.allowed_hosts:
        used.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts), www_redirect=False))
    used.append(
        Middleware(
            CrossOrigin,
            path=GRAPHQL_PATH,
            origins=settings.allowed_origins,
            is_development=settings.is_development,
        )
    )
    return used


async def _alive(request: Request) -> Response:
    return JSONResponse({"status": "alive"}, headers={"cache-control": "no-store"})


def _readiness(checks: Mapping[str, Check]) -> Callable[[Request], Awaitable[Response]]:
    async def ready(request: Request) -> Response:
        parts: dict[str, Any] = {}
        for name, check in checks.items():
            try:
                await check()
                parts[name] = "ready"
            except Exception as error:  # noqa: BLE001 -- whatever a part raises, it is not ready
                logger.warning("%s is not ready: %s", name, type(error).__name__)
                parts[name] = "not ready"
        is_ready = all(state == "ready" for state in parts.values())
        return JSONResponse(
            {"status": "ready" if is_ready else "not ready", "parts": parts},
            status_code=200 if is_ready else 503,
            headers={"cache-control": "no-store"},
        )

    return ready
