"""What comes back: believed only at the address that was made for it, taken however it is told, and never able to break anything."""

import asyncio
import mailbox
import random
import smtplib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import database, return_paths, secrets
from domain.mail_reports import MailReport, Verdict
from tests import processes
from tests.conftest import TEST_KEYS, fresh_database
from tests.processes import ROOT
from tests.servers import smtp
from tests.servers.ports import free_port
from tests.test_bounced_addresses import MAIL, on_the_tile
from tests.test_delivery import relaying
from tests.world import Api, Mail, World
from workers import bounce_folders, bounces
from workers.bounce_folders import Count
from workers.bounces import Kind

HOME = "bounces@example.com"
SETTINGS = {"BOUNCE_ADDRESS": HOME, "SECRET_KEYS": ",".join(TEST_KEYS)}


@pytest.fixture(autouse=True)
def _keys() -> None:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))


def told(mail: bytes, recipients: Sequence[str] = ()) -> MailReport | None:
    """What a mail tells about a delivery of ours; None when it tells nothing."""
    reading = bounces.read(mail, HOME, recipients)
    return reading.report if reading.kind is Kind.REPORT else None


def notification(
    delivery: UUID,
    *groups: str,
    to: str | None = None,
    original: str | None = None,
    original_type: str = "text/rfc822-headers",
    headers: str = "",
) -> bytes:
    """As Postfix writes it. groups: the fields of each recipient."""
    address = return_paths.make(HOME, delivery) if to is None else to
    sent_back = f"Message-ID: <{delivery.hex}@example.com>\nSubject: x\n" if original is None else original
    status = "\n\n".join(
        ("Reporting-MTA: dns; mx.clinic.example\nArrival-Date: Mon, 1 Jan 2029 00:00:00 +0000", *groups)
    )
    return f"""Return-Path: <>
From: MAILER-DAEMON@mx.clinic.example (Mail Delivery System)
To: {address}
{headers}Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="B/mx.clinic.example"

This is a MIME-encapsulated message.

--B/mx.clinic.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B/mx.clinic.example
Content-Description: Delivery report
Content-Type: message/delivery-status

{status}

--B/mx.clinic.example
Content-Type: {original_type}

{sent_back}
--B/mx.clinic.example--
""".encode()


def fields(
    action: str = "failed", status: str = "5.1.1", diagnostic: str = "smtp; 550 5.1.1 <x@y.example>: unknown"
) -> str:
    """One recipient's."""
    return f"Final-Recipient: rfc822; x@y.example\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}"


@pytest.mark.parametrize(
    ("groups", "verdict", "says"),
    [
        ([fields()], Verdict.BOUNCED, "(5.1.1). There is no such mailbox."),
        ([fields(status="5.2.2", diagnostic="smtp; 552 5.2.2 full")], Verdict.FAILED, "The mailbox is full."),
        ([fields(status="5.0.0", diagnostic="smtp; 550 #5.1.10 RESOLVER.ADR")], Verdict.BOUNCED, "5.1.10"),
        ([fields(status="5.7.1", diagnostic="smtp; 550 blocked")], Verdict.FAILED, "by a rule"),
        ([fields(status="", diagnostic="smtp; 550 no")], Verdict.FAILED, "(550)"),
        ([fields(status="4.4.7", diagnostic="smtp; 4.4.7 expired")], Verdict.FAILED, "given up (4.4.7)"),
        ([fields(action="Failed (expired)", status="4.4.7", diagnostic="x")], Verdict.FAILED, "given up (4.4.7)"),
        ([fields(action="delayed", status="4.4.1", diagnostic="x")], Verdict.DELAYED, "not arrived yet (4.4.1)"),
        ([fields(action="delivered", status="2.0.0")], Verdict.DELIVERED, ""),
        ([fields(action="relayed", status="2.0.0")], None, ""),
        ([fields(action="expanded", status="2.0.0")], None, ""),
        ([fields(), fields(status="5.2.1")], Verdict.BOUNCED, "5.1.1"),
        ([fields(), fields(action="delivered", status="2.0.0")], Verdict.DELIVERED, ""),
        ([fields(), fields(action="relayed", status="2.0.0")], None, ""),
        ([fields(), fields(status="4.4.7", diagnostic="x")], Verdict.FAILED, "4.4.7"),
        ([fields(action="FAILED")], Verdict.BOUNCED, "5.1.1"),
        ([], Verdict.FAILED, "Nobody says why"),
    ],
)
def test_a_notification_says_what_it_says(groups: list[str], verdict: Verdict | None, says: str) -> None:
    delivery = uuid4()
    report = told(notification(delivery, *groups))
    assert (report and report.verdict) == verdict
    if report is not None:
        assert report.delivery_id == delivery
        assert says in (report.problem or "")
        assert "x@y.example" not in (report.problem or "")


def test_the_address_that_it_came_to_decides_and_what_contradicts_it_is_not_believed() -> None:
    mine, other = UUID(int=1), UUID(int=2)
    of_mine, of_other = return_paths.make(HOME, mine), return_paths.make(HOME, other)
    ours = {
        "to": of_mine,
        "delivered-to": "x@example.com\nDelivered-To: " + of_mine,
        "twice": f"{of_mine}, <{of_mine.upper()}>",
    }
    for to in ours.values():
        report = told(notification(mine, fields(), to=to))
        assert report is not None
        assert report.delivery_id == mine
    sent_back = f"Message-ID: <{other.hex}@example.com>\n\nx\n"
    not_ours = [
        notification(mine, fields(), to=HOME),
        notification(mine, fields(), to=of_mine[:8] + of_other[8:34] + of_mine[34:]),
        notification(mine, fields(), to=f"{of_mine}, {of_other}"),
        notification(mine, fields(), original=sent_back),
        notification(mine, fields(), original=sent_back, original_type="message/rfc822"),
    ]
    for mail in not_ours:
        assert bounces.read(mail, HOME).kind is Kind.FOREIGN
    rewritten = notification(mine, fields(), original="Message-ID: <0100018f@email.amazonses.com>\n")
    assert told(rewritten) is not None  # some relays give a mail an id of their own
    # What the mail system says stands above what anybody writes into a header.
    assert told(notification(mine, fields(), to=of_mine), [HOME]) is None
    found = told(notification(mine, fields(), to="x@example.com"), [of_mine])
    assert found is not None


def test_an_answer_by_a_person_or_a_robot_is_none() -> None:
    mail = EmailMessage()
    mail["To"] = return_paths.make(HOME, uuid4())
    mail["Auto-Submitted"] = "auto-replied"
    mail["Subject"] = "Out of office"
    mail.set_content("I am back on Monday. Action: failed\nStatus: 5.1.1\n")
    assert bounces.read(mail.as_bytes(), HOME).kind is not Kind.REPORT


KNOWN = UUID(int=7)
PIECES = [
    *(b"To: ", b"Content-Type: ", b"multipart/report; report-type=delivery-status; boundary=B\n", b"\n--B\n", b"--B--"),
    *(
        b"message/delivery-status\n\n",
        b"message/rfc822\n\n",
        b"text/rfc822-headers\n\n",
        b"Action: failed\n",
        b"Status: 5.1.1\n",
    ),
    *(
        b"Message-ID: <",
        b"@example.com>",
        b"\n\n",
        b"\r\n",
        b"\0",
        b"=?utf-8?b?",
        b"\xff\xfe",
        b"; boundary*0*=''%",
        b";" * 40,
    ),
    *(
        b"Content-Transfer-Encoding: base64\n",
        KNOWN.hex.encode(),
        b"From: @[]<>(((",
        b"report-type*=x'y'z",
        b"multipart/digest",
    ),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=40), max_size=60), st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_mail_breaks_the_reader_or_speaks_of_a_delivery_it_did_not_come_back_from(
    pieces: list[bytes], mine: bool
) -> None:
    address = return_paths.make(HOME, KNOWN).encode() if mine else b"bounces@example.com"
    reading = bounces.read(b"To: " + address + b"\n" + b"".join(pieces), HOME)
    assert reading.kind is Kind.FOREIGN or (mine and reading.delivery_id == KNOWN)


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_notification_makes_it_anothers(source: random.Random) -> None:
    mail = bytearray(notification(KNOWN, fields()))
    for _ in range(source.randint(1, 30)):
        place = source.randrange(len(mail))
        mail[place : place + source.randint(0, 20)] = source.randbytes(source.randint(0, 8))
    reading = bounces.read(bytes(mail), HOME)
    assert reading.kind is Kind.FOREIGN or reading.delivery_id == KNOWN


def nested() -> Iterator[bytes]:
    """Mails that are made to cost much."""
    head = (
        b"To: "
        + return_paths.make(HOME, KNOWN).encode()
        + b"\nContent-Type: multipart/report; report-type=delivery-status; boundary=B0\n\n"
    )
    deep = b"".join(b"--B%d\nContent-Type: multipart/mixed; boundary=B%d\n\n" % (n, n + 1) for n in range(4000))
    yield head + deep
    yield head + b"--B0\nContent-Type: message/rfc822\n\n" * 3000
    yield head + b"--B0\n\nx\n" * 30_000
    yield head + b"--B0\nContent-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 15_000
    yield b"To: " + b"a@b.example, " * 20_000 + b"\n\n"
    yield b"x" * 5_000_000


def test_a_mail_that_is_made_to_cost_much_is_read_all_the_same() -> None:
    for mail in nested():
        reading = bounces.read(mail, HOME)
        assert reading.kind is Kind.FOREIGN or reading.delivery_id == KNOWN


async def test_each_mail_leaves_with_an_address_of_its_own_to_come_back_to(
    world: World, api: Api, tmp_path: Path
) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    postmark = {"POSTMARK_WEBHOOK_USER": "postmark", "POSTMARK_WEBHOOK_PASSWORD": "a-password-of-postmark"}
    with smtp.running() as sink:
        for number, values in enumerate(({"BOUNCE_ADDRESS": HOME}, postmark), 1):
            async with relaying(tmp_path, SMTP_URL=sink.url, **values):
                await asyncio.to_thread(sink.wait_for, number)
            if number == 1:
                await world.invite(practice, "second@clinic.example")
        first, second = (one for one in sink.received if "clinic.example" in one.recipients[0])
    (row,) = await database.fetch("SELECT id FROM deliveries WHERE recipient = $1", MAIL)
    assert return_paths.delivery_of(HOME, first.sender) == row["id"]
    assert first.message["Message-ID"].startswith(f"<{row['id'].hex}@")
    assert "X-PM-Metadata-delivery" not in first.message
    assert second.sender == "access@practice.example"
    assert second.message["Message-ID"].startswith(f"<{second.message['X-PM-Metadata-delivery']}@")
    assert await take(notification(row["id"], fields(), to=first.sender)) is Kind.REPORT
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == "BOUNCED"
    assert "(5.1.1). There is no such mailbox." in shown["problem"]


# -- from the mailbox to the tile ------------------------------------------------------------------------------------------


async def take(raw: bytes) -> Kind:
    return await bounces.take(raw, HOME)


async def test_two_who_read_a_maildir_at_once_note_everything_and_leave_it_read(
    world: World, api: Api, mail: Mail, tmp_path: Path
) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    delivery = (await mail.latest(MAIL)).row.id
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    for number in range(20):
        (tmp_path / "new" / f"{number}.mx").write_bytes(
            notification(uuid4(), fields()) if number else b"Subject: hello\n\n"
        )
    (tmp_path / "new" / "99.mx:2,").write_bytes(notification(delivery, fields()))
    read = await asyncio.gather(*(bounce_folders.read_maildir(tmp_path, take) for _ in range(2)))
    assert list((tmp_path / "new").iterdir()) == []
    assert len(list((tmp_path / "cur").iterdir())) == 21
    assert sum(one.read for one in read) >= 21
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"
    assert await bounce_folders.read_maildir(tmp_path, take) == Count()
    assert len(await database.fetch("SELECT 1 FROM audit_events WHERE action = 'invitation.bounced'")) == 1


async def test_what_cannot_be_noted_stays_in_the_mailbox(db: None, tmp_path: Path) -> None:
    async def away(raw: bytes) -> Kind:
        raise asyncpg.CannotConnectNowError

    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1.mx").write_bytes(notification(uuid4(), fields()))
    box = tmp_path / "mbox"
    box.write_bytes(b"From MAILER-DAEMON Mon Jan  1 00:00:00 2029\n" + notification(uuid4(), fields()) + b"\n")
    with pytest.raises(asyncpg.CannotConnectNowError):
        await bounce_folders.read_maildir(tmp_path, away)
    with pytest.raises(asyncpg.CannotConnectNowError):
        await bounce_folders.read_mbox(box, away)
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert await bounce_folders.read_mbox(box, take) == Count(read=1, noted=1)
    with pytest.raises(mailbox.NoSuchMailboxError):
        await bounce_folders.read_mbox(tmp_path / "none", take)


async def test_what_cannot_be_read_is_left_for_a_person_to_look_at(
    world: World, api: Api, mail: Mail, tmp_path: Path
) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    address = return_paths.make(HOME, (await mail.latest(MAIL)).row.id)
    puzzle = f"From: Kim <kim@ward.example>\nTo: {address}\nSubject: Re: You are invited\n\nWho are you?\n".encode()
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1.mx").write_bytes(puzzle)
    (tmp_path / "new" / "2.mx").write_bytes(b"Subject: hello\n\n")
    assert await bounce_folders.read_maildir(tmp_path, take) == Count(read=2, unreadable=1)
    assert {path.name for path in (tmp_path / "cur").iterdir()} == {"1.mx:2,", "2.mx:2,S"}
    box = tmp_path / "mbox"
    box.write_bytes(b"From x Mon Jan  1 00:00:00 2029\n" + puzzle + b"\n")
    assert await bounce_folders.read_mbox(box, take) == Count(read=1, unreadable=1)
    assert b"Who are you?" in box.read_bytes()
    assert "could not be read" in (await on_the_tile(api, practice))["delivery"]["problem"]


async def test_an_mbox_keeps_what_is_not_for_us(world: World, api: Api, mail: Mail, tmp_path: Path) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    delivery = (await mail.latest(MAIL)).row.id
    box = tmp_path / "mbox"
    mails = (
        b"Subject: hello\n\nFor a person.\n",
        notification(delivery, fields()),
        b"Subject: bye\n\nFor a person too.\n",
    )
    box.write_bytes(b"".join(b"From x Mon Jan  1 00:00:00 2029\n" + one + b"\n" for one in mails))
    assert await bounce_folders.read_mbox(box, take) == Count(read=3, noted=1)
    left = box.read_text()
    assert "For a person." in left
    assert "For a person too." in left
    assert "Undelivered" not in left
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"


# -- as the operator runs it -----------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def elsewhere(server_url: str) -> tuple[str, UUID]:
    """A database for processes of their own, and a mail that is out there."""
    url, delivery = await fresh_database(server_url), uuid4()
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO deliveries (id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at, sent_at)"
        " VALUES ($1, $1, 'invitation', 'EMAIL', 2, 'SENT', 1, now(), now(), now(), now())",
        delivery,
    )
    await connection.close()
    return url, delivery


async def status_of(url: str, delivery: UUID) -> str:
    connection = await asyncpg.connect(url)
    try:
        found: str = await connection.fetchval("SELECT status FROM deliveries WHERE id = $1", delivery)
        return found
    finally:
        await connection.close()


def piped(
    folder: Path, environment: dict[str, str], mail: bytes, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "bounces", *arguments],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(folder),
            **environment,
        },
        input=mail,
        capture_output=True,
        timeout=processes.START_SECONDS,
        check=False,
    )


async def test_a_pipe_is_told_that_a_mail_was_taken_or_to_come_again(
    elsewhere: tuple[str, UUID], tmp_path: Path
) -> None:
    url, delivery = elsewhere
    good = {**SETTINGS, "DATABASE_URL": url}
    away = {**SETTINGS, "DATABASE_URL": f"postgres://nobody@127.0.0.1:{free_port()}/nothing"}
    mail = notification(delivery, fields())
    expected = [
        (good, b"Subject: not for us\n\nx", 0),
        (away, mail, 75),
        ({"DATABASE_URL": url}, mail, 75),  # no BOUNCE_ADDRESS
        ({**good, "BOUNCE_ADDRESS": "nowhere"}, mail, 75),
    ]
    for environment, given_mail, status in expected:
        done = await asyncio.to_thread(piped, tmp_path, environment, given_mail)
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stdout == b""
    assert await status_of(url, delivery) == "SENT"
    recipient = return_paths.make(HOME, delivery)
    mail = notification(delivery, fields(), to="someone@example.com") + b"x" * 3_000_000
    done = await asyncio.to_thread(piped, tmp_path, good, mail, "--recipient", recipient)
    assert done.returncode == 0, done.stderr
    assert await status_of(url, delivery) == "BOUNCED"
    assert recipient.encode() not in done.stderr
    assert b"x@y.example" not in done.stderr


async def test_a_mailbox_is_read_by_a_command_that_says_how_much_there_was(
    elsewhere: tuple[str, UUID], tmp_path: Path
) -> None:
    url, delivery = elsewhere
    good = {**SETTINGS, "DATABASE_URL": url, "DATA_DIR": str(tmp_path)}
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    (tmp_path / "mail" / "new" / "1.mx").write_bytes(notification(delivery, fields()))
    (tmp_path / "box").write_bytes(b"From x Mon Jan  1 00:00:00 2029\nSubject: hello\n\nFor a person.\n")
    missing = await processes.run(tmp_path, good, "bounces", "--maildir", "nowhere")
    assert (missing.returncode, missing.stdout) == (75, "")
    done = await processes.run(tmp_path, good, "bounces", "--maildir", "mail")
    assert (done.returncode, done.stdout) == (0, "1 read, 1 about mails of ours\n"), done.stderr
    assert await status_of(url, delivery) == "BOUNCED"
    done = await processes.run(tmp_path, good, "bounces", "--mbox", "box")
    assert (done.returncode, done.stdout) == (0, "1 read, 0 about mails of ours\n"), done.stderr
    for options in (["--mbox", "box", "--maildir", "mail"], ["--listen", "2525"], ["--listen", "127.0.0.1:x"]):
        assert (await processes.run(tmp_path, good, "bounces", *options)).returncode == 2


@pytest.mark.parametrize("protocol", [smtplib.SMTP, smtplib.LMTP])
async def test_a_mail_system_hands_over_what_came_back_and_nothing_else(
    elsewhere: tuple[str, UUID], tmp_path: Path, protocol: type[smtplib.SMTP]
) -> None:
    url, delivery = elsewhere
    port = free_port()
    environment = {**SETTINGS, "DATABASE_URL": url, "DATA_DIR": str(tmp_path)}
    arguments = ("bounces", "--listen", f"127.0.0.1:{port}")
    ours, other = return_paths.make(HOME, delivery), return_paths.make(HOME, uuid4())
    failed = notification(delivery, fields()).replace(b"\n", b"\r\n")
    delayed = failed.replace(b"Action: failed", b"Action: delayed") + b"x" * 5000 + b"\r\n"
    with processes.started(tmp_path, "bounces", *arguments, settings=environment) as process:
        process.wait_until("Takes what comes back")

        def talk() -> None:
            with protocol("127.0.0.1", port, local_hostname="mx.example.com", timeout=20) as client:
                for refused in (HOME, "postmaster@example.com", ours[:-13] + "x@example.com", "x@elsewhere.example"):
                    with pytest.raises(smtplib.SMTPRecipientsRefused):
                        client.sendmail("", [refused], failed)
                one_at_a_time = {other: (452, b"4.5.3 One at a time")}
                assert client.sendmail("", [ours, other], delayed) == one_at_a_time
                client.sendmail("", [ours], failed)

        await asyncio.to_thread(talk)
        assert await status_of(url, delivery) == "BOUNCED"
        assert process.stop() == 0
        assert "example.com" not in process.printed()
