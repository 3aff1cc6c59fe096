"""JSON from outside is limited in depth before it is parsed, the same on every Python."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.json_text import MAX_DEPTH, parsed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_as_deep_as_the_limit_is_read_and_deeper_is_not(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    assert parsed(nested(MAX_DEPTH // levels, opening, closing))
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        parsed(nested(MAX_DEPTH // levels + 1, opening, closing))


@pytest.mark.parametrize(
    "text", [nested(100_000), "[" * 100_000, '{"a":' * 100_000, '["' + "\\\\" * 200 + '",' + nested(65) + "]"]
)
def test_what_is_too_deep_is_a_value_error_also_where_it_is_no_json(text: str) -> None:
    for form in (text, text.encode(), text.encode("utf-16")):
        with pytest.raises(ValueError, match="nested"):
            parsed(form)


def test_brackets_in_strings_and_beside_each_other_are_no_levels() -> None:
    wide: list[object] = [[]] * 500
    tricky = ["[" * 500, '"' + "{" * 500, "\\" * 3 + '"' + "[" * 500, {"[" * 500: "}" * 500}]
    for value in (wide, tricky):
        assert parsed(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", '"', '"\\', "[" * 100 + '"', '["' + "[" * 100, '"\\"' * 5_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- each has a text of its own
        parsed(text)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_everything_else_is_read_as_by_json_itself(value: object) -> None:
    text = json.dumps(value)
    assert parsed(text) == parsed(text.encode()) == json.loads(text)
