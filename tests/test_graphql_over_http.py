"""How the API is spoken to over HTTP: the audits of graphql-http, odd bodies, and what never gets as far as a resolver."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import strawberry
from graphql import get_introspection_query
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph.limits import Schema, extensions
from graph.view import MAX_REQUEST_BYTES, View

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
URL = "http://testserver/graphql"


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

    @strawberry.field
    def no_null_here(self) -> str:
        raise RuntimeError


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


@dataclass
class Site:
    """The view, mounted as in the application, and what came through to it."""

    client: httpx.AsyncClient
    contexts_made: list[str]
    calls: list[str]

    async def send(self, method: str, url: str = URL, **request: Any) -> httpx.Response:
        """Exactly this request: httpx would add headers of its own, such as Accept."""
        return await self.client.send(httpx.Request(method, url, **request))

    async def post(self, content: str | bytes, **headers: str) -> httpx.Response:
        return await self.send("POST", headers={"content-type": JSON, **headers}, content=content)

    async def ask(self, accept: str = GRAPHQL_JSON, **parameters: Any) -> httpx.Response:
        return await self.post(json.dumps(parameters), accept=accept)

    @property
    def is_untouched(self) -> bool:
        return not self.contexts_made and not self.calls


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    contexts: list[str] = []
    calls: list[str] = []

    async def context(request: Request, response: Response) -> Context:
        contexts.append(request.method)
        if "x-broken" in request.headers:
            raise ConnectionError("password=hunter2")
        return Context(response, calls)

    schema = Schema(Query, Mutation, Subscription, extensions=extensions(introspection=True))
    view = View(schema, context=context, ide=lambda: "<h1>IDE</h1>", ide_headers={"content-security-policy": "x"})
    transport = httpx.ASGITransport(app=Starlette(routes=[Route("/graphql", view)]))
    async with httpx.AsyncClient(transport=transport) as client:
        yield Site(client, contexts, calls)


# ------------------------------------------------------------------ the audits of graphql-http 1.23, by their ids

TYPENAME = "{ __typename }"
NAMED_TYPE = "query Type($name: String!) { __type(name: $name) { name } }"
SOME_TYPE = {"name": "sometype"}
UNKNOWN_FIELD = "{ 8f31403dfe404bccbb0e835f2629c6a7 }"
NOT_COERCIBLE = {"query": "query CoerceFailure($id: ID!){ __typename }", "variables": {"id": None}}
NOT_JSON = '{ "not a JSON'
WRONG_TYPES: dict[str, Any] = {"object": {"obj": "ect"}, "number": 0, "boolean": False, "array": ["array"]}
WRONG_MAPS: dict[str, Any] = {"string": "string", "number": 0, "boolean": False, "array": ["array"]}

OK = range(200, 201)
BAD = range(400, 401)
CLIENT_ERRORS = range(400, 500)
ERRORS = range(400, 600)


@dataclass(frozen=True)
class Audit:
    """One audit. body: what is posted, as JSON unless it is text; params: what is asked for by GET instead."""

    id: str
    level: str
    name: str
    status: range = OK
    accept: str | None = None
    body: dict[str, Any] | str | None = None
    params: dict[str, str] | None = None
    content_type: str | None = JSON
    answers_in: str = ""
    is_clean: bool = False
    has_no_data: bool = False

    async def answer(self, site: Site) -> httpx.Response:
        headers = {"accept": self.accept} if self.accept else {}
        if self.params is not None:
            return await site.send("GET", params=self.params, headers=headers)
        if self.content_type:
            headers["content-type"] = self.content_type
        content = self.body if isinstance(self.body, str) or self.body is None else json.dumps(self.body)
        return await site.send("POST", headers=headers, content=content)


def typename(**more: Any) -> dict[str, Any]:
    return {"query": TYPENAME, **more}


AUDITS = [
    Audit("22EB", "SHOULD", "accept application/graphql-response+json and match the content-type",
          accept=GRAPHQL_JSON, body=typename(), answers_in=GRAPHQL_JSON),
]
