"""What is told to operators of each operation: its kind, the schema's own names of its root fields, how it ended and how long it took.

Never its name, its document or its variables: they are the client's, and without bounds.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphql import DocumentNode, FieldNode, OperationDefinitionNode, SelectionSetNode
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionResult

from domain import metrics, tracing
from graph.masking import BAD_INPUT, INTERNAL, TOO_COMPLEX

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

MAX_FIELDS = 5  # in a span's name and in a line of the log; operations that ask for more at once are rare


@dataclass(slots=True)
class Operation:
    """One that is under way. type: "none" until it is known to be one that the schema has."""

    type: str = "none"
    fields: tuple[str, ...] = ()
    refusal: str | None = None
    outcome: str = "failed"

    def end(self, result: ExecutionResult) -> None:
        """How it ended, as the client will read it."""
        codes = {(error.extensions or {}).get("code") for error in result.errors or ()}
        if INTERNAL in codes:
            self.outcome = "failed"
        elif codes & {BAD_INPUT, TOO_COMPLEX}:
            self.outcome = "invalid"
        elif codes:
            self.outcome = "denied"
        else:
            self.outcome = "refused" if self.refusal else "answered"


_current: ContextVar[Operation | None] = ContextVar("operation", default=None)


@contextmanager
def observed(invalid: type[Exception]) -> Iterator[Operation]:
    """Watch one operation, from its document to its answer. Whoever opens this calls `end` on what it gives.

    invalid: what is raised for a request that cannot be asked so. Clients can bring that about, and hang up: neither is a failure.
    """
    operation, began_at = Operation(), time.perf_counter()
    token = _current.set(operation)
    try:
        with tracing.span("GraphQL") as span:
            yield operation
            _name(span, operation)
    except invalid:
        operation.outcome = "invalid"
        raise
    except asyncio.CancelledError:
        operation.outcome = "abandoned"
        raise
    except Exception:
        operation.outcome = "failed"
        raise
    finally:
        _current.reset(token)
        seconds = time.perf_counter() - began_at
        metrics.OPERATIONS.labels(operation.type, operation.outcome).observe(seconds)
        _log(operation, seconds)


def _name(span: "Span | None", operation: Operation) -> None:
    if span is None:
        return
    span.update_name(" ".join([operation.type, *operation.fields[:MAX_FIELDS]]))
    span.set_attributes({"graphql.operation.type": operation.type, "graphql.outcome": operation.outcome})
    if operation.outcome == "failed":
        tracing.failed(span, operation.outcome)


def _log(operation: Operation, seconds: float) -> None:
    if logger.isEnabledFor(logging.INFO):
        extra: dict[str, object] = {
            "operation": operation.type,
            "fields": " ".join(operation.fields[:MAX_FIELDS]),
            "outcome": operation.refusal or operation.outcome,
            "seconds": round(seconds, 4),
        }
        logger.info("Operation %s", operation.outcome, extra=extra)


def announce(refusals: Iterable[str]) -> None:
    """Show these types in the metrics before the first such refusal: a rate is only seen between two values."""
    for refusal in refusals:
        metrics.REFUSALS.labels(refusal)
    for kind in ("query", "mutation"):
        for outcome in ("answered", "refused", "denied", "invalid", "failed"):
            metrics.OPERATIONS.labels(kind, outcome)


def refused(refusal: str) -> None:
    """Note that the operation under way is answered with a refusal. refusal: the name of its type."""
    metrics.REFUSALS.labels(refusal).inc()
    operation = _current.get()
    if operation is not None:
        operation.refusal = refusal


class Named(SchemaExtension):
    """Notes what an operation is, once it is known to fit the schema: its fields' names are the schema's then."""

    def on_execute(self) -> Iterator[None]:
        """Called after validation, and only for what passed it."""
        operation, document = _current.get(), self.execution_context.graphql_document
        if operation is not None and document is not None:
            operation.type = self.execution_context.operation_type.value
            operation.fields = _root_fields(document, self.execution_context.operation_name)
        yield


def _root_fields(document: DocumentNode, name: str | None) -> tuple[str, ...]:
    """The names of its root fields that stand in the operation itself; those in fragments stay unnamed."""
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    for operation in operations:
        if len(operations) == 1 or (operation.name and operation.name.value == name):
            return tuple(sorted(set(_names(operation.selection_set))))
    return ()


def _names(selection_set: SelectionSetNode) -> Iterator[str]:
    for selection in selection_set.selections:
        if isinstance(selection, FieldNode):
            yield selection.name.value
