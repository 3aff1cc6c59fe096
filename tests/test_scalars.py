"""How moments are written in answers, and which spellings are taken."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from graphql import GraphQLError

from graph.scalars import SCALARS, written
from graph.schema import printed
from tests.world import World

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOON, "2026-01-31T12:00:00.000Z"),
        (NOON.replace(microsecond=120_000), "2026-01-31T12:00:00.120Z"),
        (NOON.replace(microsecond=999_999), "2026-01-31T12:00:00.999Z"),
        (NOON.astimezone(timezone(timedelta(hours=-5))), "2026-01-31T12:00:00.000Z"),
    ],
)
def test_a_moment_is_written_in_utc_always_with_milliseconds(moment: datetime, expected: str) -> None:
    assert written(moment) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.000Z",
        "2026-01-31 12:00:00z",
        "2026-01-31T07:00:00-05:00",
        "2026-01-31T12:00:00.0000000Z",
        "2026-01-31T12:00:00.000000000+00:00",
    ],
)
def test_a_moment_is_taken_as_rfc_3339_allows_it(text: str) -> None:
    assert SCALARS[datetime].parse_value(text) == NOON  # type: ignore[misc]  # it has one


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "2026-01-31", "noon", "", "0001-01-01T00:00:00+23:59", "z"])
def test_what_is_no_moment_is_refused_in_words(text: str) -> None:
    with pytest.raises(GraphQLError, match=r"^A DateTime "):
        SCALARS[datetime].parse_value(text)  # type: ignore[misc]  # it has one


def test_the_schema_says_what_a_moment_is_specified_by() -> None:
    assert "scalar DateTime @specifiedBy(url:" in printed()


async def test_the_api_answers_moments_of_one_form(world: World) -> None:
    practice = await world.practice()
    tile = await world.api.query(
        "{ usersTile { users { nodes { createdAt } } } }", token=practice.administrator.session
    )
    (user,) = tile["usersTile"]["users"]["nodes"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", user["createdAt"])
