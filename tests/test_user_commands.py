"""`practice-access users`: what an operator does for somebody who cannot get in, as real processes."""

import re
from uuid import uuid4

import pytest

from domain import corrections, database, lockouts, lost_phones, user_support
from domain.actors import Actor
from domain.errors import Forbidden, Unauthenticated
from tests.conftest import Clock
from tests.test_operator_commands import Server, server
from tests.world import PASSWORD, Api, Mail, World

__all__ = ["server"]

SOMEBODY = Actor(ip_address="198.51.100.7")


async def ended(key: str, failures: int) -> None:
    """A counter stands as after so many wrong guesses."""
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, $2, 5, clock_now())", key, failures
    )


async def trail(action: str) -> list[tuple[str, str | None]]:
    """Who did something, and why."""
    rows = await database.fetch(
        "SELECT actor_name, details->>'reason' AS reason FROM audit_events WHERE action = $1 AND practice_id IS NOT NULL",
        action,
    )
    return [(row["actor_name"], row["reason"]) for row in rows]


async def test_people_are_found_over_all_practices_with_what_keeps_them_out(world: World, server: Server) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.joined(await world.practice("Oak Street Practice"), "mary@oak.example")
    await ended(lockouts.address_counter(grace.email), 60)
    await ended(lockouts.phone_counter(grace.row_id), 80)
    lines = (await server.run("users", "find", "GRACE@")).printed.splitlines()
    assert len(lines) == 2
    assert re.split(r"  +", lines[1]) == [
        *(str(grace.row_id), "Elm Street Practice", "ACTIVE", "PROVIDER", "ended", "ended", "verified", "10"),
        *("Grace Hopper", "grace@clinic.example"),
    ]
    assert (await server.run("users", "find", "hopper")).printed.count("\n") == 3
    assert (await server.run("users", "find", "nobody")).printed.count("\n") == 1


async def test_unlocking_lifts_every_lock_and_is_told_and_on_record(
    world: World, api: Api, mail: Mail, server: Server
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for key, failures in (
        (lockouts.address_counter(grace.email), 60),
        (lockouts.phone_counter(grace.row_id), 80),
        (lockouts.session_counter(grace.row_id), 20),
        (f"recovery:user:{grace.row_id}", 9),
    ):
        await ended(key, failures)
    done = await server.run("users", "unlock", "--user", str(grace.row_id), "--reason", "He rang,\nand we know him.")
    assert (done.status, done.complained) == (0, "")
    assert "Grace Hopper is told" in done.printed
    assert await database.fetch("SELECT key FROM guess_counters WHERE key NOT LIKE 'pac:%'") == []
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"
    assert "unlocked" in {sent.content.notice for sent in mail.sent if sent.content.recipient == grace.email}
    [(who, why)] = await trail("user.unlocked")
    assert (who.startswith("operator "), why) == (True, "He rang, and we know him.")


async def test_a_phone_is_taken_away_after_a_day(
    world: World, api: Api, mail: Mail, clock: Clock, server: Server
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    act = ("users", "reset-phone", "--user", str(grace.row_id), "--reason", "It fell into a lake.")
    done = await server.run(*act)
    assert (done.status, done.complained) == (0, "")
    assert "unless Grace Hopper stops it" in done.printed
    assert (await mail.latest(grace.email)).content.notice == "phone_reset_planned"
    assert "taken away at" in (await server.run("users", "find", "grace@")).printed
    assert await world.challenged(grace)
    assert [why for _, why in await trail("phone.reset_planned")] == ["It fell into a lake."]
    await clock.forward(days=1, seconds=1)
    assert await lost_phones.reset_due() == 1
    signed_in = await api.do("signIn", {"email": grace.email, "password": PASSWORD})
    assert signed_in["phoneRequired"] is True


async def test_an_address_is_corrected_and_the_phone_waits(
    world: World, mail: Mail, clock: Clock, server: Server
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    user = ("--user", str(grace.row_id), "--reason", "The mailbox is closed.")
    done = await server.run("users", "correct-address", *user, "--email", "grace@new.example")
    assert (done.status, done.complained) == (0, "")
    assert "A link was sent to grace@new.example." in done.printed
    told = {sent.content.recipient for sent in await mail.run()}
    assert {grace.email, "grace@new.example", grace.phone} <= told
    assert "try again after" in (await server.run("users", "reset-phone", *user)).refused()
    assert {why for _, why in await trail("email.corrected")} == {"The mailbox is closed."}
    at_once = await server.run("users", "correct-address", *user, "--email", "grace@new.example")
    assert (at_once.status, "Nothing was sent: a link went there" in at_once.printed) == (0, True)
    present = await server.run("users", "correct-address", *user, "--email", grace.email.upper())
    assert f"Nothing was sent: {grace.email} is the address already." in present.printed
    assert await mail.run() == []
    await clock.forward(seconds=61)
    later = await server.run("users", "correct-address", *user, "--email", "grace@new.example", "--repaired")
    assert "A link was sent to grace@new.example." in later.printed
    assert [sent.content.recipient for sent in await mail.run()] == ["grace@new.example"]
    taken = await server.run("users", "correct-address", *user, "--email", practice.administrator.email)
    assert "another account" in taken.refused()
    await clock.forward(days=1, seconds=1)
    assert (await server.run("users", "reset-phone", *user)).status == 0
    assert (
        "try again after"
        in (await server.run("users", "correct-address", *user, "--email", "grace@newer.example")).refused()
    )


async def test_the_address_of_somebody_deactivated_is_let_go_of(world: World, api: Api, server: Server) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    arguments = ("users", "release-address", "--user", str(grace.row_id), "--reason", "She works elsewhere now")
    assert (await server.run(*arguments)).status != 0
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert "grace@clinic.example can be used by others now." in (await server.run(*arguments)).printed
    assert [reason for _, reason in await trail("user.address_released")] == ["She works elsewhere now"]
    other = await world.practice("Other Practice")
    assert await world.invite(other, grace.email)


async def test_what_cannot_be_is_told_in_one_line(world: World, api: Api, server: Server) -> None:
    practice = await world.practice()
    invited = await world.invite(practice, "new@clinic.example")
    row = (await database.fetch("SELECT id FROM users WHERE email = 'new@clinic.example'"))[0]["id"]
    assert invited
    for act in (("unlock",), ("reset-phone",), ("correct-address", "--email", "a@b.example")):
        unknown = await server.run("users", *act, "--user", str(uuid4()), "--reason", "x")
        assert "there is no user" in unknown.refused()
        not_active = await server.run("users", *act, "--user", str(row), "--reason", "x")
        assert "--user: " in not_active.refused()
        without_reason = await server.run("users", *act, "--user", str(practice.administrator.row_id), "--reason", " ")
        assert "--reason: " in without_reason.refused()


async def test_no_request_does_what_an_operator_does(world: World) -> None:
    admin = (await world.practice()).administrator
    for act in (
        user_support.find(SOMEBODY, "a"),
        user_support.get(SOMEBODY, admin.row_id),
        user_support.unlock(SOMEBODY, admin.row_id, "x"),
        lost_phones.plan_reset(SOMEBODY, admin.row_id, "x"),
    ):
        with pytest.raises(Forbidden):
            await act
    with pytest.raises(Unauthenticated):
        await corrections.correct_email(SOMEBODY, admin.row_id, "a@b.example", raw_reason="x")
