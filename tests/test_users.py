"""The users tile and deactivation."""

import asyncio

import pytest

from domain import database
from domain.models.columns import AccessLevel
from domain.permissions import PERMISSIONS, Permission
from tests.conftest import Clock
from tests.world import Api, Json, Mail, World, document

TILE = """
query ($first: Int, $after: String, $last: Int, $before: String, $filter: UserFilter) {
  usersTile {
    activeCount invitedCount inactiveCount practiceAccessCode { code }
    users(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount nodes { firstName lastName phone invitation { state delivery { status } } } edges { cursor }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""


async def invite_many(world: World, api: Api, token: str, names: list[str]) -> None:
    """People with these last names."""
    rows = [
        {"firstName": "Pat", "lastName": name, "email": f"pat.{name.lower()}@clinic.example", "accessLevel": "BILLING"}
        for name in names
    ]
    report = await api.do("invite", {"users": rows}, token=token)
    assert report["invitedCount"] == len(names)


async def tile(api: Api, token: str, **variables: object) -> Json:
    """The tile as one member sees it."""
    found: Json = (await api.query(TILE, dict(variables), token=token))["usersTile"]
    return found


async def test_the_tile_counts_and_lists_everyone_by_name(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    session = practice.administrator.session
    await invite_many(world, api, session, ["Zuse", "Babbage"])
    await api.do("deactivate", {"userId": grace.id}, token=session)
    found = await tile(api, session)
    assert (found["activeCount"], found["invitedCount"], found["inactiveCount"]) == (1, 2, 1)
    assert found["practiceAccessCode"]["code"] == practice.practice_access_code
    assert [user["lastName"] for user in found["users"]["nodes"]] == ["Babbage", "Hopper", "Lovelace", "Zuse"]
    assert found["users"]["nodes"][0]["invitation"] == {"state": "PENDING", "delivery": {"status": "QUEUED"}}


async def test_staff_see_neither_the_code_nor_invitations_nor_phones_of_others(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    found = await tile(api, grace.session)
    assert found["practiceAccessCode"] is None
    nodes = {node["lastName"]: node for node in found["users"]["nodes"]}
    assert nodes["Hopper"]["phone"] == grace.phone
    assert practice.administrator.phone not in str(found)
    assert all(node["invitation"] is None for node in nodes.values())


async def test_every_look_at_the_code_is_audited_and_staff_may_not_look(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    query = "{ practiceAccessCode { code issuedAt rotatesAt previousValidUntil } }"
    shown = (await api.query(query, token=practice.administrator.session))["practiceAccessCode"]
    assert (shown["code"], shown["previousValidUntil"]) == (practice.practice_access_code, None)
    assert shown["rotatesAt"] > shown["issuedAt"]
    assert (await api.post(query, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api.post(query))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    looks = await database.fetch("SELECT actor_name FROM audit_events WHERE action = 'practice_access_code.viewed'")
    assert [look["actor_name"] for look in looks] == ["Ada Lovelace"]


@pytest.mark.parametrize("backwards", [False, True])
async def test_pages_go_through_everyone_once(world: World, api: Api, backwards: bool) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    names = [f"Name{n:02d}" for n in range(20)]
    await invite_many(world, api, session, names)
    seen: list[str] = []
    cursor = None
    for _ in range(20):
        variables = {"last": 4, "before": cursor} if backwards else {"first": 4, "after": cursor}
        users = (await tile(api, session, **variables))["users"]
        page = [user["lastName"] for user in users["nodes"]]
        seen = page + seen if backwards else seen + page
        info = users["pageInfo"]
        cursor = info["startCursor"] if backwards else info["endCursor"]
        if not info["hasPreviousPage" if backwards else "hasNextPage"]:
            break
    assert seen == sorted(["Lovelace", *names])
    assert users["totalCount"] == 21


async def test_users_are_found_by_the_start_of_a_name_or_address_in_any_case(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    await invite_many(world, api, session, ["Hamilton", "Hammond", "Perlman"])
    for search, expected in (
        ("HAM", ["Hamilton", "Hammond"]),
        ("pat.per", ["Perlman"]),
        ("%", []),
        ("_at", []),
        ("amil", []),
    ):
        users = (await tile(api, session, filter={"search": search}))["users"]
        assert [user["lastName"] for user in users["nodes"]] == expected
        assert users["totalCount"] == len(expected)
    by_status = (await tile(api, session, filter={"status": ["ACTIVE"], "accessLevel": ["ADMINISTRATOR"]}))["users"]
    assert [user["lastName"] for user in by_status["nodes"]] == ["Lovelace"]


PEOPLE = [
    ("Anna", "Smith", "anna.smith@clinic.example"),
    ("José", "Núñez", "jose@clinic.example"),
    ("Kathleen", "O’Brien-Ward", "kathleen@clinic.example"),
    ("İbrahim", "Işık", "ibrahim@clinic.example"),
    ("Мария", "Ёлкина", "maria@clinic.example"),
    ("علی\u200cرضا", "-", "alireza@clinic.example"),
    ("Łukasz", "Groß", "l_g%100@clinic.example"),
]


SEARCHES = [
    ("Anna Smith", ["anna.smith"]),
    ("smith anna", ["anna.smith"]),
    ("Smith, Anna", ["anna.smith"]),
    ("  sm\u00a0\u00a0AN ", ["anna.smith"]),
    ("anna.smith@clinic.example", ["anna.smith"]),
    ("anna jose", []),
    ("José", ["jose"]),
    ("Jose\u0301 nunez", ["jose"]),
    ("NÚÑ", ["jose"]),
    ("O'Brien", ["kathleen"]),
    ("O`b", ["kathleen"]),
    ("obrien", ["kathleen"]),
    ("ward kath", ["kathleen"]),
    ("O’Brien\u2010Ward", ["kathleen"]),
    ("İbr", ["ibrahim"]),
    ("ibr ısık", ["ibrahim"]),
    ("IŞIK", ["ibrahim"]),
    ("мария елк", ["maria"]),
    ("ЁЛКИНА", ["maria"]),
    ("\u0639\u0644\u064a\u0631\u0636\u0627", ["alireza"]),  # typed with an Arabic keyboard, and without the joiner
    ("lukasz gross", ["l_g%100"]),
    ("l_g%1", ["l_g%100"]),
    ("lxg", []),
    ("mith", []),
    ("\\", []),
    ("x" * 500, []),
    ("anna\x00", ["anna.smith"]),
]


async def test_people_are_found_by_words_in_any_order_however_they_are_spelled(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    rows = [
        {"firstName": first, "lastName": last, "email": email, "accessLevel": "BILLING"}
        for first, last, email in PEOPLE
    ]
    report = await api.do("invite", {"users": rows}, token=session)
    assert report["invitedCount"] == len(PEOPLE)
    local_parts = {first: email.partition("@")[0] for first, _, email in PEOPLE}
    for search, expected in SEARCHES:
        users = (await tile(api, session, filter={"search": search}))["users"]
        assert [local_parts[user["firstName"]] for user in users["nodes"]] == expected, search
        assert users["totalCount"] == len(expected)


async def test_a_search_that_says_nothing_finds_everybody(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    for search in ("", " ", "-", "'", "\u200b"):
        assert (await tile(api, session, filter={"search": search}))["users"]["totalCount"] == 1


async def test_a_new_name_or_address_is_found_whoever_writes_it(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    await api.do("changeName", {"firstName": "Zoë", "lastName": ""}, token=session)
    assert (await tile(api, session, filter={"search": "zoe"}))["users"]["totalCount"] == 1
    assert (await tile(api, session, filter={"search": "lovelace"}))["users"]["totalCount"] == 0
    await database.execute(
        "UPDATE users SET email = 'Zoë@other.example'"
    )  # a statement that knows nothing of searching
    assert (await tile(api, session, filter={"search": "zoe@other"}))["users"]["totalCount"] == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"first": 101},
        {"first": -1},
        {"first": 1, "last": 1},
        {"after": "x"},
        {"after": "W10"},
        {"after": "WyJcdWQ4MDAiLCAiMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAiXQ"},  # half a character
    ],
)
async def test_a_page_that_cannot_be_is_refused(world: World, api: Api, variables: Json) -> None:
    session = (await world.practice()).administrator.session
    answer = await api.post(TILE, variables, token=session)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_what_somebody_may_not_have_is_on_record_with_who_asked(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.post(
        "{ a: practiceAccessCode { code } b: practiceAccessCode { code } viewer { id } }", token=grace.session
    )
    await api.post(document("deactivate"), {"input": {"userId": practice.administrator.id}}, token=grace.session)
    await api.post("{ practiceAccessCode { code } }")
    rows = await database.fetch(
        "SELECT actor_user_id, actor_name, details FROM audit_events WHERE action = 'access.refused' ORDER BY occurred_at"
    )
    assert [(row["actor_user_id"], row["actor_name"]) for row in rows] == [(grace.row_id, "Grace Hopper")] * 2
    assert ["practiceAccessCode" in rows[0]["details"], "deactivate" in rows[1]["details"]] == [True, True]


async def test_the_tile_shows_who_has_not_signed_in_for_ninety_days(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "mary@clinic.example")
    await database.execute(
        "UPDATE users SET created_at = created_at - interval '91 days',"
        " last_sign_in_at = last_sign_in_at - CASE WHEN email LIKE 'grace%' THEN interval '91 days' ELSE interval '89 days' END"
    )
    query = """query ($filter: UserFilter) { usersTile { dormantCount users(filter: $filter) {
        totalCount nodes { id isDormant lastSignInAt } } } }"""
    for wanted, found in (({"isDormant": True}, [grace.id]), ({}, None)):
        data = (await api.query(query, {"filter": wanted}, token=practice.administrator.session))["usersTile"]
        assert data["dormantCount"] == 1
        dormant = [user["id"] for user in data["users"]["nodes"] if user["isDormant"]]
        assert dormant == [grace.id]
        assert found is None or data["users"]["totalCount"] == len(found)
    awake = await api.query(query, {"filter": {"isDormant": False}}, token=practice.administrator.session)
    assert awake["usersTile"]["users"]["totalCount"] == 2


async def test_access_levels_carry_permissions(world: World, api: Api) -> None:
    practice = await world.practice()
    billing = await world.joined(practice, "bill@clinic.example", "BILLING")
    query = "{ viewer { permissions } }"
    own = (await api.query(query, token=billing.session))["viewer"]["permissions"]
    assert "MANAGE_BILLING" in own
    assert "ADMINISTER_PRACTICE" not in own
    every = (await api.query(query, token=practice.administrator.session))["viewer"]["permissions"]
    assert set(every) == {permission.value for permission in Permission}
    # Nobody but administrators administers, and each right belongs to somebody who is none.
    holders = {
        permission: [level for level, held in PERMISSIONS.items() if permission in held] for permission in Permission
    }
    assert holders.pop(Permission.ADMINISTER_PRACTICE) == [AccessLevel.ADMINISTRATOR]
    assert all(len(levels) > 1 for levels in holders.values())


async def test_a_deactivated_user_is_out_with_the_next_request(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example", "ADMINISTRATOR")
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    invited = await world.invite(
        type(practice)(practice.name, grace, practice.practice_access_code), "invited-by-grace@clinic.example"
    )
    link = await world.link("invited-by-grace@clinic.example")
    result = await api.do("deactivate", {"userId": grace.id, "reason": "Left us"}, token=practice.administrator.session)
    assert result["status"] == "INACTIVE"
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    for values in ({"deviceToken": grace.device}, {}):
        refused = await api.do("signIn", {"email": grace.email, "password": grace.password} | values)
        assert refused["__typename"] == "AccountInactive"
    assert (await api.do("signIn", {"email": grace.email, "password": "wrong"}))["__typename"] == "CredentialsIncorrect"
    assert (await api.do("verifyDevice", {"challengeToken": challenge, "code": code}))[
        "__typename"
    ] == "ChallengeInvalid"
    values = {"token": link, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "LinkInvalid"
    shown = await api.query(
        "query ($id: ID!) { node(id: $id) { ... on User { status invitation { state } } } }",
        {"id": invited},
        token=practice.administrator.session,
    )
    assert shown["node"] == {"status": "INVITED", "invitation": {"state": "INVITER_DEACTIVATED"}}
    events = await database.fetch("SELECT details FROM audit_events WHERE action = 'user.deactivated'")
    assert "Left us" in events[0]["details"]


async def test_a_code_that_waits_is_not_sent_to_somebody_who_was_deactivated(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    challenge = await world.challenged(grace)
    await mail.run()
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert await mail.run() == []


async def test_somebody_invited_can_be_deactivated_and_the_link_dies(world: World, api: Api) -> None:
    practice = await world.practice()
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    await world.proved(enrollment)
    found = await api.query(
        '{ usersTile { users(filter: { search: "grace" }) { nodes { id } } } }', token=practice.administrator.session
    )
    user_id = found["usersTile"]["users"]["nodes"][0]["id"]
    result = await api.do("deactivate", {"userId": user_id}, token=practice.administrator.session)
    assert result["status"] == "INACTIVE"
    values = {"enrollmentToken": enrollment, "password": "correct horse battery staple"}
    assert (await api.do("setPassword", values))["__typename"] == "EnrollmentInvalid"
    row = {"firstName": "Grace", "lastName": "Hopper", "email": "grace@clinic.example", "accessLevel": "PROVIDER"}
    report = await api.do("invite", {"users": [row]}, token=practice.administrator.session)
    assert report["rows"][0]["error"]["__typename"] == "UserInactive"
    assert report["rows"][0]["error"]["user"]["id"] == user_id


async def test_the_last_administrator_stays(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator
    assert (await api.do("deactivate", {"userId": admin.id}, token=admin.session))["__typename"] == "LastAdministrator"
    await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    assert (await api.do("deactivate", {"userId": admin.id}, token=admin.session))["status"] == "INACTIVE"


async def test_of_two_administrators_who_deactivate_each_other_one_stays(world: World, api: Api) -> None:
    for n in range(5):
        practice = await world.practice(f"Practice {n}")
        first = practice.administrator
        second = await world.joined(practice, f"second{n}@clinic.example", "ADMINISTRATOR")
        query = document("deactivate")
        await asyncio.gather(
            api.post(query, {"input": {"userId": second.id}}, token=first.session),
            api.post(query, {"input": {"userId": first.id}}, token=second.session),
        )
        rows = await database.fetch(
            "SELECT count(*) AS n FROM users WHERE status = 'ACTIVE' AND id = ANY($1::uuid[])",
            [first.row_id, second.row_id],
        )
        assert rows[0]["n"] == 1


async def test_an_act_under_way_does_not_survive_its_actors_deactivation(world: World, api: Api) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    rows = [
        {"firstName": "A", "lastName": "B", "email": f"u{n}@clinic.example", "accessLevel": "BILLING"}
        for n in range(200)
    ]
    deactivation, _ = await asyncio.gather(
        api.post(document("deactivate"), {"input": {"userId": second.id}}, token=practice.administrator.session),
        api.post(document("invite"), {"input": {"users": rows}}, token=second.session),
    )
    assert deactivation["data"]["deactivate"]["status"] == "INACTIVE"
    open_ones = await database.fetch(
        "SELECT count(*) AS n FROM invitations WHERE invited_by_id = $1 AND state = 'PENDING'", second.row_id
    )
    assert open_ones[0]["n"] == 0


async def test_a_reason_that_is_too_long_is_refused(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    result = await api.do("deactivate", {"userId": grace.id, "reason": "x" * 501}, token=practice.administrator.session)
    assert result["problems"][0]["path"] == ["reason"]


async def test_sessions_of_a_deactivated_user_stay_ended(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    await database.execute("UPDATE users SET status = 'ACTIVE' WHERE id = $1", grace.row_id)
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    assert (await api.do("signIn", {"email": grace.email, "password": grace.password, "deviceToken": grace.device}))[
        "__typename"
    ] == "SecurityChallenge"
