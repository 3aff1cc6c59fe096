"""The HTTP application: /graphql, the health checks, and in development GraphiQL and the mailbox."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from domain.errors import Busy
from domain.settings import Settings
from graph import denials, health, ide, postmark, ses, webhooks
from graph.context import Context, context_for
from graph.cors import CrossOrigin
from graph.schema import create_schema
from graph.seen import Seen
from graph.unread import Unread
from graph.view import View

GRAPHQL_PATH = "/graphql"


def create_app(
    settings: Settings,
    *,
    checks: Mapping[str, health.Check],
    notes: Mapping[str, health.Check] = MappingProxyType({}),
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The ASGI application. checks: what /readyz asks, by name; a check raises when its part is not ready. notes: what it tells besides."""

    async def context(request: Request, response: Response) -> Context:
        return await context_for(request, response, settings.trusted_proxies)

    view = View(
        create_schema(introspection=settings.is_development),
        context=context,
        after=denials.record,
        ide=ide.page if settings.is_development else None,
        ide_headers=ide.HEADERS,
    )
    routes: list[BaseRoute] = [Route(GRAPHQL_PATH, view), *health.routes(checks, notes)]
    routes += webhooks.routes(settings) + ses.routes(settings) + postmark.routes(settings)
    if settings.is_development:
        routes += ide.routes(settings.mailbox_dir)
    return Starlette(
        routes=routes, middleware=_middleware(settings), exception_handlers={Busy: _busy}, lifespan=lifespan
    )


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


async def _busy(request: Request, exception: Exception) -> Response:
    """Whoever calls a webhook calls again when it is told so."""
    return Response(status_code=503, headers={"retry-after": "1"})
