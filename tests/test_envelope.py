"""The bytes of an e-mail: what a mail program reads in them is what was meant, whatever somebody's name is."""

import re
import uuid
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.envelope import envelope
from workers.messages import Mail

DELIVERY = uuid.UUID("01a20706-033d-7751-ae35-4466311ca752")
SENDER, RECIPIENT = "access@clinic.example", "o'hara+x=y@clinic.example"
QUEUED_AT = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
}


def made(subject: str = "Hello", text: str = "Hi\n", html: str = "<p>Hi</p>\n") -> bytes:
    """A mail's bytes."""
    return envelope(
        Mail(subject, text, html), delivery_id=DELIVERY, sender=SENDER, recipient=RECIPIENT, queued_at=QUEUED_AT
    )


def read(raw: bytes) -> EmailMessage:
    """As a mail program reads it."""
    found = message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    assert found.defects == []
    return found


def body(message: EmailMessage, kind: str) -> str:
    """One of the two texts, with plain line ends."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


@given(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=200).map(
        lambda text: " ".join(text.split())
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
)
def test_what_was_meant_is_what_is_read(subject: str, text: str) -> None:
    text = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", text)
    try:
        raw = made(subject, text, f"<p>{text}</p>")
    except ValueError:
        assert not subject.isprintable()
        return
    found = read(raw)
    assert set(found.keys()) == HEADERS
    assert found["Subject"] == subject
    assert body(found, "plain") == text.removesuffix("\n") or body(found, "plain") == text
    assert body(found, "html") == f"<p>{text}</p>"
    assert found["To"] == RECIPIENT
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=130))
def test_whoever_it_comes_from_is_read_as_it_was_meant(name: str) -> None:
    name = " ".join(name.split())
    mail = Mail("Hello", "Hi\n", "<p>Hi</p>\n", name)
    raw = envelope(mail, delivery_id=DELIVERY, sender=SENDER, recipient=RECIPIENT, queued_at=QUEUED_AT)
    assert raw.isascii()
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    assert read(raw)["From"].addresses[0].addr_spec == SENDER
    shown, address = parseaddr(message_from_bytes(raw, policy=policy.compat32)["From"])
    words = [part if isinstance(part, str) else part.decode(of or "ascii") for part, of in decode_header(shown)]
    assert ("".join(words), address) == (name, SENDER)


def test_a_sender_with_a_line_of_its_own_is_refused() -> None:
    for name, sender in (("a\r\nBcc: eve", SENDER), ("a", "é@b.example"), ("a", "a@b.example\r\nBcc: eve")):
        mail = Mail("Hello", "Hi\n", "<p>Hi</p>\n", name)
        with pytest.raises(ValueError, match=r"From|Message-ID"):
            envelope(mail, delivery_id=DELIVERY, sender=sender, recipient=RECIPIENT, queued_at=QUEUED_AT)


@pytest.mark.parametrize("subject", ["a\r\nBcc: eve@evil.example", "a\nb", "a\x00b", "a\u2028b", "a\x1bb", "a\u202eb"])
def test_a_subject_that_would_end_its_line_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="Subject"):
        made(subject)


@pytest.mark.parametrize("address", ["a@b.example\r\nBcc: eve@evil.example", "é@b.example", "", "a@b.example\x00"])
def test_an_address_that_is_not_printable_ascii_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="To"):
        envelope(Mail("S", "t", "h"), delivery_id=DELIVERY, sender=SENDER, recipient=address, queued_at=QUEUED_AT)


def test_words_that_look_encoded_are_read_as_they_are() -> None:
    subject = "=?utf-8?q?Buy_gold?= invites you"
    assert read(made(subject))["Subject"] == subject


def test_a_line_that_looks_like_the_next_part_does_not_begin_one() -> None:
    text = f"--=_{DELIVERY.hex}\nContent-Type: text/html\n\n<b>x</b>\n--=_{DELIVERY.hex}--\n.\nFrom me"
    found = read(made(text=text))
    assert len(list(found.iter_parts())) == 2
    assert body(found, "plain") == text


def test_the_same_row_makes_the_same_bytes_each_time() -> None:
    assert made() == made()
    found = read(made())
    assert found["Message-ID"] == f"<{DELIVERY.hex}@clinic.example>"
    assert found["Date"].datetime == QUEUED_AT
    assert found["From"] == "Practice Access <access@clinic.example>"
    assert found["Auto-Submitted"] == "auto-generated"
