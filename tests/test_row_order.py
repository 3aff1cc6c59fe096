"""Tests see the rows of statements without ORDER BY in reverse."""

import pytest

from domain import database
from tests.row_order import is_ordered


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM users ORDER BY id",
        "SELECT id FROM users\norder  by id LIMIT 1",
        "SELECT (SELECT max(id) FROM users) AS x FROM users ORDER BY coalesce(a, (b))",
        "SELECT ':-(' AS x FROM users ORDER BY id",
    ],
)
def test_a_statement_with_an_outer_order_is_ordered(sql: str) -> None:
    assert is_ordered(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM users",
        "SELECT id FROM (SELECT id FROM users ORDER BY id) AS u",
        "SELECT array_agg(id ORDER BY id) FROM users GROUP BY status",
        "SELECT 'ORDER BY', 'it''s' FROM users",
        "WITH x AS (SELECT id FROM users ORDER BY id FOR UPDATE) UPDATE users u SET email = '' FROM x RETURNING u.id",
    ],
)
def test_one_whose_order_is_only_inside_is_not(sql: str) -> None:
    assert not is_ordered(sql)


async def test_rows_come_in_reverse_where_no_order_is_asked_for(db: None) -> None:
    unordered = await database.fetch("SELECT n FROM generate_series(1, 3) AS n")
    ordered = await database.fetch("SELECT n FROM generate_series(1, 3) AS n ORDER BY n")
    assert [row["n"] for row in unordered] == [3, 2, 1]
    assert [row["n"] for row in ordered] == [1, 2, 3]
