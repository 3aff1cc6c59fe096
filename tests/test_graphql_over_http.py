"""How the API is spoken to over HTTP: the audits of graphql-http, odd requests, and what never gets as far as a resolver."""

import gzip
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from strawberry.extensions import SchemaExtension

from graph.limits import Schema, extensions
from graph.view import MAX_REQUEST_BYTES, View

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
URL = "http://testserver/graphql"
TYPENAME = "{ __typename }"


@dataclass
class Context:
    response: Response
    calls: list[str]


Info = strawberry.Info[Context, None]


@strawberry.type
class Query:
    @strawberry.field
    def echo(self, info: Info, text: str = "") -> str:
        info.context.calls.append("echo")
        info.context.response.headers["x-resolver"] = "was here"
        return text


@strawberry.type
class Mutation:
    @strawberry.mutation
    def act(self, info: Info) -> bool:
        info.context.calls.append("act")
        return True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int, None]:
        yield 1


class BreaksByName(SchemaExtension):
    """Stands for a bug outside of resolvers."""

    def on_validate(self) -> Iterator[None]:
        if self.execution_context.operation_name == "Break":
            raise KeyError("hunter2")
        yield


@dataclass
class Site:
    """The view, mounted as in the application; what came through to resolvers; how many contexts were made."""

    view: View
    client: httpx.AsyncClient
    calls: list[str]
    contexts: list[str]

    async def send(self, request: httpx.Request) -> httpx.Response:
        response = await self.client.send(request)
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        return response

    async def refusal(self, request: httpx.Request, status: int, code: str = "BAD_USER_INPUT") -> httpx.Response:
        """Send what is refused before anything was done: neither a resolver nor the session was asked."""
        response = await self.send(request)
        assert response.status_code == status
        (error,) = response.json()["errors"]
        assert error["message"]
        assert error["extensions"]["code"] == code
        assert "data" not in response.json()
        assert self.calls == self.contexts == []
        return response


async def nothing(context: object, result: object) -> None:
    """To be done after an answer."""


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    calls: list[str] = []
    contexts: list[str] = []

    async def context(request: Request, response: Response) -> Context:
        if "x-broken" in request.headers:
            raise ConnectionError("password=hunter2")
        contexts.append(request.method)
        return Context(response, calls)

    used = [*extensions(introspection=True), BreaksByName]
    schema = Schema(Query, Mutation, Subscription, extensions=used)
    view = View(
        schema,
        context=context,
        after=nothing,
        ide=lambda: "<h1>IDE</h1>",
        ide_headers={"content-security-policy": "none"},
    )
    app = Starlette(routes=[Route("/graphql", view)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        yield Site(view, client, calls, contexts)


def raw(content: str | bytes | None, accept: str | None = None, content_type: str | None = JSON) -> httpx.Request:
    """Exactly this request, with no header that a client library adds."""
    headers = {"content-type": content_type, "accept": accept}
    return httpx.Request("POST", URL, content=content, headers={k: v for k, v in headers.items() if v})


def post(query: Any, accept: str | None = None, **parameters: Any) -> httpx.Request:
    return raw(json.dumps({"query": query, **parameters}), accept)


def get(accept: str = "*/*", **parameters: str) -> httpx.Request:
    return httpx.Request("GET", f"{URL}?{urlencode(parameters)}", headers={"accept": accept})


# -------------------------------------------------- the audits of graphql-http 1.23: id, level and name, request, checks

Check = Callable[[httpx.Response], bool]

UNKNOWN_FIELD = "{ 8f31403dfe404bccbb0e835f2629c6a7 }"
NAMED_TYPE = "query Type($name: String!) { __type(name: $name) { name } }"
SOME_TYPE = {"name": "sometype"}
NOT_COERCIBLE = {"query": "query CoerceFailure($id: ID!){ __typename }", "variables": {"id": None}}
NOT_JSON = '{ "not a JSON'
OBJECT, STRING, NUMBER, BOOLEAN, ARRAY = {"obj": "ect"}, "string", 0, False, ["array"]


def status(first: int, last: int | None = None) -> Check:
    return lambda response: first <= response.status_code <= (last or first)


def media(name: str) -> Check:
    return lambda response: response.status_code == 200 and name in response.headers["content-type"]


def is_utf8(response: httpx.Response) -> bool:
    return response.status_code == 200 and bool(response.content.decode("utf-8"))


def is_clean(response: httpx.Response) -> bool:
    return response.status_code == 200 and "errors" not in response.json()


def has_no_data(response: httpx.Response) -> bool:
    return "data" not in response.json()


# fmt: off
AUDITS: list[tuple[str, httpx.Request, Check]] = [
    ("22EB SHOULD accept graphql-response+json and match the content-type", post(TYPENAME, GRAPHQL_JSON), media(GRAPHQL_JSON)),
    ("4655 MUST accept application/json and match the content-type", post(TYPENAME, JSON), media(JSON)),
    ("47DE SHOULD accept */* and use application/json for the content-type", post(TYPENAME, "*/*"), media(JSON)),
    ("80D8 SHOULD assume application/json content-type when accept is missing", post(TYPENAME), media(JSON)),
    ("82A3 MUST use utf-8 encoding when responding", post(TYPENAME), is_utf8),
    ("BF61 MUST accept utf-8 encoded request", raw('{"query": "{ __type(name: \\"Run🏃Swim🏊\\") { name } }"}', content_type=f"{JSON}; charset=utf-8"), status(200)),
    ("78D5 MUST assume utf-8 in request if encoding is unspecified", post(TYPENAME), status(200)),
    ("2C94 MUST accept POST requests", post(TYPENAME), status(200)),
    ("5A70 MAY accept application/x-www-form-urlencoded formatted GET requests", get(query=TYPENAME), status(200)),
    ("9C48 MAY NOT allow executing mutations on GET requests", get(GRAPHQL_JSON, query="mutation { __typename }"), status(400, 499)),
    ("9ABE SHOULD respond with 4xx status code if content-type is not supplied on POST requests", raw('{"query": "{ __typename }"}', content_type=None), status(400, 499)),
    ("03D4 MUST accept application/json POST requests", post(TYPENAME), status(200)),
    ("A5BF MAY use 400 status code when request body is missing on POST", raw(None), status(400)),
    ("423L MAY use 400 status code on missing {query} parameter", raw('{"notquery": "{ __typename }"}', GRAPHQL_JSON), status(400)),
    ("LKJ0 MAY use 400 status code on object {query} parameter", post(OBJECT), status(400)),
    ("LKJ1 MAY use 400 status code on number {query} parameter", post(NUMBER), status(400)),
    ("LKJ2 MAY use 400 status code on boolean {query} parameter", post(BOOLEAN), status(400)),
    ("LKJ3 MAY use 400 status code on array {query} parameter", post(ARRAY), status(400)),
    ("34A2 SHOULD allow string {query} when accepting graphql-response+json", post(TYPENAME, GRAPHQL_JSON), status(200)),
    ("13EE MUST allow string {query} when accepting application/json", post(TYPENAME, JSON), is_clean),
    ("6C00 MAY use 400 status code on object {operationName}", post(TYPENAME, operationName=OBJECT), status(400)),
    ("6C01 MAY use 400 status code on number {operationName}", post(TYPENAME, operationName=NUMBER), status(400)),
    ("6C02 MAY use 400 status code on boolean {operationName}", post(TYPENAME, operationName=BOOLEAN), status(400)),
    ("6C03 MAY use 400 status code on array {operationName}", post(TYPENAME, operationName=ARRAY), status(400)),
    ("8161 SHOULD allow string {operationName} when accepting graphql-response+json", post("query Query { __typename }", GRAPHQL_JSON, operationName="Query"), status(200)),
    ("B8B3 MUST allow string {operationName} when accepting application/json", post("query Query { __typename }", JSON, operationName="Query"), is_clean),
    ("94B0 SHOULD allow null {variables}, graphql-response+json", post(TYPENAME, GRAPHQL_JSON, variables=None), is_clean),
    ("0220 MUST allow null {variables}, application/json", post(TYPENAME, JSON, variables=None), is_clean),
    ("94B1 SHOULD allow null {operationName}, graphql-response+json", post(TYPENAME, GRAPHQL_JSON, operationName=None), is_clean),
    ("0221 MUST allow null {operationName}, application/json", post(TYPENAME, JSON, operationName=None), is_clean),
    ("94B2 SHOULD allow null {extensions}, graphql-response+json", post(TYPENAME, GRAPHQL_JSON, extensions=None), is_clean),
    ("0222 MUST allow null {extensions}, application/json", post(TYPENAME, JSON, extensions=None), is_clean),
    ("4760 MAY use 400 status code on string {variables}", post(TYPENAME, variables=STRING), status(400)),
    ("4761 MAY use 400 status code on number {variables}", post(TYPENAME, variables=NUMBER), status(400)),
    ("4762 MAY use 400 status code on boolean {variables}", post(TYPENAME, variables=BOOLEAN), status(400)),
    ("4763 MAY use 400 status code on array {variables}", post(TYPENAME, variables=ARRAY), status(400)),
    ("2EA1 SHOULD allow map {variables}, graphql-response+json", post(NAMED_TYPE, GRAPHQL_JSON, variables=SOME_TYPE), status(200)),
    ("28B9 MUST allow map {variables}, application/json", post(NAMED_TYPE, JSON, variables=SOME_TYPE), is_clean),
    ("D6D5 MAY allow URL-encoded JSON string {variables} in GETs, graphql-response+json", get(GRAPHQL_JSON, query=NAMED_TYPE, variables=json.dumps(SOME_TYPE)), is_clean),
    ("6A70 MAY allow URL-encoded JSON string {variables} in GETs, application/json", get(JSON, query=NAMED_TYPE, variables=json.dumps(SOME_TYPE)), is_clean),
    ("58B0 MAY use 400 status code on string {extensions}", post(TYPENAME, extensions=STRING), status(400)),
    ("58B1 MAY use 400 status code on number {extensions}", post(TYPENAME, extensions=NUMBER), status(400)),
    ("58B2 MAY use 400 status code on boolean {extensions}", post(TYPENAME, extensions=BOOLEAN), status(400)),
    ("58B3 MAY use 400 status code on array {extensions}", post(TYPENAME, extensions=ARRAY), status(400)),
    ("428F SHOULD allow map {extensions}, graphql-response+json", post(TYPENAME, GRAPHQL_JSON, extensions=OBJECT), status(200)),
    ("1B7A MUST allow map {extensions}, application/json", post(TYPENAME, JSON, extensions=OBJECT), is_clean),
    ("B6DC MAY use 2xx, 4xx, or 5xx on JSON parsing failure, application/json", raw(NOT_JSON, JSON), status(200, 599)),
    ("BCF8 SHOULD use 400 on JSON parsing failure, application/json", raw(NOT_JSON, JSON), status(400)),
    ("B7N8 SHOULD use 400 on JSON parsing failure, graphql-response+json", raw(NOT_JSON, GRAPHQL_JSON), status(400)),
    ("8764 MAY use 4xx or 5xx if parameters are invalid", raw('{"qeury": "{ __typename }"}'), status(400, 599)),
    ("3E3A MAY use 400 if parameters are invalid", raw('{"qeury": "{ __typename }"}'), status(400)),
    ("572B SHOULD use 200 on document parsing failure, application/json", post("{", JSON), status(200)),
    ("FDE2 SHOULD use 200 on document validation failure, application/json", post(UNKNOWN_FIELD, JSON), status(200)),
    ("7B9B SHOULD use 200 on variable coercion failure, application/json", post(accept=JSON, **NOT_COERCIBLE), status(200)),
    ("865D SHOULD use 4xx or 5xx on document parsing failure, graphql-response+json", post("{", GRAPHQL_JSON), status(400, 599)),
    ("556A SHOULD use 400 on document parsing failure, graphql-response+json", post("{", GRAPHQL_JSON), status(400)),
    ("D586 SHOULD not contain data on document parsing failure, graphql-response+json", post("{", GRAPHQL_JSON), has_no_data),
    ("51FE SHOULD use 4xx or 5xx on document validation failure, graphql-response+json", post(UNKNOWN_FIELD, GRAPHQL_JSON), status(400, 599)),
    ("74FF SHOULD use 400 on document validation failure, graphql-response+json", post(UNKNOWN_FIELD, GRAPHQL_JSON), status(400)),
    ("5E5B SHOULD not contain data on document validation failure, graphql-response+json", post(UNKNOWN_FIELD, GRAPHQL_JSON), has_no_data),
    ("86EE SHOULD use 400 on variable coercion failure, graphql-response+json", post(accept=GRAPHQL_JSON, **NOT_COERCIBLE), status(400)),
]
# fmt: on


@pytest.mark.parametrize(("request_", "check"), [pytest.param(*audit[1:], id=audit[0]) for audit in AUDITS])
async def test_audit(site: Site, request_: httpx.Request, check: Check) -> None:
    response = await site.send(request_)
    assert check(response), (response.status_code, response.headers["content-type"], response.text)


def test_all_61_audits_are_here() -> None:
    assert len({name.split()[0] for name, _, _ in AUDITS}) == 61


# ---------------------------------------------------------------------------------------------------- odd requests


@pytest.mark.parametrize(
    "body",
    [
        '"x"',
        "1",
        "null",
        "true",
        "",
        " ",
        "[]",
        '[{"query": "{ echo }"}]',
        b"\xff\xfe{\x00}\x00",
        b'{"query": "{ echo }", "variables": {"text": "\xe9"}}',
        "[" * 20_000,
        '{"variables":' * 4_000 + "1" + "}" * 4_000,
        '{"query": "{ echo }", "variables": {"n": ' + "1" * 5_000 + "}}",
        '{"query": "{ echo }", "variables": {"n": NaN}}',
        '{"query": "{ echo }", "variables": {"n": -Infinity}}',
        '{"query": "{ echo }", "variables": {"text": "\\ud800"}}',
        "query=%7Becho%7D",
    ],
    ids=lambda body: repr(body)[:30],
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON])
async def test_a_body_that_is_not_a_json_object_is_refused(site: Site, body: str | bytes, accept: str) -> None:
    response = await site.refusal(raw(body, accept), 400)
    assert response.headers["content-type"] == f"{accept}; charset=utf-8"


async def test_a_byte_order_mark_before_the_body_is_skipped(site: Site) -> None:
    body = b'\xef\xbb\xbf{"query": "{ echo(text: \\"x\\") }"}'
    assert (await site.send(raw(body))).json() == {"data": {"echo": "x"}}


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
async def test_a_compressed_body_is_refused_with_what_is_taken(site: Site, coding: str) -> None:
    request = raw(gzip.compress(b'{"query": "{ echo }"}'))
    request.headers["content-encoding"] = coding
    response = await site.refusal(request, 415)
    assert response.headers["accept-encoding"] == "identity"
    assert "not compressed" in response.text
    plain = post("{ echo }")
    plain.headers["content-encoding"] = "Identity"
    assert (await site.send(plain)).status_code == 200


HASH = {
    "persistedQuery": {"version": 1, "sha256Hash": "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38"}
}


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_hash_without_its_query_makes_the_client_send_the_query(site: Site, accept: str, method: str) -> None:
    """Clients fall back on these words alone, and read them only out of an answer with status 200."""
    by_get = get(accept, extensions=json.dumps(HASH))
    request = by_get if method == "GET" else raw(json.dumps({"extensions": HASH, "operationName": "Q"}), accept)
    response = await site.send(request)
    assert response.status_code == 200
    assert response.json() == {
        "errors": [{"message": "PersistedQueryNotSupported", "extensions": {"code": "PERSISTED_QUERY_NOT_SUPPORTED"}}]
    }
    assert (await site.send(post("{ echo }", accept, extensions=HASH))).json() == {"data": {"echo": ""}}
    assert site.calls == ["echo"]


async def test_a_character_beyond_the_first_plane_may_be_escaped(site: Site) -> None:
    body = '{"query": "query($t: String!) { echo(text: $t) }", "variables": {"t": "\\ud83c\\udfc3"}}'
    assert (await site.send(raw(body))).json() == {"data": {"echo": "🏃"}}


async def test_a_request_may_have_64_kib_and_no_byte_more(site: Site) -> None:
    def padded(size: int) -> str:
        return '{"query": "{ echo }"' + " " * (size - 21) + "}"

    assert len(padded(MAX_REQUEST_BYTES)) == MAX_REQUEST_BYTES
    await site.refusal(raw(padded(MAX_REQUEST_BYTES + 1), GRAPHQL_JSON), 413, "OPERATION_TOO_COMPLEX")
    assert (await site.send(raw(padded(MAX_REQUEST_BYTES)))).json() == {"data": {"echo": ""}}


async def test_a_body_that_announces_too_much_is_not_read(site: Site) -> None:
    async def unread() -> AsyncIterator[bytes]:
        yield pytest.fail("read it")

    headers = {"content-type": JSON, "content-length": str(MAX_REQUEST_BYTES + 1)}
    await site.refusal(httpx.Request("POST", URL, content=unread(), headers=headers), 413, "OPERATION_TOO_COMPLEX")


async def test_a_body_without_an_announced_length_is_counted_as_it_comes(site: Site) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * 1024

    request = httpx.Request("POST", URL, content=endless(), headers={"content-type": JSON})
    assert "content-length" not in request.headers
    await site.refusal(request, 413, "OPERATION_TOO_COMPLEX")
    assert len(sent) < 100


@pytest.mark.parametrize(("length", "status_code"), [(MAX_REQUEST_BYTES, 200), (MAX_REQUEST_BYTES + 1, 414)])
async def test_a_url_may_be_as_long_as_a_body(site: Site, length: int, status_code: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # httpx has a limit of its own on URLs.
        scope["query_string"] = b"query={__typename}&x=".ljust(length, b"x")
        await site.view(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        assert (await client.get(URL)).status_code == status_code


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/graphql",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
    ],
)
async def test_only_json_is_taken(site: Site, content_type: str) -> None:
    await site.refusal(raw('{"query": "mutation { act }"}', content_type=content_type), 415)
    twin = await site.send(raw('{"query": "mutation { act }"}', content_type='Application/JSON ; Charset="UTF-8"'))
    assert twin.json() == {"data": {"act": True}}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_refused(site: Site, method: str) -> None:
    response = await site.refusal(httpx.Request(method, URL, json={"query": "{ echo }"}), 405)
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("accept", [JSON, GRAPHQL_JSON])
async def test_a_mutation_by_get_is_refused(site: Site, accept: str) -> None:
    response = await site.send(get(accept, query="query A { echo } mutation B { act }", operationName="B"))
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert site.calls == []


@pytest.mark.parametrize("request_", [post("subscription { ticks }"), get(query="subscription { ticks }")])
async def test_a_subscription_is_not_answered_once(site: Site, request_: httpx.Request) -> None:
    response = await site.send(request_)
    assert response.status_code == 400
    assert "subscription" in response.json()["errors"][0]["message"]


async def test_one_of_several_operations_has_to_be_named(site: Site) -> None:
    several = "query A { echo } mutation B { act }"
    for request in (post(several, GRAPHQL_JSON), post(several, GRAPHQL_JSON, operationName="C")):
        response = await site.send(request)
        assert response.status_code == 400
        assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        assert site.calls == []
    assert (await site.send(post(several, operationName="B"))).json() == {"data": {"act": True}}


@pytest.mark.parametrize(
    "document", ["#", "fragment F on Query { echo }", "{ echo(text: \x00) }", "type Query { a: Int }"]
)
async def test_a_document_with_nothing_to_run_is_a_request_error(site: Site, document: str) -> None:
    response = await site.send(post(document, GRAPHQL_JSON))
    assert response.status_code == 400
    assert list(response.json()) == ["errors"]


@pytest.mark.parametrize(
    "accept", [f"{GRAPHQL_JSON}, {JSON};q=0.9", f"{GRAPHQL_JSON},{JSON}", f"text/html;q=x, {GRAPHQL_JSON};q=0.1"]
)
async def test_the_newer_media_type_is_used_where_a_client_likes_it(site: Site, accept: str) -> None:
    assert media(GRAPHQL_JSON)(await site.send(post(TYPENAME, accept)))


@pytest.mark.parametrize(
    "accept", [f"{GRAPHQL_JSON};q=0, */*", f"{GRAPHQL_JSON};q=0.1, {JSON}", "image/png", f"{GRAPHQL_JSON};q=nan"]
)
async def test_the_older_media_type_is_used_elsewhere(site: Site, accept: str) -> None:
    assert media(JSON)(await site.send(post(TYPENAME, accept)))


async def test_a_browser_gets_the_ide(site: Site) -> None:
    response = await site.send(get("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"))
    assert response.text == "<h1>IDE</h1>"
    assert response.headers["content-security-policy"] == "none"
    for accept in ("*/*", JSON):
        await site.send(get(accept, query="{ echo }"))
    assert site.calls == ["echo", "echo"]


async def test_without_an_ide_a_browser_gets_json() -> None:
    async def context(request: Request, response: Response) -> None:
        return None

    view = View(Schema(Query, extensions=extensions(introspection=False)), context=context, after=nothing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=view)) as client:
        response = await client.get(URL, headers={"accept": "text/html"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_resolver_may_set_headers(site: Site) -> None:
    assert (await site.send(post("{ echo }"))).headers["x-resolver"] == "was here"


@pytest.mark.parametrize(("breaks", "kind"), [("context", "ConnectionError"), ("Break", "KeyError")])
async def test_a_request_that_breaks_is_an_incident(
    site: Site, caplog: pytest.LogCaptureFixture, breaks: str, kind: str
) -> None:
    request = post(f"query {breaks} {TYPENAME}", GRAPHQL_JSON)
    if breaks == "context":
        request.headers["x-broken"] = "yes"
    with caplog.at_level(logging.DEBUG):
        response = await site.send(request)
    assert response.status_code == 500
    (error,) = response.json()["errors"]
    assert error["message"] == "Something went wrong on our side."
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert error["extensions"]["incidentId"] in caplog.text
    assert kind in caplog.text
    assert "hunter2" not in caplog.text + response.text
