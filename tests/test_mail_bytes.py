"""Every kind of mail with every kind of name, over a real SMTP conversation, and read back by the standard library.

pytest tests/test_mail_bytes.py -s    # prints a line for each name
"""

import asyncio
import re
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from domain import database, mailbox, names
from domain.contents import Content
from domain.models.columns import DeliveryStatus, PracticeNoticeKind, uuid7
from domain.outbox import Kind, Notice
from domain.settings import SmtpUrl
from tests.servers import smtp
from tests.servers.ports import free_port
from tests.test_delivery import relaying
from tests.world import World
from workers.envelope import envelope
from workers.messages import MAIL_KINDS, Mail, Messages
from workers.smtp import Pool

CLIENT = "https://app.clinic.example"
SENDER, RECIPIENT = "access@clinic.example", "grace@clinic.example"
QUEUED_AT = datetime(2026, 11, 23, 6, 9, tzinfo=UTC)
CONNECTIONS = 8
WAIT_SECONDS = 20.0

NAMES = [
    # Dots.
    *("Smith Pediatrics, P.C.", "E.N.T. Associates", "St. Mary's Hospital", "Dr. J.R.R. Smith, M.D., F.A.C.P.", "Fam.Med."),
    *("evil.example", "Claim your prize evil.example.", "No.1 Care", "1.2.3.4", "Clinic 2.0", "xn--80ak6aa92e.com", "...and Sons"),
    # Commas, semicolons, colons, brackets, quotes, apostrophes.
    *("Smith, Jones & Sons", "Women's Health", "Women’s Health", 'The "Best" Clinic', "“Best” Clinic", "Smith; Jones: Surgery"),
    *("Care (North)", "Smith & Sons (North), L.L.C.", "O'Hara/Smith", "50% Off? No! #1 *Care* ~ $5 + more_=", "a = b =20 =3D"),
    # What a mail program could take for something else.
    *("=?utf-8?q?Buy_gold?=", "=?utf-8?b?QnV5IGdvbGQ=?=", "?= and =?", "Subject: Hi", "Bcc: eve", "From the Heart", "--boundary--", "CALL 888 555 0134"),
    # Scripts.
    *("José Núñez", "Nguyễn Thị Ánh", "Łukasz Żółć", "Straße & Söhne", "Ærø Ørsted", "Özgür İşçi", "ʻOkina Kauaʻi"),
    *("Поликлиника № 1", "Ιατρείο Αθηνών", "Հայ Բժիշկ", "საქართველო", "አዲስ አበባ", "ᏣᎳᎩ"),
    *("مستشفى النور", "د. نور", "מרפאת שרה", "ބޭސްގެ", "नमस्ते क्लिनिक", "বাংলা চিকিৎসা", "தமிழ் மருத்துவம்", "ไทยคลินิก", "မြန်မာ ဆေးခန်း", "ខ្មែរ"),
    *("李医生诊所", "さくらクリニック", "강남 병원", "中文。例子", "ＡＢＣ　Clinic".replace("\u3000", " ")),
    # Combining marks, beyond the basic plane, emoji.
    *("Z\u0351\u036b\u0343a\u0335lgo", "क\u094d\u200bष".replace("\u200b", ""), "𝒜𝒹𝒶 Lovelace", "𠮷野 Clinic", "Happy 🦷 Dental", "Heart ❤️ Care 👩🏽"),
    # Long ones: of one word, of many, of two, three and four bytes a character, of the longest marks.
    *("x" * 120, "Family " * 17 + "x", "é" * 120, "李" * 120, "🦷" * 119 + "x", "क्" * 60, "a, " * 39 + "."),
]  # fmt: skip
CONTENT = Content(
    recipient=RECIPIENT,
    time_zone="America/Chicago",
    link_token="AaIHPXXdexCUs2CXUD5qEmn7NmciCboazf9f2QYHnO9kGw",
    code="3RK5V9Y92D",
    expires_at=datetime(2026, 11, 30, 6, 9, tzinfo=UTC),
    occurred_at=QUEUED_AT,
)


def accepted(name: str) -> str:
    """A name as the API keeps it. Raises NameInvalid."""
    return names.practice_name(name)


def variants(kind: Kind, content: Content) -> list[Content]:
    """What one kind of mail can say."""
    if kind is Kind.NOTICE:
        return [replace(content, notice=notice.value) for notice in Notice]
    if kind is Kind.SUBSCRIPTION:
        return [replace(content, notice=notice.value) for notice in PracticeNoticeKind]
    if kind is Kind.EMERGENCY_ACCESS:
        return [content, replace(content, is_about_reader=True)]
    if kind is Kind.INVITATIONS_ENDING:
        return [replace(content, people=(content.person_name,) * 3, further_people=number) for number in (0, 4)]
    return [content]


def mails(name: str) -> list[tuple[UUID, Mail]]:
    """Each kind of mail in each variant, where everything that has a name has this one."""
    messages = Messages(CLIENT, product=name)
    content = replace(CONTENT, first_name=name, practice_name=name, inviter_name=name, person_name=name)
    found = [(kind, variant) for kind in MAIL_KINDS for variant in variants(kind, content)]
    return [(uuid7(), messages.mail(kind, variant)) for kind, variant in found]


class SevenBitRelay:
    """A relay that offers neither 8BITMIME nor SMTPUTF8, and keeps what it is given."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        self.options: set[str] = set()
        self._lock = threading.Lock()

    async def handle_MAIL(  # noqa: N802 -- aiosmtpd looks hooks up by the command's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Note what the client asks for beside the address."""
        self.options.update(options)
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep one message under its Message-ID."""
        content = envelope.original_content or b""
        found = re.search(rb"^Message-ID: <(\w+)@", content, re.MULTILINE)
        assert found is not None
        with self._lock:
            self.received[found[1].decode()] = content
        return "250 OK"


@contextmanager
def relay() -> Iterator[tuple[SevenBitRelay, SmtpUrl]]:
    """The relay at work; decode_data is how aiosmtpd is told to offer no 8BITMIME."""
    kept, port = SevenBitRelay(), free_port()
    controller = Controller(kept, hostname="127.0.0.1", port=port, decode_data=True, ready_timeout=10)
    controller.start()
    try:
        yield kept, SmtpUrl(host="127.0.0.1", port=port, username=None, password=None, tls="none")
    finally:
        controller.stop()


async def hand_over(url: SmtpUrl, made: list[bytes]) -> None:
    """Send all by the worker's own pool."""
    pool = Pool(url, SENDER, CONNECTIONS, 30.0)
    try:
        await asyncio.gather(*(pool.send(one, RECIPIENT) for one in made))
    finally:
        await pool.close()


def made(delivery_id: UUID, mail: Mail) -> bytes:
    """A mail's bytes."""
    return envelope(mail, delivery_id=delivery_id, sender=SENDER, recipient=RECIPIENT, queued_at=QUEUED_AT)


def body(message: EmailMessage, kind: str) -> str:
    """One of the two texts, with plain line ends."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").rstrip("\n")


def decoded(field: str) -> str:
    """A field as a mail program reads it that knows RFC 2047 and nothing of the standard library's newer parser."""
    joined = re.sub(r"\r?\n(?=[ \t])", "", field)
    return "".join(part if isinstance(part, str) else part.decode(of or "ascii") for part, of in decode_header(joined))


def checked(raw: bytes, mail: Mail) -> int:
    """What arrived says what was meant; the length of its longest line."""
    assert raw.isascii()
    lines = raw.split(b"\r\n")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in lines) <= 78
    found = message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    assert found.defects == []
    assert (found["Subject"].defects, found["From"].defects, found["To"].defects) == ((), (), ())
    assert set(found.keys()) == {
        *("Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
        *("MIME-Version", "Content-Type"),
    }
    assert found["Subject"] == mail.subject
    old = BytesHeaderParser(policy=policy.compat32).parsebytes(raw)
    assert decoded(old["Subject"]) == mail.subject
    assert found["From"].addresses[0].addr_spec == SENDER
    # The newer parser keeps the space between two encoded words of a display name, which RFC 2047 6.2 has it drop.
    display_name, address = parseaddr(old["From"])
    assert (decoded(display_name), address) == (mail.sender_name, SENDER)
    assert not [one for one in mail.subject + mail.sender_name if unicodedata.category(one) in ("Cf", "Cc", "Zl", "Zp")]
    assert body(found, "plain") == mail.text.rstrip("\n")
    assert body(found, "html") == mail.html.rstrip("\n")
    return max(len(line) for line in lines)


def form(raw: bytes) -> str:
    """How a subject stands in its header."""
    field = raw.partition(b"\r\nFrom:")[0]
    return "encoded" if b"=?utf-8?b?" in field else "folded" if b"\r\n " in field else "plain"


def test_the_table_has_sixty_names_and_more_that_the_api_takes() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60
    assert {len(accepted(name)) for name in NAMES} >= {120}


async def until(status: DeliveryStatus, *, where: str) -> list[database.Row]:
    """Wait until a delivery has got to a status; these."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = await database.fetch(f"SELECT * FROM deliveries WHERE status = '{status}' AND {where}")
        if found:
            return found
        assert time.monotonic() < deadline, await database.fetch("SELECT kind, status, problem FROM deliveries")
        await asyncio.sleep(0.05)


async def test_every_kind_of_mail_arrives_as_it_was_meant_whatever_names_are_in_it() -> None:
    sent = {name: mails(accepted(name)) for name in NAMES}
    with relay() as (kept, url):
        await hand_over(url, [made(*one) for some in sent.values() for one in some])
    assert kept.options == set()
    lines = [""]
    for name, some in sent.items():
        try:
            longest = max(checked(kept.received[delivery_id.hex], mail) for delivery_id, mail in some)
        except AssertionError as error:
            error.add_note(f"with the name {name!r}")
            raise
        forms = sorted({form(kept.received[delivery_id.hex]) for delivery_id, _ in some})
        subject = next(mail.subject for _, mail in some if "invites you" in mail.subject)
        lines.append(
            f"{len(some):3} mails arrived, longest line {longest}, subjects {'+'.join(forms):14} {subject[:70]}"
        )
    sys.stdout.write("\n".join([*lines, ""]))


@pytest.mark.parametrize("name", ["Smith Pediatrics, P.C.", "E.N.T. Associates", "St. Mary's Hospital", "د. نور"])
def test_a_subject_has_the_practices_name_as_it_was_typed(name: str) -> None:
    mail = Messages(CLIENT).mail(Kind.INVITATION, replace(CONTENT, practice_name=name))
    assert mail.subject == f"{name} invites you to Practice Access"


def test_the_development_mailbox_shows_what_is_read_in_the_bytes_that_a_relay_gets(tmp_path: Path) -> None:
    name = 'E.N.T. "Associates", Ñandú'
    for delivery_id, mail in mails(name):
        mailbox.put_mail(tmp_path, made(delivery_id, mail), kind="notice", sent_at=QUEUED_AT)
        (shown, *_) = mailbox.messages(tmp_path)
        assert (shown.subject, shown.to, shown.sent_at) == (mail.subject, RECIPIENT, QUEUED_AT)
        assert (shown.text.rstrip("\n"), (shown.html or "").rstrip("\n")) == (
            mail.text.rstrip("\n"),
            mail.html.rstrip("\n"),
        )
        assert parseaddr(shown.sender or "") == (name, SENDER)


async def test_a_practice_with_dots_in_its_name_can_mail_everybody(world: World, tmp_path: Path) -> None:
    practice = await world.practice("E.N.T. Associates", "ada@clinic.example")
    await world.invite(practice, "ben@clinic.example", first_name="J.R.R.", last_name="O'Hara, Jr.")
    with smtp.running() as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url):
            (sent,) = await until(DeliveryStatus.SENT, where="kind = 'invitation' AND recipient = 'ben@clinic.example'")
        (message,) = sink.sent_to("ben@clinic.example")
    assert (sent["attempts"], sent["problem"]) == (1, None)
    assert message["Subject"] == "E.N.T. Associates invites you to Practice Access"
    text = body(message, "plain").replace("\u2060", "")
    assert text.startswith("Hello J.R.R.,")
    assert "Ada Lovelace invites you to the records system of E.N.T. Associates." in text
