"""The operator's way back in for a practice whose administrators are locked out by their own settings."""

import sys
from uuid import UUID

from cli import databases
from cli.operator import login
from domain import actors, database, database_start, login_settings_changes
from domain.errors import NotFound
from domain.settings import Settings
from graph.ids import split_id


async def reset(settings: Settings, practice: str) -> int:
    """Let everybody of a practice in at any time and from anywhere; the exit status. practice: its id, as in the API or as in the tables."""
    await database_start.connect(databases.configured_or_running(settings))
    try:
        opened = await login_settings_changes.reset(actors.operator(login()), _row_id(practice))
    except NotFound:
        print(f"practice-access: there is no practice {practice}", file=sys.stderr)
        return 1
    finally:
        await database.disconnect()
    print(f"Allowed hours and networks are taken away: {opened} settings of the practice and its users had some.")
    return 0


def _row_id(text: str) -> UUID:
    """Raises NotFound."""
    found = split_id(text)
    if found is not None and found[0] == "Practice":
        return found[1]
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None
