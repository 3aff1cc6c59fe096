"""An SMTP reply or a delivery status: by its words where they are plain, else by its enhanced status code, else by its reply code.

Codes: RFC 3463, and IANA's registry of them (https://www.iana.org/assignments/smtp-enhanced-status-codes). Words come first, since
servers send 5.7.1 for an unknown user and 5.1.1 for a block list. What the words may do is bounded by who can have sent them: before a
recipient was named nothing can be the recipient's fault.
"""

import re
from enum import StrEnum

from domain.delivery_faults.causes import Cause, Fault, Judgment
from domain.delivery_faults.words import cause_of

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.\d)")
_REPLY = re.compile(r"(?<![\d.])[45]\d\d(?![\d.])")
MAX_TEXT = 1000


class Stage(StrEnum):
    """When a server said it. REPORT: later, in a notification. BEFORE: connecting, greeting, signing in."""

    BEFORE = "BEFORE"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    REPORT = "REPORT"


# The subject and the detail of an enhanced code. What is not here goes by its subject.
_DETAILS = {
    "1.1": Cause.NO_MAILBOX,
    "1.2": Cause.NO_DOMAIN,
    "1.3": Cause.NO_MAILBOX,
    "1.6": Cause.MOVED,
    "1.7": Cause.SENDER_ADDRESS,
    "1.8": Cause.SENDER_ADDRESS,
    "1.9": Cause.SYSTEM,
    "1.10": Cause.NO_MAIL,
    "2.1": Cause.DISABLED,
    "2.2": Cause.MAILBOX_FULL,
    "2.3": Cause.TOO_LARGE,
    "2.4": Cause.MAILING_LIST,
    "3.4": Cause.TOO_LARGE,
    "4.1": Cause.NO_ANSWER,
    "4.2": Cause.NO_ANSWER,
    "4.3": Cause.ROUTE,
    "4.4": Cause.NO_DOMAIN,
    "4.5": Cause.ROUTE,
    "4.6": Cause.ROUTE,
    "4.7": Cause.ROUTE,
    "7.2": Cause.MAILING_LIST,
    "7.8": Cause.SIGN_IN,
    "7.9": Cause.SIGN_IN,
    "7.11": Cause.SIGN_IN,
    "7.12": Cause.SIGN_IN,
    "7.13": Cause.SIGN_IN,
    "7.14": Cause.SIGN_IN,
    "7.16": Cause.TOO_LARGE,
    **{f"7.{detail}": Cause.NOT_AUTHENTICATED for detail in (*range(20, 27), 29)},
    "7.27": Cause.SENDER_ADDRESS,
    "7.28": Cause.SENDING_LIMIT,
}
_SUBJECTS = {
    "3": Cause.SYSTEM,
    "5": Cause.PROTOCOL,
    "6": Cause.FORMAT,
    "7": Cause.POLICY,
}
# Reply codes that say more than that it failed (RFC 5321 4.2, RFC 4954 6, RFC 7504).
_REPLIES = {
    **dict.fromkeys((500, 501, 502, 503, 504, 555), Cause.PROTOCOL),
    **dict.fromkeys((530, 534, 535, 538), Cause.SIGN_IN),
    **dict.fromkeys((421, 451, 452, 521), Cause.SYSTEM),
    552: Cause.MAILBOX_FULL,
    556: Cause.NO_MAIL,
}


def enhanced_code(text: str) -> str | None:
    """The first enhanced status code in a server's words, such as 5.1.1; the first that says something, where there are several."""
    found = [match.group() for match in _ENHANCED.finditer(text[:MAX_TEXT])]
    return next((code for code in found if not code.endswith(".0.0")), found[0] if found else None)


def of_status(code: str | None, text: str = "", *, reply: int | None = None, stage: Stage) -> Judgment:
    """Whose fault a refusal is.

    code: the enhanced status code that a report has for it; left out or x.0.0, that of the words. text: the server's own words, of any
    length and content; for a report the Diagnostic-Code. reply: the SMTP reply code; left out, that of the words.
    """
    text = f"{code or ''} {text}"[:MAX_TEXT]  # the field may have a comment
    code = enhanced_code(code or "")
    if code is None or code.endswith(".0.0"):
        code = enhanced_code(text) or code
    if reply is None and (match := _REPLY.search(text)):
        reply = int(match.group())
    is_temporary = _is_temporary(code, reply, stage)
    cause = cause_of(text, code) or _by_code(code) or _REPLIES.get(reply or 0, Cause.NOT_SAID)
    if cause is Cause.DISABLED and is_temporary:
        cause = Cause.NOT_SAID  # only for a while, such as a mailbox that gets too much at once
    return Judgment(cause=_possible(cause, stage, reply), code=_shown(code, reply, stage), is_temporary=is_temporary)


def _is_temporary(code: str | None, reply: int | None, stage: Stage) -> bool:
    """In a conversation the reply decides (RFC 5321 4.2.1); in a report the status, which says how the last try ended."""
    if stage is not Stage.REPORT and reply is not None:
        return reply < 500
    return code.startswith("4") if code else reply is None or reply < 500


def _by_code(code: str | None) -> Cause | None:
    if code is None:
        return None
    _, subject, detail = code.split(".")
    return _DETAILS.get(f"{subject}.{detail}") or _SUBJECTS.get(subject)


def _possible(cause: Cause, stage: Stage, reply: int | None) -> Cause:
    """What is said before a recipient is named is not about one."""
    if stage in (Stage.BEFORE, Stage.MAIL) and cause.fault in (Fault.RECIPIENT, Fault.UNKNOWN):
        return Cause.SYSTEM if reply is not None and reply < 500 else Cause.SENDER_ADDRESS
    return cause


def _shown(code: str | None, reply: int | None, stage: Stage) -> str:
    if stage is Stage.REPORT:
        return code or (str(reply) if reply else "")
    told = str(reply) if reply is not None and 200 <= reply < 600 else "not SMTP"
    return f"{told} {code}" if code else told
