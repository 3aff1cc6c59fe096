"""The bytes of an e-mail, put together by hand.

The standard library's `EmailMessage` takes five to ten times as long for the same, and making mails is what bounds how many go out in
a second. What it does for safety is done here: nothing but printable ASCII gets into a header, and texts are quoted-printable, so
no line is too long, none begins a part, and none needs more than seven bits.
"""

import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from uuid import UUID

from workers.messages import PRODUCT, Mail

MAX_PLAIN_SUBJECT = 66  # with its name it fits into a line of 78 (RFC 5322 2.1.1)
_PRINTABLE = re.compile(r"[ -~]+")
_JOINERS = {0x200C: None, 0x200D: None}  # names in Persian, Sinhala and other scripts need them (`domain.names`)
_LINE_END = re.compile(rb"\r?\n")


def envelope(
    mail: Mail,
    *,
    delivery_id: UUID,
    sender: str,
    recipient: str,
    queued_at: datetime,
    provider_headers: Mapping[str, str] | None = None,
) -> bytes:
    """The whole e-mail with CRLF line ends. The same row makes the same bytes, whichever try it is.

    sender, recipient: canonical addresses (`domain.addresses`), which need no quoting. provider_headers: for the relay. Raises ValueError when a header would hold what
    a header cannot.
    """
    host = sender.rpartition("@")[2]
    boundary = f"=_{delivery_id.hex}"  # quoted-printable never has "=_"
    headers = {
        "From": f"{PRODUCT} <{sender}>",
        "To": recipient,
        "Date": format_datetime(queued_at.astimezone(UTC)),
        "Message-ID": f"<{delivery_id.hex}@{host}>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "DR, RN, NRN, OOF, AutoReply",  # all but NDR: that it did not arrive is of use
        **(provider_headers or {}),
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/alternative; boundary="{boundary}"',
    }
    for name, value in headers.items():
        if not _PRINTABLE.fullmatch(value):
            raise ValueError(name)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join((f"Subject: {_subject(mail.subject)}", *lines, "", "")).encode("ascii")
    parts = (_part(boundary, "plain", mail.text), _part(boundary, "html", mail.html))
    return head + b"".join(parts) + f"--{boundary}--\r\n".encode("ascii")


def _subject(text: str) -> str:
    """In encoded words where it is not plain, or could be taken for one (RFC 2047)."""
    if not text.translate(_JOINERS).isprintable():
        raise ValueError("Subject")
    if text.isascii() and len(text) <= MAX_PLAIN_SUBJECT and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _part(boundary: str, subtype: str, text: str) -> bytes:
    quoted = binascii.b2a_qp(_LINE_END.sub(b"\n", text.encode()), istext=True)
    head = f'--{boundary}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode("ascii") + quoted.replace(b"\n", b"\r\n") + b"\r\n"
