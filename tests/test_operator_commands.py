"""What an operator types on the server, as real processes; what cannot be done is told in one line."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from domain import bounced_addresses, database
from domain.actors import Actor
from domain.errors import Forbidden
from domain.mail_reports import Verdict
from tests.conftest import TEST_KEYS, database_url, fresh_database
from tests.processes import ROOT
from tests.test_bounced_addresses import MAIL, invited, report, resend, trail
from tests.test_subscriptions import id_of
from tests.world import Api, Mail, World


@dataclass
class Done:
    """What became of a command."""

    status: int
    printed: str
    complained: str

    def refused(self, status: int = 1) -> str:
        """The one line that it was refused with. status: 2 for a setting, or a database, that it cannot work with."""
        assert (self.status, self.printed, self.complained.count("\n")) == (status, "", 1), self
        assert self.complained.startswith("practice-access: ")
        return self.complained


@dataclass
class Server:
    """Where the commands are typed."""

    folder: Path
    url: str
    keys: str = ",".join(TEST_KEYS)

    async def run(self, *arguments: str) -> Done:
        """Run `practice-access …` on the tests' own database."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self.folder / "data"),
            "SECRET_KEYS": self.keys,
        }
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest_asyncio.fixture
async def server(db: None, server_url: str, tmp_path: Path) -> Server:
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    return Server(tmp_path, database_url(server_url, name))


async def test_practices_are_found_by_name_and_by_an_administrators_address(world: World, server: Server) -> None:
    elm = await world.practice("Elm Street Practice", "ada@elm.example")
    oak = await world.practice("Oak Street Practice", "ada@oak.example")
    every = await server.run("practices", "list")
    lines = every.printed.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", str(await id_of(elm)), str(await id_of(oak))]
    assert "TRIALING" in lines[1]
    assert lines[1].endswith("Elm Street Practice  ada@elm.example")
    for text, found in (("OAK street", oak), ("@elm.", elm)):
        lines = (await server.run("practices", "find", text)).printed.splitlines()
        assert [line.split()[0] for line in lines[1:]] == [str(await id_of(found))]
    assert (await server.run("practices", "find", "Ash")).printed.count("\n") == 1


async def test_a_practice_is_found_by_anybody_in_it_and_by_ids(world: World, server: Server) -> None:
    elm = await world.practice("Élm Street Practice", "ada@elm.example")
    await world.practice("Oak Street Practice", "ada@oak.example")
    grace = await world.joined(elm, "grace@clinic.example")
    await world.invite(elm, "100%_mary@clinic.example")
    for text in ("GRACE@clinic", "hopper", "Grace Hopper", "elm street", str(await id_of(elm)), str(grace.row_id)):
        lines = (await server.run("practices", "find", text)).printed.splitlines()
        assert [line.split()[0] for line in lines[1:]] == [str(await id_of(elm))], text
        assert lines[0].split("  ")[-1].strip() == "FOUND IN IT"
    assert "<grace@clinic.example>" in (await server.run("practices", "find", "grace@")).printed
    for text, number in (("%_", 1), ("_", 1), ("\\", 0), ("nobody", 0)):
        assert len((await server.run("practices", "find", text)).printed.splitlines()) == 1 + number, text


async def test_practices_that_invited_people_do_not_know_are_listed(world: World, api: Api, server: Server) -> None:
    elm, oak = await world.practice("Elm Street Practice"), await world.practice("Oak Street Practice")
    await world.invite(elm, "grace@clinic.example")
    values = {"token": await world.link("grace@clinic.example"), "unknownPractice": True}
    assert (await api.do("declineInvitation", values))["__typename"] == "InvitationDeclined"
    done = await server.run("practices", "reported")
    assert (done.status, done.complained) == (0, "")
    (line,) = done.printed.splitlines()[1:]
    assert line.startswith(str(await id_of(elm)))
    assert line.split()[1:4] == ["TRIALING", "1", "0"]
    assert "grace" not in done.printed
    assert oak.name not in done.printed


async def test_a_subscription_is_set_shown_and_in_the_trail(world: World, api: Api, server: Server) -> None:
    practice = await world.practice()
    other = await world.practice("Oak Street Practice")
    of = ("--practice", str(await id_of(practice)))
    done = await server.run(
        "subscription",
        "set",
        *of,
        "--status",
        "ACTIVE",
        "--plan",
        "standard",
        "--until",
        "2099-01-31",
        "--event",
        "evt_1",
    )
    assert (done.status, done.complained) == (0, "")
    line = done.printed.splitlines()[1]
    assert all(part in line for part in ("ACTIVE", "standard", "2099-01-31 23:59Z", "until 2099-02-14 23:59Z"))
    again = await server.run("subscription", "set", *of, "--status", "EXPIRED", "--event", "evt_1")
    assert again.printed == done.printed
    assert (await server.run("subscription", "show", *of)).printed == done.printed
    every = (await server.run("subscription", "show", "--all")).printed.splitlines()
    assert [line.split()[0] for line in every[1:]] == [str(await id_of(practice)), str(await id_of(other))]
    shown = await api.query("{ practice { subscription { status plan } } }", token=practice.administrator.session)
    assert shown["practice"]["subscription"] == {"status": "ACTIVE", "plan": "standard"}
    rows = await database.fetch(
        "SELECT actor_name, practice_id, details->'before'->>'status' AS before, details->>'event' AS event FROM audit_events"
        " WHERE action = 'subscription.changed'"
    )
    assert [tuple(row.values())[1:] for row in rows] == [(await id_of(practice), "TRIALING", "evt_1")]
    assert rows[0]["actor_name"].startswith("operator ")


async def test_a_trial_is_put_off_and_a_subscription_may_have_no_end(world: World, server: Server) -> None:
    practice = await world.practice()
    of = ("--practice", str(await id_of(practice)))
    trial = await server.run("subscription", "set", *of, "--until", "2099-01-31T12:00+01:00")
    assert "2099-01-31 11:00Z" in trial.printed
    assert "TRIALING" in trial.printed
    await server.run("subscription", "set", *of, "--status", "ACTIVE", "--until", "2099-06-30")
    endless = await server.run("subscription", "set", *of, "--until", "never")
    assert "2099-06-30" not in endless.printed
    assert "ACTIVE" in endless.printed


async def test_emergency_access_is_granted_from_the_server(world: World, api: Api, mail: Mail, server: Server) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    grant = ("emergency-access", "grant", "--practice", str(await id_of(practice)))
    done = await server.run(*grant, "--email", grace.email, "--reason", "the administrator is gone")
    assert (done.status, done.complained) == (0, "")
    assert done.printed.startswith("Grace Hopper is an administrator now.")
    shown = await api.query("{ viewer { accessLevel } }", token=grace.session)
    assert shown["viewer"]["accessLevel"] == "ADMINISTRATOR"
    assert {message.content.recipient for message in await mail.run()} >= {practice.administrator.email, grace.email}


async def test_what_cannot_be_done_is_told_in_one_line(world: World, server: Server) -> None:
    practice = await world.practice()
    own = str(await id_of(practice))
    await world.invite(practice, "mary@clinic.example")
    nowhere = str(uuid4())
    grant = ("emergency-access", "grant", "--reason", "because", "--practice")
    for arguments, said in (
        (("subscription", "show", "--practice", nowhere), "no practice"),
        (("subscription", "set", "--practice", nowhere, "--plan", "gold"), "no practice"),
        (("subscription", "set", "--practice", own, "--status", "PAST_DUE"), "--until: PAST_DUE needs"),
        (
            ("subscription", "set", "--practice", own, "--status", "ACTIVE", "--until", "2020-01-31"),
            "--until: What was",
        ),
        (("subscription", "set", "--practice", own, "--plan", "x" * 41), "--plan: "),
        ((*grant, nowhere, "--email", "grace@clinic.example"), "nobody with the address"),
        ((*grant, own, "--email", "grace@clinic.example"), "nobody with the address"),
        ((*grant, own, "--email", "mary@clinic.example"), "is INVITED"),
        ((*grant, own, "--email", practice.administrator.email), "is an administrator already"),
        ((*grant, own, "--email", "no address"), "--email: "),
        (("emergency-access", "grant", "--practice", own, "--email", "x@y.example", "--reason", " "), "--reason: "),
    ):
        assert said in (await server.run(*arguments)).refused()


async def test_a_complaint_is_lifted_from_the_server_and_from_nowhere_else(
    world: World, api: Api, mail: Mail, server: Server
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await report(delivery, Verdict.COMPLAINED)
    await database.execute("UPDATE invitations SET last_send_at = last_send_at - interval '2 minutes'")
    assert (await resend(api, practice, user_id, addressRepaired=True))["__typename"] == "AddressBounced"
    lift = ("bounced-address", "lift", "--practice", str(await id_of(practice)), "--email")
    assert "nothing keeps" in (await server.run(*lift, "other@clinic.example")).refused()
    assert "--email: " in (await server.run(*lift, "no address")).refused()
    elsewhere = ("bounced-address", "lift", "--practice", str(uuid4()), "--email", MAIL)
    assert "nothing keeps" in (await server.run(*elsewhere)).refused()
    assert (await server.run(*lift, MAIL.upper())).status == 0
    assert (await resend(api, practice, user_id))["__typename"] == "User"
    (entry,) = await trail(practice, "bounced_address.lifted")
    assert entry["actor_name"].startswith("operator ")
    assert MAIL not in entry["details"]
    with pytest.raises(Forbidden):
        await bounced_addresses.lift(Actor(ip_address="::1"), await id_of(practice), MAIL)


@pytest.mark.parametrize("until", ["2027-02-30", "soon", "2027-01-31T12:00", "2027-1-31"])
async def test_a_moment_that_is_none_is_refused_with_how_to_write_one(server: Server, until: str) -> None:
    done = await server.run("subscription", "set", "--practice", str(uuid4()), "--until", until)
    assert done.status == 2
    assert "2027-01-31" in done.complained.splitlines()[-1] or f"write {until}Z" in done.complained


async def test_a_database_that_is_away_or_not_migrated_is_told_in_one_line(
    db: None, server_url: str, tmp_path: Path
) -> None:
    away = Server(tmp_path, "postgres://nobody:x@127.0.0.1:1/nothing")
    assert "DATABASE_URL leads to a server that refuses" in (await away.run("practices", "list")).refused(status=2)
    behind = Server(tmp_path, await fresh_database(server_url))
    connection = await asyncpg.connect(behind.url)
    await connection.execute("DELETE FROM tortoise_migrations WHERE name = '0007_clock'")
    await connection.close()
    assert "practice-access migrate" in (await behind.run("practices", "list")).refused(status=2)
