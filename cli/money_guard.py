"""What codes have cost so far, what is held back, and letting go of it: `practice-access money-guard`."""

import argparse
from typing import Any
from uuid import UUID

from cli.operator import moment, table
from domain import code_budgets, money_guard
from domain.actors import Actor


def add_commands(commands: Any) -> None:
    """Add the command to the parser's."""
    acts = commands.add_parser("money-guard", help="what codes may cost").add_subparsers(dest="act", required=True)
    acts.add_parser("list", help="what is held back, and what is used of the product's budgets").set_defaults(run=_list)
    lift = acts.add_parser("lift", help="let codes go again that are held back")
    lift.add_argument("--id", type=UUID, required=True, help="as `money-guard list` has it")
    lift.set_defaults(run=_lift)


async def _list(actor: Actor, _: argparse.Namespace) -> None:
    stops = await money_guard.stops(actor)
    heads = ["ID", "HELD BACK", "WHAT", "PROVED", "OF NUMBERS", "SINCE", "UNTIL"]
    table(heads, [_stop(one) for one in stops])
    print()
    used = await code_budgets.in_use()
    table(
        ["BUDGET", "USED", "OF", "UNTIL"],
        [[one.name, str(one.used), str(one.amount), moment(one.ends_at)] for one in used],
    )


def _stop(one: money_guard.Stop) -> list[str]:
    what = f"{one.scope} {one.subject}".rstrip()
    held = "yes" if one.is_open else "no more"
    return [str(one.id), held, what, str(one.verified), str(one.numbers), moment(one.began_at), moment(one.ends_at)]


async def _lift(actor: Actor, options: argparse.Namespace) -> None:
    await money_guard.lift(actor, options.id)
    print("Codes go again, and what was counted so far counts no more. It stands in the audit trail.")
