"""Helping people who cannot get in, on the server: `practice-access users`."""

import argparse
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from cli import user_history
from cli.operator import moment, table
from domain import address_release, addresses, corrections, lost_phones, restored, user_support
from domain.actors import Actor
from domain.user_support import Found

HEADS = ["ID", "PRACTICE", "STATUS", "LEVEL", "PASSWORD", "CODES", "PHONE", "RECOVERY CODES", "NAME", "ADDRESS"]


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("users", help="people who cannot get in")
    acts = parser.add_subparsers(dest="act", required=True)
    find = acts.add_parser("find", help="by a part of the name or of the address, and what keeps them out")
    find.add_argument("text")
    find.set_defaults(run=_find)
    user_history.add_act(acts)
    _add(acts, "unlock", "forget the wrong passwords and codes that locked somebody out", _unlock)
    _add(acts, "reset-phone", "take a lost phone away in 24 hours; the owner is told, and can stop it", _reset_phone)
    _add(acts, "release-address", "let others use the address of somebody who was deactivated", _release_address)
    correct = _add(acts, "correct-address", "give somebody another address whose mailbox is lost", _correct_address)
    everybody = acts.add_parser(
        "sign-out-everybody", help="end all sessions and trusted devices, in a database that was restored from a backup"
    )
    everybody.add_argument("--reason", required=True, metavar="TEXT", help="for the audit trail")
    everybody.set_defaults(run=_sign_everybody_out)
    correct.add_argument("--email", required=True, metavar="ADDRESS", help="the new one")
    correct.add_argument("--repaired", action="store_true", help="mail arrives again where it bounced")


def _add(acts: Any, name: str, words: str, run: Callable[[Actor, argparse.Namespace], Awaitable[None]]) -> Any:
    act = acts.add_parser(name, help=words)
    act.add_argument("--user", type=UUID, required=True, metavar="ID", help="as `users find` has it")
    act.add_argument("--reason", required=True, metavar="TEXT", help="for the audit trail")
    act.set_defaults(run=run)
    return act


async def _find(actor: Actor, options: argparse.Namespace) -> None:
    table(HEADS, [_row(one) for one in await user_support.find(actor, options.text)])


def _row(one: Found) -> list[str]:
    phone = "verified" if one.has_phone else "none"
    if one.phone_reset_at is not None:
        phone = f"taken away at {moment(one.phone_reset_at)}"
    return [
        str(one.id),
        one.practice_name,
        one.status,
        one.access_level,
        one.password or "ok",
        one.phone or "ok",
        phone,
        str(one.recovery_codes),
        one.name,
        one.email,
    ]


async def _unlock(actor: Actor, options: argparse.Namespace) -> None:
    found = await user_support.unlock(actor, options.user, options.reason)
    print(
        f"Wrong passwords and codes of {found.name} are forgotten. It stands in the audit trail, and {found.name} is told by e-mail."
    )


async def _reset_phone(actor: Actor, options: argparse.Namespace) -> None:
    found = await lost_phones.plan_reset(actor, options.user, options.reason)
    print(
        f"The phone of {found.name} is taken away at {moment(found.phone_reset_at)}, unless {found.name} stops it: a link to do so was sent"
        f" to {found.email}. It stands in the audit trail."
    )


async def _correct_address(actor: Actor, options: argparse.Namespace) -> None:
    corrected = await corrections.correct_email(
        actor, options.user, options.email, raw_reason=options.reason, address_repaired=options.repaired
    )
    found = corrected.user
    if not corrected.is_link_sent:
        print(f"Nothing was sent: {_why_nothing(found.email, options.email)}")
        return
    print(
        f"A link was sent to {options.email}. Once it was followed, that is the address of {found.first_name} {found.last_name}. The present"
        " address and the phone are told, and it stands in the audit trail. The phone can be taken away after 24 hours at the earliest."
    )


async def _sign_everybody_out(actor: Actor, options: argparse.Namespace) -> None:
    found = await restored.sign_everybody_out(actor, options.reason)
    print(
        f"{found.sessions} sessions are ended, and {found.devices} devices are not trusted any more. It stands in the audit trail."
    )


def _why_nothing(present: str, asked: str) -> str:
    if addresses.canonical_email(present) == addresses.canonical_email(asked):
        return f"{present} is the address already."
    return "a link went there less than a minute ago. To send it once more, give the command again in a minute."


async def _release_address(actor: Actor, options: argparse.Namespace) -> None:
    found = await address_release.release(actor, options.user, raw_reason=options.reason)
    print(
        f"{found.email} can be used by others now. {found.first_name} {found.last_name} is told by e-mail, and it stands in the audit trail."
    )
