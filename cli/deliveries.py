"""`practice-access deliveries`: messages and what became of them, for whoever runs the server."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cli.moments import since, until, window_problem
from cli.operator import NotDone, moment, table
from domain import deliveries, redelivery, restored
from domain.actors import Actor
from domain.deliveries import AttemptRecord, DeliveryRecord, Filter
from domain.delivery_faults import Fault
from domain.errors import AddressBounced, NotFound, NotRedeliverable, RedeliveryProblem
from domain.models.columns import DeliveryStatus
from domain.outbox import Kind

MOST = 1000
FEWEST_DIGITS, MOST_DIGITS = 4, 15  # E.164 has 15 at most
WHY_NOT: dict[str, str] = {
    redelivery.ADDRESS_BOUNCED: "mail to the address came back; --repaired sends it all the same, unless its reader called it spam",
    RedeliveryProblem.NOT_DEAD: "it arrived or is on its way",
    RedeliveryProblem.SENT_AGAIN: "it was sent again before",
    RedeliveryProblem.SECURITY_CODE: "it is a security code: whoever waits for one asks for another",
    RedeliveryProblem.REPLACED: "a newer message took its place",
    RedeliveryProblem.KEY_LOST: "this database does not know the server key that it was made with, and it is not among SECRET_KEYS here",
    RedeliveryProblem.ENDED: "what it says is not good any more, or not wanted",
}


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    acts = commands.add_parser("deliveries", help="messages and what became of them").add_subparsers(
        dest="act", required=True
    )
    listing = acts.add_parser("list", help="the newest ones")
    listing.add_argument("--practice", type=UUID, metavar="ID", help="only this practice's (all)")
    listing.add_argument("--status", action="append", choices=[one.value for one in DeliveryStatus], help="repeatable")
    listing.add_argument("--kind", action="append", choices=[one.value for one in Kind], help="repeatable")
    listing.add_argument(
        "--fault",
        action="append",
        choices=[one.value for one in Fault],
        help="whose fault it is that it did not arrive; SENDER is ours, RELAY the relay's or carrier's; repeatable",
    )
    listing.add_argument("--user", type=UUID, metavar="ID", help="for this person, as `users find` has it")
    listing.add_argument("--email", metavar="ADDRESS", help="that went to this address, or to whoever has it")
    listing.add_argument(
        "--phone", type=_digits, metavar="DIGITS", help="that went to a number which ends so, 4 digits or more"
    )
    listing.add_argument(
        "--since",
        type=since,
        metavar="MOMENT",
        help="queued at that day or moment or later; UTC unless it has an offset",
    )
    listing.add_argument(
        "--until",
        type=until,
        metavar="MOMENT",
        help="queued before that moment, or by the end of that day; UTC unless it has an offset",
    )
    listing.add_argument("--limit", type=_limit, default=50, metavar="N", help=f"at most so many, 1 to {MOST} (50)")
    _add_json(listing).set_defaults(run=_list, complain=listing.error)
    show = acts.add_parser("show", help="one, with every try")
    show.add_argument("delivery", type=UUID, metavar="ID")
    _add_json(show).set_defaults(run=_show)
    again = acts.add_parser("redeliver", help="send dead ones again, as far as that makes sense")
    again.add_argument("deliveries", type=UUID, nargs="*", metavar="ID")
    again.add_argument("--dead", action="store_true", help="instead of ids: all that bounced or failed --since")
    again.add_argument("--since", type=since, metavar="MOMENT", help="died at that day or moment (UTC) or later")
    again.add_argument("--practice", type=UUID, metavar="ID", help="with --dead: only this practice's (all)")
    again.add_argument("--repaired", action="store_true", help="mail arrives again at addresses where it came back")
    again.set_defaults(run=_redeliver, complain=again.error)
    cancel = acts.add_parser("cancel", help="call one back that is still waiting")
    cancel.add_argument("delivery", type=UUID, metavar="ID")
    cancel.set_defaults(run=_cancel)
    cancel_open = acts.add_parser(
        "cancel-open", help="call back all that is open, in a database that was restored from a backup"
    )
    cancel_open.add_argument(
        "--before", type=since, required=True, metavar="MOMENT", help="queued before that day or moment (UTC)"
    )
    cancel_open.add_argument("--reason", required=True, metavar="TEXT", help="administrators read it with each message")
    cancel_open.set_defaults(run=_cancel_open)


def _add_json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    return parser


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"put a number from 1 to {MOST}")
    return int(text)


def _digits(text: str) -> str:
    digits = "".join(filter(str.isdigit, text))
    if not digits.isascii() or not FEWEST_DIGITS <= len(digits) <= MOST_DIGITS or set(text) - set("0123456789+-(). "):
        raise argparse.ArgumentTypeError(f"put the last digits of a number, {FEWEST_DIGITS} to {MOST_DIGITS}")
    return digits


async def _list(actor: Actor, options: argparse.Namespace) -> None:
    if (wrong := window_problem(options.since, options.until)) is not None:
        options.complain(wrong)
    wanted = Filter(
        statuses=[DeliveryStatus(status) for status in options.status or ()],
        kinds=options.kind or (),
        user_id=options.user,
        email=options.email,
        phone_ends=options.phone,
        since=options.since,
        until=options.until,
        faults=[Fault(fault) for fault in options.fault or ()],
    )
    await _tell_pauses(actor)
    found = await deliveries.newest(actor, wanted, practice_id=options.practice, size=options.limit)
    if options.json:
        for one in found:
            print(_as_json(one))
        return
    table(
        ["ID", "QUEUED", "KIND", "BY", "TO", "STATUS", "TRIES", "FAULT", "PROBLEM"],
        [
            [
                str(one.id),
                moment(one.queued_at),
                one.kind,
                one.channel,
                one.recipient or "-",
                one.status,
                str(one.attempts),
                one.fault or "-",
                one.problem or "-",
            ]
            for one in found
        ],
    )


async def _tell_pauses(actor: Actor) -> None:
    """Say on standard error which channels are paused: what is listed is read by programs too."""
    for pause in await deliveries.paused(actor):
        print(
            f"practice-access: {pause.channel} is paused since {_second(pause.paused_at)}: the relay refuses everybody's messages"
            f" ({pause.code}). The next probe goes at {_second(pause.next_probe_at)} or soon after",
            file=sys.stderr,
        )


async def _show(actor: Actor, options: argparse.Namespace) -> None:
    one, tries = await deliveries.show(actor, options.delivery)
    if options.json:
        print(_as_json(one, tries))
        return
    facts = {
        "id": str(one.id),
        "practice": str(one.practice_id or "-"),
        "kind": one.kind,
        "by": one.channel,
        "for": one.user_name or "-",
        "to": one.recipient or "-",
        "status": one.status,
        "queued": moment(one.queued_at),
        "sent": moment(one.sent_at),
        "next try": moment(one.next_try_at),
        "fault": one.fault or "-",
        "problem": one.problem or "-",
        "in place of": str(one.redelivery_of or "-"),
    }
    for name, fact in facts.items():
        print(f"{name:<12}{fact}")
    if tries:
        print()
        table(
            ["TRY", "STARTED", "FINISHED", "OUTCOME", "DETAIL"],
            [
                [
                    str(attempt.number),
                    _second(attempt.started_at),
                    _second(attempt.finished_at),
                    attempt.outcome or "-",
                    attempt.detail or "-",
                ]
                for attempt in tries
            ],
        )


async def _redeliver(actor: Actor, options: argparse.Namespace) -> None:
    if options.dead != (options.since is not None) or options.dead == bool(options.deliveries):
        options.complain("give ids, or --dead together with --since MOMENT")
    if options.practice and not options.dead:
        options.complain("--practice goes with --dead")
    if options.dead:
        await _redeliver_dead(actor, options)
        return
    failed = False
    for delivery_id in options.deliveries:
        failed |= not await _redeliver_one(actor, delivery_id, address_repaired=options.repaired)
    if failed:
        raise NotDone


async def _redeliver_one(actor: Actor, delivery_id: UUID, *, address_repaired: bool) -> bool:
    try:
        made = await redelivery.redeliver(actor, delivery_id, address_repaired=address_repaired)
    except NotFound:
        print(f"practice-access: there is no delivery {delivery_id}", file=sys.stderr)
        return False
    except (NotRedeliverable, AddressBounced) as refusal:
        why = refusal.problem if isinstance(refusal, NotRedeliverable) else redelivery.ADDRESS_BOUNCED
        print(f"practice-access: {delivery_id} is not sent again: {WHY_NOT[why]}", file=sys.stderr)
        return False
    print(f"{delivery_id} goes out again as {made.id}")
    return True


async def _redeliver_dead(actor: Actor, options: argparse.Namespace) -> None:
    found = await redelivery.dead_since(actor, options.since, practice_id=options.practice)
    became = await redelivery.redeliver_all(actor, found, address_repaired=options.repaired)
    print(f"{len(found)} were dead, {became.pop(redelivery.SENT, 0)} go out again")
    for problem, number in sorted(became.items()):
        print(f"{number} do not: {WHY_NOT[problem]}")


async def _cancel(actor: Actor, options: argparse.Namespace) -> None:
    await redelivery.cancel(actor, options.delivery)
    print(f"{options.delivery} is called back")


async def _cancel_open(actor: Actor, options: argparse.Namespace) -> None:
    became = await restored.cancel_open(actor, options.before, options.reason)
    print(f"{became.count} are called back")
    if became.in_hand:
        print(
            f"practice-access: workers are sending {became.in_hand} just now: stop them, and run this once more",
            file=sys.stderr,
        )
        raise NotDone


def _as_json(one: DeliveryRecord, tries: list[AttemptRecord] | None = None) -> str:
    values = asdict(one) | ({} if tries is None else {"tries": [asdict(attempt) for attempt in tries]})
    return json.dumps(values, default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _second(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if at else "-"
