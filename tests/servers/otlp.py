"""A collector of OpenTelemetry traces that speaks OTLP over HTTP.

with otlp.running() as collector:
    collector.url                       # OTEL_EXPORTER_OTLP_ENDPOINT
    collector.spans                     # everything that came, as `Span`
    collector.received                  # the bodies as they came, for whoever looks for what must not be in them
"""

import contextlib
import gzip
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.servers.web import serving


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as far as tests look at it. parent_id: empty for a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    is_error: bool
    attributes: Mapping[str, str]


class Collector:
    """The server's memory."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[bytes] = []
        self._spans: list[Span] = []
        self._arrival = threading.Condition()

    @property
    def spans(self) -> list[Span]:
        """Everything that came so far."""
        with self._arrival:
            return list(self._spans)

    def wait_for(self, names: set[str], seconds: float = 60) -> list[Span]:
        """Block until a span of each name came. Raises TimeoutError."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: names <= {span.name for span in self._spans}, seconds):
                raise TimeoutError(f"no {names - {span.name for span in self._spans}} in {seconds} s")
            return list(self._spans)

    async def take(self, request: Request) -> Response:
        """`POST /v1/traces`."""
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        with self._arrival:
            self.received.append(body)
            self._spans += _spans(message)
            self._arrival.notify_all()
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")


def _spans(message: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in message.resource_spans:
        resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    resource.get("service.name", ""),
                    span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes},
                )


@contextlib.contextmanager
def running() -> Iterator[Collector]:
    """A collector while the block runs."""
    collector = Collector()
    with serving(Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])])) as url:
        collector.url = url
        yield collector
