"""`practice-access users history`: why somebody got no code this morning."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cli import history_words
from cli.moments import moment, window_problem
from cli.operator import table
from domain import addresses, database, user_history, user_support
from domain.actors import Actor
from domain.errors import InputInvalid, InputProblem
from domain.user_history import History, Window
from domain.user_support import Found

DAY = timedelta(days=1)
MOST = 1000


def add_act(acts: Any) -> None:
    """Add it to the parser's of `users`."""
    act = acts.add_parser(
        "history", help="what happened to one person, in time order: sign-ins, refusals, messages and their tries"
    )
    act.add_argument("who", metavar="PERSON", help="a user's id, or an address")
    day = "MOMENT"
    act.add_argument("--since", type=moment, metavar=day, help="a day or a moment; a day ago where left out")
    act.add_argument("--until", type=moment, metavar=day, help="a moment, or a day to its end; now where left out")
    act.add_argument(
        "--zone", type=_zone, help="in which times are shown, and read where they have no offset (the practice's)"
    )
    act.add_argument(
        "--limit",
        type=_limit,
        default=200,
        metavar="N",
        help=f"the newest so many events and messages, 1 to {MOST} (200)",
    )
    act.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    act.set_defaults(run=_run, complain=act.error)


def _zone(text: str) -> ZoneInfo:
    if text not in available_timezones():
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone; write one like America/Chicago, or UTC")
    return ZoneInfo(text)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"put a number from 1 to {MOST}")
    return int(text)


async def _run(actor: Actor, options: argparse.Namespace) -> None:
    found = await user_support.find_exactly(actor, options.who)
    if len(found) > 1:
        _choose(found)
        return
    user = found[0] if found else None
    canonical = _canonical(user.email if user else options.who)
    zone: tzinfo = options.zone or (ZoneInfo(user.time_zone) if user else UTC)
    window = await _window(options, zone)
    history = await (
        user_history.of_user(actor, user, canonical, window)
        if user is not None
        else user_history.of_address(actor, canonical, window)
    )
    lines = sorted(_lines(history, zone), key=lambda line: line.at)
    if options.json:
        for line in lines:
            print(
                json.dumps(
                    {"at": line.at.isoformat(), "what": line.what, "id": line.id, "words": line.words},
                    ensure_ascii=False,
                )
            )
        return
    _print(user, history, window, zone, lines)


def _choose(found: list[Found]) -> None:
    print("Several people have or had this address. Give the id of one:")
    table(
        ["ID", "PRACTICE", "STATUS", "NAME"], [[str(one.id), one.practice_name, one.status, one.name] for one in found]
    )


def _canonical(address: str) -> str:
    try:
        return addresses.canonical_email(address)
    except addresses.EmailInvalid:
        problem = "is no user's id here, and no address: look with `practice-access users find`"
        raise InputInvalid([InputProblem(("who",), problem)]) from None


async def _window(options: argparse.Namespace, zone: tzinfo) -> Window:
    until = options.until.ends(zone) if options.until else await database.now()
    since = options.since.begins(zone) if options.since else until - DAY
    if (wrong := window_problem(since, until)) is not None:
        options.complain(wrong)
    return Window(since=since, until=until, size=options.limit)


@dataclass(frozen=True, slots=True)
class _Line:
    at: datetime
    what: str
    id: str
    words: str


def _lines(history: History, zone: tzinfo) -> Iterator[_Line]:
    for event in history.events:
        yield _Line(event.occurred_at, event.action, str(event.id), history_words.of_event(event, zone))
    for message, tries in history.messages:
        yield _Line(
            message.queued_at, f"delivery.{message.kind}", str(message.id), history_words.of_message(message, zone)
        )
        for attempt in tries:
            at = attempt.finished_at or attempt.started_at
            yield _Line(at, "delivery.try", str(message.id), history_words.of_try(message, attempt))


def _print(user: Found | None, history: History, window: Window, zone: tzinfo, lines: list[_Line]) -> None:
    if user is not None:
        print(f"{user.name} <{user.email}>, {user.access_level}, {user.status}, {user.practice_name}; user {user.id}")
        states = (
            f"password {user.password or 'ok'}",
            f"codes {user.phone or 'ok'}",
            f"phone {'verified' if user.has_phone else 'none'}",
        )
        print(f"Now: {', '.join(states)}")
    else:
        print("Nobody has this address; what follows is about sign-ups with it.")
    whose = "" if user is None or str(zone) != user.time_zone else ", the practice's time zone"
    print(f"From {_moment(window.since, zone)} to {_moment(window.until, zone)} in {zone}{whose}")
    for pause in history.pauses:
        print(
            f"{pause.channel} is paused since {_moment(pause.paused_at, zone)}: the relay refuses everybody's messages ({pause.code})"
        )
    print()
    for line in lines:
        print(f"{_moment(line.at, zone)}  {line.words}")
    if not lines:
        print("Nothing happened then: no sign-in was tried, no code was asked for, and no message was queued.")
    if history.is_cut:
        print("There is more: narrow --since and --until, or raise --limit")


def _moment(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
