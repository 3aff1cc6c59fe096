"""What the people who run the product do on its server: practices, their subscriptions, emergency access."""

import argparse
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

import asyncpg
from tortoise.exceptions import BaseORMException

from cli import databases
from domain import (
    actors,
    code_budgets,
    database,
    database_start,
    emergency_access,
    keys,
    practices,
    secrets,
    subscriptions,
)
from domain.actors import Actor
from domain.emergency_access import AlreadyAdministrator, NotActive
from domain.errors import ChangedRecently, EmailInUse, InputInvalid, NotFound, Refusal
from domain.models.columns import SubscriptionStatus
from domain.practices import Listed
from domain.settings import Settings
from domain.subscriptions import Change

COMMANDS = ("practices", "subscription", "emergency-access", "money-guard", "deliveries", "users", "keys")
FAILED = 1
NEVER = "never"
# What the domain calls a field, as an option of ours.
OPTIONS = {
    "plan": "--plan",
    "until": "--until",
    "eventId": "--event",
    "email": "--email",
    "reason": "--reason",
    "userId": "--user",
    "keyId": "--key",
    "who": "PERSON",
}


def add_commands(commands: Any) -> None:
    """Add the operator's commands to the parser's."""
    listing = commands.add_parser("practices", help="the practices, with their ids")
    kinds = listing.add_subparsers(dest="act", required=True)
    kinds.add_parser("list", help="all of them").set_defaults(run=_list, text="")
    find = kinds.add_parser("find", help="by a part of its name, or of anybody's name or address in it; or by an id")
    find.add_argument("text")
    find.set_defaults(run=_list)
    reported = kinds.add_parser(
        "reported", help="those that invited people do not know, or whose mail they marked as spam"
    )
    reported.set_defaults(run=_reported)
    _add_subscription(commands.add_parser("subscription", help="what a practice has subscribed to"))
    emergency = commands.add_parser(
        "emergency-access", help="an administrator for a practice that has none who can act"
    )
    grant = emergency.add_subparsers(dest="act", required=True).add_parser("grant", help="make an active user one")
    grant.add_argument("--practice", type=UUID, required=True, metavar="ID")
    grant.add_argument("--email", required=True, metavar="ADDRESS", help="the user's")
    grant.add_argument("--reason", required=True, metavar="TEXT", help="for the audit trail")
    grant.set_defaults(run=_grant)


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True)
    show = acts.add_parser("show", help="what it stands at")
    which = show.add_mutually_exclusive_group(required=True)
    which.add_argument("--practice", type=UUID, metavar="ID")
    which.add_argument("--all", action="store_true", help="of every practice")
    show.set_defaults(run=_show)
    change = acts.add_parser("set", help="set what is given; the rest stays as it is")
    change.add_argument("--practice", type=UUID, required=True, metavar="ID")
    change.add_argument("--status", choices=[status.value for status in SubscriptionStatus])
    change.add_argument("--plan", metavar="NAME")
    change.add_argument(
        "--until",
        type=_until,
        metavar="MOMENT",
        help="the end of the trial, or of what was paid: 2027-01-31 (all of that day, UTC), 2027-01-31T12:00+01:00, or never",
    )
    change.add_argument("--event", metavar="ID", help="what made it change: the same one again changes nothing")
    change.set_defaults(run=_set)


def _until(text: str) -> datetime | str:
    if text == NEVER:
        return NEVER
    try:
        if len(text) == len("2027-01-31"):
            return datetime.combine(datetime.strptime(text, "%Y-%m-%d").date(), time.max, UTC)  # noqa: DTZ007 -- it gets a zone here
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write 2027-01-31, 2027-01-31T12:00Z, or never"
        ) from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no offset; write {text}Z, for example")
    return moment


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what the options say; the exit status. What cannot be done is told in one line."""
    secrets.use_keys(settings.secret_keys)
    try:
        code_budgets.use_settings(settings)
        await database_start.connect(databases.configured_or_running(settings))
        try:
            await _act(options)
        finally:
            await database.disconnect()
    except NotDone:
        return FAILED
    except (Refusal, OSError, asyncpg.PostgresError, BaseORMException) as error:
        print(f"practice-access: {_line(error, options)}", file=sys.stderr)
        return FAILED
    return 0


class NotDone(Exception):
    """Some of it could not be done; that was told already, line by line."""


async def _act(options: argparse.Namespace) -> None:
    if options.command != "keys":  # which is what helps when they do not fit
        await keys.compare()
    act: Callable[[Actor, argparse.Namespace], Awaitable[None]] = options.run
    await act(actors.operator(login()), options)


def _line(error: Exception, options: argparse.Namespace) -> str:
    match error:
        case InputInvalid(problems=[first, *_]):
            return f"{OPTIONS[first.path[0]]}: {first.message}"
        case NotFound():
            return _unknown(options)
        case NotActive() | AlreadyAdministrator():
            return _no_administrator(error, options)
        case ChangedRecently() | EmailInUse():
            return _not_now(error)
    return f"the database does not serve ({type(error).__name__}): try `practice-access doctor`"


def _no_administrator(error: NotActive | AlreadyAdministrator, options: argparse.Namespace) -> str:
    if isinstance(error, AlreadyAdministrator):
        return f"{options.email} is an administrator already"
    return f"{options.email} is {error.status}: only somebody who is ACTIVE can be made an administrator"


def _not_now(error: ChangedRecently | EmailInUse) -> str:
    if isinstance(error, EmailInUse):
        return f"{error.email} is the address of another account"
    return f"address and phone of one person are not changed within 24 hours: try again after {moment(error.retry_at)}"


def _unknown(options: argparse.Namespace) -> str:
    if options.command == "bounced-address":
        return f"nothing keeps invitations of practice {options.practice} from {options.email}"
    if options.command == "money-guard":
        return f"nothing is held back now under {options.id}: see `practice-access money-guard list`"
    if options.command == "keys":
        return f"nothing is known of the key {options.key}: see `practice-access keys list`"
    if options.command == "users":
        return f"there is no user {options.user}: see `practice-access users find`"
    if options.command == "deliveries":
        what = "no delivery that waits" if options.act == "cancel" else "no delivery"
        return f"there is {what} with the id {options.delivery}: see `practice-access deliveries list`"
    whom = f"nobody with the address {options.email} in" if options.command == "emergency-access" else "no"
    return f"there is {whom} practice {options.practice}: see `practice-access practices list`"


def login() -> str:
    """Whose terminal it is, as far as the machine knows; behind sudo, who called it."""
    caller = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    try:
        return caller or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        return f"uid {os.getuid()}"


async def _list(actor: Actor, options: argparse.Namespace) -> None:
    found = await practices.find(actor, options.text)
    heads = ["ID", "STATUS", "NAME", "ADMINISTRATORS"]
    if options.text:
        heads.append("FOUND IN IT")
    table(heads, [_listed(one)[: len(heads)] for one in found])


async def _reported(actor: Actor, options: argparse.Namespace) -> None:
    found = await practices.reported(actor)
    rows = [
        [str(one.id), one.status, str(one.unknown), str(one.spam), moment(one.latest_at), one.name] for one in found
    ]
    table(["ID", "STATUS", "DO NOT KNOW IT", "SPAM", "LATEST", "NAME"], rows)


def _listed(one: Listed) -> list[str]:
    administrators = ", ".join(one.administrators) or "none"
    return [str(one.id), one.subscription.status, one.name, administrators, ", ".join(one.people) or "-"]


async def _show(actor: Actor, options: argparse.Namespace) -> None:
    found = await practices.find(actor, practice_id=options.practice)
    if options.practice and not found:
        raise NotFound
    heads = ["ID", "STATUS", "PLAN", "TRIAL UNTIL", "PAID UNTIL", "STAFF MAY WORK", "NAME"]
    table(heads, [_shown(one) for one in found])


def _shown(one: Listed) -> list[str]:
    subscription = one.subscription
    access = "yes" if subscription.access_allowed else "no"
    if subscription.access_allowed and subscription.access_ends_at is not None:
        access = f"until {moment(subscription.access_ends_at)}"
    return [
        str(one.id),
        subscription.status,
        subscription.plan,
        moment(subscription.trial_ends_at),
        moment(subscription.current_period_ends_at),
        access,
        one.name,
    ]


async def _set(actor: Actor, options: argparse.Namespace) -> None:
    wanted = Change(
        plan=options.plan,
        status=SubscriptionStatus(options.status) if options.status else None,
        until=options.until if isinstance(options.until, datetime) else None,
        without_end=options.until == NEVER,
    )
    await subscriptions.change(actor, options.practice, wanted, event_id=options.event)
    await _show(actor, options)


async def _grant(actor: Actor, options: argparse.Namespace) -> None:
    name = await emergency_access.grant(actor, options.practice, options.email, options.reason)
    print(f"{name} is an administrator now. It stands in the audit trail, and every administrator is told by e-mail.")


def moment(at: datetime | None) -> str:
    """A moment as it is shown, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z" if at else "-"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns that are as wide as what stands in them."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
