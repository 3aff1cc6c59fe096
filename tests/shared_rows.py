"""Watches for statements that lock, inside a transaction, a row that people of different practices share.

Such a row stays locked until the transaction ends, and a process may stop before it does (`docs/decisions/0034-taken-before-the-act.md`).
"""

import contextlib
import re
from collections.abc import Iterator

import pytest

from domain import database

# Whose budgets may be taken in an act's transaction: one person's, one invitation's, one address's.
OWN = (
    *("resend:", "invitation-mails:", "redeliver:", "password-reset:user:", "email-change:", "recovery-codes:"),
    *("corrections:user:", "notices:", "sign-up:address:", "sign-in-mail:", "email-change-mails:"),
)
SHARED = re.compile(r"\b(code_stops|channel_pauses|channel_refusals)\b")
WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE)\b")
BUDGETS = re.compile(r"\bbudgets\b")


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """What was locked inside transactions in the block, and is shared: keys of budgets, and statements."""
    found: list[str] = []

    def look(sql: str, values: tuple[object, ...]) -> None:
        if not database.is_in_transaction():
            return
        if "take_budgets" in sql or (WRITES.search(sql) and BUDGETS.search(sql)):
            keys = values[0] if isinstance(values[0], list) else [values[0]]
            found.extend(key for key in map(str, keys) if not key.startswith(OWN))
        elif SHARED.search(sql) and WRITES.search(sql):
            found.append(sql)

    fetch, execute = database.fetch, database.execute

    async def fetching(sql: str, *values: object) -> list[database.Row]:
        look(sql, values)
        return await fetch(sql, *values)

    async def executing(sql: str, *values: object) -> int:
        look(sql, values)
        return await execute(sql, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "fetch", fetching)
        patch.setattr(database, "execute", executing)
        yield found
