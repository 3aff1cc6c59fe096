"""How much one document may ask for, and which documents are remembered.

Strawberry's own limiters walk a fragment once for each place that spreads it, so that a kilobyte can keep a processor
busy for ever. Here a document is measured in one pass, before it is validated.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, NamedTuple

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
)
from strawberry.extensions import DisableIntrospection, MaxTokensLimiter, ParserCache, SchemaExtension, ValidationCache
from strawberry.types import ExecutionResult
from strawberry.types.execution import ExecutionContext

from graph.masking import TOO_COMPLEX, Rewording, Translate, has_collided, told, told_one_by_one

MAX_TOKENS = 1000
# The deepest that anyone can ask without going round in a circle is seven levels
# (`usersTile { users { edges { node { invitation { delivery { problem`); one level is left for what is to come.
MAX_DEPTH = 8
MAX_ALIASES = 15
MAX_FIELDS = 500
MAX_DIRECTIVES = 10  # in the whole document
MAX_TRIES = 3  # of an operation that collides with others in the database
CACHED_DOCUMENTS = 256  # the clients of one release have some dozens


def extensions(*, introspection: bool, translate: Translate = lambda _: None) -> list[Callable[[], SchemaExtension]]:
    """What every operation passes through, for `Schema(extensions=…)`.

    introspection: whether the schema may be asked about itself, and error messages may suggest names that it has.
    translate: gives the error that a client should see instead of an exception; None for what is to be masked.
    """
    used: list[Callable[[], SchemaExtension]] = [
        lambda: Rewording(translate, suggestions=introspection),
        lambda: MaxTokensLimiter(MAX_TOKENS),
        lambda: DocumentCache(CACHED_DOCUMENTS),
        lambda: Validation(CACHED_DOCUMENTS),
    ]
    return used if introspection else [*used, DisableIntrospection]


class Schema(strawberry.Schema):
    """A schema whose answers may leave the house: what nobody meant to tell is masked, and logged by an incident id."""

    async def execute(self, *args: Any, **kwargs: Any) -> ExecutionResult:
        """As in Strawberry; the errors are as `graph.masking` tells them.

        What collided with another act in the database was undone as a whole, and is done again: an act is one unit of work, and a
        request has one.
        """
        for attempt in range(1, MAX_TRIES + 1):
            result = await super().execute(*args, **kwargs)
            if attempt < MAX_TRIES and has_collided(result):
                await asyncio.sleep(random.uniform(0.0, 0.05 * attempt))
                continue
            break
        return told(result)

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """As in Strawberry; the errors of each answer are as `graph.masking` tells them."""
        return told_one_by_one(await super().stream(*args, **kwargs))

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing: Strawberry logs messages here, and with them what a client typed. `graph.masking` logs."""


class Size(NamedTuple):
    """How much a selection asks for; a fragment counts as often as it is spread. roots: the fields at its top."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    roots: int = 0


class Measure:
    """Measures a document. A fragment is walked once, so the work grows with the text, not with what it spells out."""

    def __init__(self, document: DocumentNode) -> None:
        self.directives = 0
        self._sizes: dict[str, Size] = {}
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        for name in self._fragments:  # also those that no operation uses: their directives count
            self._fragment(name)
        self.operations = [
            (definition, self._operation(definition))
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]

    def _operation(self, operation: OperationDefinitionNode) -> Size:
        self.directives += len(operation.directives or ())
        self.directives += sum(len(variable.directives or ()) for variable in operation.variable_definitions or ())
        return self._selection_set(operation.selection_set)

    def _fragment(self, name: str) -> Size:
        if name not in self._sizes and name in self._fragments:
            self._sizes[name] = Size()  # stands for a fragment within itself, which validation refuses
            fragment = self._fragments[name]
            self.directives += len(fragment.directives or ())
            self._sizes[name] = self._selection_set(fragment.selection_set)
        return self._sizes.get(name, Size())

    def _selection_set(self, selection_set: SelectionSetNode | None) -> Size:
        depth = aliases = fields = roots = 0
        for selection in selection_set.selections if selection_set else ():
            size = self._selection(selection)
            depth = max(depth, size.depth)
            aliases, fields, roots = aliases + size.aliases, fields + size.fields, roots + size.roots
        return Size(depth, aliases, fields, roots)

    def _selection(self, selection: SelectionNode) -> Size:
        self.directives += len(selection.directives or ())
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value)
        inner = self._selection_set(getattr(selection, "selection_set", None))
        if not isinstance(selection, FieldNode):
            return inner
        # Questions to the schema about itself go deep by nature; graphql-core limits their depth.
        depth = 0 if selection.name.value.startswith("__") else inner.depth
        return Size(depth + 1, inner.aliases + (selection.alias is not None), inner.fields + 1, roots=1)


def excess(document: DocumentNode) -> GraphQLError | None:
    """What a document has too much of, in any of its operations; None when it is within the limits."""
    try:
        measure = Measure(document)
    except RecursionError:  # a long chain of fragments, each nested in the one before
        return _too_complex("The document is nested too deeply.")
    if measure.directives > MAX_DIRECTIVES:
        return _too_complex(f"The document has more than {MAX_DIRECTIVES} directives.")
    for operation, size in measure.operations:
        for got, limit, problem in (
            (size.depth, MAX_DEPTH, "goes deeper than {} levels"),
            (size.aliases, MAX_ALIASES, "has more than {} aliases"),
            (size.fields, MAX_FIELDS, "asks for more than {} fields"),
        ):
            if got > limit:
                return _too_complex(f"The operation {problem.format(limit)}.", operation)
        # By aliases one request could guess many codes. `__typename` counts too: without exceptions there is no way round.
        if operation.operation is OperationType.MUTATION and size.roots > 1:
            return _too_complex("A mutation has exactly one root field. Send each in a request of its own.", operation)
    return None


def _too_complex(message: str, operation: OperationDefinitionNode | None = None) -> GraphQLError:
    return GraphQLError(message, operation, extensions={"code": TOO_COMPLEX})


class DocumentCache(ParserCache):
    """Parses a document once in a process.

    Unlike the stock cache it leaves a syntax error to Strawberry's own step: what a hook raises is lost on WebSocket.
    """

    def on_parse(self) -> Iterator[None]:
        """Look the document up."""
        context = self.execution_context
        if _may_be_kept(context):
            with contextlib.suppress(GraphQLError):
                context.graphql_document = self.cached_parse_document(context.query, **context.parse_options)
        yield


class Validation(ValidationCache):
    """Refuses a document that is over the limits before a costly rule looks at it; validates others once."""

    def on_validate(self) -> Iterator[None]:
        """Find the errors, or leave it to Strawberry's own step."""
        context = self.execution_context
        assert context.graphql_document
        refusal = excess(context.graphql_document) or _ambiguity(context)
        if refusal:
            context.pre_execution_errors = [refusal]
        elif _may_be_kept(context):
            yield from super().on_validate()
            return
        yield


def _may_be_kept(context: ExecutionContext) -> bool:
    """Whether a document may stay in this process's memory.

    With a string written into it, it may not: that could be a password or a token. Clients that use variables lose
    nothing by it.
    """
    return context.query is not None and '"' not in context.query


def _ambiguity(context: ExecutionContext) -> GraphQLError | None:
    """Several operations and none of them named. Strawberry runs the first; the specification makes it an error."""
    # The public property falls back on the first operation's name.
    is_named = context._provided_operation_name is not None  # noqa: SLF001
    definitions = context.graphql_document.definitions if context.graphql_document else ()
    if is_named or sum(isinstance(definition, OperationDefinitionNode) for definition in definitions) < 2:
        return None
    return GraphQLError("The document has several operations. Say in `operationName` which one to run.")
