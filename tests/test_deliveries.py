"""Every message of the practice and what became of it, as administrators see them."""

from datetime import datetime
from uuid import UUID

import pytest

from domain import database, outbox
from domain.models.columns import DeliveryStatus
from domain.outbox import Outcome
from graph.ids import global_id
from tests.conftest import Clock
from tests.world import Api, Json, Mail, World

LIST = """
query ($first: Int, $after: String, $filter: DeliveryFilter) { deliveries(first: $first, after: $after, filter: $filter) {
  nodes { id kind channel recipient userId userName status attempts queuedAt sentAt nextTryAt problem redeliveryOf
    tries { number startedAt finishedAt outcome detail } }
  edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor }
} }
"""


async def listed(api: Api, session: str, **variables: object) -> Json:
    """A page of the list."""
    found: Json = (await api.query(LIST, variables, token=session))["deliveries"]
    return found


async def nodes(api: Api, session: str, **wanted: object) -> list[Json]:
    """The messages that a filter lets through."""
    found: list[Json] = (await listed(api, session, filter=wanted))["nodes"]
    return found


async def tried(status: DeliveryStatus, problem: str | None, after_seconds: float = 0.0) -> None:
    """One try at all that is due in the lane of invitations."""
    rows = await outbox.claim(outbox.LANE_BULK, at_most=10, lease_seconds=60)
    await outbox.settle(
        [Outcome(row=row, status=status, problem=problem, retry_after_seconds=after_seconds) for row in rows]
    )


async def test_each_message_tells_to_whom_and_how_far_and_each_try(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    user_id = await world.invite(practice, "grace@clinic.example")
    (waiting,) = await nodes(api, session, kind=["INVITATION"])
    assert (waiting["status"], waiting["attempts"], waiting["tries"]) == ("QUEUED", 0, [])
    assert waiting["nextTryAt"] == waiting["queuedAt"]
    await tried(DeliveryStatus.RETRYING, "The relay is busy.", 30.0)
    (put_off,) = await nodes(api, session, kind=["INVITATION"])
    assert (put_off["status"], put_off["problem"]) == ("RETRYING", "The relay is busy.")
    assert datetime.fromisoformat(put_off["nextTryAt"]) > datetime.fromisoformat(put_off["queuedAt"])
    await clock.forward(seconds=31)
    await tried(DeliveryStatus.BOUNCED, "Nobody is there.")
    (dead,) = await nodes(api, session, kind=["INVITATION"])
    assert dead | {"id": "", "queuedAt": "", "tries": ""} == {
        "id": "",
        "kind": "INVITATION",
        "channel": "EMAIL",
        "recipient": "grace@clinic.example",
        "userId": user_id,
        "userName": "Grace Hopper",
        "status": "BOUNCED",
        "attempts": 2,
        "queuedAt": "",
        "sentAt": None,
        "nextTryAt": None,
        "problem": "Nobody is there.",
        "redeliveryOf": None,
        "tries": "",
    }
    assert [(one["number"], one["outcome"], one["detail"]) for one in dead["tries"]] == [
        (1, "RETRYING", "The relay is busy."),
        (2, "BOUNCED", "Nobody is there."),
    ]
    assert all(one["finishedAt"] >= one["startedAt"] for one in dead["tries"])


async def test_a_try_that_nobody_finished_says_so(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    await outbox.claim(outbox.LANE_BULK, at_most=10, lease_seconds=60)
    (sending,) = await nodes(api, practice.administrator.session, status=["SENDING"])
    assert [(one["finishedAt"], one["outcome"]) for one in sending["tries"]] == [(None, None)]
    assert sending["nextTryAt"] is None


async def test_the_list_shows_no_number_no_unproved_address_and_no_secret(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    challenge = (await api.do("changeEmail", {"email": "secret@private.example"}, token=grace.session))["token"]
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    await api.do("verifyEmailChange", values, token=grace.session)
    await mail.run()
    answer = await api.post(LIST, {}, token=practice.administrator.session)
    text = str(answer)
    assert f"••••••{grace.phone[-2:]}" in text
    assert grace.phone not in text
    assert "s•••@private.example" in text
    assert "secret@private.example" not in text
    secrets = {sent.content.code for sent in mail.sent} | {sent.content.link_token for sent in mail.sent}
    assert len(secrets) > 5
    assert not [secret for secret in secrets if secret and secret in text]


async def test_filters_narrow_down_by_all_that_is_given(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    grace = await world.joined(practice, "grace@clinic.example")
    await clock.forward(minutes=5)
    moment = (await database.now()).isoformat()
    mary = await world.invite(practice, "mary@clinic.example")
    everything = await nodes(api, session)
    assert {one["kind"] for one in everything} == {"PRACTICE_ACCESS_CODE", "SECURITY_CODE", "INVITATION"}
    assert {one["channel"] for one in await nodes(api, session, channel=["SMS"])} == {"SMS"}
    assert {one["userId"] for one in await nodes(api, session, userId=grace.id)} == {grace.id}
    assert [one["userId"] for one in await nodes(api, session, kind=["INVITATION"])] == [mary, grace.id]
    assert [one["userId"] for one in await nodes(api, session, since=moment)] == [mary]
    before = await nodes(api, session, until=moment)
    assert len(before) == len(everything) - 1
    assert [one["userId"] for one in await nodes(api, session, status=["QUEUED"], kind=["INVITATION"])] == [mary]
    assert await nodes(api, session, status=["QUEUED"], userId=grace.id) == []
    assert await nodes(api, session, userId=global_id("Practice", grace.row_id)) == []


async def test_the_list_is_read_page_by_page_without_gap_or_double(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    rows = [
        {"firstName": "A", "lastName": "B", "email": f"u{n}@clinic.example", "accessLevel": "BILLING"}
        for n in range(23)
    ]
    await api.do("invite", {"users": rows}, token=session)  # all at one moment
    whole = [one["id"] for one in await nodes(api, session)]
    assert len(whole) == len(set(whole)) > 23
    found, after = [], None
    while True:
        page = await listed(api, session, first=7, after=after)
        found += [one["id"] for one in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert found == whole


@pytest.mark.parametrize("after", ["x", "bm90aGluZw", ""])
async def test_a_cursor_of_another_list_is_bad_input(world: World, api: Api, after: str) -> None:
    practice = await world.practice()
    answer = await api.post(LIST, {"after": after}, token=practice.administrator.session)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_number_of_statements_does_not_grow_with_the_list(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    asked: list[str] = []
    real = database.fetch

    async def counting(sql: str, *values: object) -> list[database.Row]:
        asked.append(sql)
        return await real(sql, *values)

    monkeypatch.setattr(database, "fetch", counting)
    counts = []
    for number in (1, 30):
        rows = [
            {"firstName": "A", "lastName": "B", "email": f"{number}u{n}@clinic.example", "accessLevel": "BILLING"}
            for n in range(number)
        ]
        await api.do("invite", {"users": rows}, token=session)
        asked.clear()
        await listed(api, session)
        counts.append(len(asked))
    assert counts[0] == counts[1]


async def test_the_index_serves_the_list(world: World) -> None:
    await world.practice()
    # So many of so many practices that the planner need not be told what to use.
    await database.execute(
        "INSERT INTO deliveries (id, practice_id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at)"
        " SELECT gen_random_uuid(), lpad((n % 100)::text, 32, '0')::uuid, gen_random_uuid(), 'invitation', 'EMAIL', 2, 'FAILED', 1,"
        " clock_now() - n * interval '1 minute', clock_now(), clock_now() FROM generate_series(1, 10000) AS n"
    )
    async with database.transaction():
        await database.execute("ANALYZE deliveries")
        plan = await database.fetch(
            "EXPLAIN SELECT id FROM deliveries WHERE practice_id = $1 AND (queued_at, id) < ($2, $1)"
            " ORDER BY queued_at DESC, id DESC LIMIT 50",
            UUID(int=1),
            await database.now(),
        )
    assert "ix_deliveries_practice" in str(plan)


async def test_a_kind_that_only_a_newer_version_knows_is_listed_without_a_kind(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    await database.execute("UPDATE deliveries SET kind = 'carrier_pigeon' WHERE kind = 'invitation'")
    kinds = [one["kind"] for one in await nodes(api, practice.administrator.session)]
    assert kinds.count(None) == 1


async def test_one_message_is_found_by_its_id_and_from_the_tile_by_administrators_alone(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    staff = await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "mary@clinic.example")
    (message,) = await nodes(api, session, status=["QUEUED"])
    tile = "{ usersTile { users { nodes { invitation { delivery { id recipient kind tries { number } } } } } } }"
    found = (await api.query(tile, token=session))["usersTile"]["users"]["nodes"]
    deliveries = [one["invitation"]["delivery"] for one in found if one["invitation"]]
    assert {"id": message["id"], "recipient": "mary@clinic.example", "kind": "INVITATION", "tries": []} in deliveries
    node = "query ($id: ID!) { node(id: $id) { ... on Delivery { recipient } } }"
    assert (await api.query(node, {"id": message["id"]}, token=session))["node"] == {"recipient": "mary@clinic.example"}
    assert (await api.query(node, {"id": message["id"]}, token=staff.session))["node"] is None
    answer = await api.post(LIST, {}, token=staff.session)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
