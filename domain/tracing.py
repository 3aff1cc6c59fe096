"""OpenTelemetry traces, from a request by way of the outbox to the relay's or carrier's answer.

They are off, and neither tracer nor exporter is even imported, unless the standard variables name a collector
(`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`; https://opentelemetry.io/docs/specs/otel/configuration/).
Spans hold names of this program's own, numbers and ids: no values of statements, no variables, no documents, no addresses.

What is handed over to the collector is handed over by a thread of its own, in batches, and thrown away when there is too much or the
collector is away: no request and no message ever waits for it.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE_NAME = "practice-access"
STOP_SECONDS = 3.0  # for what is still in hand when the process ends
QUIET_SECONDS = 60

SERVER, CLIENT, CONSUMER, INTERNAL = "SERVER", "CLIENT", "CONSUMER", "INTERNAL"

_NOTHING: AbstractContextManager[Any] = nullcontext()

_tracing: "_Tracing | None" = None


def start(environ: Mapping[str, str]) -> bool:
    """Begin to trace in this process, after any fork, if these settings ask for it; whether it does."""
    global _tracing  # noqa: PLW0603 -- one provider a process
    if not _is_wanted(environ):
        return False
    for name, value in environ.items():  # the library reads the environment alone, and settings may come from `.env`
        if name.startswith("OTEL_"):
            os.environ.setdefault(name, value)
    try:
        _tracing = _Tracing()
    except Exception as error:  # noqa: BLE001 -- a value that OpenTelemetry does not take is no reason not to serve
        logger.warning("There are no traces: OpenTelemetry does not take its settings (%s)", type(error).__name__)
        return False
    return True


def stop() -> None:
    """Hand over what is left, for a few seconds at most, and trace no more."""
    global _tracing
    if _tracing is not None:
        ending, _tracing = _tracing, None
        ending.stop()


def span(
    name: str, kind: str = INTERNAL, *, attributes: Attributes | None = None, parent: str | None = None
) -> AbstractContextManager["Span | None"]:
    """Time what happens in this block. parent: a `traceparent` to go on from; without one, the span that is open.

    What is raised in the block is noted by its type alone: texts of exceptions hold values.
    """
    return _NOTHING if _tracing is None else _tracing.span(name, kind, attributes, parent)


def statement(sql: str) -> AbstractContextManager[Any]:
    """Time one statement within a span that is open. sql: as this program has it, its values apart."""
    return _NOTHING if _tracing is None else _tracing.statement(sql)


def traceparent() -> str | None:
    """What carries the trace on (https://www.w3.org/TR/trace-context/#traceparent-header); None where there is none."""
    return None if _tracing is None else _tracing.traceparent()


def _is_wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    return any(environ.get(name, "").strip() for name in ENDPOINTS)


class _Tracing:
    """OpenTelemetry, imported when it is first wanted."""

    def __init__(self) -> None:
        from opentelemetry import trace  # noqa: PLC0415 -- see the class
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import SERVICE_NAME as NAME  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        # Its warnings repeat what the collector answers, and each batch that is lost is one; `_Reporting` tells once a minute.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource = Resource.create()
        if str(resource.attributes.get(NAME, "unknown_service")).startswith("unknown_service"):
            resource = resource.merge(Resource({NAME: SERVICE_NAME}))
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_reporting(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("practice-access")

    @contextmanager
    def span(self, name: str, kind: str, attributes: Attributes | None, parent: str | None) -> "Iterator[Span]":
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=self._trace.SpanKind[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield opened
            except BaseException as error:
                failed(opened, type(error).__name__)
                raise

    def statement(self, sql: str) -> AbstractContextManager[Any]:
        if not self._trace.get_current_span().get_span_context().is_valid:
            return _NOTHING  # what workers ask for each second, with nothing to do, is no trace
        words = sql.split(maxsplit=1)
        attributes = {"db.system.name": "postgresql", "db.query.text": sql}
        return self.span(words[0] if words else "SQL", CLIENT, attributes, None)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def stop(self) -> None:
        # The library waits for half a minute; a collector that is away must not hold up the end of a process.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(STOP_SECONDS)


def failed(span: "Span | None", why: str) -> None:
    """Mark a span as failed. why: a type's or an outcome's name."""
    if span is not None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 -- imported by now

        span.set_status(StatusCode.ERROR, why)


def _reporting(exporter: "SpanExporter") -> "SpanExporter":
    """An exporter that says so, once a minute, when spans are lost."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 -- see `_Tracing`

    class Reporting(SpanExporter):
        complained_at = float("-inf")

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            try:
                result = exporter.export(spans)
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with the collector, the program goes on
                return self._lost(type(error).__name__)
            return result if result is SpanExportResult.SUCCESS else self._lost("it does not take them")

        def _lost(self, why: str) -> "SpanExportResult":
            if time.monotonic() - self.complained_at > QUIET_SECONDS:
                self.complained_at = time.monotonic()
                logger.warning("Traces cannot be handed over to the collector (%s); some are lost", why)
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            exporter.shutdown()

    return Reporting()
