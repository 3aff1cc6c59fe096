"""There is one clock, the database's: no row, and no decision of the domain's, has a moment of a process's own clock in it."""

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path

import domain
from domain import database, models
from tests.conftest import STARTS_AT
from tests.world import World

# What asks a process's clock, and may: file and function, with the reason.
ALLOWED = {
    ("models/columns.py", "uuid7"): "an id only has to be new, and roughly in order",
    ("link_codes.py", "_latest"): "the newest id there can be, by the same clock that ids are made with",
    ("passwords.py", "room"): "no row: when to ask again, for a client whose clock is another one anyway",
    ("pool.py", "_busy"): "the same",
    ("secrets.py", "retry_at"): "the same",
}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}
OF_CLOCKS = {"datetime", "date", "time", "timezone"}
MOMENTS = """
SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND c.data_type = 'timestamp with time zone' AND t.table_type = 'BASE TABLE'
    AND c.table_name <> 'tortoise_migrations'
"""


def test_no_model_writes_the_time_of_the_process() -> None:
    """Such a column gets the process's time wherever somebody forgets to say which."""
    fields = [
        (model.__name__, name, field)
        for model in vars(models).values()
        if isinstance(model, type) and hasattr(model, "_meta")
        for name, field in model._meta.fields_map.items()
    ]
    assert len(fields) > 100
    stamped = [
        (model, name)
        for model, name, field in fields
        if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    ]
    assert stamped == []


def test_nothing_in_the_domain_asks_the_clock_of_the_process() -> None:
    found: set[tuple[str, str]] = set()
    root = Path(domain.__path__[0])
    for path in root.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_asks, ast.walk(function))):
                found.add((str(path.relative_to(root)), function.name))
    assert found == set(ALLOWED)


def _asks(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
            return owner in OF_CLOCKS and name in CLOCKS
    return False


async def test_every_moment_in_the_tables_is_of_the_databases_clock(world: World) -> None:
    """The clock of the tests is years ahead of the machine's, so a moment of the machine's stands out."""
    practice = await world.practice()
    person = await world.joined(practice, "grace@elm-street.example")
    await world.renewed(person)
    here = datetime.now(UTC)
    assert here + timedelta(days=400) < STARTS_AT
    moments = 0
    for row in await database.fetch(MOMENTS):
        table, column = row["table_name"], row["column_name"]
        for found in await database.fetch(f'SELECT "{column}" AS at FROM "{table}" WHERE "{column}" IS NOT NULL'):
            moments += 1
            assert abs(found["at"] - here) > timedelta(days=2), f"{table}.{column} is {found['at']}"
    assert moments > 20
