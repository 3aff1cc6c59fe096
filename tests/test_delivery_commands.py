"""What an operator sees of messages on the server, sends again after an outage, and calls back."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cli.main import main
from domain import bounced_addresses, database, redelivery
from domain.actors import Actor, operator
from domain.errors import Forbidden
from graph.ids import split_id
from tests.conftest import Clock
from tests.test_operator_commands import Server, server
from tests.test_redelivery import dead_invitation, died
from tests.test_subscriptions import id_of
from tests.world import Api, Json, Mail, World

__all__ = ["server"]


async def lines(server: Server, *arguments: str) -> list[Json]:
    """What a list prints for programs."""
    done = await server.run("deliveries", "list", "--json", *arguments)
    assert (done.status, done.complained) == (0, "")
    return [json.loads(line) for line in done.printed.splitlines()]


def row_of(delivery_id: str) -> str:
    """The row's id as the terminal has it."""
    found = split_id(delivery_id)
    assert found is not None
    return str(found[1])


async def test_messages_are_listed_newest_first_by_practice_status_kind_and_moment(
    world: World, api: Api, server: Server, clock: Clock
) -> None:
    elm, oak = await world.practice("Elm"), await world.practice("Oak")
    await world.invite(elm, "grace@clinic.example")
    moment = (await database.now() + timedelta(seconds=1)).isoformat()
    await clock.forward(minutes=1)
    await world.invite(oak, "mary@clinic.example")
    every = await lines(server)
    assert [one["recipient"] for one in every[:2]] == ["mary@clinic.example", "grace@clinic.example"]
    assert len(await lines(server, "--limit", "1")) == 1
    assert {one["practice_id"] for one in await lines(server, "--practice", str(await id_of(elm)))} == {
        str(await id_of(elm))
    }
    assert [one["recipient"] for one in await lines(server, "--since", moment)] == ["mary@clinic.example"]
    assert {one["kind"] for one in await lines(server, "--kind", "security_code")} == {"security_code"}
    both = await lines(server, "--kind", "invitation", "--status", "QUEUED", "--status", "RETRYING")
    assert len(both) == 2
    assert await lines(server, "--status", "FAILED") == []
    table = (await server.run("deliveries", "list", "--kind", "invitation")).printed.splitlines()
    assert table[0].split() == ["ID", "QUEUED", "KIND", "BY", "TO", "STATUS", "TRIES", "FAULT", "PROBLEM"]
    assert (table[1].startswith(every[0]["id"]), "mary@clinic.example" in table[1]) == (True, True)
    assert oak.administrator.phone not in str(every)


async def test_messages_are_listed_by_person_address_number_and_window(
    world: World, api: Api, mail: Mail, server: Server, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    await clock.forward(hours=1)
    begin = await database.now()
    await world.again(mary)
    asked = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", asked))["__typename"] == "SecurityCodeSent"
    await world.sign_up("Ash", "founder@ash.example")
    assert {one["user_id"] for one in await lines(server, "--user", str(grace.row_id))} == {str(grace.row_id)}
    both = await lines(server, "--email", "Grace@Clinic.Example")
    assert {one["user_id"] for one in both} == {str(grace.row_id)}
    assert {one["kind"] for one in both} >= {"invitation", "security_code"}
    assert [one["kind"] for one in await lines(server, "--email", "founder@ash.example")] == ["verify_email"]
    digits = f"{grace.phone[-7:-4]}-{grace.phone[-4:]}"
    by_phone = await lines(server, "--phone", digits)
    assert {(one["user_id"], one["channel"]) for one in by_phone} <= {(str(grace.row_id), "SMS"), (None, "SMS")}
    assert by_phone
    waiting = await lines(server, "--phone", digits, "--status", "QUEUED")
    assert [one["user_id"] for one in waiting] == [str(grace.row_id)], "a code that was not sent yet has no recipient"
    assert await lines(server, "--phone", "0000000") == []
    old = await lines(server, "--user", str(grace.row_id), "--until", begin.isoformat())
    new = await lines(server, "--user", str(grace.row_id), "--since", begin.isoformat())
    assert (len(new), len(old) + len(new)) == (1, len(await lines(server, "--user", str(grace.row_id))))
    day = f"{begin:%Y-%m-%d}"
    assert await lines(server, "--since", day, "--until", day), "a day is taken in to its end"
    await mail.run()
    assert grace.phone not in (await server.run("deliveries", "list", "--phone", digits)).printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "yesterday"), "'yesterday' is no moment; write 2027-01-31 or 2027-01-31T12:00Z"),
        (("--until", "0001-01-01"), "'0001-01-01' is not between the years 2000 and 2200"),
        (("--phone", "43"), "put the last digits of a number, 4 to 15"),
        (("--phone", "555-CODE"), "put the last digits of a number, 4 to 15"),
    ],
)
def test_what_is_wrong_with_an_option_is_told(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["deliveries", "list", *options])
    assert words in capsys.readouterr().err


async def test_a_window_that_is_none_is_told(server: Server) -> None:
    window = ("--since", "2027-01-31T12:00Z", "--until", "2027-01-31T12:00+01:00")
    done = await server.run("deliveries", "list", *window)
    assert (done.status, done.printed, "--until has to be later than --since" in done.complained) == (2, "", True)


async def test_an_address_that_is_none_is_told_in_one_line(server: Server) -> None:
    assert "--email: " in (await server.run("deliveries", "list", "--email", "grace")).refused()


async def test_whose_fault_it_is_is_listed_and_a_paused_channel_is_told_beside_the_list(
    world: World, server: Server
) -> None:
    practice = await world.practice()
    for number, fault in enumerate(("SENDER", "RELAY", "UNKNOWN")):
        await world.invite(practice, f"n{number}@clinic.example")
        await database.execute(
            "UPDATE deliveries SET fault = $1 WHERE id = (SELECT id FROM deliveries WHERE kind = 'invitation' ORDER BY queued_at DESC LIMIT 1)",
            fault,
        )
    found = await lines(server, "--fault", "SENDER", "--fault", "RELAY")
    assert [one["fault"] for one in found] == ["RELAY", "SENDER"]
    assert "fault       RELAY" in (await server.run("deliveries", "show", found[0]["id"])).printed
    await database.execute(
        "INSERT INTO channel_pauses (channel, code, problem, paused_at, next_probe_at)"
        " VALUES ('EMAIL', '554 5.7.1', 'It is refused.', clock_now(), clock_now() + interval '1 minute')"
    )
    done = await server.run("deliveries", "list", "--json")
    assert (done.status, len(done.complained.splitlines())) == (0, 1)
    assert done.complained.startswith("practice-access: EMAIL is paused since ")
    assert "(554 5.7.1)" in done.complained
    assert all(json.loads(line) for line in done.printed.splitlines())


async def test_one_message_is_shown_with_each_try(world: World, mail: Mail, server: Server) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    await mail.run()
    (one,) = await lines(server, "--kind", "invitation")
    shown = (await server.run("deliveries", "show", one["id"])).printed
    for fact in (one["id"], "grace@clinic.example", "Grace Hopper", "TRY", "SENT"):
        assert fact in shown
    as_json = json.loads((await server.run("deliveries", "show", one["id"], "--json")).printed)
    assert [(each["number"], each["outcome"]) for each in as_json["tries"]] == [(1, "SENT")]
    assert "no delivery with the id" in (await server.run("deliveries", "show", str(uuid4()))).refused()


async def test_dead_messages_are_sent_again_by_id_and_what_is_not_says_why(
    world: World, mail: Mail, clock: Clock, server: Server
) -> None:
    practice = await world.practice()
    dead = row_of(await dead_invitation(world, practice, clock))
    done = await server.run("deliveries", "redeliver", dead)
    assert (done.status, done.complained) == (0, "")
    assert done.printed.startswith(f"{dead} goes out again as ")
    assert [one.content.recipient for one in await mail.run()] == ["new@clinic.example"]
    nowhere = str(uuid4())
    again = await server.run("deliveries", "redeliver", dead, nowhere)
    assert (again.status, again.printed) == (1, "")
    assert "it was sent again before" in again.complained
    assert f"there is no delivery {nowhere}" in again.complained
    rows = await database.fetch(
        "SELECT actor_name, practice_id, action FROM audit_events WHERE action LIKE 'delivery.%' ORDER BY id"
    )
    assert [row["action"] for row in rows] == ["delivery.redelivered", "delivery.redelivery_refused"]
    assert all(row["actor_name"].startswith("operator ") for row in rows)
    assert {row["practice_id"] for row in rows} == {await id_of(practice)}


async def test_all_that_died_in_an_outage_is_sent_again_as_far_as_it_makes_sense(
    world: World, api: Api, mail: Mail, clock: Clock, server: Server
) -> None:
    practice = await world.practice()
    await dead_invitation(world, practice, clock, "before@clinic.example")
    await clock.forward(minutes=1)
    began = (await database.now()).isoformat()
    for email in ("first@clinic.example", "second@clinic.example", "revoked@clinic.example"):
        await dead_invitation(world, practice, clock, email)
    await world.again(practice.administrator)
    await mail.run()
    await died("security_code", practice.administrator.email, "FAILED")
    row = await database.fetch("SELECT id FROM users WHERE email = 'revoked@clinic.example'")
    await database.execute(
        "UPDATE invitations SET state = 'REVOKED', revoked_at = clock_now() WHERE user_id = $1", row[0]["id"]
    )
    await world.invite(practice, "called.back@clinic.example")
    await died("invitation", "called.back@clinic.example", "CANCELED")
    done = await server.run("deliveries", "redeliver", "--dead", "--since", began)
    assert done.printed.splitlines() == [
        "3 were dead, 2 go out again",
        "1 do not: what it says is not good any more, or not wanted",
    ]
    sent = await mail.run()
    assert [one.content.recipient for one in sent] == ["first@clinic.example", "second@clinic.example"]
    again = await server.run("deliveries", "redeliver", "--dead", "--since", began)
    assert again.printed.splitlines()[0] == "1 were dead, 0 go out again"


async def test_mail_that_a_wrong_relay_sent_back_goes_out_where_the_operator_vouches_for_it_and_spam_does_not(
    world: World, mail: Mail, clock: Clock, server: Server
) -> None:
    practice = await world.practice()
    began = (await database.now()).isoformat()
    back, spam = [
        UUID(row_of(await dead_invitation(world, practice, clock, f"{name}@clinic.example"))) for name in "ab"
    ]
    async with database.transaction():
        await bounced_addresses.note([back])
        await bounced_addresses.note([spam], is_complaint=True)
    dead = ("deliveries", "redeliver", "--dead", "--since", began)
    held = await server.run(*dead)
    assert held.status == 0
    assert held.printed.splitlines()[0] == "2 were dead, 0 go out again"
    assert "2 do not: mail to the address came back; --repaired" in held.printed
    one = await server.run("deliveries", "redeliver", str(back))
    assert (one.status, "came back" in one.complained) == (1, True)
    repaired = await server.run(*dead, "--repaired")
    assert repaired.printed.splitlines()[0] == "2 were dead, 1 go out again"
    assert [sent.content.recipient for sent in await mail.run()] == ["a@clinic.example"]


async def test_what_was_queued_before_an_outage_and_died_in_it_is_found(world: World, clock: Clock, mail: Mail) -> None:
    practice = await world.practice()
    await world.invite(practice, "early@clinic.example")
    await clock.forward(minutes=5)
    began = await database.now()
    await mail.run()  # tried only now
    dead = UUID(row_of(await died("invitation", "early@clinic.example")))
    actor = operator("ada")
    assert await redelivery.dead_since(actor, began) == [dead]
    assert await redelivery.dead_since(actor, began, practice_id=await id_of(practice)) == [dead]
    assert await redelivery.dead_since(actor, began, practice_id=uuid4()) == []
    assert await redelivery.dead_since(actor, await database.now() + timedelta(minutes=1)) == []


async def test_a_waiting_message_is_called_back_and_one_that_is_over_is_not(
    world: World, mail: Mail, server: Server
) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    (one,) = await lines(server, "--kind", "invitation")
    done = await server.run("deliveries", "cancel", one["id"])
    assert (done.status, done.printed) == (0, f"{one['id']} is called back\n")
    assert await mail.run() == []
    (canceled,) = await lines(server, "--kind", "invitation")
    assert (canceled["status"], canceled["problem"]) == ("CANCELED", "The operator called it back.")
    assert "no delivery that waits" in (await server.run("deliveries", "cancel", one["id"])).refused()
    rows = await database.fetch("SELECT practice_id FROM audit_events WHERE action = 'delivery.canceled'")
    assert rows == [{"practice_id": await id_of(practice)}]


async def test_an_operator_without_the_servers_keys_is_told_so(world: World, clock: Clock, server: Server) -> None:
    dead = row_of(await dead_invitation(world, await world.practice(), clock))
    stranger = replace(server, keys="another-key-than-the-servers-0123456789")
    done = await stranger.run("deliveries", "redeliver", dead)
    assert (done.status, "not among SECRET_KEYS" in done.complained) == (1, True)
    assert (await server.run("deliveries", "redeliver", dead)).status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--dead",),
        ("--since", "2027-01-31"),
        (str(UUID(int=1)), "--dead", "--since", "2027-01-31"),
        (str(UUID(int=1)), "--practice", str(UUID(int=2))),
        ("no id",),
    ],
)
async def test_what_is_to_be_sent_again_has_to_be_said_clearly(server: Server, arguments: tuple[str, ...]) -> None:
    done = await server.run("deliveries", "redeliver", *arguments)
    assert (done.status, done.printed) == (2, "")


async def test_nobody_but_an_operator_reaches_other_practices_messages(db: None) -> None:
    nobody = Actor(ip_address="")
    for work in (
        redelivery.dead_since(nobody, await database.now()),
        redelivery.redeliver_all(nobody, [uuid4()]),
        redelivery.cancel(nobody, uuid4()),
    ):
        with pytest.raises(Forbidden):
            await work
