"""The development mailbox: e-mails, texts and calls as files in a folder, which the API's and the workers' processes share.

An e-mail is put in as the bytes that a relay would get, and shows what a mail program reads in them.

Blocking, on small files: callers on an event loop go through `asyncio.to_thread`.
"""

import contextlib
import email
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from domain import addresses
from domain.models.columns import Channel, uuid7

KEPT = 500  # messages; enough for the largest invitation of 200 people and what follows from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as its recipient would see it. id: hexadecimal, ordered by time. to: an address, or a number in E.164.

    sender: name and address, for an e-mail.
    """

    id: str
    channel: Channel
    kind: str
    to: str
    subject: str | None
    text: str
    html: str | None
    sent_at: datetime
    sender: str | None = None


def put(
    folder: Path,
    *,
    channel: Channel,
    kind: str,
    to: str,
    subject: str | None,
    text: str,
    html: str | None,
    sent_at: datetime,
) -> None:
    """Leave a message in the mailbox. Only the newest 500 are kept. Writes: one file."""
    message = Message(
        id=uuid7().hex, channel=channel, kind=kind, to=to, subject=subject, text=text, html=html, sent_at=sent_at
    )
    _write(folder, message)


def put_mail(folder: Path, raw: bytes, *, kind: str, sent_at: datetime) -> None:
    """Leave an e-mail in the mailbox, as a mail program reads it. raw: the whole of it, as a relay would get it. Writes: one file."""
    parsed = email.message_from_bytes(raw, policy=policy.default)
    message = Message(
        id=uuid7().hex,
        channel=Channel.EMAIL,
        kind=kind,
        sender=str(parsed["From"]),
        to=str(parsed["To"]),
        subject=str(parsed["Subject"]),
        text=_body(parsed, "plain"),
        html=_body(parsed, "html"),
        sent_at=sent_at,
    )
    _write(folder, message)


def _body(parsed: EmailMessage, kind: str) -> str:
    part = parsed.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _write(folder: Path, message: Message) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {**asdict(message), "sent_at": message.sent_at.astimezone(UTC).isoformat()}
    # Readers take every *.json for whole, so the text gets that name only once it is all there.
    unfinished = folder / f".{message.id}.unfinished"
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.rename(folder / f"{message.id}.json")
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def messages(folder: Path, to: str | None = None, *, after: str = "") -> list[Message]:
    """What has arrived, newest first.

    to: only what went to this e-mail address, in any case, or to exactly this number. after: only ids that come later than this
    one, so that somebody who looks every second reads new files only.
    """
    found = []
    for path in _newest_first(folder):
        if path.stem <= after:
            break
        with contextlib.suppress(FileNotFoundError):  # `put` in another process took it away as one of the oldest
            found.append(_parse(json.loads(path.read_text(encoding="utf-8"))))
    if to is None:
        return found
    wanted = _spellings(to)
    return [message for message in found if message.to.casefold() in wanted]


def _spellings(to: str) -> set[str]:
    """What a message to this address or number may name: as somebody typed it, and as e-mails carry it."""
    with contextlib.suppress(addresses.EmailInvalid):
        return {to.casefold(), addresses.canonical_email(to)}
    return {to.casefold()}


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), reverse=True)


def _parse(content: dict[str, Any]) -> Message:
    return Message(
        **{**content, "channel": Channel(content["channel"]), "sent_at": datetime.fromisoformat(content["sent_at"])}
    )
