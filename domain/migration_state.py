"""Which migrations a database lacks, and applying one of them inside a transaction that is open.

Tortoise's own executor opens a transaction for each migration by itself, and notes that it was applied when that is over.
"""

from typing import Any

from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.migration import Migration
from tortoise.migrations.schema_generator.state import State

APP = "domain"


class Migrations(MigrationExecutor):
    """The program's migrations. The models as they are after each one are kept from one to the next, since making them takes long."""

    def __init__(self, apps: dict[str, dict[str, Any]]) -> None:
        super().__init__(None, apps)  # type: ignore[arg-type]  # each transaction is another one
        self._is_loaded = False
        self._applied: set[MigrationKey] = set()
        self._state: State | None = None
        self._state_after: set[MigrationKey] = set()
        self._new: tuple[State | None, set[MigrationKey]] = (None, set())

    async def missing(self, client: Any) -> list[Migration]:
        """What is not applied, in order. client: the transaction that is open, which `apply` works in too."""
        self.connection = self.recorder.connection = client
        self.recorder._dialect = client.capabilities.dialect  # noqa: SLF001 -- it was made without a connection
        # What is applied is asked for by a statement whose failure counts as "nothing": the table has to be there.
        await self.recorder.ensure_schema(self._schema_editor(atomic=False))
        if not self._is_loaded:
            await self.loader.build_graph()
            self._is_loaded = True
        self._applied = set(await self.recorder.applied_migrations())
        return [
            step.migration for step in self._migration_plan(None, self._applied, self.loader.graph) if not step.backward
        ]

    async def apply(self, migration: Migration) -> None:
        """Apply one, unless it is one that no transaction may hold, and note it."""
        state = self._state
        if state is None or self._state_after != self._applied:
            state = await self._project_state(self._applied)
        self._state = None  # it changes, and is good for nothing when the transaction is rolled back
        if migration.atomic:
            await migration.apply(state, schema_editor=self._schema_editor())
        await self.recorder.record_applied(APP, migration.name)
        self._new = (state, self._applied | {MigrationKey(app_label=APP, name=migration.name)})

    def committed(self) -> None:
        """What `apply` did is done for good."""
        self._state, self._state_after = self._new
