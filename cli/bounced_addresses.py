"""`practice-access bounced-address`: lets a practice mail to an address again whose owner had called an invitation spam."""

import argparse
from typing import Any
from uuid import UUID

from domain import bounced_addresses
from domain.actors import Actor


def add_parser(commands: Any) -> None:
    """Add the command to the parser's; `cli.operator` runs it."""
    parser = commands.add_parser("bounced-address", help="an address that a practice's invitations do not go to")
    lift = parser.add_subparsers(dest="act", required=True).add_parser(
        "lift", help="let them go there again, also after a complaint: at the wish of the address's owner"
    )
    lift.add_argument("--practice", type=UUID, required=True, metavar="ID")
    lift.add_argument("--email", required=True, metavar="ADDRESS")
    lift.set_defaults(run=_lift)


async def _lift(actor: Actor, options: argparse.Namespace) -> None:
    await bounced_addresses.lift(actor, options.practice, options.email)
    print("Invitations go there again. It stands in the audit trail.")
