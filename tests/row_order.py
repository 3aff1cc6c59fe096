"""Return the rows of statements without ORDER BY in reverse.

PostgreSQL returns such rows in the order in which they lie in the table, which is usually the order in which they were written, but
not always. A test (or a product function) that relies on it fails once in a hundred runs. With the rows reversed it fails every time.
"""

import re
from typing import Any

import pytest
from tortoise.backends.asyncpg.client import AsyncpgDBClient

_INNERMOST_PARENTHESES = re.compile(r"\([^()]*\)")
_STRING = re.compile(r"'(?:[^']|'')*'")


def is_ordered(sql: str) -> bool:
    """Whether the outermost query of a statement has an ORDER BY. One inside parentheses does not order the rows returned."""
    outer = _STRING.sub("''", sql)
    while (shorter := _INNERMOST_PARENTHESES.sub(" ", outer)) != outer:
        outer = shorter
    return re.search(r"\bORDER\s+BY\b", outer, re.IGNORECASE) is not None


def reverse_unordered(patch: pytest.MonkeyPatch) -> None:
    """Reverse unordered rows of every statement that this process sends through the ORM's connections, `database.fetch` included."""
    fetch_dicts, fetch = AsyncpgDBClient.execute_query_dict, AsyncpgDBClient.execute_query

    async def execute_query_dict(self: Any, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await fetch_dicts(self, query, values)
        return rows if is_ordered(query) else rows[::-1]

    async def execute_query(self: Any, query: str, values: list[Any] | None = None) -> tuple[int, list[Any]]:
        count, rows = await fetch(self, query, values)
        return count, rows if is_ordered(query) else rows[::-1]

    patch.setattr(AsyncpgDBClient, "execute_query_dict", execute_query_dict)
    patch.setattr(AsyncpgDBClient, "execute_query", execute_query)
