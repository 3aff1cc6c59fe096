"""Applying migrations, and taking them back, without copying the models before each plain SQL statement.

Tortoise copies the state of all models before every operation of a migration, also before `RunSQL`, which neither reads nor changes
it. With some hundred such operations the copies are most of the time that migrating takes.
"""

from itertools import groupby
from typing import Any

from tortoise.migrations.migration import Migration
from tortoise.migrations.operations import Operation, RunSQL
from tortoise.migrations.schema_generator.state import State

_apply, _unapply = Migration.apply, Migration.unapply


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


async def _unapply_quickly(
    self: Migration, state: State, *, dry_run: bool = False, schema_editor: Any = None, collect_sql: bool = False
) -> State:
    is_plain = dry_run or collect_sql or schema_editor is None or not schema_editor.atomic_migration
    if is_plain or not all(operation.reversible for operation in self.operations if _is_sql(operation)):
        return await _unapply(self, state, dry_run=dry_run, schema_editor=schema_editor, collect_sql=collect_sql)
    steps: list[tuple[Operation, State, State]] = []
    latest = state
    for operation in self.operations:
        before = latest
        if not _is_sql(operation):
            latest, before = latest.clone(), latest.clone()
            operation.state_forward(self.app_label, latest)
        steps.append((operation, before, latest))
    for operation, before, after in reversed(steps):
        await operation.database_backward(self.app_label, after, before, schema_editor)
    return state


def _is_sql(operation: Operation) -> bool:
    return type(operation) is RunSQL


def use() -> None:
    """From now on, for all migrations of this process."""
    Migration.apply = _apply_quickly  # type: ignore[method-assign]
    Migration.unapply = _unapply_quickly  # type: ignore[method-assign]
