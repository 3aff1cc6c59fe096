"""`practice-access users history`: what happened to one person, in time order and in plain words, and nothing that is secret."""

import json
from typing import Any

import pytest

from cli import history_words
from cli.main import main
from domain import addresses, database, user_history, user_support
from domain.actors import Actor, operator
from domain.audit import Action
from domain.errors import Forbidden
from domain.user_history import Window
from tests.conftest import Clock
from tests.test_money_guard import limits
from tests.test_operator_commands import Server, server
from tests.world import PASSWORD, Api, Json, Mail, World

__all__ = ["limits", "server"]

SOMEBODY = Actor(ip_address="198.51.100.7")


async def lines(server: Server, *arguments: str) -> list[Json]:
    """What it prints for programs."""
    done = await server.run("users", "history", "--json", *arguments)
    assert (done.status, done.complained) == (0, "")
    return [json.loads(line) for line in done.printed.splitlines()]


async def test_why_somebody_got_no_code_is_told_in_time_order(
    world: World, api: Api, mail: Mail, clock: Clock, server: Server, limits: Any
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await mail.run()
    await clock.forward(days=2)
    await api.do("signIn", {"email": grace.email, "password": "a wrong one entirely"})
    asked = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    await clock.stop()
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "SecurityCodeSent"
    await clock.forward(seconds=2)
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "TooSoon"
    code = (await mail.latest(grace.phone)).content.code
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    await clock.forward(seconds=2)
    assert (await api.do("verifyDevice", {"challengeToken": asked["challengeToken"], "code": wrong}))[
        "__typename"
    ] == "CodeIncorrect"
    await clock.forward(seconds=60)
    limits(PHONE_COUNTRIES="CA")
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "PhoneNumberUnusable"
    await clock.forward(seconds=1)
    found = await lines(server, "grace@clinic.example")
    told = [(one["what"], one["words"].split(" [")[0]) for one in found]
    expected = [
        ("sign_in.refused", "A sign-in was refused: wrong password. By somebody not signed in."),
        ("sign_in.challenged", "Gave the right password on a device that needs a code."),
        ("security_code.sent", "A security code was sent by text."),
        ("delivery.security_code", "A security code by text to "),
        ("security_code.refused", "No security code was sent by text: the one before was less than 30 seconds old."),
        ("delivery.try", "Try 1 of the code by text: the relay or carrier took it."),
        ("security_code.refused", "A wrong security code was typed."),
        ("security_code.refused", "No security code was sent: codes do not go to the country of the phone (US)."),
    ]
    missing = [one for one in expected if not any(what == one[0] and words.startswith(one[1]) for what, words in told)]
    assert missing == [], told
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert "invitation.sent" not in dict(told), "it was before the last day"
    assert await lines(server, str(grace.row_id)) == found
    printed = (await server.run("users", "history", "grace@clinic.example")).printed
    assert printed.startswith("Grace Hopper <grace@clinic.example>, PROVIDER, ACTIVE, Elm Street Practice; user ")
    assert "in America/" in printed.splitlines()[2]
    for secret in (grace.phone, grace.phone[2:], code, wrong, asked["challengeToken"], PASSWORD):
        assert secret not in printed + json.dumps(found)
    viewed = await database.fetch(
        "SELECT actor_name, subject_user_id FROM audit_events WHERE action = 'user.history_viewed'"
    )
    assert {(row["actor_name"].split()[0], row["subject_user_id"]) for row in viewed} == {("operator", grace.row_id)}
    assert len(viewed) == 3


async def test_the_window_is_read_in_the_practices_zone_and_what_is_outside_is_left_out(
    world: World, mail: Mail, server: Server
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await database.execute("UPDATE practices SET time_zone = 'Asia/Tokyo'")
    await database.execute(
        "UPDATE deliveries SET queued_at = '2027-01-31 23:30:00+09' WHERE user_id = $1 AND kind = 'invitation'",
        grace.row_id,
    )
    day = ("--since", "2027-01-31", "--until", "2027-01-31")
    assert [one["what"] for one in await lines(server, grace.email, *day) if one["what"] != "delivery.try"] == [
        "delivery.invitation"
    ]
    assert await lines(server, grace.email, *day, "--zone", "America/New_York") != []
    assert await lines(server, grace.email, "--since", "2027-02-01", "--until", "2027-02-01") == []
    assert await lines(server, grace.email, "--since", "2027-01-31T23:30", "--until", "2027-01-31T23:31") != []
    assert await lines(server, grace.email, "--since", "2027-01-31T23:31", "--until", "2027-01-31T23:32") == []
    shown = (await server.run("users", "history", grace.email, *day)).printed
    assert "From 2027-01-31 00:00:00 to 2027-02-01 00:00:00 in Asia/Tokyo, the practice's time zone" in shown
    assert "\n2027-01-31 23:30:00  A message (invitation) by e-mail to grace@clinic.example was queued." in shown
    none = (await server.run("users", "history", grace.email, "--since", "2020-01-01", "--until", "2020-01-01")).printed
    assert "Nothing happened then" in none


async def test_somebody_who_is_still_signing_up_is_found_by_the_address(
    world: World, api: Api, mail: Mail, server: Server
) -> None:
    await world.sign_up("Ash", "founder@ash.example")
    link = await world.link("founder@ash.example")
    enrollment = (await api.do("verifyEmail", {"token": link}))["token"]
    asked = {"enrollmentToken": enrollment, "phone": world.number(), "channel": "SMS"}
    assert (await api.do("sendPhoneCode", asked))["__typename"] == "SecurityCodeSent"
    assert (await api.do("sendPhoneCode", asked))["__typename"] == "TooSoon"
    found = {one["what"] for one in await lines(server, "founder@ash.example")}
    assert found == {"delivery.verify_email", "delivery.try", "delivery.security_code", "security_code.refused"}
    shown = (await server.run("users", "history", "founder@ash.example")).printed
    assert shown.startswith("Nobody has this address; what follows is about sign-ups with it.")


async def test_stops_of_the_money_guard_and_paused_channels_are_told_without_numbers(
    world: World, server: Server
) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for action, details in (
        ("money_guard.tripped", {"scope": "PREFIX", "subject": "+1202555", "numbers": 30, "verified": 1}),
        ("code_budget.used_up", {"budget": "strangers:prefix:+1202555:SMS", "amount": 60}),
    ):
        await database.execute(
            "INSERT INTO audit_events (id, occurred_at, action, actor_name, details) VALUES (gen_random_uuid(), clock_now(), $1, 'the money guard', $2::jsonb)",
            action,
            json.dumps(details),
        )
    await database.execute(
        "INSERT INTO channel_pauses (channel, code, problem, paused_at, next_probe_at)"
        " VALUES ('EMAIL', '554 5.7.1', 'It is refused.', clock_now(), clock_now() + interval '1 minute')"
    )
    shown = (await server.run("users", "history", grace.email)).printed
    assert "The money guard stopped codes to new phones for an hour (of a range of numbers)." in shown
    assert "a range of numbers, 60 in its window" in shown
    assert "EMAIL is paused since " in shown
    assert "+1202555" not in shown


async def test_more_than_fits_is_told_and_the_newest_are_shown(world: World, mail: Mail, server: Server) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    every = [one for one in await lines(server, grace.email) if not one["what"].startswith("delivery")]
    some = [one for one in await lines(server, grace.email, "--limit", "2") if not one["what"].startswith("delivery")]
    assert some == every[-2:]
    assert "There is more" in (await server.run("users", "history", grace.email, "--limit", "2")).printed


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--since", "at nine"), "'at nine' is no moment"),
        (("--zone", "Texas"), "'Texas' is no time zone"),
        (("--limit", "0"), "put a number from 1 to 1000"),
    ],
)
def test_what_is_wrong_with_an_option_is_told(
    capsys: pytest.CaptureFixture[str], option: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["users", "history", "a@b.example", *option])
    assert words in capsys.readouterr().err


async def test_whoever_cannot_be_and_a_window_that_is_none_are_told(server: Server) -> None:
    refused = (await server.run("users", "history", "nobody")).refused()
    assert "PERSON: is no user's id here, and no address" in refused
    days = ("--since", "2027-01-31", "--until", "2027-01-30")
    done = await server.run("users", "history", "a@b.example", *days)
    assert (done.status, done.printed, "--until has to be later than --since" in done.complained) == (2, "", True)


async def test_no_request_reads_anybodys_history(world: World) -> None:
    admin = (await world.practice()).administrator
    now = await database.now()
    window = Window(since=now, until=now, size=1)
    [found] = await user_support.find_exactly(operator("root"), admin.email)
    for act in (
        user_history.of_user(SOMEBODY, found, addresses.canonical_email(admin.email), window),
        user_history.of_address(SOMEBODY, admin.email, window),
        user_support.find_exactly(SOMEBODY, admin.email),
    ):
        with pytest.raises(Forbidden):
            await act


def test_there_are_words_for_every_action() -> None:
    assert history_words.EVENTS.keys() == set(Action)
