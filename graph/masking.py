"""What a client is told when something goes wrong, and what the log is told.

Strawberry's own masking does not see what is raised while a document is validated. This one comes last, when an answer
leaves the schema.
"""

import contextlib
import logging
import re
import secrets
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from graphql import FieldNode, GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionResult
from strawberry.types.execution import StreamExecutionResult

from domain import connection_limits, database
from graph.scalars import written

logger = logging.getLogger(__name__)

BAD_INPUT = "BAD_USER_INPUT"
TOO_COMPLEX = "OPERATION_TOO_COMPLEX"
INTERNAL = "INTERNAL_SERVER_ERROR"
RATE_LIMITED = "RATE_LIMITED"

TOO_MUCH_TO_DO = "There is too much to do right now. Try again in a moment."
COLLIDED = "Others change the same at this moment, and nothing was done. Try again."
MASK = "Something went wrong on our side."
MAX_LOGGED_CAUSES = 5

Translate = Callable[[BaseException], GraphQLError | None]

_SUGGESTION = re.compile(r" Did you mean [^?]*\?")
# The parts of graphql-core's and Strawberry's messages that repeat what was sent: a whole input, with a password in it.
_ECHOES = (
    (re.compile(r"(?:, but encountered error '|,? found: | Found: ).*", re.DOTALL), ""),
    (re.compile(r"( cannot represent [^:]*): .*", re.DOTALL), r"\1"),
    (re.compile(r"\bValue '.*' does not exist in ", re.DOTALL), "This value does not exist in "),
)
# graphql-core's own limits, which it reports as any other error.
_OWN_LIMITS = re.compile(r"contains more than \d+ tokens|nested too deeply|Validation aborted|introspection depth")


class Rewording(SchemaExtension):
    """Puts errors into words meant for clients: refusals translated, no hints at names where they are not wanted."""

    def __init__(self, translate: Translate, *, suggestions: bool) -> None:
        super().__init__()
        self._translate = translate
        self._suggestions = suggestions

    def on_operation(self) -> Iterator[None]:
        """Reword the answer once it is there."""
        yield
        self._reword(self.execution_context.result)

    def on_stream_result(self, result: StreamExecutionResult) -> Iterator[None]:
        """Reword one answer of a stream."""
        self._reword(result)
        yield

    def _reword(self, result: Any) -> None:
        if errors := getattr(result, "errors", None):
            result.errors = [self._reworded(error) for error in errors]  # a new list: the old one may be a cache's

    def _reworded(self, error: GraphQLError) -> GraphQLError:
        cause = _cause(error)
        translated = self._translate(cause) if cause else None
        if translated:
            return _like(error, translated.message, translated.extensions or {})
        if self._suggestions or _is_hidden(error):
            return error
        return _like(error, _SUGGESTION.sub("", error.message), error.extensions or {})


def has_collided(result: ExecutionResult) -> bool:
    """Whether the only reason why an operation failed is that the database undid it in favour of another."""
    return bool(result.errors) and all(database.is_collision(_cause(error)) for error in result.errors or ())


def told(result: ExecutionResult) -> ExecutionResult:
    """An answer with its errors as a client may see them: each with an `extensions.code`, masked where need be."""
    if result.errors:
        result.errors = [_told(error) for error in result.errors]
    return result


async def told_one_by_one(results: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """The answers of a stream, each as `told`."""
    async with contextlib.aclosing(results):
        async for result in results:
            yield told(result)


def incident(exception: BaseException, where: str) -> GraphQLError:
    """Log an exception under a new id, and give the error that tells a client no more than this id.

    Logged are types and places only. The texts of exceptions, values and documents are not: drivers and the ORM put the
    values of a statement into their messages.
    """
    incident_id = secrets.token_hex(6)
    logger.error("Incident %s in %s: %s", incident_id, where, _outline(exception))
    return GraphQLError(MASK, extensions={"code": INTERNAL, "incidentId": incident_id})


def _told(error: GraphQLError) -> GraphQLError:
    if database.is_collision(_cause(error)):
        logger.warning("Acts collided again and again in %s", _where(error))
        return _like(error, COLLIDED, {"code": RATE_LIMITED, "retryAt": _in(1)})
    if database.has_hit_a_limit(_cause(error)):
        logger.warning(
            "A limit of the database connection ended %s: %s", _where(error), _outline(_cause(error) or error)
        )
        return _like(error, TOO_MUCH_TO_DO, dict(_later().extensions or {}))
    if _is_hidden(error):
        masked = incident(_cause(error) or error, _where(error))
        return _like(error, masked.message, masked.extensions or {})
    extensions = error.extensions or {}
    if "code" in extensions:
        return _like(error, error.message, extensions)
    code = TOO_COMPLEX if _OWN_LIMITS.search(error.message) else BAD_INPUT
    return _like(error, _without_echo(error.message), {**extensions, "code": code})


def failure(exception: Exception) -> GraphQLError:
    """What a client is told of a request that failed outside its operation, such as while its session was looked up."""
    if database.has_hit_a_limit(exception):
        logger.warning("A limit of the database connection ended a request: %s", _outline(exception))
        return _later()
    return incident(exception, "a request")


def _later() -> GraphQLError:
    """What stands in the way is gone when the server has ended the transaction of whoever holds it and does nothing."""
    retry_at = _in(connection_limits.IDLE_IN_TRANSACTION_SECONDS)
    return GraphQLError(TOO_MUCH_TO_DO, extensions={"code": RATE_LIMITED, "retryAt": retry_at})


def _in(seconds: float) -> str:
    return written(datetime.now(UTC) + timedelta(seconds=seconds))


def _is_hidden(error: GraphQLError) -> bool:
    """Whether nobody meant a client to see this error."""
    cause = _cause(error)
    if cause is None:
        return False
    if isinstance(cause, GraphQLError):
        # In execution graphql-core reports a result that does not fit its type as a GraphQLError too, with our data in
        # the message. One that is raised on purpose has a code; one about arguments points at a place in the document.
        return error.path is not None and "code" not in (error.extensions or {}) and not cause.nodes
    # A number of 5000 digits makes `int` raise while the document is validated. That is the client's doing.
    is_about_input = error.path is None and bool(error.nodes) and isinstance(cause, ValueError | OverflowError)
    return not is_about_input


def _cause(error: GraphQLError) -> Exception | None:
    """The exception at the bottom of an error; None when graphql-core found the error by itself."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _where(error: GraphQLError) -> str:
    node = error.nodes[0] if error.nodes else None
    # The name that the schema gives it; the path has the client's own words in it.
    return f"field {node.name.value}" if isinstance(node, FieldNode) else "an operation"


def _like(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    """The same error in other words. Not changed in place: it may belong to a cache."""
    return GraphQLError(message, error.nodes, error.source, error.positions, error.path, extensions=extensions)


def _without_echo(message: str) -> str:
    for pattern, replacement in _ECHOES:
        message = pattern.sub(replacement, message)
    return message if message.endswith((".", "?")) else f"{message}."


def _outline(exception: BaseException) -> str:
    """Types and places of an exception and of what led to it, on one line."""
    return ", because of ".join(_types_and_places(exception, MAX_LOGGED_CAUSES))


def _types_and_places(exception: BaseException | None, how_many: int) -> Iterator[str]:
    if exception is None or how_many == 0:
        return
    frames = [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(exception.__traceback__)
    ]
    kind = type(exception)
    yield f"{kind.__module__}.{kind.__qualname__} at {' > '.join(frames) or 'no place'}"
    if isinstance(exception, BaseExceptionGroup):
        for inner in exception.exceptions[:how_many]:
            yield from _types_and_places(inner, how_many - 1)
    hidden = exception.__suppress_context__
    yield from _types_and_places(exception.__cause__ or (None if hidden else exception.__context__), how_many - 1)
