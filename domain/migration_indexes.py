"""Indexes that migrations make on tables which may be large, while the program goes on reading and writing them.

`CREATE INDEX` keeps every writer of the table waiting until it is done, for minutes where there are millions of rows.
`CREATE INDEX CONCURRENTLY` keeps nobody waiting. It cannot run in a transaction, so a migration that uses it says `atomic = False` and does
nothing else: when it is interrupted, it starts again from its beginning.

It waits for every transaction that began before it, a backup for instance. Others do not wait for it meanwhile.
"""

from collections.abc import Mapping

from tortoise.migrations.operations import Operation, RunSQL


def created(indexes: Mapping[str, str]) -> list[Operation]:
    """Operations that make these indexes, and drop them when the migration is taken back.

    indexes: by name, what follows `CREATE`, with {} for the name, such as "INDEX {} ON users (email)".
    """
    return [operation for name, what in indexes.items() for operation in _created(name, what)]


def dropped(indexes: Mapping[str, str]) -> list[Operation]:
    """Operations that drop these indexes, and make them again when the migration is taken back. indexes: as for `created`."""
    return [_reversed(operation) for operation in reversed(created(indexes))]


def _created(name: str, what: str) -> list[RunSQL]:
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
    # An attempt that was interrupted leaves an index behind that is kept up to date and never used.
    return [
        RunSQL(drop, "SELECT 1"),
        RunSQL("CREATE " + what.format(f"CONCURRENTLY {name}"), drop),
    ]


def _reversed(operation: Operation) -> RunSQL:
    assert isinstance(operation, RunSQL)
    return RunSQL(operation.reverse_sql, operation.sql)
