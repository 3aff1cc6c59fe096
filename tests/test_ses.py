"""What SES tells by way of SNS: believed only with SNS's signature for our topic, taken once, and about our own mails alone."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from domain import database, return_paths, settings
from graph import ses, sns
from tests.conftest import STARTS_AT, TEST_KEYS, Clock
from tests.test_bounced_addresses import invited, on_the_tile, resend
from tests.world import Api, Json, Mail, World

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail-feedback"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
CONFIRM = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb687f5d51e6e241d09c805a5a57b30d712f79"
SETTINGS = {"SECRET_KEYS": ",".join(TEST_KEYS), "SES_TOPIC_ARN": TOPIC, "BOUNCE_ADDRESS": "bounces@example.com"}


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: Any = None, *, days: int = 365) -> bytes:
    """Of a signer. days: until its end, from the moment on at which the tests' clock begins."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    key = key or private_key("sns")
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    begin, end = STARTS_AT - timedelta(days=400), STARTS_AT + timedelta(days=days)
    made = builder.not_valid_before(begin).not_valid_after(end)
    return made.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM)


class Sns:
    """SNS: signs messages, posts them, and serves its pages."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {CERTIFICATE_URL: certificate(), CONFIRM: b"<ok/>"}
        self.asked: list[str] = []
        self.client: httpx.AsyncClient

    async def page(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise httpx.ConnectError("not there")
        return self.pages[url]

    async def message(self, event: Json | str = "", *, version: str = "2", signer: str = "sns", **changes: Any) -> Json:
        """A signed message. changes: made before it is signed; None takes a field out."""
        moment = await database.now()
        made = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": TOPIC,
            "Message": event if isinstance(event, str) else json.dumps(event),
            "Timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": f"{HOST}/?Action=Unsubscribe",
        } | changes
        made = {name: value for name, value in made.items() if value is not None}
        kind = SHA1() if version == "1" else SHA256()  # noqa: S303 -- what version 1 is
        if made["Type"] in sns._SIGNED:
            text = sns.canonical(made).encode()
            made["Signature"] = base64.b64encode(private_key(signer).sign(text, padding.PKCS1v15(), kind)).decode()
        return made

    async def post(self, message: Json | bytes) -> int:
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        response = await self.client.post(
            ses.PATH, content=content, headers={"content-type": "text/plain; charset=UTF-8"}
        )
        return response.status_code

    async def tell(self, event: Json | str, **changes: Any) -> int:
        """Sign and post; the status of the answer."""
        return await self.post(await self.message(event, **changes))


Start = Callable[..., Awaitable[Sns]]


@pytest_asyncio.fixture
async def start(db: None, tmp_path: Path) -> AsyncIterator[Start]:
    """Begins with these settings beside the usual ones."""
    opened: list[httpx.AsyncClient] = []

    async def begin(**values: str) -> Sns:
        topic = Sns()
        routes = ses.routes(settings.load(SETTINGS | {"DATA_DIR": str(tmp_path)} | values), fetch=topic.page)
        transport = httpx.ASGITransport(app=Starlette(routes=routes))
        topic.client = httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8000")
        opened.append(topic.client)
        return topic

    yield begin
    for client in opened:
        await client.aclose()


def mail_of(delivery: UUID, **more: Any) -> Json:
    """What SES says of the mail itself."""
    return {
        "messageId": "0000014644fe5ef6-9a483358",
        "source": return_paths.make("bounces@example.com", delivery),
        "destination": ["new@clinic.example"],
        "headersTruncated": False,
    } | more


def bounced(
    delivery: UUID, kind: str = "Permanent", subtype: str = "General", status: str = "5.1.1", **more: Any
) -> Json:
    recipient = {
        "emailAddress": "new@clinic.example",
        "action": "failed",
        "status": status,
        "diagnosticCode": "smtp; 550 no",
    }
    bounce = {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [recipient]}
    return {"notificationType": "Bounce", "bounce": bounce, "mail": mail_of(delivery, **more)}


async def test_a_bounce_that_ses_tells_is_told_on_the_tile_and_once(
    world: World, api: Api, mail: Mail, clock: Clock, start: Start
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    topic = await start()
    message = await topic.message(bounced(delivery))
    assert set(await asyncio.gather(*(topic.post(message) for _ in range(5)))) == {204}
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == "BOUNCED"
    assert "(5.1.1). There is no such mailbox." in shown["problem"]
    assert topic.asked == [CERTIFICATE_URL]
    await clock.forward(minutes=2)
    assert (await resend(api, practice, user_id))["__typename"] == "AddressBounced"
    await database.execute("UPDATE deliveries SET status = 'SENT', reported_status = NULL, problem = NULL")
    assert await topic.post(message) == 204  # played once more
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"


@pytest.mark.parametrize(
    ("event", "status", "says"),
    [
        ({"notificationType": "Delivery"}, "DELIVERED", None),
        ({"eventType": "Delivery"}, "DELIVERED", None),
        ({"notificationType": "Complaint", "complaint": {"complaintFeedbackType": "abuse"}}, "DELIVERED", "spam"),
        ({"notificationType": "Complaint", "complaint": None}, "DELIVERED", "spam"),
        ({"notificationType": "Complaint", "complaint": {"complaintFeedbackType": "not-spam"}}, "SENT", None),
        (
            {
                "eventType": "DeliveryDelay",
                "deliveryDelay": {"delayType": "MailboxFull", "delayedRecipients": [{"status": "4.2.2"}]},
            },
            "SENT",
            "(4.2.2). The mailbox is full.",
        ),
        ({"eventType": "Reject", "reject": {"reason": "Bad content"}}, "FAILED", "refuses to send it"),
        (
            {"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "MailboxFull"}},
            "FAILED",
            "is full",
        ),
        (
            {"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "General"}},
            "FAILED",
            "given up",
        ),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Undetermined"}}, "FAILED", "given up"),
        (
            {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList"}},
            "BOUNCED",
            "another",
        ),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Permanent"}}, "FAILED", "Nobody says why."),
        ({"eventType": "Bounce", "bounce": "x"}, "FAILED", "given up"),
        ({"eventType": "Open", "open": {}}, "SENT", None),
        ({"eventType": "Send"}, "SENT", None),
        ({"eventType": ["Bounce"]}, "SENT", None),
        ({}, "SENT", None),
    ],
)
async def test_each_event_has_its_end(
    world: World, api: Api, mail: Mail, start: Start, event: Json, status: str, says: str | None
) -> None:
    practice, _, delivery = await invited(world, mail)
    topic = await start()
    assert await topic.tell(event | {"mail": mail_of(delivery)}) == 204
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == status
    assert (says or "") in (shown["problem"] or "")
    assert (shown["problem"] is None) == (says is None)


async def test_a_mail_is_known_by_its_envelope_sender_or_by_our_message_id(
    world: World, api: Api, mail: Mail, start: Start
) -> None:
    practice, _, delivery = await invited(world, mail)
    message_id = f"<{delivery.hex}@example.com>"
    unknown: list[Json] = [
        {"mail": None},
        {"mail": []},
        {"mail": {"source": "bounces@example.com"}},
        {"mail": {"source": None, "headers": "x", "commonHeaders": [1]}},
        {"mail": {"headers": [1, {"name": "Message-ID"}, {"name": "Message-ID", "value": "<x@y>"}]}},
        {"mail": mail_of(uuid4())},
    ]
    topic = await start()
    for event in unknown:
        assert await topic.tell({"notificationType": "Delivery"} | event) == 204
    assert await topic.tell("no JSON") == 204
    assert await topic.tell("[" * 100_000) == 204
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"
    plain = {"source": "access@example.com", "headers": [{"name": "Message-ID", "value": message_id}]}
    assert await topic.tell({"notificationType": "Delivery", "mail": plain}) == 204
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "DELIVERED"
    common = {"source": "access@example.com", "commonHeaders": {"messageId": message_id}}
    bounce = bounced(delivery) | {"mail": common}
    assert await topic.tell(bounce, version="1") == 204
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"


async def test_what_sns_did_not_sign_for_this_topic_changes_nothing(
    world: World, api: Api, mail: Mail, clock: Clock, start: Start
) -> None:
    practice, _, delivery = await invited(world, mail)
    topic = await start()
    event = bounced(delivery)
    good = await topic.message(event)
    away = "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-9c6465fa7f48.pem"
    forged: list[Json | bytes] = [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        {},
        good | {"Message": json.dumps(bounced(uuid4()))},
        good | {"MessageId": "another"},
        good | {"Subject": "added"},
        good | {"Signature": None},
        good | {"Signature": "!"},
        good | {"Signature": "AAAA"},
        good | {"SignatureVersion": "1"},
        good | {"SignatureVersion": "3"},
        good | {"Message": "\ud800"},
        good | {"Type": ["Notification"]},
        {name: value for name, value in good.items() if name != "Signature"},
        await topic.message(event, signer="somebody else"),
        await topic.message(event, TopicArn=TOPIC.replace("mail", "other")),
        await topic.message(event, TopicArn=None),
        await topic.message(event, Type="Other"),
        await topic.message(event, Timestamp="2012-05-02T00:54:06.655Z"),
        await topic.message(event, Timestamp=f"{await database.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"),
        await topic.message(event, Timestamp=f"{await database.now():%Y-%m-%dT%H:%M:%S}"),
        await topic.message(event, Timestamp="soon"),
        *[
            await topic.message(event, SigningCertURL=url)
            for url in (
                None,
                "",
                "x",
                "http://[",
                away,
                CERTIFICATE_URL.replace("https", "http"),
                CERTIFICATE_URL.replace("eu-west-1", "us-east-1"),
                CERTIFICATE_URL.replace("//", "//user@"),
                CERTIFICATE_URL.replace(".com/", ".com:8443/"),
                CERTIFICATE_URL + "?x=y",
                CERTIFICATE_URL + "#x",
                CERTIFICATE_URL + "\n",
                CERTIFICATE_URL.replace("/Simple", "/x/../Simple"),
                f"{HOST}\\@evil.example/SimpleNotificationService-9c6465fa.pem",
                CONFIRM,
            )
        ],
    ]
    for message in forged:
        assert await topic.post(message) == 403, message
    assert set(topic.asked) == {CERTIFICATE_URL}
    assert await topic.post(b"x" * 600_000) == 413
    assert (await topic.client.get(ses.PATH)).status_code == 405
    await clock.forward(days=3)
    assert await topic.post(good) == 403  # it was kept for later
    practice.administrator.session = await world.again(practice.administrator)
    assert (await on_the_tile(api, practice))["delivery"] == {"status": "SENT", "problem": None}
    assert await database.fetch("SELECT 1 FROM feedback_events") == []


async def test_a_certificate_that_cannot_be_had_is_asked_for_again(
    world: World, api: Api, mail: Mail, start: Start
) -> None:
    practice, _, delivery = await invited(world, mail)
    topic = await start()
    message = await topic.message(bounced(delivery))
    pages = dict(topic.pages)
    expected = [
        (None, 503),
        (b"<html>", 403),
        (certificate(days=-1), 403),
        (certificate(ec.generate_private_key(ec.SECP256R1())), 403),
    ]
    for page, status in expected:
        topic = await start()
        topic.pages = {CERTIFICATE_URL: page} if page else {}
        assert await topic.post(message) == status
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"
    topic = await start()
    topic.pages = {}
    assert await topic.post(message) == 503
    topic.pages = pages
    assert await topic.post(message) == 204
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"


async def test_a_pinned_certificate_is_the_only_one(
    world: World, api: Api, mail: Mail, start: Start, tmp_path: Path
) -> None:
    practice, _, delivery = await invited(world, mail)
    pinned = tmp_path / "sns.pem"
    pinned.write_bytes(certificate(private_key("pinned")))
    topic = await start(SES_CERTIFICATE=str(pinned))
    assert await topic.tell(bounced(delivery)) == 403
    assert await topic.tell(bounced(delivery), signer="pinned") == 204
    assert topic.asked == []
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"


async def test_only_the_topics_own_subscription_is_confirmed(start: Start) -> None:
    topic = await start()
    kind: Json = {"Type": "SubscriptionConfirmation", "Token": "2336412f37fb687f", "UnsubscribeURL": None}
    wrong = [
        CONFIRM.replace("eu-west-1.amazonaws.com", "eu-west-1.amazonaws.com.evil.example"),
        CONFIRM.replace("https", "http"),
        CONFIRM.replace("ConfirmSubscription", "Unsubscribe"),
        CONFIRM.replace("mail-feedback", "other"),
        CONFIRM + f"&TopicArn={TOPIC}",
        CONFIRM.replace("/?", "/x?"),
        "http://169.254.169.254/latest/meta-data",
    ]
    for url in wrong:
        assert await topic.tell("You have chosen to subscribe", **kind, SubscribeURL=url) == 403, url
    assert await topic.tell("x", signer="somebody else", **kind, SubscribeURL=CONFIRM) == 403
    assert await topic.tell("x", **kind) == 403
    assert topic.asked == [CERTIFICATE_URL]
    assert await topic.tell("You have chosen to subscribe", **kind, SubscribeURL=CONFIRM) == 204
    assert topic.asked == [CERTIFICATE_URL, CONFIRM]
    del topic.pages[CONFIRM]
    assert await topic.tell("You have chosen to subscribe", **kind, SubscribeURL=CONFIRM) == 503
    left: Json = kind | {"Type": "UnsubscribeConfirmation"}
    assert (
        await topic.tell("You have chosen to leave", **left, SubscribeURL=CONFIRM) == 204
    )  # nobody comes back unasked
    assert topic.asked.count(CONFIRM) == 2


def test_a_message_is_signed_as_sns_documents_it() -> None:
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
        "Subject": "My First Message",
        "Message": "Hello world!",
        "Timestamp": "2012-05-02T00:54:06.655Z",
    }
    expected = """Message
Hello world!
MessageId
22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324
Subject
My First Message
Timestamp
2012-05-02T00:54:06.655Z
TopicArn
arn:aws:sns:us-west-2:123456789012:MyTopic
Type
Notification
"""
    assert sns.canonical(message) == expected


async def test_without_a_topic_there_is_no_such_page(api: Api) -> None:
    assert (await api.client.post(ses.PATH)).status_code == 404
