"""One trace from a mutation, by way of the outbox, to the relay's answer; none where none is wanted; no harm from a collector."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain import database, tracing
from tests.processes import ROOT
from tests.servers import carrier, otlp, smtp
from tests.servers.ports import free_port
from tests.test_delivery import account as account_of
from tests.test_delivery import code_sent, relaying
from tests.test_request_ids import SIGN_UP
from tests.world import World, document

ADMIN = "ada@elm.example"


@pytest.fixture
def collector() -> Iterator[otlp.Collector]:
    with otlp.running() as server:
        yield server


@pytest.fixture
def tracer(collector: otlp.Collector) -> Iterator[otlp.Collector]:
    """Tracing in this process, to a collector of the test's own; `tracing.stop` hands everything over."""
    assert tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    yield collector
    tracing.stop()


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `tracing.start` leaves in the environment goes with the test, and so does the thread that `tracing.stop` does not wait for.

    That thread draws random numbers, which Hypothesis takes for a fault of whatever test it runs meanwhile.
    """
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_SERVICE_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    for thread in threading.enumerate():
        if thread.name == "last spans":
            thread.join(60)
            assert not thread.is_alive()


def by_name(spans: list[otlp.Span], name: str) -> otlp.Span:
    return next(span for span in spans if span.name == name)


def path_of(spans: list[otlp.Span], span: otlp.Span) -> list[str]:
    """The names from the root to this span."""
    by_id = {one.span_id: one for one in spans}
    names = [span.name]
    while span.parent_id:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names[::-1]


async def test_one_trace_goes_from_the_mutation_to_the_relays_answer(
    world: World, tracer: otlp.Collector, tmp_path: Path
) -> None:
    with smtp.running() as sink:
        await world.sign_up("Elm", ADMIN)
        async with relaying(tmp_path, SMTP_URL=sink.url):
            while not sink.sent_to(ADMIN):
                await database.now()
    tracing.stop()
    spans = tracer.spans
    data = by_name(spans, "SMTP DATA")
    names = ["POST /graphql", "mutation signUp", "transaction", "send verify_email", "SMTP DATA"]
    assert path_of(spans, data) == names
    for name in ("SMTP connect", "SMTP MAIL", "SMTP RCPT", "INSERT"):
        assert by_name(spans, name).trace_id == data.trace_id
    assert {span.service for span in spans} == {"practice-access"}
    assert by_name(spans, "POST /graphql").attributes["http.response.status_code"] == "200"
    everything = b"".join(tracer.received)
    for value in (ADMIN, "Lovelace", "+12025550100", "Family medicine"):
        assert value.encode() not in everything, value
    assert b"INSERT INTO deliveries" in everything  # statements are there, without their values


async def test_a_carriers_request_and_what_went_wrong_are_spans(
    db: None, tracer: otlp.Collector, tmp_path: Path
) -> None:
    with carrier.running() as phones:
        phones.refuse("*", 500, 20500, "Internal Server Error about +12025550143")
        with tracing.span("the mutation"):
            await code_sent()
        async with relaying(tmp_path, **account_of(phones)):
            while not await database.fetch("SELECT FROM delivery_attempts WHERE outcome = 'RETRYING'"):
                await database.now()
    tracing.stop()
    spans = tracer.spans
    sending = by_name(spans, "send security_code")
    assert path_of(spans, by_name(spans, "carrier Messages"))[:1] == ["the mutation"]
    assert sending.attributes["channel"] == "SMS"
    assert b"+12025550143" not in b"".join(tracer.received)


async def test_a_trace_that_came_along_is_gone_on_with(world: World, tracer: otlp.Collector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = await world.api.client.post("/graphql", json={"query": "{ viewer { id } }"}, headers=headers)
    assert answer.headers["x-request-id"] == trace
    await world.api.client.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"traceparent": "00-nonsense"})
    tracing.stop()
    traces = [span.trace_id for span in tracer.spans if span.name == "query viewer"]
    assert len(traces) == 2
    assert traces.count(trace) == 1


@pytest.mark.parametrize("query", ["{ viewer { id } } # ada@elm.example", "query Ada_elm_example { viewer { id } }"])
async def test_a_span_has_the_schemas_words_and_not_the_clients(
    world: World, tracer: otlp.Collector, query: str
) -> None:
    await world.api.post(query)
    await world.api.post("{ ada_elm_example }")
    tracing.stop()
    assert {"query viewer", "none"} <= {span.name for span in tracer.spans}
    assert b"lm_example" not in b"".join(tracer.received)
    assert b"elm.example" not in b"".join(tracer.received)


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    assert tracing.start(away)
    for _ in range(3):
        assert (await world.api.post("{ viewer { id } }"))["data"] == {"viewer": None}
    tracing.stop()
    assert await world.api.query("{ viewer { id } }") == {"viewer": None}
    assert "Traceback" not in caplog.text


async def test_a_span_that_fails_has_the_type_of_the_fault_and_not_its_text(
    world: World, tracer: otlp.Collector
) -> None:
    with contextlib.suppress(ValueError), tracing.span("it fails"):
        raise ValueError(ADMIN)
    await database.execute("ALTER TABLE deliveries RENAME TO deliveries_of_before")
    try:
        answer = await world.api.post(document("signUp"), {"input": SIGN_UP | {"email": ADMIN}})
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    finally:
        await database.execute("ALTER TABLE deliveries_of_before RENAME TO deliveries")
    tracing.stop()
    for name in ("it fails", "INSERT", "transaction", "mutation signUp"):
        assert any(span.is_error for span in tracer.spans if span.name == name), name
    everything = b"".join(tracer.received)
    assert b"ValueError" in everything
    assert ADMIN.encode() not in everything


OFF: list[dict[str, str]] = [
    {},
    {"OTEL_SERVICE_NAME": "access"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"},
]


def test_settings_that_opentelemetry_does_not_take_keep_nobody_from_starting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    assert not tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    assert "There are no traces" in caplog.text


@pytest.mark.parametrize("environ", OFF)
def test_without_a_collector_there_are_no_traces(environ: dict[str, str]) -> None:
    assert not tracing.start(environ)
    assert tracing.traceparent() is None
    with tracing.span("nothing") as span:
        assert span is None


def test_without_a_collector_neither_tracer_nor_exporter_is_loaded() -> None:
    # Redis's client loads OpenTelemetry's metrics, wanted or not.
    code = (
        "import sys; import cli.serve, cli.workers, workers.main; from domain import tracing; tracing.start({});"
        " print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    )
    environment: dict[str, Any] = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
