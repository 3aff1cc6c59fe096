"""Around every HTTP request: its id in the log and in the answer, its span, its place in the counters, and in the queue for the database."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain import metrics, pool, request_ids, tracing

HEADER = "x-request-id"
# Whatever else is asked for counts together: paths are the client's, and without bounds.
ROUTES = ("/graphql", "/healthz", "/readyz", "/mailbox", "/webhooks")


class Seen:
    """ASGI middleware around all that answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        came_with = headers.get("traceparent", "")
        request_id = request_ids.of_headers(headers.get(HEADER, ""), came_with)
        route = _route(scope["path"])
        attributes = {"http.request.method": _method(scope["method"]), "http.route": route, "request_id": request_id}
        with (
            request_ids.bound(request_id),
            pool.one_request(),
            tracing.span(
                f"{attributes['http.request.method']} {route}", tracing.SERVER, attributes=attributes, parent=came_with
            ) as span,
        ):
            status = 499  # the client hung up before there was an answer

            async def answer(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    MutableHeaders(scope=message)[HEADER] = request_id
                await send(message)

            try:
                await self._app(scope, receive, answer)
            finally:
                metrics.RESPONSES.labels(route, str(status)).inc()
                if span is not None:
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        tracing.failed(span, str(status))


def _route(path: str) -> str:
    for route in ROUTES:
        if path == route or path.startswith((f"{route}/", f"{route}.")):
            return route
    return "other"


def _method(method: str) -> str:
    return method if method in {"GET", "HEAD", "POST", "OPTIONS"} else "OTHER"
