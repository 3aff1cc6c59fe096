"""The parts of a returned mail that are written for programs: delivery status (RFC 3464), feedback reports (RFC 5965), and the rest.

Servers do not keep to the letter. The status part stands under multipart/mixed (OpenSMTPD), under a second multipart, or encoded; the
report type is missing; the action is "failed (expired)" or "failure"; the status is "5.0.0" and the reason stands in the words.
"""

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32
from enum import StrEnum

MAX_PARTS = 50
MAX_DEPTH = 10
MAX_RECIPIENTS = 50
MAX_HEADER = 4096
STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status", "message/xdelivery-status")
FEEDBACK_PART = "message/feedback-report"
ORIGINAL_HEADERS = ("text/rfc822-headers", "message/global-headers", "message/rfc822-headers")
# What people say about a mail that they got. The other types (virus, auth-failure, not-spam, other) accuse nobody.
COMPLAINTS = ("abuse", "fraud", "opt-out", "opt-out-list", "miscategorized", "complaint")
_BLANK_LINE = re.compile(r"\r?\n[ \t]*\r?\n")
_FIRST_WORD = re.compile(r"[\s\"']*([a-z]+)")
_NO_END = ("relayed", "expanded")
_ACTIONS = {"failure": "failed", "fail": "failed", "error": "failed", "delay": "delayed"}


class Outcome(StrEnum):
    """What a mail system says that it did with a mail."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said about one recipient. status: the field that holds an enhanced code, where there is one. words: why, as the server says it."""

    outcome: Outcome
    status: str | None
    words: str


def parts(mail: Message, depth: int = 0) -> Iterator[Message]:
    """The leaves of a mail, in order, not going into mails that it carries."""
    payload = mail.get_payload()
    if mail.get_content_maintype() != "multipart" or not isinstance(payload, list) or depth >= MAX_DEPTH:
        yield mail
        return
    for part in payload[:MAX_PARTS]:
        if isinstance(part, Message):
            yield from parts(part, depth + 1)


def report_types(mail: Message) -> set[str]:
    """What kinds of report a mail says that it is, itself or in a part that only wraps it."""
    found = set()
    for part in mail, *_wrapped(mail, 1):
        kind = part.get_param("report-type")
        if isinstance(kind, str):
            found.add(kind.strip().lower())
    return found


def _wrapped(mail: Message, depth: int) -> Iterator[Message]:
    payload = mail.get_payload()
    if isinstance(payload, list) and mail.get_content_maintype() == "multipart" and depth < MAX_DEPTH:
        for part in payload[:MAX_PARTS]:
            if isinstance(part, Message) and part.get_content_maintype() == "multipart":
                yield part
                yield from _wrapped(part, depth + 1)


def is_complaint(leaves: list[Message]) -> bool | None:
    """Whether a feedback report is a complaint by whoever got the mail; None when there is no such report."""
    for part in leaves:
        if part.get_content_type() == FEEDBACK_PART:
            kind = next((str(group["Feedback-Type"]) for group in _groups(part) if "Feedback-Type" in group), "abuse")
            return kind.strip().lower() in COMPLAINTS
    return None


def findings(leaves: list[Message]) -> list[Finding | None]:
    """What the status parts say, one entry for each recipient; None where that is nothing about the end."""
    found: list[Finding | None] = []
    for part in leaves:
        if part.get_content_type() in STATUS_PARTS:
            found += _of_part(_groups(part))
    return found[:MAX_RECIPIENTS]


def _of_part(groups: list[Message]) -> list[Finding | None]:
    """One entry for each group that is about a recipient. Some programs leave out who, or put the action where it is for them all."""
    about = [group for group in groups if "Final-Recipient" in group or "Original-Recipient" in group]
    about = about or [group for group in groups if "Action" in group or "Status" in group]
    for_all = next((str(group["Action"]) for group in groups if "Action" in group), "")
    return [_finding(group, str(group.get("Action", for_all))[:MAX_HEADER]) for group in about]


def _groups(part: Message) -> list[Message]:
    """The groups of fields in a part. The parser splits them, but for an encoded part, which it takes for one group of nonsense."""
    payload = part.get_payload()
    groups = [group for group in payload if isinstance(group, Message)] if isinstance(payload, list) else []
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if groups and encoding not in ("base64", "quoted-printable"):
        return groups
    carrier = Message()
    carrier["Content-Transfer-Encoding"] = encoding
    carrier.set_payload("\n\n".join(group.as_string().strip() for group in groups) or str(payload))
    content = carrier.get_payload(decode=True)
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
    return [email.message_from_string(group, policy=compat32) for group in _BLANK_LINE.split(text)]


def _finding(group: Message, action: str) -> Finding | None:
    words = " ".join(str(value)[:MAX_HEADER] for value in group.get_all("Diagnostic-Code", []))
    status = str(group.get("Status", ""))[:MAX_HEADER].strip()
    outcome = _outcome(action, status)
    return Finding(outcome, status or None, words) if outcome else None


def _outcome(action: str, status: str) -> Outcome | None:
    """What became of it: by the action, or by the status where there is no action that anybody defined."""
    first = _FIRST_WORD.match(action.lower())
    word = _ACTIONS.get(first.group(1), first.group(1)) if first else ""
    if word in tuple(Outcome):
        return Outcome(word)
    if word not in _NO_END and status.startswith("5"):
        return Outcome.FAILED
    return None
