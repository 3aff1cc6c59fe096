"""How much one document may ask for, and which documents are remembered."""

from collections.abc import Callable
from typing import Any

import pytest
import strawberry
from graphql import get_introspection_query

from graph.limits import (
    CACHED_DOCUMENTS,
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_DIRECTIVES,
    MAX_FIELDS,
    MAX_TOKENS,
    DocumentCache,
    Schema,
    Validation,
    extensions,
)

acts: list[str] = []


@strawberry.type
class Query:
    @strawberry.field
    def leaf(self) -> int:
        return 1

    @strawberry.field
    def node(self) -> "Query":
        return Query()

    @strawberry.field
    def many(self, ids: list[int]) -> int:
        return len(ids)

    @strawberry.field
    def given(self, password: str = "", number: int = 1) -> int:
        return number


@strawberry.type
class Mutation:
    @strawberry.mutation
    def act(self, code: int = 0) -> bool:
        acts.append("act")
        return True

    @strawberry.mutation
    def other(self) -> bool:
        acts.append("other")
        return True


SCHEMA = Schema(Query, Mutation, extensions=extensions(introspection=True))


async def codes(document: str, **parameters: Any) -> list[str]:
    """The codes of the errors that a document is answered with."""
    result = await SCHEMA.execute(document, **parameters)
    return [(error.extensions or {})["code"] for error in result.errors or ()]


# --------------------------------------------------------------------------------- right at the edge, and right over it


def deep(levels: int) -> str:
    return "{" + "node {" * (levels - 1) + "leaf" + "}" * levels


def deep_by_fragments(levels: int) -> str:
    spreads = "".join(f"fragment F{n} on Query {{ node {{ ...F{n + 1} }} }}" for n in range(levels - 1))
    return "{ ...F0 }" + spreads + f"fragment F{levels - 1} on Query {{ ... on Query {{ leaf }} }}"


def aliases(count: int) -> str:
    return "{" + " ".join(f"a{n}: leaf" for n in range(count)) + "}"


def aliases_by_fragments(count: int) -> str:
    inner = " ".join(f"a{n}: leaf" for n in range(count - MAX_ALIASES // 3 * 2))
    rest = " ".join(f"b{n}: leaf" for n in range(MAX_ALIASES // 3))
    return f"{{ ...F {inner} node {{ ...F }} }} fragment F on Query {{ {rest} }}"


def fields(count: int) -> str:
    return "{" + " leaf" * count + "}"


def typenames(count: int) -> str:
    return "{" + " __typename" * count + "}"


def fields_by_fragments(count: int) -> str:
    return "{" + " ...F" * (count // 100) + " leaf" * (count % 100) + "} fragment F on Query {" + " leaf" * 100 + "}"


def tokens(count: int) -> str:
    return "{ many(ids: [" + "1 " * (count - 9) + "]) }"


def directives(count: int) -> str:
    return "{" + "leaf @include(if: true) " * count + "}"


def directives_anywhere(count: int) -> str:
    skip = "@skip(if: false)"
    return (
        f"{{ ... {skip} {{ leaf {skip} }} ...F {skip} }} fragment F on Query {{" + f" leaf {skip}" * (count - 3) + "}"
    )


@pytest.mark.parametrize(
    ("document", "limit"),
    [
        (deep, MAX_DEPTH),
        (deep_by_fragments, MAX_DEPTH),
        (aliases, MAX_ALIASES),
        (aliases_by_fragments, MAX_ALIASES),
        (fields, MAX_FIELDS),
        (typenames, MAX_FIELDS),
        (fields_by_fragments, MAX_FIELDS),
        (tokens, MAX_TOKENS),
        (directives, MAX_DIRECTIVES),
        (directives_anywhere, MAX_DIRECTIVES),
    ],
)
async def test_a_document_may_have_as_much_as_the_limit(document: Callable[[int], str], limit: int) -> None:
    assert await codes(document(limit)) == []
    assert await codes(document(limit + 1)) == ["OPERATION_TOO_COMPLEX"]


@pytest.mark.parametrize(
    "place",
    [
        "query($n: Int = 1 {}) {{ given(number: $n) }}",
        "query {} {{ leaf }}",
        "{{ ...F }} fragment F on Query {} {{ leaf }}",
        "{{ leaf }} fragment Unused on Query {{ leaf {} }}",
    ],
)
async def test_directives_count_wherever_they_stand(place: str) -> None:
    assert await codes(place.format("@a " * (MAX_DIRECTIVES + 1))) == ["OPERATION_TOO_COMPLEX"]


async def test_every_operation_of_a_document_is_measured() -> None:
    assert await codes(f"query A {{ leaf }} query B {deep(MAX_DEPTH + 1)}", operation_name="A") == [
        "OPERATION_TOO_COMPLEX"
    ]


async def test_the_deepest_question_of_the_contract_is_within_the_limits() -> None:
    # usersTile.users.edges.node.invitation.delivery.problem, or invite.rows.error.user.invitation.delivery.problem
    assert await codes(deep_by_fragments(7)) == []


# ------------------------------------------------------------------------------------------------ what would never end


def bomb(levels: int, selection: str) -> str:
    doubled = "".join(f"fragment F{n} on Query {{ {selection.format(n + 1)} }}" for n in range(levels))
    return "{ ...F0 }" + doubled + f"fragment F{levels} on Query {{ leaf }}"


@pytest.mark.parametrize(
    "document",
    [
        bomb(60, "...F{0} leaf ...F{0}"),  # 2^60 fields
        bomb(40, "x: node {{ ...F{0} }} y: node {{ ...F{0} }}"),
        bomb(60, "... {{ ...F{0} }} ...F{0}"),
        "{" + "... {" * 150 + " leaf" * 501 + "}" * 151,
        "{ many(ids: " + "[" * 300 + "]" * 300 + ") }",
        "{" + "... {" * 300 + "leaf" + "}" * 301,
        "{" + "a " * 20_000 + "}",
        "{ leaf " + "@a " * 900 + "}",
    ],
    ids=lambda document: document[:30],
)
async def test_a_bomb_is_refused(document: str) -> None:
    # Nothing here looks at a clock: walked once for each place that spreads it, the first one would outlive us.
    assert await codes(document) == ["OPERATION_TOO_COMPLEX"]


@pytest.mark.parametrize(
    "document",
    [
        "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A leaf }",
        "{ ...Missing }",
        "{ ...A } fragment A on Query { leaf } fragment A on Query { node }",
        "query A { leaf } query A { leaf }",
        "{ given(number: " + "1" * 5000 + ") }",
        "{ given(number: 1e999) }",
        "{ leaf }" + "fragment F on Query { leaf }",
        "\x00",
        "{",
    ],
    ids=lambda document: document[:30],
)
async def test_an_odd_document_is_the_clients_mistake(document: str) -> None:
    assert set(await codes(document, operation_name=None)) == {"BAD_USER_INPUT"}


# ------------------------------------------------------------------------------------------------------ one root field


@pytest.mark.parametrize(
    "selections",
    [
        "act other",
        "act act",
        "a: act b: act",
        "act __typename",
        "__typename a: __typename",
        "act @skip(if: true) other",
        "...F",
        "act ...G",
        "...G ...G",
        "... { act } ... { other }",
        "... on Mutation { ... { act ...G } }",
        "...H",
    ],
)
async def test_a_mutation_with_two_root_fields_does_nothing(selections: str) -> None:
    acts.clear()
    fragments = {
        "F": "fragment F on Mutation { act other }",
        "G": "fragment G on Mutation { other }",
        "H": "fragment H on Mutation { ...G2 act } fragment G2 on Mutation { other }",
    }
    used = "".join(text for name, text in fragments.items() if f"...{name}" in selections)
    assert await codes(f"mutation {{ {selections} }} {used}") == ["OPERATION_TOO_COMPLEX"]
    assert acts == []


@pytest.mark.parametrize("selections", ["act", "a: act", "... { act }", "... on Mutation { a: act }", "__typename"])
async def test_a_mutation_with_one_root_field_is_run(selections: str) -> None:
    assert await codes(f"mutation {{ {selections} }}") == []


async def test_a_mutation_with_one_root_field_may_have_it_in_a_fragment() -> None:
    assert await codes("mutation { ...F } fragment F on Mutation { act }") == []


async def test_an_operation_that_is_not_run_is_held_to_one_root_field_too() -> None:
    acts.clear()
    assert await codes("mutation A { act } mutation B { act other }", operation_name="A") == ["OPERATION_TOO_COMPLEX"]
    assert acts == []


# ---------------------------------------------------------------------------------------------------------- the caches


def cache_counts() -> list[tuple[int, int]]:
    """Hits and misses of the two caches of this process."""
    caches = [
        DocumentCache(CACHED_DOCUMENTS).cached_parse_document,
        Validation(CACHED_DOCUMENTS).cached_validate_document,
    ]
    # The stock classes hide that these are `lru_cache`s.
    infos = [cache.cache_info() for cache in caches]  # type: ignore[attr-defined]
    return [(info.hits, info.misses) for info in infos]


async def test_a_document_is_parsed_and_validated_once() -> None:
    document = "query Once($ids: [Int!]!) { many(ids: $ids) }"
    before = cache_counts()
    for count in range(10):
        result = await SCHEMA.execute(document, variable_values={"ids": [0] * count})
        assert result.data == {"many": count}
    assert [(hits - h, misses - m) for (hits, misses), (h, m) in zip(cache_counts(), before, strict=True)] == [
        (9, 1)
    ] * 2


async def test_a_document_with_a_string_in_it_is_not_remembered() -> None:
    before = cache_counts()
    for _ in range(3):
        assert await codes('{ given(password: "hunter2") }') == []
        assert await codes('{ given(password: """hunter2""", number: false) }') == ["BAD_USER_INPUT"]
    assert cache_counts() == before


async def test_an_operation_that_is_over_the_limit_is_not_remembered_as_valid() -> None:
    for _ in range(2):
        assert await codes(deep(MAX_DEPTH + 1)) == ["OPERATION_TOO_COMPLEX"]


async def test_one_of_several_operations_has_to_be_named_each_time() -> None:
    document = "query A { leaf } query B { leaf }"
    assert await codes(document, operation_name="B") == []
    assert await codes(document) == ["BAD_USER_INPUT"]
    assert await codes(document, operation_name="A") == []


async def test_the_standard_introspection_is_within_the_limits() -> None:
    whole = get_introspection_query(
        descriptions=True,
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    assert await codes(whole) == []
