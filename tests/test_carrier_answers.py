"""What a carrier's answer is worth: a success has to be proved, our fault is no number's, and nothing dies of a proxy or a redirect."""

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import database
from domain.models.columns import DeliveryStatus
from tests.servers import carrier
from tests.servers.web import serving
from tests.test_channel_pauses import until as until_found
from tests.test_delivery import PHONE, account, code_sent, relaying, rows, until
from tests.test_second_roads import state, until_so
from workers.breakers import LONGEST_ASKED_SECONDS, Breaker, State
from workers.carrier import _retry_after
from workers.deliveries import ChannelDown

PAGE = b"<!doctype html><title>Sign in to the network</title>"
JSON = {"content-type": "application/json"}


@pytest.fixture
def second() -> Iterator[carrier.Carrier]:
    with carrier.running() as server:
        yield server


class Answering:
    """A carrier that always says the same. asked: the paths that it was asked for."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.asked: list[str] = []
        self._answer = (body, status, headers)

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        body, status, headers = self._answer
        return Response(body, status, headers)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{rest:path}", self.__call__, methods=["GET", "POST"])])


def first_at(url: str) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": "AC1",
        "TWILIO_AUTH_TOKEN": "t",
        "TWILIO_FROM": "+12025550199",
        "TWILIO_API_URL": url,
    }


def failing(code: int) -> bytes:
    return b'{"code": %d, "message": "no", "status": 400}' % code


# Which answers the second carrier has to make good in the same try, and whether the first is left alone after one of them.
PASSED_OVER: list[tuple[int, bytes, dict[str, str], State]] = [
    (200, PAGE, {"content-type": "text/html"}, State.OPEN),
    (200, b'{"sid": "SM1', JSON, State.OPEN),
    (301, b"", {"location": "/elsewhere"}, State.OPEN),
    (302, PAGE, {"location": "/elsewhere"}, State.OPEN),
    (307, b"", {"location": "/elsewhere"}, State.OPEN),
    (308, b"", {"location": "/elsewhere"}, State.OPEN),
    (402, b"", {}, State.OPEN),
    (403, failing(20005), JSON, State.OPEN),
    (400, failing(21705), JSON, State.OPEN),
    (429, failing(20429), JSON | {"retry-after": "120"}, State.OPEN),
    (503, PAGE, {"retry-after": "120"}, State.OPEN),
    (400, failing(21608), JSON, State.CLOSED),
    (400, failing(21408), JSON, State.CLOSED),
    (400, failing(21612), JSON, State.CLOSED),
]


@pytest.mark.fault("F31")
@pytest.mark.parametrize(("status", "body", "headers", "breaker"), PASSED_OVER)
async def test_what_is_no_numbers_fault_goes_by_the_second_carrier_in_the_same_try(
    db: None,
    second: carrier.Carrier,
    tmp_path: Path,
    status: int,
    body: bytes,
    headers: dict[str, str],
    breaker: State,
) -> None:
    one = Answering(status, body, headers)
    with serving(one.app()) as url:
        values = first_at(url) | {f"SECOND_{name}": value for name, value in account(second).items()}
        digits = await code_sent()
        async with relaying(tmp_path, **values) as relay:
            [row] = await until(DeliveryStatus.SENT)
            assert (state(relay, "FIRST texts") is State.CLOSED) is (breaker is State.CLOSED)
    assert (row["attempts"], row["carrier"]) == (1, "SECOND")
    assert second.sent_to(PHONE)[0].text.startswith(digits)
    assert one.asked == ["/2010-04-01/Accounts/AC1/Messages.json"], "a redirect is not followed with credentials"


@pytest.mark.parametrize(
    ("status", "body", "headers"), [one[:3] for one in PASSED_OVER if one[3] is State.OPEN and one[0] != 200]
)
async def test_what_is_about_our_account_costs_a_message_of_an_only_carrier_no_attempt(
    db: None, tmp_path: Path, status: int, body: bytes, headers: dict[str, str]
) -> None:
    await code_sent()
    with serving(Answering(status, body, headers).app()) as url:
        async with relaying(tmp_path, **first_at(url)) as relay:
            [row] = await until(DeliveryStatus.RETRYING)
            assert state(relay, "FIRST texts") is not State.CLOSED
    assert (row["attempts"], row["fault"] in ("SENDER", "RELAY")) == (0, True)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"sid": null, "status": "queued"}',
        b'{"sid": "no", "status": "queued"}',
        b'{"sid": "SM\\u0000' + b"1" * 30 + b'"}',
    ],
)
async def test_a_success_without_an_id_is_none_and_is_tried_once_more(db: None, tmp_path: Path, body: bytes) -> None:
    await code_sent()
    one = Answering(201, body, JSON)
    with serving(one.app()) as url:
        async with relaying(tmp_path, **first_at(url)):
            await until(DeliveryStatus.FAILED)
    assert one.asked.count("/2010-04-01/Accounts/AC1/Messages.json") == 2
    [text] = [row for row in await rows() if row["channel"] == "SMS"]
    assert (text["status"], text["provider_id"]) == ("FAILED", None)
    assert "may have arrived" in text["problem"]


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        (b'{"sid": "SM0123456789", "status": "failed", "error_code": 30034}', DeliveryStatus.FAILED, "SENDER"),
        (b'{"sid": "SM0123456789", "status": "undelivered", "error_code": 30005}', DeliveryStatus.BOUNCED, "RECIPIENT"),
        (b'{"sid": "SM0123456789", "status": "failed", "error_code": null}', DeliveryStatus.RETRYING, "UNKNOWN"),
    ],
)
async def test_a_message_that_was_taken_and_failed_at_once_was_not_sent(
    db: None, tmp_path: Path, body: bytes, status: DeliveryStatus, fault: str
) -> None:
    await code_sent()
    with serving(Answering(201, body, JSON).app()) as url:
        async with relaying(tmp_path, **first_at(url)):
            row = (await until(status))[0]
    assert row["fault"] == fault


def our_faults(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "by no fault of its recipient" in record.getMessage()]


async def test_our_own_fault_is_told_to_the_operator_and_not_held_against_the_number(
    db: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with carrier.running() as phones:
        phones.refuse(PHONE, 400, 21608, "trial account")
        await code_sent()
        async with relaying(tmp_path, **account(phones)):
            row = (await until(DeliveryStatus.FAILED))[0]
            await until_so(lambda: bool(our_faults(caplog)))
    assert row["problem"].startswith("Our carrier account is on trial")
    assert row["fault"] == "SENDER"
    told = our_faults(caplog)
    assert [(record.levelname, record.__dict__["cause"]) for record in told][:1] == [
        ("WARNING", "trial account (21608)")
    ]
    assert PHONE not in caplog.text


async def test_the_second_carrier_is_not_asked_for_a_number_that_opted_out(
    db: None, second: carrier.Carrier, tmp_path: Path
) -> None:
    with carrier.running() as phones:
        phones.refuse(PHONE, 400, 21610, "unsubscribed")
        await code_sent()
        values = account(phones) | {f"SECOND_{name}": value for name, value in account(second).items()}
        async with relaying(tmp_path, **values):
            [row] = await until(DeliveryStatus.BOUNCED)
    assert "Text START to +12025550199" in row["problem"]
    assert second.asked == 0 or {one.channel for one in second.taken} <= {"VOICE"}


# -- Retry-After ---------------------------------------------------------------------------------------------------------------

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "30"}, 30.0),
        (503, {"retry-after": " 7 "}, 7.0),
        (429, {"retry-after": "0"}, 0.0),
        (429, {"retry-after": "9" * 400}, LONGEST_ASKED_SECONDS),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:40 GMT", "date": DATE}, 40.0),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0.0),
        (429, {"retry-after": "Thu, 22 Oct 2099 07:27:00 GMT", "date": "never"}, LONGEST_ASKED_SECONDS),
        (429, {"retry-after": "soon"}, None),
        (429, {"retry-after": "-5"}, None),
        (429, {"retry-after": "1.5"}, None),
        (429, {}, None),
        (400, {"retry-after": "30"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_moment_and_has_a_bound(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert _retry_after(httpx.Response(status, headers=headers)) == seconds


def test_a_breaker_stays_open_for_as_long_as_the_other_side_asks() -> None:
    now = [1000.0]
    breaker = Breaker("a carrier", lambda: now[0])
    with pytest.raises(ChannelDown), breaker.trying(uuid4()):
        raise ChannelDown("It is busy.", None, 120.0)
    assert breaker.opens_in() == 120.0
    now[0] += 121
    with pytest.raises(ChannelDown), breaker.trying(uuid4()):
        raise ChannelDown("It is busy.", None, 10.0**9)
    assert breaker.opens_in() == LONGEST_ASKED_SECONDS


async def test_a_carrier_that_asks_for_time_is_not_asked_meanwhile(db: None, tmp_path: Path) -> None:
    one = Answering(429, failing(20429), JSON | {"retry-after": "60"})
    with serving(one.app()) as url:
        await code_sent()
        async with relaying(tmp_path, **first_at(url)) as relay:
            await until(DeliveryStatus.RETRYING)
            await code_sent()
            relay.ring()

            async def all_wait() -> bool:
                return len([row for row in await rows() if row["status"] == "RETRYING"]) == 2

            await until_found(all_wait)
            await until_so(lambda: state(relay, "FIRST texts") is State.OPEN)
    assert len(one.asked) == 1
    assert {
        row["attempts"] for row in await database.fetch("SELECT attempts FROM deliveries WHERE channel = 'SMS'")
    } == {0}
