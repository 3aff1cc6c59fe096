"""Applying migrations without copying the models before each plain SQL statement.

Tortoise copies the state of all models before every operation of a migration, also before `RunSQL`, which neither reads nor changes
it. With some hundred such operations the copies are most of the time that migrating takes.
"""

from itertools import groupby
from typing import Any

from tortoise.migrations.migration import Migration
from tortoise.migrations.operations import Operation, RunSQL
from tortoise.migrations.schema_generator.state import State

_apply = Migration.apply


async def _apply_quickly(
    self: Migration, state: State, *, dry_run: bool = False, schema_editor: Any = None, collect_sql: bool = False
) -> State:
    if dry_run or collect_sql or schema_editor is None or not schema_editor.atomic_migration:
        return await _apply(self, state, dry_run=dry_run, schema_editor=schema_editor, collect_sql=collect_sql)
    operations = self.operations
    try:
        for is_sql, group in groupby(operations, _is_sql):
            if is_sql:
                for operation in group:
                    await operation.database_forward(self.app_label, state, state, schema_editor)
            else:
                self.operations = list(group)
                await _apply(self, state, schema_editor=schema_editor)
    finally:
        self.operations = operations
    return state


def _is_sql(operation: Operation) -> bool:
    return type(operation) is RunSQL


def use() -> None:
    """From now on, for all migrations of this process."""
    Migration.apply = _apply_quickly  # type: ignore[method-assign]
