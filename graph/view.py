"""GraphQL over HTTP: one operation a request, read from JSON and answered in JSON.

After https://graphql.github.io/graphql-over-http/draft/. Queries may come by GET too, but a URL ends up in access logs
and histories: what carries a token belongs into a POST.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn, cast

from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from domain.errors import Busy
from graph import json_text, operations, refusals
from graph.limits import Schema
from graph.masking import BAD_INPUT, INTERNAL, TOO_COMPLEX, failure

MAX_REQUEST_BYTES = 64 * 1024

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
HTML = "text/html"

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "vary": "accept",
    "x-content-type-options": "nosniff",
}

RETRY_AFTER = {"retry-after": "1"}

ALLOWED = {"GET": frozenset({OperationType.QUERY}), "POST": frozenset({OperationType.QUERY, OperationType.MUTATION})}

# JSON may escape halves of characters that no encoding can write down, and so no database keep.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass
class Refusal(Exception):
    """The request is not one that GraphQL can be asked with. The message is for the programmer of the client."""

    status: int
    message: str
    code: str = BAD_INPUT
    headers: Mapping[str, str] = field(default_factory=dict)


class View(GraphQL[Any, None]):
    """Serves a schema at one URL. WebSocket handshakes are closed: no subprotocol is offered yet.

    context: makes the context of an operation. The Response that it is given carries headers that resolvers set. after: is given the
    context and the answer before that goes out.
    ide: the page for people who open the URL in a browser; None in production. ide_headers: what the page needs in its
    headers, such as a policy that lets its scripts run.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        context: Callable[[Request, Response], Awaitable[Any]],
        after: Callable[[Any, ExecutionResult], Awaitable[None]],
        ide: Callable[[], str] | None = None,
        ide_headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())
        self._make_context = context
        self._after = after
        self._ide = ide
        self._ide_headers = ide_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Whatever happens, a client that waits gets an answer in JSON."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Refusal as refusal:
            error = GraphQLError(refusal.message, extensions={"code": refusal.code})
            response = self._failed(request, refusal.status, error, refusal.headers)
        except Busy as busy:  # who is asking could not be looked up, so nothing ran
            response = self._busy(request, busy)
        except Exception as exception:  # noqa: BLE001 -- logged there; to let it rise would log its text
            error = failure(exception)
            response = self._failed(request, _status(request, ExecutionResult(data=None, errors=[error])), error)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Any:
        """The context of an operation, as the constructor was told to make it."""
        return await self._make_context(cast("Request", request), cast("Response", response))

    async def _respond(self, request: Request) -> Response:
        if request.method not in ALLOWED:
            raise Refusal(
                405, "GraphQL is asked by POST, or for queries by GET.", headers={"allow": ", ".join(ALLOWED)}
            )
        if self._ide and request.method == "GET" and _prefers(request, HTML, JSON):
            return HTMLResponse(self._ide(), headers=self._ide_headers)
        asked = await _read(request)
        outgoing = await self.get_sub_response(request)
        context = await self.get_context(request, outgoing)
        with operations.observed(Refusal) as operation:
            result = await self._execute(request, asked, context)
            operation.end(result)
            await self._after(context, result)
        body = await self.process_result(request, result)
        if _nothing_ran(result):
            body.pop("data")
        response = self.create_response(body, outgoing)
        response.headers["content-type"] = _media_type(request)
        response.status_code = _status(request, result)
        return response

    async def _execute(self, request: Request, asked: GraphQLRequestData, context: Any) -> ExecutionResult:
        try:
            return await self.schema.execute(
                asked.query,
                variable_values=asked.variables,
                context_value=context,
                operation_name=asked.operation_name,
                allowed_operation_types=ALLOWED[request.method],
                operation_extensions=asked.extensions,
            )
        except MissingQueryError:
            if "persistedQuery" in (asked.extensions or {}):
                # The words and the status that make clients of Apollo's and others send the query itself.
                raise Refusal(200, "PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED") from None
            raise Refusal(400, "The request has no `query`.") from None
        except InvalidOperationTypeError as error:
            _refuse_operation(error.operation_type)
        except CannotGetOperationTypeError as error:
            problem = GraphQLError(error.as_http_error_reason(), extensions={"code": BAD_INPUT})
            return ExecutionResult(data=None, errors=[problem])

    def _busy(self, request: Request, busy: Busy) -> Response:
        """503 only for a client that knows the newer media type, as with `_status`."""
        is_newer = _prefers(request, GRAPHQL_JSON, JSON)
        return self._failed(request, 503 if is_newer else 200, refusals.busy(busy), RETRY_AFTER if is_newer else {})

    def _failed(
        self, request: Request, status: int, error: GraphQLError, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Response:
        content = self.encode_json({"errors": [error.formatted]})
        return Response(content, status, {**headers, "content-type": _media_type(request)})


def _refuse_operation(kind: OperationType) -> NoReturn:
    if kind is OperationType.MUTATION:
        raise Refusal(405, "A mutation is sent by POST.", headers={"allow": "POST"})
    raise Refusal(400, "A subscription needs a connection that stays open; this one answers once.")


# ------------------------------------------------------------------------------------------------- reading a request


async def _read(request: Request) -> GraphQLRequestData:
    """What was asked, with every parameter of the type that it must have. Raises Refusal."""
    parameters = _from_url(request) if request.method == "GET" else await _from_body(request)
    return GraphQLRequestData(
        query=_parameter(parameters, "query", str),
        variables=_parameter(parameters, "variables", dict),
        operation_name=_parameter(parameters, "operationName", str) or None,  # some clients send "" for none
        extensions=_parameter(parameters, "extensions", dict),
    )


def _from_url(request: Request) -> dict[str, Any]:
    if len(request.scope["query_string"]) > MAX_REQUEST_BYTES:
        raise Refusal(414, f"A request has at most {MAX_REQUEST_BYTES} bytes.", TOO_COMPLEX)
    parameters: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if text := parameters.pop(name, ""):
            parameters[name] = _decoded(text, f"`{name}`")
    return parameters


async def _from_body(request: Request) -> dict[str, Any]:
    if not _is_json(request.headers.get("content-type", "")):
        raise Refusal(415, f"The body of a request is {JSON}, in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        # Inflating would let a few bytes ask for much memory, and a request is small (RFC 9110 15.5.16 and 12.5.3).
        raise Refusal(415, "The body is sent as it is, not compressed.", headers={"accept-encoding": "identity"})
    body = await _body(request)
    try:
        text = body.decode("utf-8-sig")  # .NET and PowerShell put a byte order mark before it (RFC 8259 8.1)
    except UnicodeDecodeError:
        raise Refusal(400, "The body is not UTF-8.") from None
    parameters = _decoded(text, "The body")
    if not isinstance(parameters, dict):
        raise Refusal(400, "The body must be a JSON object: one operation a request.")
    return parameters


def _is_json(content_type: str) -> bool:
    """Exactly that. What a form on another site can send is refused, so that nobody acts through someone's browser."""
    media, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    return media == JSON and all(charset in {"utf-8", "utf8"} for charset in charsets)


async def _body(request: Request) -> bytes:
    too_large = Refusal(413, f"A request has at most {MAX_REQUEST_BYTES} bytes.", TOO_COMPLEX)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_REQUEST_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise too_large
    return bytes(body)


def _decoded(text: str, what: str) -> object:
    """The value of a JSON text. Raises Refusal.

    Python reads more than JSON, and raises more than JSONDecodeError: on a number of 5000 digits.
    """
    try:
        value: object = json_text.parsed(text, parse_constant=_not_json)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError:
        raise Refusal(400, f"{what} cannot be read as JSON.") from None
    return value


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity


def _parameter(parameters: Mapping[str, Any], name: str, kind: type) -> Any:
    value = parameters.get(name)
    if value is not None and not isinstance(value, kind):
        raise Refusal(400, f"`{name}` must be {'a string' if kind is str else 'an object'}, or left out.")
    return value


# ----------------------------------------------------------------------------------------------- answering


def _media_type(request: Request) -> str:
    return f"{GRAPHQL_JSON if _prefers(request, GRAPHQL_JSON, JSON) else JSON}; charset=utf-8"


def _prefers(request: Request, media: str, other: str) -> bool:
    """Whether a client names a media type, and likes it as least as well as the other one."""
    weights: dict[str, float] = {}
    for accepted in request.headers.get("accept", "").lower().split(","):
        name, *parameters = [part.strip() for part in accepted.split(";")]
        weights[name] = max(_weight(parameters), weights.get(name, 0.0))
    return weights.get(media, 0.0) > 0 and weights[media] >= weights.get(other, 0.0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _nothing_ran(result: ExecutionResult) -> bool:
    """Whether the request failed as a whole: then there is no data, not even null."""
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def _status(request: Request, result: ExecutionResult) -> int:
    """400 only for a client that knows the newer media type; any other would take that for the answer of a proxy."""
    if not _nothing_ran(result):
        return 200
    if any((error.extensions or {}).get("code") == INTERNAL for error in result.errors or ()):
        return 500
    return 400 if _prefers(request, GRAPHQL_JSON, JSON) else 200
