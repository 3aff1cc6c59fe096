"""What a client and the log are told when something goes wrong, and what neither is."""

import enum
import logging
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import Any

import pytest
import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from graph.limits import Schema, extensions

MASK = "Something went wrong on our side."
SECRET = "hunter2-hunter2"  # what must never be repeated


class Refused(Exception):
    """A refusal of the domain, known to `translate`."""


def translate(exception: BaseException) -> GraphQLError | None:
    return (
        GraphQLError("Sign in first.", extensions={"code": "UNAUTHENTICATED"})
        if isinstance(exception, Refused)
        else None
    )


@strawberry.enum
class Level(enum.Enum):
    HIGH = "high"


@strawberry.input
class Input:
    password: str
    level: Level = Level.HIGH
    count: int = 0


def fail() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ConnectionError(f"duplicate key: {SECRET}") from error


@strawberry.type
class Query:
    @strawberry.field
    def leaf(self) -> int:
        return 1

    @strawberry.field
    def node(self) -> "Query":
        return Query()

    @strawberry.field
    def given(self, data: Input | None = None, password: str = "", number: int = 1) -> int:
        return number

    @strawberry.field
    def broken(self, password: str = "") -> int:
        fail()
        return 1

    @strawberry.field
    def broken_together(self) -> int:
        raise ExceptionGroup(SECRET, [LookupError(SECRET), ArithmeticError(SECRET)])

    @strawberry.field
    def nothing(self) -> int:
        return None  # type: ignore[return-value]  # a bug, on purpose

    @strawberry.field
    def wrong(self) -> int:
        return SECRET  # type: ignore[return-value]  # a bug, on purpose

    @strawberry.field
    def careless(self) -> int:
        raise GraphQLError(SECRET)

    @strawberry.field
    def deliberate(self) -> int:
        raise GraphQLError("Not now.", extensions={"code": "RATE_LIMITED", "retryAt": "later"})

    @strawberry.field
    def refused(self) -> int:
        raise Refused(SECRET)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self) -> AsyncGenerator[int, None]:
        yield 1
        fail()


OPEN = Schema(Query, subscription=Subscription, extensions=extensions(introspection=True, translate=translate))
CLOSED = Schema(Query, subscription=Subscription, extensions=extensions(introspection=False, translate=translate))


async def problem(document: str, schema: Schema = CLOSED, **parameters: Any) -> GraphQLError:
    """The only error that a document is answered with."""
    result = await schema.execute(document, **parameters)
    assert result.errors
    (error,) = result.errors
    return error


# ------------------------------------------------------------------------------------------- introspection and hints

HINTS: list[tuple[str, dict[str, Any]]] = [
    ("{ laef }", {}),
    ("{ given(numbre: 1) }", {}),
    ("{ leaf @incldue(if: true) }", {}),
    ("{ node }", {}),
    ("{ ... on Qurey { leaf } }", {}),
    ("{ given(data: {passwrod: 1}) }", {}),
    ("query($d: Input) { given(data: $d) }", {"d": {"password": "x", "levle": "HIGH"}}),
    ("query($d: Input) { given(data: $d) }", {"d": {"password": "x", "level": "HIHG"}}),
]


@pytest.mark.parametrize(("document", "variables"), HINTS)
async def test_names_are_suggested_only_where_introspection_is_open(document: str, variables: dict[str, Any]) -> None:
    for schema in (OPEN, CLOSED):
        result = await schema.execute(document, variable_values=variables)
        hinted = any("Did you mean" in error.message for error in result.errors or ())
        assert result.errors
        assert not (hinted and schema is CLOSED)


async def test_a_suggestion_is_made_where_introspection_is_open() -> None:
    assert (await problem("{ laef }", OPEN)).message.endswith("Did you mean 'leaf'?")


async def test_introspection_is_refused_where_it_is_closed() -> None:
    for document in ("{ __schema { description } }", '{ __type(name: "Query") { name } }'):
        assert (await problem(document)).extensions == {"code": "BAD_USER_INPUT"}
        assert (await OPEN.execute(document)).errors is None
    assert (await CLOSED.execute("{ __typename node { __typename } }")).errors is None


async def test_a_remembered_mistake_is_told_the_same_way_again() -> None:
    tellings = [(await problem("{ laef }", schema)).formatted for schema in (CLOSED, OPEN, CLOSED, OPEN)]
    assert tellings[0] == tellings[2] != tellings[1] == tellings[3]


# ------------------------------------------------------------------------------------------------------------- masking


async def incident(caplog: pytest.LogCaptureFixture, document: str, schema: Schema = CLOSED, **parameters: Any) -> str:
    """The line in the log about the incident that a document leads to; nothing secret is in it or in the answer."""
    with caplog.at_level(logging.DEBUG):
        error = await problem(document, schema, **parameters)
    extensions_ = error.extensions or {}
    assert error.message == MASK
    assert extensions_ == {"code": "INTERNAL_SERVER_ERROR", "incidentId": extensions_["incidentId"]}
    (record,) = [record for record in caplog.records if extensions_["incidentId"] in record.getMessage()]
    assert record.exc_info is None
    assert SECRET not in caplog.text + str(error.formatted)
    assert error.original_error is None
    return record.getMessage()


async def test_an_exception_is_masked_and_logged_by_type_and_place_only(caplog: pytest.LogCaptureFixture) -> None:
    line = await incident(
        caplog, "query($secret: String!) { aliased: broken(password: $secret) }", variable_values={"secret": SECRET}
    )
    assert "field broken" in line
    assert "builtins.ConnectionError at" in line
    assert "because of builtins.KeyError at" in line
    assert f"{__file__}:" in line
    assert "aliased" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ("{ brokenTogether }", "ArithmeticError"),
        ("{ nothing }", "TypeError"),
        ("{ wrong }", "GraphQLError"),
        ("{ careless }", "GraphQLError"),
    ],
)
async def test_what_nobody_meant_to_tell_is_masked(caplog: pytest.LogCaptureFixture, document: str, what: str) -> None:
    assert what in await incident(caplog, document)


class Hook(SchemaExtension):
    """Fails at one step."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def _maybe(self, step: str) -> None:
        if step == self._step:
            raise KeyError(SECRET)

    def on_operation(self) -> Iterator[None]:
        self._maybe("operation")
        yield
        self._maybe("end")

    def on_parse(self) -> Iterator[None]:
        self._maybe("parse")
        yield

    def on_validate(self) -> Iterator[None]:
        self._maybe("validate")
        yield

    def on_execute(self) -> Iterator[None]:
        self._maybe("execute")
        yield


@pytest.mark.parametrize("step", ["operation", "parse", "validate", "execute", "end"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_what_an_extension_raises_is_masked(
    caplog: pytest.LogCaptureFixture, step: str, *, is_first: bool
) -> None:
    used = extensions(introspection=False)
    used.insert(0 if is_first else len(used), partial(Hook, step))
    assert "KeyError" in await incident(caplog, "{ leaf }", Schema(Query, extensions=used))


async def test_an_incident_in_a_stream_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    results = await CLOSED.stream("subscription { ticks }", allowed_operation_types=[OperationType.SUBSCRIPTION])
    answers: list[ExecutionResult] = [answer async for answer in results]
    assert answers[0].data == {"ticks": 1}
    assert answers[-1].errors
    (error,) = answers[-1].errors
    assert error.message == MASK
    assert (error.extensions or {})["incidentId"] in caplog.text
    assert SECRET not in caplog.text


async def test_a_syntax_error_reaches_a_stream() -> None:
    results = await CLOSED.stream("subscription {", allowed_operation_types=[OperationType.SUBSCRIPTION])
    (answer,) = [answer async for answer in results]
    assert answer.errors[0].extensions == {"code": "BAD_USER_INPUT"}


async def test_incidents_have_ids_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    ids = [(await problem("{ broken }")).extensions or {} for _ in range(3)]
    assert len({extensions_["incidentId"] for extensions_ in ids}) == 3


async def test_what_is_meant_for_a_client_reaches_it(caplog: pytest.LogCaptureFixture) -> None:
    error = await problem("{ deliberate }")
    assert (error.message, error.path) == ("Not now.", ["deliberate"])
    assert error.extensions == {"code": "RATE_LIMITED", "retryAt": "later"}
    refused = await problem("{ refused }")
    assert (refused.message, refused.path) == ("Sign in first.", ["refused"])
    assert refused.extensions == {"code": "UNAUTHENTICATED"}
    assert caplog.text == ""


GIVEN = "query($d: Input) { given(data: $d) }"


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (GIVEN, {"d": {"passwrod": SECRET}}),
        (GIVEN, {"d": {"password": SECRET, "extra": 1}}),
        (GIVEN, {"d": SECRET}),
        (GIVEN, {"d": {"password": "x", "level": SECRET}}),
        (GIVEN, {"d": {"password": "x", "level": [SECRET]}}),
        (GIVEN, {"d": {"password": "x", "count": SECRET}}),
        (GIVEN, {"d": {"password": [SECRET]}}),
        ("query($p: String!) { given(password: $p) }", {"p": {"a": f"; found: {SECRET}"}}),
        ("query($n: Int = 1) { given(number: $n) }", {"n": None}),
        (f'{{ given(data: {{passwrod: "{SECRET}"}}) }}', {}),
        (f'{{ given(number: "{SECRET}") }}', {}),
        (f'{{ given(data: {{password: "x", level: "{SECRET}"}}) }}', {}),
        (f"{{ given(data: {{password: 1, level: {SECRET.replace('-', '_')}}}) }}", {}),
    ],
)
@pytest.mark.parametrize("schema", [OPEN, CLOSED], ids=["open", "closed"])
async def test_what_was_typed_is_not_repeated(
    caplog: pytest.LogCaptureFixture, schema: Schema, document: str, variables: dict[str, Any]
) -> None:
    with caplog.at_level(logging.DEBUG):
        result = await schema.execute(document, variable_values=variables)
    assert result.errors
    for error in result.errors:
        assert error.extensions == {"code": "BAD_USER_INPUT"}
        assert error.message.endswith((".", "?"))
        assert "hunter2" not in str(error.formatted)
    assert caplog.text == ""


async def test_what_is_wrong_with_the_input_is_still_told() -> None:
    error = await problem(GIVEN, variable_values={"d": {"level": "HIGH"}})
    assert error.message == (
        "Variable '$d' has invalid value: Expected value of type 'Input' to include required field 'password'."
    )
    error = await problem(GIVEN, variable_values={"d": {"password": "x", "count": "many"}})
    assert error.message == "Variable '$d' has invalid value at .count: Int cannot represent non-integer value."
