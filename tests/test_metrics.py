"""What Prometheus reads: of the outbox, of messages, of operations; where, and what when the database is away."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli import workers
from domain import database, delivery_reports, outbox, scraping, settings
from domain.models.columns import DeliveryStatus
from domain.settings import SettingInvalid
from tests.conftest import TEST_KEYS, Clock, database_url
from tests.servers import smtp
from tests.servers.ports import free_port
from tests.test_delivery import relaying, until
from tests.test_webhooks import a_text
from tests.world import World, document
from workers import exposition, housekeeping
from workers.housekeeping import Job

ADMIN = "ada@elm.example"

Labels = frozenset[tuple[str, str]]


class Reading:
    """One reading of the metrics: `reading("name", label="value")`; 0 for a series that there is not."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.values.get((f"practice_access_{name}", frozenset(labels.items())), 0.0)


class Site:
    """A process's metrics, over HTTP."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/metrics"

    async def read(self) -> Reading:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = await client.get(self.url)
        assert answer.status_code == 200
        return Reading(answer.text)

    async def until(self, name: str, **labels: str) -> Reading:
        """Read until a series is not 0."""
        async with asyncio.timeout(60):
            while True:
                reading = await self.read()
                if reading(name, **labels):
                    return reading


@contextlib.asynccontextmanager
async def exposing(port: int = 0, ports: int = 1) -> AsyncIterator[Site]:
    """This process's metrics; each reading looks anew."""
    values = {"METRICS_PORT": str(port or free_port()), "SECRET_KEYS": ",".join(TEST_KEYS)}
    loaded = settings.load(values)
    with exposition.exposed(loaded, ports=exposition.ports_of_worker(loaded, 0)[:ports]) as found:
        assert found is not None
        yield Site(found)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scraping, "FRESH_SECONDS", -1.0)
    yield
    scraping.watch_budgets(None)
    scraping.watch_breakers(None)


async def test_what_waits_and_since_when_is_there_to_be_seen(world: World, clock: Clock) -> None:
    async with exposing() as site:
        before = await site.read()
        assert before("deliveries_waiting", channel="EMAIL", kind="verify_email", status="queued") == 0
        assert before("delivery_oldest_waiting_seconds", channel="EMAIL", kind="verify_email") == 0
        await world.sign_up("Elm", ADMIN)
        await clock.forward(minutes=2)
        await world.sign_up("Oak", "admin@oak.example")
        after = await site.read()
    assert after("deliveries_waiting", channel="EMAIL", kind="verify_email", status="queued") == 2
    assert 120 <= after("delivery_oldest_waiting_seconds", channel="EMAIL", kind="verify_email") < 200
    assert after("delivery_oldest_waiting_seconds", channel="SMS", kind="security_code") == 0
    assert after("database_answers") == 1
    assert after("database_pool_size") >= after("database_pool_connections", state="used") >= 0


async def test_what_became_of_each_message_is_counted_and_timed(world: World, tmp_path: Path) -> None:
    mail = {"channel": "EMAIL", "kind": "verify_email"}
    async with exposing() as site:
        before = await site.read()
        with smtp.running() as sink:
            sink.answer_recipient = lambda address: "550 5.1.1 unknown" if address.startswith("never") else None
            for address in (ADMIN, "never@elm.example"):
                await world.sign_up("Elm", address)
            async with relaying(tmp_path, SMTP_URL=sink.url):
                await until(DeliveryStatus.SENT)
                await until(DeliveryStatus.BOUNCED)
                during = await site.read()
        after = await site.read()
    for outcome in ("sent", "bounced"):
        assert (
            after("deliveries_total", **mail, outcome=outcome)
            == before("deliveries_total", **mail, outcome=outcome) + 1
        )
    took = "delivery_accepted_seconds"
    assert after(f"{took}_count", **mail) == before(f"{took}_count", **mail) + 1
    assert after(f"{took}_sum", **mail) > before(f"{took}_sum", **mail)
    assert during("breaker", breaker="mail relay", state="closed") == 1
    assert during("breaker", breaker="mail relay", state="open") == 0
    assert not any(name == "practice_access_breaker" for name, _ in after.values)


async def test_a_relay_that_is_left_alone_shows(world: World, tmp_path: Path) -> None:
    await world.sign_up("Elm", ADMIN)
    async with exposing() as site, relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{free_port()}?tls=none"):
        await until(DeliveryStatus.RETRYING)
        reading = await site.until("breaker", breaker="mail relay", state="open")
        assert reading("breaker", breaker="mail relay", state="closed") == 0


async def test_what_is_called_back_is_counted_when_that_is_committed(world: World) -> None:
    await world.sign_up("Elm", ADMIN)
    (row,) = await database.fetch("SELECT subject_id FROM deliveries")
    labels = {"channel": "EMAIL", "kind": "verify_email", "outcome": "canceled"}
    async with exposing() as site:
        before = (await site.read())("deliveries_total", **labels)
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction():
                await outbox.cancel(subject_id=row["subject_id"], reason="a try")
                raise ZeroDivisionError
        assert (await site.read())("deliveries_total", **labels) == before
        async with database.transaction():
            assert await outbox.cancel(subject_id=row["subject_id"], reason="for good") == 1
        assert (await site.read())("deliveries_total", **labels) == before + 1


async def test_what_a_carrier_tells_later_is_counted_once(world: World) -> None:
    delivery_id = await a_text(world, world.mail)
    async with exposing() as site:
        before = (await site.read())("delivery_reports_total", report="failed")
        for _ in range(2):
            await delivery_reports.take(delivery_id, DeliveryStatus.FAILED, "The phone is switched off.")
        assert (await site.read())("delivery_reports_total", report="failed") == before + 1


async def test_operations_are_counted_by_what_came_of_them(world: World) -> None:
    async def ended(site: Site) -> dict[tuple[str, str], float]:
        reading = await site.read()
        names = [("query", "answered"), ("mutation", "refused"), ("query", "denied"), ("none", "invalid")]
        return {
            (kind, outcome): reading("graphql_operation_seconds_count", type=kind, outcome=outcome)
            for kind, outcome in names
        }

    async with exposing() as site:
        before, refusals = await ended(site), (await site.read())("refusals_total", refusal="LinkInvalid")
        await world.api.post("query Ada_elm_example { viewer { id } }")
        await world.api.do("verifyEmail", {"token": "nonsense"})
        await world.api.post("{ practice { id } }")
        await world.api.post("{ ada_elm_example }")
        after = await ended(site)
        reading = await site.read()
    assert {key: after[key] - before[key] for key in after} == dict.fromkeys(after, 1)
    assert reading("refusals_total", refusal="LinkInvalid") == refusals + 1
    assert reading("http_responses_total", route="/graphql", status="200") >= 4
    assert "elm_example" not in reading.text


async def test_what_a_client_does_wrong_is_no_failure_of_ours(world: World) -> None:
    def failed(reading: Reading) -> float:
        return sum(
            value
            for (name, labels), value in reading.values.items()
            if name == "practice_access_graphql_operation_seconds_count" and ("outcome", "failed") in labels
        )

    async with exposing() as site:
        before = await site.read()
        await world.api.client.post("/graphql", json={})
        await world.api.client.get("/graphql", params={"query": document("signUp")})
        await world.api.client.post("/graphql", content=b"nonsense", headers={"content-type": "application/json"})
        after = await site.read()
    assert failed(after) == failed(before)
    count = "graphql_operation_seconds_count"
    assert after(count, type="none", outcome="invalid") >= before(count, type="none", outcome="invalid") + 2


async def test_paths_of_the_clients_own_make_no_series(world: World) -> None:
    async with exposing() as site:
        for path in ("/ada@elm.example", "/graphql2", "/metrics"):
            assert (await world.api.client.get(path)).status_code == 404
        reading = await site.read()
    assert reading("http_responses_total", route="other", status="404") >= 3
    assert "graphql2" not in reading.text


async def test_no_label_tells_an_id_an_address_or_a_name(world: World) -> None:
    async with exposing() as site:
        practice = await world.practice()
        await world.invite(practice, "grace@elm.example")
        text = (await site.read()).text
    for value in (practice.administrator.email, "grace", practice.administrator.phone, practice.practice_access_code):
        assert value not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{32}", text)


async def test_the_schedule_shows_when_it_last_did_what_it_ought_to(db: None) -> None:
    async def work() -> None:
        await database.now()

    async def fail() -> None:
        raise ConnectionError

    run = asyncio.create_task(housekeeping.run([Job("do", work, 3600.0), Job("fail", fail, 60.0)], first_seconds=0.01))
    async with exposing() as site:
        await site.until("job_runs_total", task="do", outcome="done")
        reading = await site.until("job_runs_total", task="fail", outcome="failed")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert reading("job_interval_seconds", task="do") == 3600
    assert reading("job_done_timestamp_seconds", task="do") > reading("job_done_timestamp_seconds", task="fail") > 0
    assert reading("job_runs_total", task="fail", outcome="done") == 0


async def test_a_database_that_does_not_answer_costs_its_own_figures_alone(world: World, server_url: str) -> None:
    (row,) = await database.fetch("SELECT current_database() AS name")
    other = await asyncpg.connect(database_url(server_url, row["name"]))
    try:
        async with exposing() as site:
            async with other.transaction():
                await other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
                held = await site.read()
            free = await site.read()
    finally:
        await other.close()
    assert held("database_answers") == 0
    assert held("database_pool_size") == free("database_pool_size") > 0
    assert not any(name == "practice_access_deliveries_waiting" for name, _ in held.values)
    assert free("database_answers") == 1
    assert any(name == "practice_access_deliveries_waiting" for name, _ in free.values)


async def test_whoever_reads_often_does_not_load_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "FRESH_SECONDS", 3600.0)
    async with exposing() as site:
        first = await asyncio.gather(*(site.read() for _ in range(5)))
        await world.sign_up("Elm", ADMIN)
        second = await site.read()
    monkeypatch.setattr(scraping, "FRESH_SECONDS", -1.0)
    async with exposing() as site:
        third = await site.read()
    waiting = [
        one("deliveries_waiting", channel="EMAIL", kind="verify_email", status="queued")
        for one in (*first, second, third)
    ]
    assert waiting == [0, 0, 0, 0, 0, 0, 1]


async def test_budgets_show_where_somebody_tells_of_them(db: None) -> None:
    async def look() -> dict[str, float]:
        return {"codes": 0.75}

    async with exposing() as site:
        assert "practice_access_budget_used_ratio{" not in (await site.read()).text
        scraping.watch_budgets(look)
        assert (await site.read())("budget_used_ratio", budget="codes") == 0.75


async def test_without_their_port_there_are_no_metrics(world: World) -> None:
    with exposition.exposed(settings.load({"SECRET_KEYS": ",".join(TEST_KEYS)})) as port:
        assert port is None
    assert (await world.api.client.get("/metrics")).status_code == 404


async def test_processes_that_start_together_have_ports_beside_each_other(db: None) -> None:
    port = free_port()
    async with exposing(port, ports=64) as first, exposing(port, ports=64) as second:
        assert first.url != second.url
        assert (await second.read())("database_answers") == 1


async def test_a_port_that_is_taken_is_told_in_one_line(db: None) -> None:
    port = free_port()
    values = {"METRICS_PORT": str(port), "SECRET_KEYS": ",".join(TEST_KEYS)}
    async with exposing(port):
        with (
            pytest.raises(SettingInvalid, match=r"^METRICS_PORT cannot be listened on"),
            workers.exposed(settings.load(values)),
        ):
            pytest.fail("it was taken")
