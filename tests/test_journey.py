"""The whole journey, embedded and on real parts, and what is found of its secrets afterwards."""

import contextlib
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests import processes
from tests.journey import Inbox, Journey
from tests.parts import Parts, apis, dump
from tests.world import document


def mailbox(url: str) -> Inbox:
    """An inbox that reads the development mailbox."""

    def texts(recipient: str) -> list[str]:
        answer = httpx.get(f"{url}/mailbox.json", params={"to": recipient}, timeout=10)
        return [message["text"] for message in answer.json()["messages"]]

    return texts


def test_the_journey_embedded(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data"), "LOG_LEVEL": "debug"}
    with processes.serving(tmp_path, "dev", "dev", settings=settings) as server:
        journey = Journey([server.url], mailbox(server.url))
        journey.walk()
        page = httpx.get(f"{server.url}/graphql", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "graphiql" in page.text.lower()
        assert httpx.get(f"{server.url}/mailbox").status_code == 200
        assert server.stop() == 0
    for secret in journey.secrets:
        assert secret not in server.printed()
    with processes.serving(tmp_path, "again", "dev", settings=settings) as server:
        messages = httpx.get(f"{server.url}/mailbox.json").json()["messages"]
        assert messages, "the mailbox survives a restart"


def test_the_journey_on_real_parts_leaves_no_secret_behind(parts: Parts) -> None:
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(apis(parts, 2))
        workers = [
            stack.enter_context(processes.started(parts.folder, f"worker{n}", "worker", settings=parts.settings))
            for n in range(2)
        ]
        journey = Journey([server.url for server in servers], parts.inbox)
        journey.walk()
        for path in ("/mailbox", "/mailbox.json", "/join"):
            assert httpx.get(f"{servers[0].url}{path}").status_code == 404
        page = httpx.get(f"{servers[0].url}/graphql", headers={"accept": "text/html"})
        assert "graphiql" not in page.text.lower()
        introspection = httpx.post(
            f"{servers[0].url}/graphql", json={"query": "{ __schema { types { name } } }"}
        ).json()
        assert introspection["errors"]
        text = dump(parts.database_url)
        written = parts.redis.everything_written().decode(errors="replace")
    logs = "".join(process.printed() for process in [*servers, *workers])
    code = next(secret for secret in journey.secrets if len(secret.replace("-", "").replace(" ", "")) == 10)
    assert len(journey.secrets) > 15
    for secret in {*journey.secrets, code.replace("-", "").replace(" ", "")}:
        for place, content in (("database", text), ("redis", written), ("logs", logs)):
            # Six digits are bound to occur in ids and hashes; a code stands as a word of its own.
            found = (
                f"{secret}" in content
                if len(secret) > 6
                else any(mark in content for mark in (f"'{secret}'", f'"{secret}"', f" {secret} "))
            )
            assert not found, (place, secret)
    assert "Traceback" not in logs
    assert not (parts.folder / "data").exists()


def test_all_arrive_when_the_only_worker_is_killed_in_the_middle(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    with apis(parts, 1) as [server]:
        with processes.started(parts.folder, "worker", "worker", settings=parts.settings) as first:
            journey = Journey([server.url], parts.inbox)
            journey.walk()
            session = next(
                result for result in reversed(journey.sessions) if result["user"]["accessLevel"] == "ADMINISTRATOR"
            )["sessionToken"]
            before = len(parts.smtp.received)
            parts.smtp.delay_seconds = 0.02
            rows = [
                {"firstName": "Pat", "lastName": f"N{n}", "email": f"pat{n}@many.example", "accessLevel": "BILLING"}
                for n in range(200)
            ]
            answer = httpx.post(
                f"{server.url}/graphql",
                json={"query": document("invite"), "variables": {"input": {"users": rows}}},
                headers={"authorization": f"Bearer {session}"},
                timeout=30,
            )
            assert answer.json()["data"]["invite"]["invitedCount"] == 200
            parts.smtp.wait_for(before + 60)
            first.kill()
        with processes.started(parts.folder, "worker2", "worker", settings=parts.settings):
            addresses = {f"pat{n}@many.example" for n in range(200)}
            _wait_for_all(parts, addresses)
    copies = Counter(recipient for one in parts.smtp.received for recipient in one.recipients if recipient in addresses)
    twice = sum(count > 1 for count in copies.values())
    with capsys.disabled():
        sys.stdout.write(f"\n200 invitations, worker killed in the middle: all arrived, {twice} of them twice\n")
    for address in addresses:
        ids = {message["message-id"] for message in parts.smtp.sent_to(address)}
        assert len(ids) == 1


def _wait_for_all(parts: Parts, addresses: set[str]) -> None:
    count = 0
    while addresses - {recipient for one in parts.smtp.received for recipient in one.recipients}:
        count = len(parts.smtp.received)
        parts.smtp.wait_for(count + 1, seconds=400)
