"""What the carrier tells later: believed only with its signature, taken in any order, and said once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from domain import database, metrics, outbox, settings
from domain.models.columns import DeliveryStatus
from domain.outbox import Outcome
from graph.app import create_app
from graph.webhooks import signature
from tests.conftest import TEST_KEYS
from tests.world import Api, Mail, World

TOKEN = "the-carriers-token"
CALLBACK = "https://api.practice-access.example"
SETTINGS = {
    "SECRET_KEYS": ",".join(TEST_KEYS),
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_FROM": "+12025550199",
    "CALLBACK_URL": CALLBACK,
}


@pytest_asyncio.fixture
async def carrier(db: None, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks with the API as the carrier does, by way of a proxy with another name."""
    app = create_app(settings.load(SETTINGS | {"DATA_DIR": str(tmp_path)}), checks={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://10.0.0.7:8000") as client:
        yield client


def listed(form: dict[str, str]) -> dict[str, list[str]]:
    """Each name with its one value."""
    return {name: [value] for name, value in form.items()}


async def report(carrier: httpx.AsyncClient, delivery_id: UUID, **form: str) -> int:
    """Send a signed report; the status of the answer."""
    path = f"/webhooks/twilio/{delivery_id}"
    signed = {"x-twilio-signature": signature(TOKEN, CALLBACK + path, listed(form))}
    return (await carrier.post(path, data=form, headers=signed)).status_code


async def a_text(world: World, mail: Mail) -> UUID:
    """A security code that was sent by text; the id of its delivery."""
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    sms = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    await world.api.do("sendSecurityCode", sms)
    return (await mail.latest(grace.phone)).row.id


async def state(delivery_id: UUID) -> tuple[str, str | None]:
    """How far a delivery has got, and its problem."""
    row = await database.fetch_one("SELECT status, problem FROM deliveries WHERE id = $1", delivery_id)
    assert row is not None
    return row["status"], row["problem"]


@pytest.mark.parametrize(
    ("url", "form", "expected"),
    [
        (
            "https://mycompany.com/myapp.php?foo=1&bar=2",
            {
                "CallSid": "CA1234567890ABCDE",
                "Caller": "+12349013030",
                "Digits": "1234",
                "From": "+12349013030",
                "To": "+18005551212",
            },
            "0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
        ),
    ],
)
def test_a_signature_is_the_one_of_twilios_documentation(url: str, form: dict[str, str], expected: str) -> None:
    assert signature("12345", url, listed(form)) == expected


async def test_a_text_that_arrived_is_delivered_and_one_that_did_not_says_why(
    world: World, mail: Mail, carrier: httpx.AsyncClient
) -> None:
    delivery = await a_text(world, mail)
    assert await report(carrier, delivery, MessageStatus="sent") == 204
    assert await state(delivery) == ("SENT", None)
    assert await report(carrier, delivery, MessageStatus="undelivered", ErrorCode="30003") == 204
    assert await state(delivery) == (
        "FAILED",
        "The phone is switched off or out of reach. Try again later, or by a call. (30003)",
    )
    assert await report(carrier, delivery, MessageStatus="delivered") == 204
    assert await state(delivery) == ("DELIVERED", None)
    assert await report(carrier, delivery, MessageStatus="failed", ErrorCode="30005") == 204
    assert await state(delivery) == ("DELIVERED", None)


async def test_a_number_that_is_at_fault_bounces(world: World, mail: Mail, carrier: httpx.AsyncClient) -> None:
    delivery = await a_text(world, mail)
    for _ in range(2):
        assert await report(carrier, delivery, MessageStatus="undelivered", ErrorCode="30006") == 204
    assert (await state(delivery))[0] == "BOUNCED"


async def test_a_report_without_the_carriers_signature_changes_nothing(
    world: World, mail: Mail, carrier: httpx.AsyncClient
) -> None:
    delivery, other = await a_text(world, mail), uuid4()
    path, form = f"/webhooks/twilio/{delivery}", {"MessageStatus": "failed"}
    for signed in (
        {},
        {"x-twilio-signature": "x"},
        {"x-twilio-signature": "\xff"},
        {"x-twilio-signature": signature("other-token", CALLBACK + path, listed(form))},
        {"x-twilio-signature": signature(TOKEN, f"http://10.0.0.7:8000{path}", listed(form))},
        {"x-twilio-signature": signature(TOKEN, f"{CALLBACK}/webhooks/twilio/{other}", listed(form))},
        {"x-twilio-signature": signature(TOKEN, CALLBACK + path, {"MessageStatus": ["delivered"]})},
    ):
        headers = [(name.encode(), value.encode("latin-1")) for name, value in signed.items()]
        assert (await carrier.post(path, data=form, headers=headers)).status_code == 403
    assert await state(delivery) == ("SENT", None)
    assert (await carrier.post(path, content=b"x" * 20_000)).status_code == 413
    assert (await carrier.get(path)).status_code == 405
    assert await report(carrier, other, MessageStatus="failed") == 204  # of a row that is no more
    assert await report(carrier, delivery) == 204


async def test_a_report_that_is_faster_than_the_worker_is_kept(
    world: World, api: Api, mail: Mail, carrier: httpx.AsyncClient
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await mail.run()
    for outcome, status in ((DeliveryStatus.SENT, "FAILED"), (DeliveryStatus.RETRYING, "DELIVERED")):
        sms = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
        await api.do("sendSecurityCode", sms)
        (row,) = await outbox.claim(outbox.LANE_CODES, at_most=1, lease_seconds=60)
        assert await report(carrier, row.id, MessageStatus="delivered" if status == "DELIVERED" else "failed") == 204
        assert (await state(row.id))[0] == "SENDING"
        await outbox.settle([Outcome(row=row, status=outcome, retry_after_seconds=1, problem="The carrier broke off.")])
        assert (await state(row.id))[0] == status
        if status == "DELIVERED":
            assert await state(row.id) == ("DELIVERED", None)


async def test_reports_at_once_end_in_what_is_best_for_the_person(
    world: World, mail: Mail, carrier: httpx.AsyncClient
) -> None:
    delivery = await a_text(world, mail)
    await asyncio.gather(
        *(report(carrier, delivery, MessageStatus=name) for name in ("failed", "delivered", "undelivered", "sent") * 4)
    )
    assert await state(delivery) == ("DELIVERED", None)


async def test_without_an_address_to_call_back_there_is_no_such_page(api: Api) -> None:
    assert (await api.client.post(f"/webhooks/twilio/{uuid4()}")).status_code == 404


# -- the address that is signed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "signed", "status"),
    [
        ("https://api.example", "https://api.example", 204),
        ("https://api.example", "https://api.example:443", 204),
        ("https://api.example:443", "https://api.example", 204),
        ("https://api.example:8443", "https://api.example:8443", 204),
        ("https://api.example:8443", "https://api.example", 204),
        ("https://api.example:8443", "https://api.example:443", 403),
        ("https://api.example", "https://api.example:8443", 403),
        ("https://api.example", "http://api.example", 403),
        ("https://api.example:8443", "https://other.example:8443", 403),
        ("http://127.0.0.1:8000", "http://127.0.0.1", 204),
        ("http://127.0.0.1", "http://127.0.0.1:80", 204),
        ("http://[::1]:8000", "http://[::1]", 204),
        ("http://[::1]:8000", "http://[::1]:8000", 204),
    ],
)
async def test_a_callback_may_be_signed_with_the_port_or_without(
    db: None, tmp_path: Path, configured: str, signed: str, status: int
) -> None:
    values = SETTINGS | {"DATA_DIR": str(tmp_path), "CALLBACK_URL": configured}
    app = create_app(settings.load(values), checks={})
    path, form = f"/webhooks/twilio/{uuid4()}", {"MessageStatus": "sent"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://10.0.0.7:8000") as client:
        headers = {"x-twilio-signature": signature(TOKEN, signed + path, listed(form))}
        assert (await client.post(path, data=form, headers=headers)).status_code == status


def test_a_name_that_comes_twice_is_signed_with_each_different_value_in_order() -> None:
    # Made with the validator of the twilio package, 9.13.0.
    form = {"MessageStatus": ["sent"], "To": ["b", "a", "b"]}
    assert signature("12345", "https://api.example/x", form) == "nEYQCZKgbqDvSi6lXp1cIifvDSU="


# -- whose fault it is ---------------------------------------------------------------------------------------------------------


async def test_a_sender_that_is_not_registered_is_told_to_the_operator_and_not_held_against_the_number(
    world: World, mail: Mail, carrier: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = await a_text(world, mail)
    counted = _ours()
    for _ in range(2):
        assert await report(carrier, delivery, MessageStatus="undelivered", ErrorCode="30034") == 204
    status, problem = await state(delivery)
    assert status == "FAILED"
    assert problem is not None
    assert "not registered with them. The number is not at fault." in problem
    row = await database.fetch_one("SELECT fault FROM deliveries WHERE id = $1", delivery)
    assert row == {"fault": "SENDER"}
    told = [record for record in caplog.records if "by no fault of its recipient" in record.getMessage()]
    assert [record.__dict__["cause"] for record in told] == ["sender not registered (30034)"]
    assert _ours() == counted + 1
    assert await report(carrier, delivery, MessageStatus="delivered") == 204
    assert await database.fetch_one("SELECT fault FROM deliveries WHERE id = $1", delivery) == {"fault": None}


def _ours() -> float:
    return float(metrics.FAULTS.labels("SMS", "sender")._value.get())


async def test_a_text_to_somebody_who_sent_stop_says_where_to_send_start(
    world: World, mail: Mail, carrier: httpx.AsyncClient
) -> None:
    delivery = await a_text(world, mail)
    assert await report(carrier, delivery, MessageStatus="failed", ErrorCode="21610") == 204
    status, problem = await state(delivery)
    assert status == "BOUNCED"
    assert problem is not None
    assert "Text START to +12025550199" in problem
