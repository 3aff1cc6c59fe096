"""Seeing and ending sessions and devices."""

import asyncio

from tests.world import Api, Json, Person, World

PLACES = """
query ($search: String!) { usersTile { users(filter: { search: $search }) { nodes {
  sessions { id deviceName ipAddress current } devices { id name trustedUntil current }
} } } }
"""


async def places(api: Api, viewer: Person, search: str) -> Json:
    """The sessions and devices of one user, as somebody sees them."""
    data = await api.query(PLACES, {"search": search}, token=viewer.session)
    node: Json = data["usersTile"]["users"]["nodes"][0]
    return node


async def test_everybody_sees_their_own_and_an_administrator_everybodys(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    own = await places(api, grace, "grace@")
    assert [session["current"] for session in own["sessions"]] == [True]
    assert [device["current"] for device in own["devices"]] == [True]
    assert own["sessions"][0]["ipAddress"] == "198.51.100.7"
    seen = await places(api, practice.administrator, "grace@")
    assert [session["id"] for session in seen["sessions"]] == [session["id"] for session in own["sessions"]]
    assert [session["current"] for session in seen["sessions"]] == [False]
    assert await places(api, mary, "grace@") == {"sessions": [], "devices": []}


async def test_a_session_is_ended_by_its_owner_and_by_an_administrator_and_by_nobody_else(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    again = await api.do("signIn", {"email": grace.email, "password": grace.password, "deviceToken": grace.device})
    sessions = (await places(api, grace, "grace@"))["sessions"]
    assert len(sessions) == 2
    current = next(session["id"] for session in sessions if session["current"])
    other = next(session["id"] for session in sessions if not session["current"])
    assert (await api.do("endSession", {"sessionId": other}, token=mary.session))["__typename"] == "NotFound"
    assert (await api.do("endSession", {"sessionId": other}, token=grace.session))["sessionId"] == other
    assert (await api.query("{ viewer { id } }", token=again["sessionToken"]))["viewer"] is None
    assert (await api.do("endSession", {"sessionId": other}, token=mary.session))["__typename"] == "NotFound"
    admin = practice.administrator.session
    assert (await api.do("endSession", {"sessionId": current}, token=admin))["__typename"] == "SessionEnded"
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None


async def test_a_forgotten_device_needs_a_code_and_is_signed_out(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    device = (await places(api, grace, "grace@"))["devices"][0]["id"]
    assert (await api.do("forgetDevice", {"deviceId": device}, token=mary.session))["__typename"] == "NotFound"
    forgotten = await api.do("forgetDevice", {"deviceId": device}, token=practice.administrator.session)
    assert forgotten["deviceId"] == device
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    values = {"email": grace.email, "password": grace.password, "deviceToken": grace.device}
    assert (await api.do("signIn", values))["__typename"] == "SecurityChallenge"


async def test_forgetting_a_device_and_blocking_its_owner_at_once_do_not_wait_for_each_other(
    world: World, api: Api
) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    for number in range(8):
        grace = await world.joined(practice, f"grace{number}@clinic.example")
        device = (await places(api, grace, f"grace{number}@"))["devices"][0]["id"]
        forgotten, blocked = await asyncio.gather(
            api.do("forgetDevice", {"deviceId": device}, token=second.session),
            api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session),
        )
        assert blocked["status"] == "INACTIVE"
        assert forgotten["__typename"] in ("DeviceForgotten", "NotFound")


async def test_forgetting_the_device_one_is_on_keeps_one_signed_in(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    device = (await places(api, grace, "grace@"))["devices"][0]["id"]
    assert (await api.do("forgetDevice", {"deviceId": device}, token=grace.session))["__typename"] == "DeviceForgotten"
    assert (await places(api, grace, "grace@"))["devices"] == []
    assert len((await places(api, grace, "grace@"))["sessions"]) == 1


async def test_a_session_and_a_device_are_found_by_their_ids(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    own = await places(api, grace, "grace@")
    query = "query ($id: ID!) { node(id: $id) { __typename id } }"
    for kind, found in (("Session", own["sessions"][0]["id"]), ("Device", own["devices"][0]["id"])):
        assert (await api.query(query, {"id": found}, token=grace.session))["node"] == {"__typename": kind, "id": found}
        assert (await api.query(query, {"id": found}, token=mary.session))["node"] is None
