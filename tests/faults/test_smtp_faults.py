"""A mail relay that is away, refuses, talks nonsense, stalls or breaks off."""

import asyncio
import datetime as dt
import resource
import ssl
from email import message_from_bytes
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.models.columns import DeliveryStatus
from tests.conftest import Clock
from tests.servers import scripted_smtp
from tests.servers.ports import free_port
from tests.servers.scripted_smtp import Script
from tests.test_delivery import relaying, rows, signed_up, until

QUICK = {"SMTP_FINAL_DOT_SECONDS": "5"}


def self_signed(folder: Path) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "relay.pem", folder / "relay.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    "fault", ["nobody listens", "no such name", "a certificate that nobody vouches for", "sign-in refused"]
)
async def test_a_relay_that_cannot_be_used_costs_no_attempt_and_is_left_alone_for_a_while(
    db: None, clock: Clock, tmp_path: Path, fault: str
) -> None:
    for number in range(8):
        await signed_up(f"n{number}@example.com")
    offers = (b"STARTTLS", b"AUTH PLAIN LOGIN") if "certificate" in fault else (b"AUTH PLAIN LOGIN",)
    script = Script(at="OTHER", answer=b"535 5.7.8 no\r\n") if fault == "sign-in refused" else None
    async with scripted_smtp.running(script, offers=offers, tls=self_signed(tmp_path)) as server:
        url = {
            "nobody listens": f"smtp://127.0.0.1:{free_port()}?tls=none",
            "no such name": "smtp://relay.invalid:25?tls=none",
            "a certificate that nobody vouches for": f"smtp://127.0.0.1:{server.port}",
            "sign-in refused": f"smtp://127.0.0.1:{server.port}",
        }[fault]
        if fault == "sign-in refused":
            url = f"smtp://user:wrong@127.0.0.1:{server.port}"
            server.offers, server.tls = (b"STARTTLS", b"AUTH PLAIN LOGIN"), None
        async with relaying(tmp_path, SMTP_URL=url):
            await until(DeliveryStatus.RETRYING, 1)
            await asyncio.sleep(1.5)
        found = await rows()
        assert server.connections <= 12, "it is not asked again and again"
    assert {row["attempts"] for row in found} == {0}
    assert {row["status"] for row in found} <= {"QUEUED", "RETRYING"}
    assert any("relay" in (row["problem"] or "") for row in found)
    # The fault is gone: what waited goes out by itself.
    await clock.forward(minutes=2)
    async with scripted_smtp.running(None) as server, relaying(tmp_path, SMTP_URL=server.url):
        await until(DeliveryStatus.SENT, 8)
        assert len(server.contents) == 8


LATER = [(stage, code) for stage in ("MAIL", "RCPT", "DATA", "DOT") for code in (450, 451, 452)]


@pytest.mark.fault("F24")
@pytest.mark.parametrize(("stage", "code"), [*LATER, ("CONNECT", 421), ("EHLO", 421), ("RCPT", 421), ("DOT", 421)])
async def test_a_relay_that_says_later_gets_the_mail_later(
    db: None, clock: Clock, tmp_path: Path, stage: str, code: int
) -> None:
    await signed_up("ann@example.com")
    async with scripted_smtp.running(Script(at=stage, answer=f"{code} 4.3.0 later\r\n".encode())) as server:
        async with relaying(tmp_path, SMTP_URL=server.url):
            [row] = await until(DeliveryStatus.RETRYING)
            assert row["due_in"] > 0
        server.script = None
        server.contents.clear()
        await clock.forward(minutes=5)
        async with relaying(tmp_path, SMTP_URL=server.url):
            await until(DeliveryStatus.SENT)
        assert len(server.contents) == 1


NEVER = [
    ("5.1.1 no such user", DeliveryStatus.BOUNCED),
    ("5.3.4 too large", DeliveryStatus.FAILED),
    ("5.3.0 never", DeliveryStatus.RETRYING),
    ("5.7.1 Relay access denied", DeliveryStatus.RETRYING),
]


@pytest.mark.fault("F25")
@pytest.mark.parametrize("stage", ["RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("code", [550, 552, 553, 554])
@pytest.mark.parametrize(("words", "status"), NEVER)
async def test_a_relay_that_says_never_ends_what_is_the_recipients_or_the_messages_and_puts_off_what_is_ours(
    db: None, tmp_path: Path, stage: str, code: int, words: str, status: DeliveryStatus
) -> None:
    await signed_up("ann@example.com")
    script = Script(at=stage, answer=f"{code} {words}\r\n".encode())
    async with scripted_smtp.running(script) as server, relaying(tmp_path, SMTP_URL=server.url):
        [row] = await until(status)
    assert row["attempts"] == 1
    assert str(code) in row["problem"]


@pytest.mark.fault("F26")
@pytest.mark.slow_fault
async def test_a_relay_that_stalls_after_the_final_dot_gets_one_mail_twice_at_most(
    db: None, clock: Clock, tmp_path: Path
) -> None:
    await signed_up("slow@example.com")
    async with scripted_smtp.running(Script(at="DOT", silent=3.0)) as server:  # it is waited for
        async with relaying(tmp_path, SMTP_URL=server.url, **QUICK):
            await until(DeliveryStatus.SENT)
        assert len(server.contents) == 1
        await signed_up("stalled@example.com")
        server.script = Script(at="DOT", silent=8.0)
        async with relaying(tmp_path, SMTP_URL=server.url, **QUICK):
            [row] = await until(DeliveryStatus.RETRYING)
            assert row["problem"] == "The mail relay broke off (SMTPReadTimeoutError)."
            server.script = None
            await clock.forward(minutes=1)
            await until(DeliveryStatus.SENT, 2)
    copies = [one for one in server.contents if b"stalled@example.com" in one]
    assert len(copies) == 2
    assert len({message_from_bytes(one)["Message-ID"] for one in copies}) == 1
    assert copies[0] == copies[1]


@pytest.mark.fault("F27")
@pytest.mark.parametrize("when", ["after the answer", "at the goodbye"])
async def test_a_relay_that_breaks_off_once_it_has_the_mail_gets_it_once(db: None, tmp_path: Path, when: str) -> None:
    script = Script(at="DOT", drop="after") if when == "after the answer" else Script(at="QUIT", drop="before")
    for number in range(6):
        await signed_up(f"n{number}@example.com")
    async with scripted_smtp.running(script) as server:
        async with relaying(tmp_path, SMTP_URL=server.url):
            found = await until(DeliveryStatus.SENT, 6)
        assert len(server.contents) == 6
    assert {row["attempts"] for row in found} == {1}


GARBAGE = [
    Script(at="CONNECT", answer=b"\xff\xfe\0 hello \r\n"),
    Script(at="EHLO", answer=b"HTTP/1.1 200 OK\r\n\r\n"),
    Script(at="RCPT", answer=b"999 what\r\n"),
    Script(at="DOT", answer=b"\0" * 100 + b"\r\n"),
    Script(at="CONNECT", endless=True),
    Script(at="RCPT", endless=True),
    Script(at="DOT", endless=True),
    Script(at="RCPT", drop="before"),
]


@pytest.mark.fault("F28")
@pytest.mark.parametrize("script", GARBAGE, ids=lambda one: f"{one.at} {one.answer and one.answer[:8]!r} {one.endless}")
async def test_nonsense_from_a_relay_costs_little_and_the_mail_goes_out_later(
    db: None, clock: Clock, tmp_path: Path, script: Script
) -> None:
    await signed_up("ann@example.com")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with scripted_smtp.running(script) as server:
        async with relaying(tmp_path, SMTP_URL=server.url):
            [row] = await until(DeliveryStatus.RETRYING)
        assert row["problem"].isprintable()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024, "in KiB; the answer has 50 MiB"
        server.script = None
        await clock.forward(minutes=5)
        async with relaying(tmp_path, SMTP_URL=server.url):
            await until(DeliveryStatus.SENT)


@pytest.mark.fault("F28")
@pytest.mark.slow_fault
async def test_a_relay_that_answers_a_byte_a_second_is_given_up(db: None, clock: Clock, tmp_path: Path) -> None:
    await signed_up("ann@example.com")
    script = Script(at="DOT", answer=b"250 2.0.0 this takes longer than anybody waits for\r\n", drip=True)
    async with scripted_smtp.running(script) as server, relaying(tmp_path, SMTP_URL=server.url, **QUICK):
        [row] = await until(DeliveryStatus.RETRYING)
        assert "broke off" in row["problem"]


@pytest.mark.fault("F29")
async def test_a_relay_without_starttls_gets_no_mail_and_the_mail_is_kept(
    db: None, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await signed_up("ann@example.com")
    async with scripted_smtp.running(None) as server:
        async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{server.port}"):
            [row] = await until(DeliveryStatus.RETRYING)
        assert row["attempts"] == 0
        assert "STARTTLS" in row["problem"]
        assert "STARTTLS" in caplog.text, "whoever runs it is told"
        assert not server.contents
