"""Setting how and when staff may sign in: whose settings, what is taken, and that administrators do not lock themselves out."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain import database, login_settings
from domain.login_settings import DEFAULTS, FIELDS
from tests.conftest import CLIENT_ADDRESS, TEST_KEYS, Clock, database_url
from tests.world import SELECTIONS, Api, Json, PracticeWorld, World, document

SETTINGS = SELECTIONS["LoginSettings"]
OWN = f"{{ viewer {{ loginSettings {{ {SETTINGS} }} }} practice {{ loginSettings {{ {SETTINGS} }} }} }}"
PRODUCT: Json = {
    "securityCode": "NEW_DEVICE",
    "practiceAccessCode": "INVITATION",
    "trustedDeviceDays": 30,
    "idleTimeoutMinutes": 30,
    "sessionHours": 12,
    "allowedHours": [],
    "allowedNetworks": [],
    "phoneChannels": ["SMS", "VOICE"],
    "voiceFallback": True,
}
WHOLE_WEEK = [
    {"day": day, "from": "00:00", "until": "24:00"}
    for day in ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
]
MINUTE = [{"day": "SUNDAY", "from": "03:00", "until": "03:01"}]
OTHERS: Json = {
    "securityCode": "EVERY_SIGN_IN",
    "practiceAccessCode": "NEW_DEVICE",
    "trustedDeviceDays": 0,
    "idleTimeoutMinutes": 5,
    "sessionHours": 24,
    "allowedHours": WHOLE_WEEK,
    "allowedNetworks": ["198.51.100.0/24", "2001:db8::/32"],
    "phoneChannels": ["VOICE"],
    "voiceFallback": False,
}


async def change(api: Api, practice: PracticeWorld, values: Json) -> Json:
    """As the practice's administrator."""
    return await api.do("updateLoginSettings", values, token=practice.administrator.session)


async def in_force(api: Api, session: str) -> Json:
    """What holds for somebody, as they see it."""
    data = await api.query(OWN, token=session)
    settings: Json = data["viewer"]["loginSettings"]
    return settings


def taken(result: Json) -> Json:
    """The settings in an answer."""
    assert result.pop("__typename") == "LoginSettings", result
    return result


async def test_the_products_defaults_are_the_same_in_the_program_and_in_the_database(world: World) -> None:
    practice = await world.practice()
    row = await database.fetch(
        f"SELECT practice_id, {', '.join(FIELDS)} FROM login_settings_in_force WHERE user_id = $1",
        practice.administrator.row_id,
    )
    assert login_settings.of_row(row[0]) == DEFAULTS
    assert await login_settings.of_practice(row[0]["practice_id"]) == DEFAULTS


async def test_a_user_has_the_practices_settings_with_their_own_laid_over_them(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    assert await in_force(api, grace.session) == PRODUCT
    assert taken(await change(api, practice, OTHERS)) == OTHERS
    assert await in_force(api, grace.session) == OTHERS
    own = {"userId": grace.id, "idleTimeoutMinutes": 60, "allowedHours": [], "allowedNetworks": []}
    wanted = OTHERS | {"idleTimeoutMinutes": 60, "allowedHours": [], "allowedNetworks": []}
    assert taken(await change(api, practice, own)) == wanted
    assert await in_force(api, grace.session) == wanted
    assert await in_force(api, practice.administrator.session) == OTHERS
    data = await api.query(OWN, token=grace.session)
    assert data["practice"]["loginSettings"] == OTHERS


async def test_what_is_left_out_stays_and_null_goes_back_to_the_level_above(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, OTHERS)
    for name, value in OTHERS.items():
        await change(api, practice, {"userId": grace.id, name: PRODUCT[name]})
        assert (await in_force(api, grace.session))[name] == PRODUCT[name]
        assert (await in_force(api, practice.administrator.session))[name] == value
    assert await in_force(api, grace.session) == PRODUCT
    assert taken(await change(api, practice, {"userId": grace.id} | dict.fromkeys(OTHERS))) == OTHERS
    assert taken(await change(api, practice, dict.fromkeys(OTHERS))) == PRODUCT
    assert taken(await change(api, practice, {})) == PRODUCT


async def test_another_practice_keeps_its_settings(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    await change(api, practice, OTHERS)
    assert await in_force(api, other.administrator.session) == PRODUCT


async def test_only_an_administrator_who_signed_in_just_now_changes_settings(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    query = document("updateLoginSettings")
    for token, code in ((None, "UNAUTHENTICATED"), (grace.session, "FORBIDDEN")):
        answer = await api.post(query, {"input": {"userId": grace.id, "sessionHours": 2}}, token=token)
        assert answer["errors"][0]["extensions"]["code"] == code
    await clock.forward(minutes=11)
    assert (await change(api, practice, {"sessionHours": 2}))["__typename"] == "SignInAgain"
    assert await in_force(api, grace.session) == PRODUCT


SLASH = "Put 10.0.0.0/8 for the whole network, or 10.1.2.3 for this one address."
WRONG: list[tuple[Json, list[list[str]]]] = [
    ({"trustedDeviceDays": -1, "idleTimeoutMinutes": 4}, [["trustedDeviceDays"], ["idleTimeoutMinutes"]]),
    ({"trustedDeviceDays": 91, "idleTimeoutMinutes": 61, "sessionHours": 0}, [["trustedDeviceDays"], ["idleTimeoutMinutes"], ["sessionHours"]]),
    ({"sessionHours": 25}, [["sessionHours"]]),
    ({"phoneChannels": []}, [["phoneChannels"]]),
    ({"allowedHours": [{"day": "MONDAY", "from": "24:00", "until": "24:01"}]}, [["allowedHours", "0", "from"], ["allowedHours", "0", "until"]]),
    ({"allowedHours": [WHOLE_WEEK[0], {"day": "MONDAY", "from": "8:00", "until": "18:00"}]}, [["allowedHours", "1", "from"]]),
    ({"allowedHours": [WHOLE_WEEK[0]] * 43}, [["allowedHours"]]),
    ({"allowedNetworks": ["198.51.100.0/24", "clinic.example"]}, [["allowedNetworks", "1"]]),
    ({"allowedNetworks": ["10.1.2.3/8"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": [""]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["10.0.0.0/33"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["10.0.0.0/-1"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["10.0.0.0/255.0.0.0"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["10.0.0.0/"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["fe80::1%eth0"]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": ["1" * 5000]}, [["allowedNetworks", "0"]]),
    ({"allowedNetworks": [f"10.0.{n}.0/24" for n in range(51)]}, [["allowedNetworks"]]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "paths"), WRONG)
async def test_what_cannot_be_meant_is_told_where_it_stands(
    world: World, api: Api, values: Json, paths: list[list[str]]
) -> None:
    practice = await world.practice()
    result = await change(api, practice, values)
    assert result["__typename"] == "InputInvalid"
    assert [problem["path"] for problem in result["problems"]] == paths
    assert await in_force(api, practice.administrator.session) == PRODUCT


async def test_a_network_that_may_be_meant_in_two_ways_is_told_both_spellings(world: World, api: Api) -> None:
    result = await change(api, await world.practice(), {"allowedNetworks": ["10.1.2.3/8"]})
    assert result["problems"][0]["message"] == SLASH


SPELLINGS = [
    (["203.0.113.9"], ["203.0.113.9/32"]),
    ([" 203.0.113.0/24 ", "203.0.113.0/24"], ["203.0.113.0/24"]),
    (["2001:DB8:0::/48"], ["2001:db8::/48"]),
    (["2001:db8::1"], ["2001:db8::1/128"]),
    # A client's address never comes as IPv4 in IPv6.
    (["::ffff:10.0.0.0/104"], ["10.0.0.0/8"]),
    (["::ffff:10.1.2.3"], ["10.1.2.3/32"]),
    (["0.0.0.0/0", "::/0"], ["0.0.0.0/0", "::/0"]),
]


@pytest.mark.parametrize(("typed", "kept"), SPELLINGS)
async def test_a_network_is_kept_as_it_is_written_properly(
    world: World, api: Api, typed: list[str], kept: list[str]
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    result = await change(api, practice, {"userId": grace.id, "allowedNetworks": typed})
    assert taken(result)["allowedNetworks"] == kept


async def test_ranges_and_channels_may_be_given_twice(world: World, api: Api) -> None:
    values = {"allowedHours": [*WHOLE_WEEK, WHOLE_WEEK[0]], "phoneChannels": ["VOICE", "SMS", "VOICE"]}
    result = taken(await change(api, await world.practice(), values))
    assert (result["allowedHours"], result["phoneChannels"]) == (WHOLE_WEEK, ["SMS", "VOICE"])


async def test_the_trail_says_what_was_before_and_after(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"sessionHours": 8})
    await change(api, practice, {"sessionHours": 8})
    await change(api, practice, {"userId": grace.id, "sessionHours": 6, "allowedNetworks": ["10.0.0.0/8"]})
    rows = await database.fetch(
        "SELECT subject_user_id, details #>> '{session_hours,to}' AS hours, details #>> '{session_hours,from}' AS before,"
        " details #> '{allowed_networks,to}' AS networks"
        " FROM audit_events WHERE action = 'login_settings.changed' ORDER BY id"
    )
    found = [(row["subject_user_id"], row["before"], row["hours"], row["networks"]) for row in rows]
    assert found == [(None, None, "8", None), (grace.row_id, None, "6", '["10.0.0.0/8"]')]


# What would lock the only administrator out, who is at 198.51.100.7; and what is close to it and would not.
LOCKED_OUT = [
    ({"allowedNetworks": ["203.0.113.0/24"]}, {"allowedNetworks": ["203.0.113.0/24", f"{CLIENT_ADDRESS}/32"]}, "allowedNetworks"),
    ({"allowedNetworks": ["::/0"]}, {"allowedNetworks": ["::/0", "0.0.0.0/0"]}, "allowedNetworks"),
    ({"allowedHours": MINUTE}, {"allowedHours": [{"day": "SUNDAY", "from": "03:00", "until": "04:00"}]}, "allowedHours"),
]  # fmt: skip


@pytest.mark.parametrize(("refused", "good", "path"), LOCKED_OUT)
@pytest.mark.parametrize("is_own", [False, True])
async def test_no_setting_locks_every_administrator_out(
    world: World, api: Api, refused: Json, good: Json, path: str, is_own: bool
) -> None:
    practice = await world.practice()
    whose = {"userId": practice.administrator.id} if is_own else {}
    result = await change(api, practice, whose | refused)
    assert (result["__typename"], [problem["path"] for problem in result["problems"]]) == ("InputInvalid", [[path]])
    assert "lock every administrator out" in result["problems"][0]["message"]
    rows = await database.fetch("SELECT details FROM audit_events WHERE action = 'login_settings.refused'")
    assert len(rows) == 1
    assert await in_force(api, practice.administrator.session) == PRODUCT
    assert taken(await change(api, practice, whose | good))[path] == good[path]


async def test_one_administrator_who_comes_in_from_anywhere_is_enough(world: World, api: Api) -> None:
    practice = await world.practice()
    away = {"allowedNetworks": ["203.0.113.0/24"]}
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    third = await world.joined(practice, "third@clinic.example", "ADMINISTRATOR")
    assert (await change(api, practice, away))["__typename"] == "InputInvalid"
    # Settings of one's own, such as anywhere, go before the practice's; those of somebody who is inactive do not count.
    await change(api, practice, {"userId": third.id, "allowedNetworks": []})
    await api.do("deactivate", {"userId": third.id}, token=practice.administrator.session)
    assert (await change(api, practice, away))["__typename"] == "InputInvalid"
    await change(api, practice, {"userId": second.id, "allowedNetworks": []})
    assert taken(await change(api, practice, away))["allowedNetworks"] == away["allowedNetworks"]


async def test_two_administrators_do_not_lock_each_other_out_at_once(world: World, api: Api) -> None:
    for n in range(5):
        practice = await world.practice(f"Practice {n}")
        first, second = practice.administrator, await world.joined(practice, f"b{n}@clinic.example", "ADMINISTRATOR")
        for person in (first, second):
            await change(api, practice, {"userId": person.id, "allowedNetworks": []})
        away = {"allowedNetworks": ["203.0.113.0/24"]}
        results = await asyncio.gather(
            api.post(document("updateLoginSettings"), {"input": {"userId": second.id} | away}, token=first.session),
            api.post(document("updateLoginSettings"), {"input": {"userId": first.id} | away}, token=second.session),
        )
        rows = await database.fetch(
            "SELECT count(*) AS n FROM login_settings WHERE user_id = ANY($1::uuid[]) AND allowed_networks = '[]'",
            [first.row_id, second.row_id],
        )
        assert rows[0]["n"] == 1, results


async def test_settings_that_are_made_at_once_are_all_kept(world: World, api: Api) -> None:
    practice = await world.practice()
    changes: list[Json] = [{"sessionHours": 3}, {"idleTimeoutMinutes": 7}, {"trustedDeviceDays": 9}]
    await asyncio.gather(*(change(api, practice, values) for values in changes))
    found = await in_force(api, practice.administrator.session)
    assert (found["sessionHours"], found["idleTimeoutMinutes"], found["trustedDeviceDays"]) == (3, 7, 9)


async def test_the_settings_of_a_page_of_users_are_read_together(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = await world.practice()
    for n in range(5):
        await world.invite(practice, f"user{n}@clinic.example")
    asked: list[str] = []
    fetch = database.fetch

    async def watched(sql: str, *values: Any) -> Any:
        asked.append(sql)
        return await fetch(sql, *values)

    monkeypatch.setattr(database, "fetch", watched)
    query = "{ usersTile { users { nodes { loginSettings { sessionHours } } } } }"
    data = await api.query(query, token=practice.administrator.session)
    assert [node["loginSettings"] for node in data["usersTile"]["users"]["nodes"]] == [{"sessionHours": 12}] * 6
    assert len([sql for sql in asked if sql.startswith("SELECT l.user_id")]) == 1


async def command(server_url: str, *arguments: str) -> tuple[int, str, str]:
    """Run `practice-access login-settings …` on the tests' database; exit status, standard output and error."""
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    environment = os.environ | {"DATABASE_URL": database_url(server_url, name), "SECRET_KEYS": TEST_KEYS[0]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "login-settings", *arguments),
        cwd=Path(__file__).parent.parent,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, problems = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), problems.decode()


async def test_the_operator_lets_locked_out_administrators_back_in(world: World, api: Api, server_url: str) -> None:
    practice = await world.practice()
    other = await world.practice("Other Practice")
    grace = await world.joined(practice, "grace@clinic.example")
    session = practice.administrator.session
    practice_id = (await api.query("{ practice { id } }", token=session))["practice"]["id"]
    home = {"allowedNetworks": [f"{CLIENT_ADDRESS}/32"]}
    await change(api, practice, home | {"sessionHours": 8})
    await change(api, practice, {"userId": grace.id, "allowedHours": MINUTE})
    await change(api, other, home)
    await database.execute(
        "UPDATE login_settings SET allowed_networks = '[\"203.0.113.0/24\"]' WHERE session_hours = 8"
    )
    assert "errors" in await api.post(OWN, token=session)
    status, output, _ = await command(server_url, "reset", "--practice", practice_id)
    assert (status, output.split(":")[1].split()[0]) == (0, "2")
    assert await in_force(api, session) == PRODUCT | {"sessionHours": 8}
    assert (await in_force(api, grace.session))["allowedHours"] == []
    assert (await in_force(api, other.administrator.session))["allowedNetworks"] == home["allowedNetworks"]
    rows = await database.fetch("SELECT * FROM audit_events WHERE action = 'login_settings.reset'")
    assert {(row["actor_name"].split()[0], row["subject_user_id"]) for row in rows} == {
        ("operator", None),
        ("operator", grace.row_id),
    }
    for unknown in (str(uuid4()), "no id at all"):
        status, _, problems = await command(server_url, "reset", "--practice", unknown)
        assert (status, problems.strip()) == (1, f"practice-access: there is no practice {unknown}")
