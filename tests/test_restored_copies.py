"""A database that was restored from a backup: nothing is sent out of it unasked, and an operator ends what is open in it."""

import asyncio
import json
from pathlib import Path

import pytest

from domain import database, outbox, restored, scraping
from domain.actors import Actor
from domain.errors import Forbidden
from domain.models.columns import Channel
from tests.conftest import Clock
from tests.servers import carrier, smtp
from tests.test_delivery import account, code_sent, relaying, rows, signed_up
from tests.test_metrics import exposing
from tests.test_operator_commands import Server, server
from tests.test_subscriptions import id_of
from tests.world import Api, Mail, World
from workers import housekeeping

__all__ = ["server"]

REASON = "Restored from the backup of June 5."


async def test_a_worker_with_sending_off_sends_by_no_channel_and_lets_the_schedule_stand_still(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scraping, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(housekeeping, "FIRST_SECONDS", 0.0)
    await signed_up("ann@example.com")
    for channel in (Channel.SMS, Channel.VOICE):
        await code_sent(channel)
    await database.execute("UPDATE deliveries SET status = 'RETRYING', attempts = 1 WHERE channel = 'SMS'")
    before = await rows()
    with smtp.running() as sink, carrier.running() as phones:
        parts = account(phones) | {"SMTP_URL": sink.url}
        async with exposing() as site:
            async with relaying(tmp_path, SENDING="off", **parts) as relay:
                relay.ring()
                assert (await site.read())("sending") == 0
                await asyncio.sleep(1.0)
                for was, now in zip(before, await rows(), strict=True):
                    assert {**was, "due_in": 0} == {**now, "due_in": 0}
                assert (sink.received, phones.taken) == ([], [])
            async with relaying(tmp_path, **parts):
                assert (await site.read())("sending") == 1
                async with asyncio.timeout(60):
                    await _all_sent()
            assert "\npractice_access_sending " not in (await site.read()).text
        assert len(sink.received) + len(phones.taken) == 3


async def _all_sent() -> None:
    while {row["status"] for row in await rows()} != {"SENT"}:  # noqa: ASYNC110 -- another process's rows, so to speak
        await asyncio.sleep(0.05)


async def test_what_was_open_in_the_backup_is_called_back_and_what_comes_later_goes_out(
    world: World, mail: Mail, clock: Clock, server: Server
) -> None:
    elm, oak = await world.practice("Elm"), await world.practice("Oak")
    for number in range(3):
        await world.invite(elm, f"n{number}@clinic.example")
    await world.invite(oak, "mary@clinic.example")
    await world.sign_up("Ash", "eve@ash.example")
    await database.execute(
        "UPDATE deliveries SET status = 'SENDING', due_at = clock_now() - interval '1 second', lease_owner = gen_random_uuid()"
        " WHERE subject_id = (SELECT i.id FROM invitations i JOIN users u ON u.id = i.user_id WHERE u.email = 'n1@clinic.example')"
    )
    await clock.forward(minutes=1)
    moment = (await database.now()).isoformat()
    await clock.forward(minutes=1)
    await world.invite(oak, "late@clinic.example")
    done = await server.run("deliveries", "cancel-open", "--before", moment, "--reason", REASON)
    assert (done.status, done.printed, done.complained) == (0, "5 are called back\n", "")
    again = await server.run("deliveries", "cancel-open", "--before", moment, "--reason", REASON)
    assert again.printed == "0 are called back\n"
    assert [sent.content.recipient for sent in await mail.run()] == ["late@clinic.example"]
    canceled = await database.fetch("SELECT DISTINCT problem FROM deliveries WHERE status = 'CANCELED'")
    assert canceled == [{"problem": f"The operator called it back: {REASON}"}]
    events = await database.fetch(
        "SELECT practice_id, actor_name, details FROM audit_events WHERE action = 'deliveries.canceled'"
    )
    details = {row["practice_id"]: json.loads(row["details"]) for row in events}
    assert {practice_id: one["count"] for practice_id, one in details.items()} == {
        await id_of(elm): 3,
        await id_of(oak): 1,
        None: 1,
    }
    assert {one["reason"] for one in details.values()} == {REASON}
    assert all(row["actor_name"].startswith("operator ") for row in events)


async def test_what_a_worker_has_in_hand_is_left_to_it_and_told(world: World, mail: Mail, server: Server) -> None:
    await world.sign_up("Ash", "eve@ash.example")
    (claimed,) = await outbox.claim(outbox.LANE_URGENT, at_most=1, lease_seconds=60)
    done = await server.run("deliveries", "cancel-open", "--before", "2199-01-01", "--reason", REASON)
    assert (done.status, done.printed) == (1, "0 are called back\n")
    assert done.complained == "practice-access: workers are sending 1 just now: stop them, and run this once more\n"
    (row,) = await rows()
    assert (row["status"], row["lease_owner"]) == ("SENDING", claimed.owner)


async def test_sessions_devices_and_links_that_came_back_with_the_backup_are_ended(
    world: World, api: Api, server: Server
) -> None:
    elm, oak = await world.practice("Elm"), await world.practice("Oak")
    ada = elm.administrator
    challenge = await world.challenged(ada)
    digits = await world.code(challenge, ada.phone)
    await api.do("requestPasswordReset", {"email": ada.email})
    link = await world.link(ada.email)
    done = await server.run("users", "sign-out-everybody", "--reason", REASON)
    assert (done.status, done.complained) == (0, "")
    assert done.printed.startswith("2 sessions are ended, and 2 devices are not trusted any more.")
    for person in (ada, oak.administrator):
        assert (await api.query("{ viewer { id } }", token=person.session))["viewer"] is None
        values = {"email": person.email, "password": person.password, "deviceToken": person.device}
        assert (await api.do("signIn", values))["__typename"] == "SecurityChallenge"
    answered = await api.do("verifyDevice", {"challengeToken": challenge, "code": digits})
    assert answered["__typename"] == "ChallengeInvalid"
    assert (await api.do("startPasswordReset", {"token": link}))["__typename"] == "LinkInvalid"
    events = await database.fetch("SELECT practice_id, details FROM audit_events WHERE action = 'sessions.all_ended'")
    assert {row["practice_id"]: json.loads(row["details"]) for row in events} == {
        await id_of(practice): {"sessions": 1, "devices": 1, "reason": REASON} for practice in (elm, oak)
    }


async def test_only_operators_end_what_came_back(db: None) -> None:
    nobody = Actor(ip_address="198.51.100.7", name="nobody")
    with pytest.raises(Forbidden):
        await restored.cancel_open(nobody, await database.now(), REASON)
    with pytest.raises(Forbidden):
        await restored.sign_everybody_out(nobody, REASON)


@pytest.mark.parametrize(
    "command", [("deliveries", "cancel-open", "--before", "2099-01-01"), ("users", "sign-out-everybody")]
)
async def test_a_reason_is_asked_for(server: Server, command: tuple[str, ...]) -> None:
    done = await server.run(*command, "--reason", " ")
    assert "--reason: Say why" in done.refused()


async def test_doctor_says_whether_workers_send(server: Server) -> None:
    assert "sending   on\n" in (await server.run("doctor")).printed
