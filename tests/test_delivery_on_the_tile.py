"""What an administrator sees on the users tile of an invitation's mail: while mail is down, when it comes back, when it bounces."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clock
from tests.servers import smtp
from tests.servers.ports import free_port
from tests.test_delivery import WAIT_SECONDS, relaying
from tests.world import Api, Json, PracticeWorld, World

TILE = """
query ($search: String!) { usersTile { users(filter: { search: $search }) { nodes {
  email invitation { state delivery { status attempts problem queuedAt sentAt } } } } } }
"""


@pytest.fixture
def sink() -> Any:
    with smtp.running() as server:
        yield server


async def seen(api: Api, practice: PracticeWorld, email: str) -> Json:
    """The delivery of somebody's invitation, as the tile has it."""
    answer = await api.query(TILE, {"search": email}, token=practice.administrator.session)
    (found,) = answer["usersTile"]["users"]["nodes"]
    delivery: Json = found["invitation"]["delivery"]
    return delivery


async def until(api: Api, practice: PracticeWorld, email: str, condition: Callable[[Json], bool]) -> Json:
    """What the tile shows once it shows this."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(found := await seen(api, practice, email)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def test_the_tile_tells_of_mail_that_is_down_that_comes_back_and_that_bounces(
    world: World, api: Api, clock: Clock, sink: smtp.Sink, tmp_path: Path
) -> None:
    practice = await world.practice()
    await world.invite(practice, "ann@example.com")
    waiting = await seen(api, practice, "ann@example.com")
    assert (waiting["status"], waiting["attempts"], waiting["problem"]) == ("QUEUED", 0, None)

    # Nobody listens where the relay should be: the message waits, says why, and no attempt is spent on it.
    async with relaying(tmp_path, SMTP_URL=f"smtp://127.0.0.1:{free_port()}?tls=none"):
        down = await until(api, practice, "ann@example.com", lambda one: one["problem"] is not None)
    assert (down["status"], down["attempts"], down["sentAt"]) == ("RETRYING", 0, None)
    assert down["problem"] == "The mail relay cannot be reached (ConnectionRefusedError)."

    # It is back: what waited goes out without anybody doing anything, and nothing is left of the problem.
    await clock.forward(minutes=1)
    sink.answer_recipient = lambda address: "550 5.1.1 no such user" if address == "bob@example.com" else None
    async with relaying(tmp_path, SMTP_URL=sink.url) as relay:
        back = await until(api, practice, "ann@example.com", lambda one: one["status"] == "SENT")
        assert (back["attempts"], back["problem"]) == (1, None)
        assert back["sentAt"] is not None

        # Nobody is there: the tile says what to do, and a corrected address mends it.
        user_id = await world.invite(practice, "bob@example.com")
        relay.ring()
        gone = await until(api, practice, "bob@example.com", lambda one: one["status"] == "BOUNCED")
        assert gone["problem"].startswith(
            "The receiving server does not take mail for this address (550 5.1.1). There is no such mailbox."
        )
        assert gone["sentAt"] is None
        await clock.forward(minutes=2)
        values = {"userId": user_id, "email": "robert@example.com"}
        again = await api.do("resend", values, token=practice.administrator.session)
        assert again["invitation"]["delivery"]["status"] in ("QUEUED", "SENDING", "SENT")
        relay.ring()
        mended = await until(api, practice, "robert@example.com", lambda one: one["status"] == "SENT")
        assert mended["problem"] is None
    assert [one.recipients for one in sink.received] == [("ann@example.com",), ("robert@example.com",)]
