"""The whole journey, embedded and on real parts, and what is found of its secrets afterwards."""

import contextlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests import processes
from tests.journey import Inbox, Journey
from tests.parts import Parts, apis, dump
from tests.processes import Process
from tests.servers import otlp
from tests.servers.ports import free_port
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


# Of people, and not secret before each other, but nothing that those who look at the product from outside have to know.
PERSONAL = ("elm-street.example", "oak-street.example", "2025550143", "202 555 0143", "2025550144", "2025550100")
NAMES = ("Lovelace", "Hopper", "Elm Street Practice", "Family medicine", "Moved away")
# Port by port, as the processes say in their logs.
SERVED = re.compile(r"Metrics are served on port (\d+)")


def readings(process_list: Sequence[Process]) -> list[str]:
    """What Prometheus reads of processes, worker by worker."""
    ports = [port for process in process_list for port in SERVED.findall(process.printed())]
    assert len(set(ports)) == len(ports)
    return [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text for port in ports]


def stands_in(secret: str, content: str) -> bool:
    """Six digits are bound to occur in ids and hashes; a code stands as a word of its own."""
    if len(secret) > 6:
        return secret in content
    return any(mark in content for mark in (f"'{secret}'", f'"{secret}"', f" {secret} "))


def test_the_journey_on_real_parts_leaves_no_secret_behind(parts: Parts) -> None:
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(otlp.running())
        seen = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "500"}

        def settings() -> dict[str, str]:
            return parts.settings | seen | {"METRICS_PORT": str(free_port())}

        servers = [
            stack.enter_context(processes.serving(parts.folder, f"api{n}", "api", settings=settings()))
            for n in range(2)
        ]
        # Two processes of one command, and one of another.
        workers = [
            stack.enter_context(processes.started(parts.folder, f"worker{n}", *command, settings=settings()))
            for n, command in enumerate((("worker", "--processes=2"), ("worker",)))
        ]
        journey = Journey([server.url for server in servers], parts.inbox)
        journey.walk()
        for path in ("/mailbox", "/mailbox.json", "/join", "/metrics"):
            assert httpx.get(f"{servers[0].url}{path}").status_code == 404
        page = httpx.get(f"{servers[0].url}/graphql", headers={"accept": "text/html"})
        assert "graphiql" not in page.text.lower()
        introspection = httpx.post(
            f"{servers[0].url}/graphql", json={"query": "{ __schema { types { name } } }"}
        ).json()
        assert introspection["errors"]
        text = dump(parts.database_url)
        written = parts.redis.everything_written().decode(errors="replace")
        of_servers, of_workers = readings(servers), readings(workers)
        for process in (*workers, *servers):  # the last spans come with the end
            assert process.stop() == 0
        traces = b"".join(collector.received).decode(errors="replace")
        spans = collector.spans
    logs = "".join(process.printed() for process in [*servers, *workers])
    code = next(secret for secret in journey.secrets if len(secret.replace("-", "").replace(" ", "")) == 10)
    assert len(journey.secrets) > 15
    metrics = "".join((*of_servers, *of_workers))
    places = {"database": text, "redis": written, "logs": logs, "metrics": metrics, "traces": traces}
    found = [
        (place, secret)
        for secret in {*journey.secrets, code.replace("-", "").replace(" ", "")}
        for place, content in places.items()
        if stands_in(secret, content)
    ]
    assert found == []
    seen_from_outside = [(place, value) for place in ("logs", "metrics", "traces") for value in (*PERSONAL, *NAMES)]
    assert [(place, value) for place, value in seen_from_outside if value in places[place]] == []
    assert "Traceback" not in logs
    assert not (parts.folder / "data").exists()
    _nothing_was_looked_for_in_vain(of_servers, of_workers, spans, logs)


def _nothing_was_looked_for_in_vain(
    of_servers: list[str], of_workers: list[str], spans: list[otlp.Span], logs: str
) -> None:
    """Metrics of every process, traces from end to end, and lines with the ids."""
    assert (len(of_servers), len(of_workers)) == (2, 3)
    sent = re.compile(r'practice_access_deliveries_total\{channel="SMS",kind="security_code",outcome="sent"\} [1-9]')
    assert any(sent.search(reading) for reading in of_workers)
    assert all("practice_access_graphql_operation_seconds_count{" in reading for reading in of_servers)
    by_trace: dict[str, set[str]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, set()).add(span.name)
    for wanted in (
        {
            "POST /graphql",
            "mutation invite",
            "transaction",
            "INSERT",
            "send invitation",
            "SMTP MAIL",
            "SMTP RCPT",
            "SMTP DATA",
        },
        {"POST /graphql", "mutation sendSecurityCode", "transaction", "send security_code", "carrier Messages"},
    ):
        assert any(wanted <= names for names in by_trace.values()), wanted
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    asked = {line["request_id"] for line in lines if line.get("fields") == "invite"}
    sent_for = {
        line["request_id"] for line in lines if line.get("kind") == "invitation" and line["event"] == "Delivery sent"
    }
    assert asked == sent_for != set()


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
