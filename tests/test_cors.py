"""Pages in browsers: which may call the API, with which headers, and what one that may not is told."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from domain import settings
from graph.app import create_app
from tests.conftest import TEST_KEYS
from tests.test_settings import PRODUCTION

APP = "https://app.example.com"
VITE = "http://localhost:5173"
# What Apollo's clients, Sentry, OpenTelemetry and our own docs have pages send.
HEADERS = (
    *("authorization", "content-type", "x-request-id", "accept-language"),
    *(
        "apollographql-client-name",
        "apollographql-client-version",
        "x-apollo-operation-name",
        "apollo-require-preflight",
    ),
    *("graphql-require-preflight", "sentry-trace", "baggage", "traceparent", "tracestate", "x-datadog-trace-id"),
)
Site = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    @asynccontextmanager
    async def site(**given: str) -> AsyncIterator[httpx.AsyncClient]:
        loaded = settings.load({"DATA_DIR": str(tmp_path), "SECRET_KEYS": ",".join(TEST_KEYS), **given})
        transport = httpx.ASGITransport(app=create_app(loaded, checks={}))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            yield client

    return site


async def preflight(client: httpx.AsyncClient, origin: str, path: str = "/graphql", **more: str) -> httpx.Response:
    """Ask as a browser does before a POST."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": ",".join(sorted(HEADERS))}
    return await client.options(path, headers={"origin": origin, **asked, **more})


async def post(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    return await client.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": origin})


@pytest.mark.parametrize(
    "origin",
    [
        VITE,
        "http://localhost",
        "https://localhost:3000",
        "http://127.0.0.1:8081",
        "http://[::1]:4200",
        "http://app.localhost:5173",
    ],
)
async def test_in_development_every_page_of_this_machine_may_call(site: Site, origin: str) -> None:
    async with site() as client:
        allowed = await preflight(client, origin)
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == origin
        answer = await post(client, origin)
        assert answer.json() == {"data": {"__typename": "Query"}}
        assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://evil.example/localhost",
        "http://evillocalhost:80",
        "http://127.0.0.1.evil.example",
        "http://192.168.1.5:8081",
        "ftp://localhost",
        "http://localhost:5173@evil.example",
        "null",
        "",
    ],
)
async def test_no_other_page_may(site: Site, origin: str) -> None:
    async with site() as client:
        refused = await preflight(client, origin)
        assert refused.status_code == 403
        assert "ALLOWED_ORIGINS" in refused.text
        for answer in (refused, await post(client, origin)):
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_in_production_exactly_those_may_that_are_set(site: Site) -> None:
    async with site(**PRODUCTION, ALLOWED_ORIGINS=f"{APP}/, capacitor://localhost") as client:
        for origin in (APP, "capacitor://localhost"):
            assert (await preflight(client, origin)).headers["access-control-allow-origin"] == origin
        for origin in (VITE, f"{APP}.evil.example", f"{APP}:8443", "http://app.example.com", f"{APP}/"):
            assert (await preflight(client, origin)).status_code == 403


async def test_a_refused_page_is_told_what_to_set(site: Site) -> None:
    async with site(**PRODUCTION) as client:
        refused = await preflight(client, VITE)
    assert f"ALLOWED_ORIGINS={VITE}" in refused.text
    assert refused.headers["content-type"].startswith("text/plain")
    assert refused.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "origin", ["https://evil.example<script>", "\x1b[31mhttps://evil.example", "https://" + "a" * 5000]
)
async def test_nothing_but_an_origin_is_repeated(site: Site, origin: str, caplog: pytest.LogCaptureFixture) -> None:
    async with site() as client:
        refused = await preflight(client, origin)
    assert refused.status_code == 403
    assert origin not in refused.text
    assert origin not in caplog.text


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_page_may_send_the_headers_that_its_libraries_add(site: Site, method: str) -> None:
    async with site(**PRODUCTION, ALLOWED_ORIGINS=APP) as client:
        allowed = await preflight(client, APP, **{"access-control-request-method": method})
        assert set(allowed.headers["access-control-allow-headers"].split(",")) == set(HEADERS)
        assert method in allowed.headers["access-control-allow-methods"].split(", ")
        assert "access-control-allow-credentials" not in allowed.headers
        assert allowed.headers["vary"].startswith("Origin,")


@pytest.mark.parametrize("asked", ["x-a, x b", "x-a\x00", "x-a;", ",", "x" * 10 + ",x" * 200])
async def test_headers_that_are_none_are_not_repeated(site: Site, asked: str) -> None:
    async with site() as client:
        allowed = await preflight(client, VITE, **{"access-control-request-headers": asked})
        assert "access-control-allow-headers" not in allowed.headers


async def test_a_page_out_of_the_internet_may_reach_a_machine_of_the_network(site: Site) -> None:
    asked = {"access-control-request-private-network": "true"}
    async with site(**PRODUCTION, ALLOWED_ORIGINS=APP) as client:
        assert (await preflight(client, APP, **asked)).headers["access-control-allow-private-network"] == "true"
        assert "access-control-allow-private-network" not in (await preflight(client, APP)).headers
        assert "access-control-allow-private-network" not in (await preflight(client, VITE, **asked)).headers


async def test_a_page_can_read_the_id_of_its_request_and_caches_tell_pages_apart(site: Site) -> None:
    async with site(**PRODUCTION, ALLOWED_ORIGINS=APP) as client:
        answer = await post(client, APP)
        assert answer.headers["access-control-expose-headers"] == "x-request-id"
        assert "origin" in answer.headers["vary"].lower()
        refused = await client.put("/graphql", headers={"origin": APP})
        assert refused.headers["access-control-allow-origin"] == APP
        without = await client.post("/graphql", json={"query": "{ __typename }"})
        assert "origin" in without.headers["vary"].lower()
        assert "accept" in without.headers["vary"].lower()


async def test_only_the_api_itself_is_open_to_other_pages(site: Site) -> None:
    async with site() as client:
        for path in ("/mailbox", "/mailbox.json", "/healthz", "/readyz"):
            answer = await client.get(path, headers={"origin": VITE})
            assert "access-control-allow-origin" not in answer.headers
            assert (await preflight(client, VITE, path)).status_code >= 400


async def test_an_origin_that_is_refused_is_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with site(**PRODUCTION, ALLOWED_ORIGINS=APP) as client:
        for _ in range(3):
            await preflight(client, VITE)
            await post(client, VITE)
            await post(client, "http://localhost:8000")  # GraphiQL's own page: the same host, and no other origin
            await post(client, APP)
        lines = [record.getMessage() for record in caplog.records if record.name == "graph.cors"]
        assert len(lines) == 1
        assert VITE in lines[0]
        assert "ALLOWED_ORIGINS" in lines[0]
        for number in range(1000):
            await preflight(client, f"https://n{number}.example")
    assert len([record for record in caplog.records if record.name == "graph.cors"]) <= 100


async def test_options_that_are_no_preflight_go_on_to_the_api(site: Site) -> None:
    async with site() as client:
        for headers in ({}, {"origin": VITE}, {"access-control-request-method": "POST"}):
            assert (await client.options("/graphql", headers=headers)).status_code == 405


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("*", "every site"),
        ("app.example.com", "no scheme"),
        ("localhost:5173", "no scheme"),
        ("https://app.example.com/staff", "after the host"),
        ("https://app.example.com?x", "after the host"),
        ("htps://app.example.com", "http or https"),
        ("file:///srv/app", "http or https"),
        ("null", "null"),
        ("https://u:p@app.example.com", "user"),
        ("https://app example.com", "no origin"),
        ("https://", "no origin"),
    ],
)
def test_a_wrong_origin_is_told_at_the_start_with_what_is_wrong(value: str, problem: str) -> None:
    with pytest.raises(settings.SettingInvalid, match=rf"^ALLOWED_ORIGINS .*{problem}.*: put origins"):
        settings.load(PRODUCTION | {"ALLOWED_ORIGINS": value})
