"""The development mailbox and the pages around it: what is put in comes out, in order, to whoever asks for it, and to no other site."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from graphql import OperationDefinitionNode, build_schema, get_variable_values, parse, validate
from starlette.applications import Starlette

from domain import mailbox
from domain.models.columns import Channel
from graph import ide
from graph.schema import printed
from workers.messages import PATHS

MOMENT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
PAGES = ["/mailbox", "/verify-email", "/join", "/reset-password", "/confirm-email", "/stop-change"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "mailbox"


@pytest_asyncio.fixture
async def browser(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Starlette(routes=ide.routes(folder)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


def put_mail(
    folder: Path, to: str = "Ada@Clinic.example", subject: str = "Hello", html: str | None = "<p>Hi</p>"
) -> None:
    mailbox.put(
        folder, channel=Channel.EMAIL, kind="invitation", to=to, subject=subject, text="Hi", html=html, sent_at=MOMENT
    )


def put_text(folder: Path, to: str = "+12025550143") -> None:
    mailbox.put(
        folder, channel=Channel.SMS, kind="security_code", to=to, subject=None, text="123456", html=None, sent_at=MOMENT
    )


async def listed(browser: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    response = await browser.get(f"/mailbox.json{query}")
    assert response.status_code == 200
    messages: list[dict[str, Any]] = response.json()["messages"]
    return messages


def test_a_mailbox_that_nobody_wrote_to_is_empty(folder: Path) -> None:
    assert mailbox.messages(folder) == []


def test_a_message_comes_out_as_it_was_put_in(folder: Path) -> None:
    somewhere = timezone(timedelta(hours=-5))
    mailbox.put(
        folder,
        channel=Channel.VOICE,
        kind="security_code",
        to="+12025550143",
        subject=None,
        text="Zoë: 1, 2, 3 — \u202e",
        html=None,
        sent_at=MOMENT.astimezone(somewhere),
    )
    (message,) = mailbox.messages(folder)
    assert (message.channel, message.kind, message.to, message.subject) == (
        Channel.VOICE,
        "security_code",
        "+12025550143",
        None,
    )
    assert (message.text, message.html, message.sent_at) == ("Zoë: 1, 2, 3 — \u202e", None, MOMENT)
    assert message.sent_at.tzinfo == UTC


def test_the_newest_five_hundred_are_kept_newest_first(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(mailbox.KEPT):
        (folder / f"{number:032x}.json").write_text("{}")
    put_mail(folder, subject="The latest")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == mailbox.KEPT
    assert names[0] == f"{1:032x}.json"
    assert json.loads((folder / names[-1]).read_text())["subject"] == "The latest"


def test_a_message_that_is_still_being_written_is_not_seen(folder: Path) -> None:
    put_mail(folder)
    (folder / ".ffff.unfinished").write_text('{"to": "half')
    assert len(mailbox.messages(folder)) == 1


def test_only_what_came_after_an_id_is_read(folder: Path) -> None:
    put_mail(folder, subject="First")
    (first,) = mailbox.messages(folder)
    (folder / f"{first.id[:-1]}!.json").write_text("not read, since it sorts before the first")
    later = f"{int(first.id, 16) + 1:032x}"
    (folder / f"{later}.json").write_text((folder / f"{first.id}.json").read_text().replace(first.id, later))
    assert [message.id for message in mailbox.messages(folder, after=first.id)] == [later]


async def test_the_json_twin_has_the_documented_shape(folder: Path, browser: httpx.AsyncClient) -> None:
    put_mail(folder)
    (message,) = await listed(browser)
    assert re.fullmatch(r"[0-9a-f]{32}", message.pop("id"))
    assert message == {
        "channel": "EMAIL",
        "kind": "invitation",
        "from": None,
        "to": "Ada@Clinic.example",
        "subject": "Hello",
        "text": "Hi",
        "html": "<p>Hi</p>",
        "sentAt": "2026-11-23T09:30:00+00:00",
    }


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ("ada@clinic.example", 1),
        ("ADA@CLINIC.EXAMPLE", 1),
        ("clinic.example", 0),
        ("%2B12025550143", 1),
        ("+12025550143", 1),  # unescaped, as typed behind curl
        ("12025550143", 0),
        ("%2B1202555014", 0),
        ("", 0),
    ],
)
async def test_the_recipient_filter_takes_whole_addresses_only(
    folder: Path, browser: httpx.AsyncClient, to: str, found: int
) -> None:
    put_mail(folder)
    put_text(folder)
    assert len(await listed(browser)) == 2
    assert len(await listed(browser, f"?to={to}")) == found


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_kept_from_other_sites_and_caches(browser: httpx.AsyncClient, path: str) -> None:
    response = await browser.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert ide.HEADERS.items() <= {name.title(): value for name, value in response.headers.items()}.items()
    assert (await browser.post(path)).status_code == 405


@pytest.mark.parametrize("path", PAGES[1:])
@pytest.mark.parametrize(
    "end", ["%23token=abc", "%2523token%3Dabc", "%252523token=abc", "/%23token=abc.", "?token=abc", "?x=1"]
)
async def test_a_link_whose_fragment_became_part_of_the_path_leads_to_the_same_page(
    browser: httpx.AsyncClient, path: str, end: str
) -> None:
    response = await browser.get(path + end)
    assert (response.status_code, response.text) == (200, (await browser.get(path)).text)
    assert "abc" not in response.text + str(response.headers)
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/joiner", "/join/us", "/join%25token=abc", "/verify-emails", "/joi%23token=abc"])
async def test_no_other_path_is_taken_for_a_link(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404


def test_every_link_in_an_e_mail_leads_to_a_page_that_opens_a_tab() -> None:
    here = Path(ide.__file__).parent
    landing = (here / "assets" / "landing.js").read_text()
    tabs = dict(re.findall(r"'(/[a-z-]+)': \{.*?\btab: '(\w+)'", landing, re.DOTALL))
    assert set(tabs) == {f"/{path}" for path in PATHS.values()}
    assert set(tabs) <= set(PAGES)
    steps = {path.stem.partition("-")[2] for path in (here / "source" / "steps").glob("*.graphql")}
    assert set(tabs.values()) <= steps
    opened = re.findall(r"opens: '(\w+)'", (here / "source" / "journey.js").read_text())
    assert sorted(tabs.values()) == sorted(opened), "journey.js remembers each link's token"


def test_the_policy_names_no_other_origin() -> None:
    policy = ide.HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    assert ide.HEADERS["Cache-Control"] == "no-store"
    assert ide.HEADERS["X-Content-Type-Options"] == "nosniff"
    assert ide.HEADERS["Referrer-Policy"] == "no-referrer"


async def test_the_json_twin_is_never_cached(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/mailbox.json")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_every_page_brings_its_own_scripts_and_styles(browser: httpx.AsyncClient) -> None:
    pages = [ide.page(), *[(await browser.get(path)).text for path in PAGES]]
    used = {address for page in pages for address in re.findall(r'(?:src|href)="(/graphql/ide/[^"]+)"', page)}
    assert "/graphql/ide/static/main.js" in used
    for page in pages:
        assert "//" not in page.replace("<!--", "")
        assert not re.search(r"<script>|<style|\son\w+=", page)
    for address in used:
        response = await browser.get(address)
        assert response.status_code == 200, address
        assert response.headers["content-type"].partition(";")[0] in {"text/javascript", "text/css", "image/svg+xml"}
        assert response.headers["cache-control"] == "no-cache"
        unchanged = await browser.get(address, headers={"if-none-match": response.headers["etag"]})
        assert unchanged.status_code == 304


@pytest.mark.parametrize("path", ["..%2fsite.py", "../site.py", "%2e%2e/pages/mailbox.html", "", "missing.js"])
async def test_nothing_but_the_files_of_the_site_is_served(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(f"/graphql/ide/assets/{path}")).status_code == 404
    assert (await browser.get(f"/graphql/ide/static/{path}")).status_code == 404


def test_the_bundle_is_built_from_the_source_as_it_is() -> None:
    source = Path(ide.__file__).parent / "source"
    files = [path for path in source.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    names = [path.relative_to(source).as_posix() for path in files]
    digest = hashlib.sha256()
    for name in sorted([*names, "../assets/messages.js"]):
        digest.update((source / name).read_bytes())
    built_from = (source.parent / "static" / "built-from.sha256").read_text()
    assert built_from == digest.hexdigest() + "\n", "run npm run build in graph/ide/source"


def test_every_tab_of_the_ide_holds_a_valid_operation() -> None:
    schema = build_schema(printed())
    steps = sorted((Path(ide.__file__).parent / "source" / "steps").glob("*.graphql"))
    assert steps
    for step in steps:
        document = parse(step.read_text())
        assert validate(schema, document) == [], step.name
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        assert operation.name
        assert step.stem.endswith(f"-{operation.name.value}")
        given = json.loads(step.with_suffix(".json").read_text()).get("variables", {})
        problems = get_variable_values(schema, operation.variable_definitions or (), given)
        assert not isinstance(problems, list), (step.name, problems)


def test_the_bundle_asks_no_other_site_for_anything() -> None:
    static = Path(ide.__file__).parent / "static"
    for path in [*static.rglob("*.js"), *static.rglob("*.css")]:
        fetched = re.findall(
            r'(?:importScripts|import|fetch|url|new Worker|@import)\(?\s*["\'(]?https?://[^"\')]+', path.read_text()
        )
        assert fetched == [], path.name
    assert not list(static.rglob("*.map"))
    assert "monaco-editor" in (static / "licenses.txt").read_text()
