"""Another practice's things do not exist, on every field and mutation that takes an id."""

import pytest

from domain import database
from domain.addresses import masked_phone
from graph.ids import global_id, split_id
from tests.world import Api, Json, Mail, World

NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"
STATE = """
SELECT (SELECT json_agg(u ORDER BY u.id) FROM users u)::text AS users,
    (SELECT json_agg(i ORDER BY i.id) FROM invitations i)::text AS invitations,
    (SELECT json_agg(l ORDER BY l.id) FROM login_settings l)::text AS login_settings,
    (SELECT count(*) FROM deliveries) AS deliveries,
    (SELECT count(*) FROM sessions WHERE ended_at IS NULL) AS sessions,
    (SELECT count(*) FROM devices WHERE forgotten_at IS NULL) AS devices
"""

# Every mutation that takes an id, by the field that takes it, with the rest of its input: extend it with each new one.
BY_ID: list[tuple[str, str, dict[str, str]]] = [
    ("resend", "userId", {}),
    ("resend", "userId", {"email": "moved@clinic.example"}),
    ("revokeInvitation", "userId", {}),
    ("deactivate", "userId", {"reason": "x"}),
    ("reactivate", "userId", {}),
    ("changeAccessLevel", "userId", {"accessLevel": "BILLING"}),
    ("updateLoginSettings", "userId", {}),
    ("updateLoginSettings", "userId", {"phoneChannels": "SMS"}),
    ("sendPasswordReset", "userId", {}),
    ("resetPhone", "userId", {}),
    ("releaseAddress", "userId", {}),
    ("resendInvitations", "userIds", {}),
    ("correctUserName", "userId", {"firstName": "Grace", "lastName": "Hopper"}),
    ("correctUserEmail", "userId", {"email": "moved@clinic.example"}),
    ("endSession", "sessionId", {}),
    ("forgetDevice", "deviceId", {}),
    ("redeliver", "deliveryId", {}),
]


def kind(result: Json) -> str:
    """What became of it; of many at once, of the one."""
    found: str = result["rows"][0]["error"]["__typename"] if "rows" in result else result["__typename"]
    return found


async def foreign_ids(world: World, api: Api) -> tuple[str, dict[str, str]]:
    """The session of a practice's administrator, and the ids of another practice's things."""
    own, other = await world.practice("Own Practice"), await world.practice("Other Practice")
    staff = await world.joined(other, "grace@clinic.example")
    invited = await world.invite(other, "mary@clinic.example")
    row = await database.fetch("SELECT id, practice_id FROM invitations WHERE state = 'PENDING'")
    ids = {
        "user": staff.id,
        "administrator": other.administrator.id,
        "invited user": invited,
        "invitation": global_id("Invitation", row[0]["id"]),
        "practice": global_id("Practice", row[0]["practice_id"]),
    }
    places = await database.fetch("SELECT id, device_id FROM sessions WHERE user_id = $1", staff.row_id)
    ids |= {"session": global_id("Session", places[0]["id"]), "device": global_id("Device", places[0]["device_id"])}
    dead = await database.fetch("UPDATE deliveries SET status = 'FAILED' WHERE user_id = $1 RETURNING id", staff.row_id)
    ids["delivery"] = global_id("Delivery", dead[0]["id"])
    return own.administrator.session, ids


async def test_no_mutation_touches_another_practices_things(world: World, api: Api, mail: Mail) -> None:
    session, ids = await foreign_ids(world, api)
    before = await database.fetch(STATE)
    for mutation, field, rest in BY_ID:
        for name, foreign in ids.items():
            result = await api.do(mutation, {field: foreign} | rest, token=session)
            assert kind(result) == "NotFound", (mutation, name)
    assert await database.fetch(STATE) == before


async def test_foreign_and_missing_things_look_alike(world: World, api: Api) -> None:
    session, ids = await foreign_ids(world, api)
    missing = global_id("User", split_id(ids["user"])[1].__class__(int=0))  # type: ignore[index]  # it is one of ours
    for mutation, field, rest in BY_ID:
        foreign = await api.do(mutation, {field: ids["user"]} | rest, token=session)
        unknown = await api.do(mutation, {field: missing} | rest, token=session)
        for result in (foreign, unknown):
            for row in result.get("rows", ()):
                del row["userId"]  # as it was given
        assert foreign == unknown


async def test_no_query_shows_another_practices_things(world: World, api: Api) -> None:
    session, ids = await foreign_ids(world, api)
    for name, foreign in ids.items():
        assert (await api.query(NODE, {"id": foreign}, token=session))["node"] is None, name
    shown = await api.query("{ usersTile { users { totalCount nodes { email } } } }", token=session)
    assert shown["usersTile"]["users"]["totalCount"] == 1
    listed = "query ($user: ID) { deliveries(filter: { userId: $user }) { nodes { recipient tries { number } } } }"
    everybody = (await api.query(listed, token=session))["deliveries"]["nodes"]
    assert everybody
    assert {one["recipient"] for one in everybody} <= await _own_addresses()
    for foreign in ids.values():
        assert (await api.query(listed, {"user": foreign}, token=session))["deliveries"]["nodes"] == []


async def _own_addresses() -> set[str]:
    rows = await database.fetch(
        "SELECT u.email, u.phone FROM users u JOIN practices p ON p.id = u.practice_id WHERE p.name = 'Own Practice'"
    )
    return {row["email"] for row in rows} | {masked_phone(row["phone"]) for row in rows}


@pytest.mark.parametrize("bad", ["", "x", "VXNlcjp4", "////", "\u0000", "VXNlcjow" * 50, "Пользователь"])
async def test_an_id_that_is_none_is_not_found(world: World, api: Api, bad: str) -> None:
    session = (await world.practice()).administrator.session
    assert (await api.query(NODE, {"id": bad}, token=session))["node"] is None
    for mutation, field, rest in BY_ID:
        assert kind(await api.do(mutation, {field: bad} | rest, token=session)) == "NotFound"


async def test_own_things_are_found_by_their_ids(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    invited = await world.invite(practice, "mary@clinic.example")
    found = await api.query(
        "query ($id: ID!) { node(id: $id) { ... on User { invitation { id } } } }", {"id": invited}, token=session
    )
    invitation = found["node"]["invitation"]["id"]
    assert (await api.query(NODE, {"id": invitation}, token=session))["node"] == {
        "__typename": "Invitation",
        "id": invitation,
    }
    practice_id = (await api.query("{ practice { id } }", token=session))["practice"]["id"]
    assert (await api.query(NODE, {"id": practice_id}, token=session))["node"]["__typename"] == "Practice"
    staff = await world.joined(practice, "grace@clinic.example")
    assert (await api.query(NODE, {"id": invitation}, token=staff.session))["node"] is None
    assert (await api.post(NODE, {"id": invitation}))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_every_mutation_with_an_id_stands_in_the_table() -> None:
    from graph.schema import create_schema

    schema = create_schema(introspection=True)._schema
    assert schema.mutation_type is not None
    with_id = set()
    for name, field in schema.mutation_type.fields.items():
        for argument in field.args.values():
            fields = getattr(getattr(argument.type, "of_type", argument.type), "fields", {})
            if any("ID" in str(value.type) for value in fields.values()):
                with_id.add(name)
    assert with_id == {mutation for mutation, _, _ in BY_ID}


async def test_two_root_fields_in_a_mutation_do_nothing(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    guesses = " ".join(
        f'g{n}: acceptInvitation(input: {{ token: "{token}", practiceAccessCode: "WRONG{n:05d}" }}) {{ __typename }}'
        for n in range(50)
    )
    for body in (guesses, "a: signOut b: signOut", "signOut __typename", "... on Mutation { a: signOut } b: signOut"):
        answer = await api.post(f"mutation {{ {body} }}", token=practice.administrator.session)
        assert "data" not in answer or answer["data"] is None
        assert answer["errors"]
    assert await database.fetch("SELECT 1 FROM guess_counters WHERE key LIKE 'pac:%'") == []
    assert (await api.query("{ viewer { id } }", token=practice.administrator.session))["viewer"] is not None
