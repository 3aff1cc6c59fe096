"""`practice-access keys`: which server keys the database is used with, what needs them, and giving up one that is lost."""

import argparse
from typing import Any

from cli.operator import table
from domain import lost_keys
from domain.actors import Actor


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    acts = commands.add_parser(
        "keys", help="the server keys (SECRET_KEYS) that the database is used with"
    ).add_subparsers(dest="act", required=True)
    acts.add_parser("list", help="all of them, the newest first, and what needs them").set_defaults(run=_list)
    forget = acts.add_parser("forget", help="give up a key that is lost: what was made with it is lost too")
    forget.add_argument("--key", required=True, metavar="ID", help="as `keys list` has it")
    forget.add_argument("--reason", required=True, metavar="TEXT", help="for the audit trail")
    forget.set_defaults(run=_forget)


async def _list(actor: Actor, options: argparse.Namespace) -> None:
    found = await lost_keys.every(actor)
    rows = [[key.key_id, "yes" if key.is_here else "no", key.needs or "nothing"] for key in found]
    table(["ID", "IN SECRET_KEYS", "NEEDED FOR"], rows)


async def _forget(actor: Actor, options: argparse.Namespace) -> None:
    forgotten = await lost_keys.forget(actor, options.key, options.reason)
    print(f"The key {options.key} is given up. {forgotten.canceled} messages that waited for it are called off.")
    if forgotten.key.needed_for:
        print(f"What was made with it is lost: {forgotten.key.needs}.")
