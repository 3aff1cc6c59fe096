"""`practice-access bounces`: reads what came back of our mails, from a pipe, a mailbox on this machine, or as a mail server.

In a pipe the exit status is what mail systems understand: 0 for taken, or not for us; 75 (EX_TEMPFAIL of sysexits.h) to be asked again
later. Nothing else: a mail system sends a mail back that fails for good, and nobody reads what comes back of a bounce.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from cli import databases
from domain import database, database_start, keys, secrets
from domain.settings import SettingInvalid, Settings

logger = logging.getLogger(__name__)

TEMPORARY_FAILURE = 75
MAX_PORT = 65535


def add_parser(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "bounces",
        help="note what mail came back (BOUNCE_ADDRESS has to be set)",
        description="Reads one mail from standard input, or what the options say.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--maildir", type=Path, metavar="FOLDER", help="read what is new in a Maildir, and move it to cur"
    )
    where.add_argument("--mbox", type=Path, metavar="FILE", help="read an mbox file, and take out of it what is for us")
    where.add_argument(
        "--listen", type=_address, metavar="HOST:PORT", help="take mail by SMTP or LMTP until told to stop"
    )
    parser.add_argument(
        "--recipient",
        default="",
        metavar="ADDRESS",
        help="of the mail on standard input, where the mail system tells it",
    )
    parser.set_defaults(status_of_a_wrong_setting=TEMPORARY_FAILURE)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write 127.0.0.1:2525, for example")
    return host.strip("[]"), int(port)


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """Read what there is; the exit status. Raises SettingInvalid."""
    if settings.bounce_address is None:
        raise SettingInvalid(
            "BOUNCE_ADDRESS", "is missing", "put where mail comes back to, such as bounces@example.com"
        )
    mail = b"" if options.maildir or options.mbox or options.listen else _standard_input()
    secrets.use_keys(settings.secret_keys)
    url = databases.configured_or_running(settings)
    try:
        await database_start.connect(url)
        try:
            await keys.compare()
            return await _read(options, settings.bounce_address, mail)
        finally:
            await database.disconnect()
    except SettingInvalid:
        raise
    except Exception as error:  # noqa: BLE001 -- whatever it is, the mail is still there, and is brought again
        return _later(f"what came back cannot be noted now ({type(error).__name__})")


def _later(why: str) -> int:
    print(f"practice-access: {why}", file=sys.stderr)
    return TEMPORARY_FAILURE


async def _read(options: argparse.Namespace, bounce_address: str, mail: bytes) -> int:
    from workers import bounce_folders, bounces  # noqa: PLC0415 -- read once the settings are good

    if options.listen:
        return await _serve(bounce_address, *options.listen)
    if not options.maildir and not options.mbox:
        await bounces.take(mail, bounce_address, [options.recipient] if options.recipient else [])
        return 0

    def take(raw: bytes) -> Any:
        return bounces.take(raw, bounce_address)

    if options.maildir:
        count = await bounce_folders.read_maildir(options.maildir, take)
    else:
        count = await bounce_folders.read_mbox(options.mbox, take)
    unreadable = f", {count.unreadable} that cannot be read" if count.unreadable else ""
    print(f"{count.read} read, {count.noted} about mails of ours{unreadable}")
    return 0


def _standard_input() -> bytes:
    """The beginning of the mail; the rest is read too, for a mail system takes a pipe that is not emptied for a failure."""
    from workers.bounces import MAX_BYTES  # noqa: PLC0415 -- as above

    mail = sys.stdin.buffer.read(MAX_BYTES)
    while sys.stdin.buffer.read(MAX_BYTES):
        pass
    return mail


async def _serve(bounce_address: str, host: str, port: int) -> int:
    from workers import bounce_server, bounces  # noqa: PLC0415 -- as above

    def take(raw: bytes, recipients: list[str]) -> Any:
        return bounces.take(raw, bounce_address, recipients)

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await bounce_server.listen(bounce_address, take, host=host, port=port)
    logger.info("Takes what comes back at %s port %d", host, port)
    await stopped.wait()
    server.close()
    return 0
