"""One id from a request to the delivery of what it asked for: in the answer, beside the message, and in the log's lines."""

import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from domain import database, logs, settings
from domain.models.columns import DeliveryStatus
from tests.servers import smtp
from tests.test_delivery import relaying, until
from tests.world import World, document

ADMIN = "ada@elm.example"
UUID = "0190163d-8694-739b-aea5-966c26f8ad91"
SIGN_UP = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": ADMIN,
    "phone": "+12025550100",
    "practiceName": "Elm",
    "specialty": "Family medicine",
}


@pytest.mark.parametrize("given", [UUID, UUID.upper(), "4bf92f3577b34da6a3ce929d0e0e4736", "0123456789abcdef"])
async def test_an_id_that_came_along_is_kept(world: World, given: str) -> None:
    answer = await world.api.client.get("/healthz", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0123456789abcde",
        "-" * 20,
        "a" * 65,
        ADMIN,
        "+12025550143",
        "123456",
        "K7WQ2-M9XTR",
        "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY0",
        "0123456789abcdef forged=1",
    ],
)
async def test_anything_else_is_replaced(world: World, given: str) -> None:
    found = (await world.api.client.get("/healthz", headers={"x-request-id": given})).headers["x-request-id"]
    assert found != given
    assert len(found) == 32
    again = await world.api.client.get("/healthz", headers={"x-request-id": given})
    assert again.headers["x-request-id"] != found


async def test_the_id_goes_from_the_request_to_the_delivery(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await world.api.client.post(
        "/graphql", json={"query": document("signUp"), "variables": {"input": SIGN_UP}}, headers={"x-request-id": UUID}
    )
    assert answer.headers["x-request-id"] == UUID
    with smtp.running() as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url):
            (row,) = await until(DeliveryStatus.SENT)
    assert row["request_id"] == UUID
    (line,) = [record for record in caplog.records if record.getMessage() == "Delivery sent"]
    said = vars(line)
    assert (said["request_id"], said["delivery"], said["channel"]) == (UUID, str(row["id"]), "EMAIL")
    assert (said["kind"], said["attempt"]) == ("verify_email", 1)
    assert ADMIN not in str(said)


async def test_each_way_that_a_try_ends_is_a_line_without_an_address(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with smtp.running() as sink:
        answers = {"later@elm.example": "450 4.2.1 {} is busy", "never@elm.example": "550 5.1.1 {} is unknown"}
        sink.answer_recipient = lambda address: answers[address].format(address)
        for address in ("later@elm.example", "never@elm.example"):
            await world.sign_up("Elm", address)
        async with relaying(tmp_path, SMTP_URL=sink.url):
            await until(DeliveryStatus.RETRYING)
            await until(DeliveryStatus.BOUNCED)
    ours = [record for record in caplog.records if record.name.startswith(("domain", "graph", "workers"))]
    assert {"Delivery retrying", "Delivery bounced"} <= {record.getMessage() for record in ours}
    assert "@elm.example" not in "\n".join(str(vars(record)) for record in ours)


async def test_requests_do_not_get_each_others_ids(world: World) -> None:
    await world.sign_up("Elm", "one@elm.example")
    await world.sign_up("Oak", "two@oak.example")
    rows = await database.fetch("SELECT request_id FROM deliveries")
    assert len({row["request_id"] for row in rows}) == 2
    assert structlog.contextvars.get_contextvars() == {}


def test_a_line_in_production_is_json_with_the_id_and_nothing_that_was_not_meant(capsys: Any) -> None:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    try:
        loaded = settings.load({"ENVIRONMENT": "development", "SECRET_KEYS": "k3y-0f-the-j0urney-test-9f8e7d6c5b4a"})
        logs.configure(loaded)
        with structlog.contextvars.bound_contextvars(request_id=UUID):
            logging.getLogger("test").info("Text\nof two lines", extra={"delivery": "1", "recipient": ADMIN})
    finally:
        root.handlers, root.level = before
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert UUID in line
    assert ADMIN not in line
