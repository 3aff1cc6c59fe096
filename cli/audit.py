"""`practice-access audit`: verifying, exporting and cutting the audit trail on the server."""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO
from uuid import UUID

from cli import databases
from cli.operator import login
from domain import actors, audit_chain, audit_log, database, database_start
from domain.audit_chain import NO_PRACTICE
from domain.audit_log import EventRecord, Filter
from domain.errors import NotFound
from domain.settings import SettingInvalid, Settings

# What a spreadsheet takes for a formula when a cell begins with it.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommand's own arguments."""
    parser = commands.add_parser("audit", help="verify, export or cut the audit trail")
    acts = parser.add_subparsers(dest="act", required=True)
    verify = acts.add_parser("verify", help="follow the chains; exit 1 when one does not hold")
    which = verify.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every chain, which is what is done without --practice too")
    which.add_argument("--practice", type=_chain, help="only this practice's, or `none` for events of no practice")
    export = acts.add_parser("export", help="write all events of a practice, oldest first")
    export.add_argument("--practice", type=_chain, required=True, help="its id, or `none` for events of no practice")
    export.add_argument("--format", choices=("csv", "jsonl"), default="jsonl", help="CSV or JSON Lines (jsonl)")
    export.add_argument("--since", type=_moment, help="from this day or moment on, such as 2026-01-31")
    export.add_argument("--until", type=_moment, help="up to this day or moment, which is not taken in")
    export.add_argument("--output", type=Path, help="a new file, for this user alone (standard output)")
    acts.add_parser("cut", help="take off what is older than AUDIT_RETENTION_YEARS, at a recorded checkpoint")


def _chain(text: str) -> UUID:
    return NO_PRACTICE if text == "none" else UUID(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("put a day or a moment such as 2026-01-31 or 2026-01-31T09:30:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for; the exit status."""
    await database_start.connect(databases.configured_or_running(settings))
    try:
        if options.act == "verify":
            return await _verify(options.practice)
        if options.act == "cut":
            operator = actors.operator(login())
            number = await audit_chain.cut(operator, timedelta(days=settings.audit_retention_days))
            print(f"{number} events were older than {settings.audit_retention_days} days and were cut off.")
            return 0
        return await _export(options)
    except NotFound:
        raise SettingInvalid("--practice", "is no practice here", "put the id of one, or none") from None
    finally:
        await database.disconnect()


async def _verify(practice_id: UUID | None) -> int:
    actor = actors.operator(login())
    broken = 0
    for chain_id in [practice_id] if practice_id is not None else await audit_chain.chains(actor):
        began = time.perf_counter()
        report = await audit_chain.verify(actor, chain_id)
        took = f"{time.perf_counter() - began:.1f} s"
        name = "no practice" if chain_id == audit_chain.NO_PRACTICE else f"practice {chain_id}"
        if report.broken is None:
            print(f"{name}: {report.events} events hold, head {report.head[:32]}, {took}")
            continue
        broken += 1
        place = f"position {report.broken.position}" if report.broken.position else "no position"
        print(f"{name}: BROKEN at {place}, event {report.broken.event_id}: {report.broken.problem} ({took})")
    return 1 if broken else 0


async def _export(options: argparse.Namespace) -> int:
    wanted = Filter(since=options.since, until=options.until)
    number = 0
    with _created(options.output) if options.output else nullcontext(sys.stdout) as out:
        write = _writer(options.format, out)
        async for events in audit_log.export(actors.operator(login()), options.practice, wanted):
            for event in events:
                write(event)
            number += len(events)
    print(f"{number} events written", file=sys.stderr)
    return 0


def _created(path: Path) -> TextIO:
    """A new file that nobody else may read. Raises SettingInvalid."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", newline="", encoding="utf-8")
    except OSError as error:
        raise SettingInvalid(
            "--output", f"cannot be made ({error.strerror})", "put a file that is not there yet"
        ) from None


def _writer(kind: str, out: TextIO) -> Callable[[EventRecord], None]:
    if kind == "jsonl":

        def write_line(event: EventRecord) -> None:
            out.write(json.dumps(audit_log.as_json(event), ensure_ascii=False) + "\n")

        return write_line
    rows = csv.writer(out)
    rows.writerow(audit_log.COLUMNS)

    def write_row(event: EventRecord) -> None:
        values = audit_log.as_json(event) | {"details": event.details}
        rows.writerow([_cell(values[column]) for column in audit_log.COLUMNS])

    return write_row


def _cell(value: object) -> str:
    """A value as a spreadsheet may open it: names are people's own, and must not become formulas."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
