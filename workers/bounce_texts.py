"""Returned mails that are written for people: what Exim, qmail, Sendmail, Domino, Exchange, Yahoo, Zoho and others send or once sent.

A text counts only where a mail system wrote it: a person who writes about undelivered mail, or is out of office, is not one. It is read
to where the mail that is sent back begins.
"""

import contextlib
import html
import re
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr

from workers.bounce_reports import ORIGINAL_HEADERS, Finding, Outcome, report_types

MAX_TEXT = 16 * 1024
MAX_TEXTS = 4
BEFORE_CODE, AFTER_CODE = 120, 600
_MAIL_SYSTEM = re.compile(
    r"(mailer|mail|e-?mail)?[-_. ]?daemon.*|postmaster.*|mdaemon.*|ndr|imss|mail[-_. ]?(system|service|delivery|subsystem).*"
    r"|.*smtp[-_.](mail|gateway).*|mta.*|inetgw.*|smtp"
)
_NAMES = re.compile(
    r"mail delivery|mailer.?daemon|delivery (sub)?system|(mail|system) administrator|mail system|postmaster",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\W{0,3}(auto(mat(ic|ed|yczna|ische|ique))?[ :-]{1,3}(re(ply|sponse)|antwort|odpowied|r.ponse)|auto: |autore(ply|sponse))"
    r"|.*\b(automatic|auto)[ -]?(response|reply)\b|.*\bout of (the )?office\b|.*\b(vacation|abwesenheit|absence)\b"
    r"|.*\b(away (from|until|on)|i am away|on leave)\b",
    re.IGNORECASE,
)
_ANSWER_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Mail-Autoreply", "X-Vacation")
_FAILED_SUBJECT = re.compile(
    r"undeliver|returned mail|(mail|message|e-?mail|delivery|non|permanent)\W{0,3}.{0,40}(fail|error|returned|(not|n't) .{0,10}deliver"
    r"|nondeliver|undeliver)|failure (notice|delivery)|fail(ed|ure) .{0,20}(mail|deliver)|return(ing|ed)? to sender"
    r"|delivery status notification: error|processing error|user unknown|non.?(delivery|remis)",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"(?:(?:can|could|did|was|were|is|has|have|do|does)(?: ?not|n't)|unable to|failed to|not able to) (?:be |been |to )?"
    r"(?:deliver|reach|receive)|not deliver|undeliver|deliver\w* .{0,60}\bfail|fail\w* .{0,30}deliver|failed permanently"
    r"|permanent\w* (?:\w+ )?(?:error|fail)|(?:fail|return)ed (?:mail|recipient|address)|address\(?e?s?\)? failed"
    r"|error .{0,60}(?:deliver|process|occurred)|invalid final delivery|was aborted|(?:was|has been) (?:automatically )?rejected|encountered .{0,20}(?:error|problem)"
    r"|no such user|user (?:is )?unknown|unknown (?:user|recipient)|(?:mailbox|account) .{0,30}(?:full|exceed|quota|disabled)"
)
_DELAYED = re.compile(
    r"not yet been delivered|yet to be delivered|delayed (?:for )?more than|message (?:\S+ )?(?:is |was |has been )?delayed|will (?:continue to )?be (?:retried|kept in the queue)"
    r"|still being retried|warning only|(?:do not|don't|not) need to re-?send|do not resend|attempts will continue"
    r"|will (?:continue|keep) (?:trying|to (?:try|attempt|be made))|(?:only|just) a warning|only a temporary failure|delivery .{0,20}delayed"
)
_GIVEN_UP = re.compile(
    r"envelope expired|giv(?:en|ing) up|permanent|not (?:going to )?(?:try|be retried)|will not (?:be )?retr|too long|has been removed"
)
_EXPIRED = re.compile(
    r"too long|long time|(?:message|envelope|retry) (?:timed out|expired|timeout)|within the allowed|\d+ attempts|after \d+ (?:day|hour)"
)
_CODE = re.compile(r"(?<![\w.-])(?:5[0-5]\d(?=[ :-])|[45]\.\d{1,3}\.\d{1,3})(?![\d.])")
_MARKER = re.compile(
    r"^(?:[ \t]*[-=*|>_]{2,}.{0,60}\b(?:original|copy|returned|headers?|unsent|below this line|forwarded message|message (?:text|body|follows))\b.*"
    r"|(?:return-path|received|dkim-signature|arc-seal): ?.*|[-=*| \t]*(?:the |your )?original message(?: headers?| text| details)?(?: follows?| below)?[.: \t]*[-=*| \t]*"
    r"|.*\b(?:headers?|message) follows?\.?:?.{0,5}|.*copy of the (?:original|first part|message).*|your message reads.*|old message:.*"
    r"|.*summary of the undelivered message.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = re.compile(r"^[ \t>]*(?:subject|to|cc|from|sent|date|message-id)[ \t]*:.*$", re.IGNORECASE | re.MULTILINE)
_TAGS = re.compile(
    r"<(?:style|head|script)\b.{0,4000}?</(?:style|head|script)>|<[^<>]{0,2000}>", re.IGNORECASE | re.DOTALL
)
_SPACE = re.compile(r"\s+")


def is_from_mail_system(mail: Message) -> bool:
    """Whether a mail says that a mail system wrote it."""
    if mail.get("X-Failed-Recipients") is not None or "delivery-status" in report_types(mail):
        return True
    sender = str(mail.get("From", ""))[:1000]
    name, address = parseaddr(sender)
    if not address:
        return "<>" in sender  # as some servers write their own
    local = address.partition("@")[0].strip('"').lower()
    return _MAIL_SYSTEM.fullmatch(local) is not None or _NAMES.search(f"{name} {local}") is not None


def is_answer(mail: Message) -> bool:
    """Whether a person's robot answered: out of office, thank you for your mail."""
    if is_from_mail_system(mail):
        return False
    submitted = str(mail.get("Auto-Submitted", "")).strip().lower()
    precedence = str(mail.get("Precedence", "")).strip().lower()
    return (
        submitted.startswith(("auto-replied", "auto-notified"))
        or precedence in ("auto_reply", "auto-reply")
        or any(name in mail for name in _ANSWER_HEADERS)
        or _ANSWER.match(subject(mail)) is not None
    )


def finding(mail: Message, leaves: list[Message]) -> Finding | None:
    """What a mail system says in a text; None when none wrote it, or it cannot be read."""
    if not is_from_mail_system(mail):
        return None
    text, about = head(leaves), subject(mail)
    is_warning = _DELAYED.search(text) is not None
    if is_warning and not _GIVEN_UP.search(text):
        return Finding(Outcome.DELAYED, None, text)
    if is_warning or _FAILED.search(text) or _FAILED_SUBJECT.search(about):
        return Finding(Outcome.FAILED, "4.4.7" if _EXPIRED.search(text) else "5.0.0", _telling(text))
    return None


def _telling(text: str) -> str:
    """The words around the first code, where a server's own are quoted; else all of them, since the reason may stand anywhere."""
    code = _CODE.search(text)
    return text[max(code.start() - BEFORE_CODE, 0) : code.start() + AFTER_CODE] if code else text


def is_expired(text: str) -> bool:
    """Whether a notification that calls itself a delay is the end: OpenSMTPD 6.8 sends the last one as if it were another warning."""
    return "envelope expired" in text


def subject(mail: Message) -> str:
    """The subject, decoded, in one line."""
    raw = str(mail.get("Subject", ""))[:1000]
    with contextlib.suppress(ValueError, LookupError, UnicodeError):
        raw = str(make_header(decode_header(raw)))
    return _SPACE.sub(" ", raw).strip()


def head(leaves: list[Message]) -> str:
    """The texts for people, up to the mail that is sent back: in lower case, on one line, without what they quote of that mail's header."""
    found = []
    for part in leaves:
        if part.get_content_maintype() != "text" or part.get_content_type() in ORIGINAL_HEADERS:
            continue
        raw = part.get_payload(decode=True)
        text = raw[: 2 * MAX_TEXT].decode("utf-8", "replace") if isinstance(raw, bytes) else ""
        if part.get_content_subtype() == "html":
            text = html.unescape(_TAGS.sub("\n", text))
        marker = _MARKER.search(text)
        found.append(_QUOTED.sub("", text[: marker.start()] if marker else text)[:MAX_TEXT])
        if marker or len(found) == MAX_TEXTS:
            break
    return _SPACE.sub(" ", " ".join(found)).strip().lower()
