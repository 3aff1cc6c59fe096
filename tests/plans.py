"""The plans by which PostgreSQL ran every statement of a test, and which line of the program each statement was sent from.

PostgreSQL's own `auto_explain` tells each plan with the rows that it really read, also those of statements inside of triggers and of
checks of foreign keys. Nothing is run twice, so what is measured is what happened.
"""

import ast
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard, cast

import asyncpg
import pytest
from asyncpg.connection import Connection
from tortoise.connection import get_connection

from domain import database, tracing

ROOT = Path(__file__).parent.parent
SENDING = {"fetch", "fetch_one", "execute"}
SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "auto_explain.log_parameter_max_length": "0",
}
SCANS = {
    "Seq Scan",
    "Index Scan",
    "Index Only Scan",
    "Bitmap Heap Scan",
    "Bitmap Index Scan",
    "Tid Scan",
    "Sample Scan",
}
REMOVED = ("Rows Removed by Filter", "Rows Removed by Index Recheck")


@dataclass(frozen=True, slots=True)
class Read:
    """What one node of a plan read of a table, or of an index alone. rows: all of its runs together, thrown away or not."""

    table: str
    how: str
    rows: float


@dataclass(frozen=True, slots=True)
class Run:
    """A statement that ran. site: where the program sends it (see `sites`); None for what the database does by itself."""

    site: str | None
    sql: str
    reads: tuple[Read, ...]

    @property
    def rows(self) -> float:
        """How many rows it read in all."""
        return sum(read.rows for read in self.reads)


@cache
def sites() -> dict[tuple[str, int], str]:
    """Every place in `domain` that sends a statement: its name, by file and line. Several in one function have numbers."""
    found: dict[tuple[str, int], str] = {}
    for file in sorted((ROOT / "domain").rglob("*.py")):
        if "migrations" not in file.parts:
            found |= _sites_of(file)
    return found


def _sites_of(file: Path) -> dict[tuple[str, int], str]:
    module = file.stem
    calls: dict[str, list[int]] = {}

    def visit(node: ast.AST, name: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}"
        if _is_sending(node):
            calls.setdefault(name, []).append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(ast.parse(file.read_text()), module)
    return {
        (str(file), line): name if len(lines) == 1 else f"{name} {number}"
        for name, lines in calls.items()
        for number, line in enumerate(sorted(lines), start=1)
    }


def _is_sending(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether this is a call such as `database.fetch(…)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in SENDING and isinstance(node.func.value, ast.Name) and node.func.value.id == "database"


class Recorder:
    """Collects what ran."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.seen: set[str] = set()
        self._of_tests: set[str] = set()
        self._sites: dict[str, str] = {}

    @contextmanager
    def statement(self, sql: str) -> Iterator[None]:
        """Instead of `tracing.statement`: remembers where a statement is sent from."""
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename == database.__file__:
            frame = frame.f_back
        while frame is not None:
            if site := sites().get((frame.f_code.co_filename, frame.f_lineno)):
                self._sites[sql.strip()] = site
                self.seen.add(site)
                break
            frame = frame.f_back
        else:
            self._of_tests.add(sql.strip())
        yield

    def note(self, message: str) -> None:
        """One of auto_explain's messages."""
        _, _, plan = message.partition("plan:\n")
        if not plan:
            return
        found = json.loads(plan)
        sql = found["Query Text"].strip()
        if sql not in self._of_tests:
            self.runs.append(Run(self._sites.get(sql), sql, tuple(_reads(found["Plan"]))))

    def take(self) -> list[Run]:
        """What ran since the last time."""
        runs, self.runs = self.runs, []
        return runs


def _reads(node: dict[str, Any]) -> Iterator[Read]:
    loops, table = node.get("Actual Loops", 0), node.get("Relation Name") or node.get("Index Name", "")
    if loops and node["Node Type"] in SCANS and not table.startswith("pg_"):
        yield Read(table, node["Node Type"], (node["Actual Rows"] + sum(node.get(name, 0) for name in REMOVED)) * loops)
    for child in node.get("Plans", ()):
        yield from _reads(child)


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """Record every statement of the block, on all connections of the tests' database."""
    recorder = Recorder()

    def process(self: Connection, fields: dict[str, str], last_query: str) -> None:
        recorder.note(fields.get("M", ""))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "_process_log_message", process)
        patch.setattr(tracing, "statement", recorder.statement)
        name = (await database.fetch("SELECT quote_ident(current_database()) AS name"))[0]["name"]
        for setting, value in SETTINGS.items():
            await database.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        await _reconnect()
        try:
            yield recorder
        finally:
            await database.execute(f"ALTER DATABASE {name} RESET ALL")
            await _reconnect()


async def _reconnect() -> None:
    await cast("asyncpg.Pool", get_connection("default")._pool).expire_connections()
