"""The audit log as administrators read it, and what gets into it."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli import audit as command
from domain import database
from domain.audit import Action
from domain.audit_chain import NO_PRACTICE
from domain.audit_log import EventRecord
from tests import processes
from tests.conftest import Clock, database_url
from tests.world import Api, Json, World

LOG = """
query ($first: Int, $after: String, $filter: AuditFilter) { auditLog(first: $first, after: $after, filter: $filter) {
  nodes { id occurredAt action result actorId actorName subjectId subjectName sessionId ipAddress details }
  edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
} }
"""


async def log(api: Api, session: str, **variables: object) -> Json:
    """A page of the log."""
    found: Json = (await api.query(LOG, variables, token=session))["auditLog"]
    return found


async def test_the_log_tells_who_did_what_to_whom_from_where_newest_first(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("deactivate", {"userId": grace.id, "reason": "Left us"}, token=admin.session)
    nodes = (await log(api, admin.session, first=3))["nodes"]
    assert nodes[0] | {"id": "", "occurredAt": "", "sessionId": ""} == {
        "id": "",
        "occurredAt": "",
        "action": "user.deactivated",
        "result": "SUCCEEDED",
        "actorId": admin.id,
        "actorName": "Ada Lovelace",
        "subjectId": grace.id,
        "subjectName": "Grace Hopper",
        "sessionId": "",
        "ipAddress": "198.51.100.7",
        "details": '{"reason": "Left us", "invitations_revoked": 0}',
    }
    assert nodes[0]["sessionId"]
    moments = [node["occurredAt"] for node in (await log(api, admin.session))["nodes"]]
    assert moments == sorted(moments, reverse=True)
    again = (await log(api, admin.session, first=1))["nodes"]
    assert again[0]["action"] == "audit_log.viewed"


async def test_the_log_is_read_page_by_page_without_gap_or_double(world: World, api: Api) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    for number in range(12):
        await world.invite(practice, f"u{number}@clinic.example")
    whole = [node["id"] for node in (await log(api, session, first=100))["nodes"]]
    await world.invite(practice, "later@clinic.example")  # what comes meanwhile moves nothing
    found: list[str] = []
    after = None
    while True:
        page = await log(api, session, first=5, after=after)
        found += [node["id"] for node in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert found[-len(whole) :] == whole
    assert len(set(found)) == len(found)


async def test_the_log_is_filtered_by_action_person_and_time(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    await world.joined(practice, "mary@clinic.example")
    await clock.forward(minutes=5)
    middle = await database.now()
    grace = await world.joined(practice, "grace@clinic.example")
    sent = await log(api, session, filter={"actions": ["invitation.sent", "invitation.accepted"]})
    assert [node["action"] for node in sent["nodes"]] == ["invitation.accepted", "invitation.sent"] * 2
    of_grace = (await log(api, session, filter={"userId": grace.id}))["nodes"]
    assert {grace.id} == {node["subjectId"] for node in of_grace if node["subjectId"] != practice.administrator.id}
    assert "session.started" in {node["action"] for node in of_grace}
    for window, expected in (({"since": middle.isoformat()}, 1), ({"until": middle.isoformat()}, 1), ({}, 2)):
        found = await log(api, session, filter={"actions": ["invitation.sent"]} | window)
        assert len(found["nodes"]) == expected
    stranger = await world.practice("Other Practice")
    assert (await log(api, session, filter={"userId": stranger.administrator.id}))["nodes"] == []
    assert (await log(api, session, filter={"userId": "nobody"}))["nodes"] == []


@pytest.mark.parametrize(
    "variables",
    [
        {"filter": {"actions": ["no.such_action"]}},
        {"after": "x"},
        {"after": "WyJ4IiwgIjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwIl0"},
        {"first": 101},
        {"filter": {"since": "2026-01-31"}},
    ],
)
async def test_what_cannot_be_asked_of_the_log_is_refused(world: World, api: Api, variables: Json) -> None:
    session = (await world.practice()).administrator.session
    answer = await api.post(LOG, variables, token=session)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_the_log_is_for_administrators_of_the_practice(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    grace = await world.joined(practice, "grace@clinic.example")
    event = (await log(api, practice.administrator.session, first=1))["nodes"][0]["id"]
    node = "query ($id: ID!) { node(id: $id) { __typename id } }"
    for query in (LOG, "{ auditVerification { isIntact } }"):
        assert (await api.post(query, token=grace.session))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert (await api.post(query))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    for session, found in (
        (practice.administrator.session, {"__typename": "AuditEvent", "id": event}),
        (grace.session, None),
        (other.administrator.session, None),
    ):
        assert (await api.query(node, {"id": event}, token=session))["node"] == found
    names = {one["actorName"] for one in (await log(api, other.administrator.session, first=100))["nodes"]}
    assert names == {"Ada Lovelace"}


async def test_verifying_is_possible_a_few_times_an_hour(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    query = "{ auditVerification { isIntact eventCount headHash checkedAt brokenPosition problem brokenEvent { id } } }"
    heads = set()
    for _ in range(6):
        found = (await api.query(query, token=session))["auditVerification"]
        assert (found["isIntact"], found["brokenEvent"], found["problem"]) == (True, None, None)
        heads.add(found["headHash"])
    assert len(heads) == 6  # verifying is itself on record
    refused = await api.post(query, token=session)
    assert refused["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert refused["errors"][0]["extensions"]["retryAt"]


def test_every_action_is_explained_in_the_docs() -> None:
    text = (Path(__file__).parent.parent / "docs" / "audit.md").read_text()
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(action.value for action in Action)


def event(**changes: object) -> EventRecord:
    """An event of nobody's."""
    values: dict[str, object] = {
        "id": NO_PRACTICE,
        "occurred_at": datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
        "action": "user.deactivated",
        "actor_user_id": None,
        "actor_name": "Ada",
        "subject_user_id": None,
        "subject_name": None,
        "session_id": None,
        "ip_address": None,
        "details": '{"reason": "x"}',
    }
    return EventRecord(**(values | changes))  # type: ignore[arg-type]  # a table of a test


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(name: str) -> None:
    out = io.StringIO(newline="")
    command._writer("csv", out)(event(actor_name=name, subject_name='Grace, "the" Hopper'))
    header, row = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    found = dict(zip(header, row, strict=True))
    assert found["actor_name"] == f"'{name}"
    assert found["subject_name"] == 'Grace, "the" Hopper'
    assert found["details"] == '{"reason": "x"}'


def test_a_line_of_json_lines_is_one_event() -> None:
    out = io.StringIO()
    command._writer("jsonl", out)(event(actor_name="=1\n2"))
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["actor_name"] == "=1\n2"
    assert json.loads(line)["details"] == {"reason": "x"}


async def test_the_operator_verifies_and_exports_on_the_server(world: World, server_url: str, tmp_path: Path) -> None:
    practice = await world.practice()
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", practice.administrator.row_id)
    assert row is not None
    url = {"DATABASE_URL": database_url(server_url, name)}
    export = (
        "audit",
        "export",
        "--practice",
        str(row["practice_id"]),
        "--format",
        "csv",
        "--output",
        str(tmp_path / "log.csv"),
    )
    assert (await processes.run(tmp_path, url, *export)).returncode == 0
    with (tmp_path / "log.csv").open(newline="") as file:
        actions = [line["action"] for line in csv.DictReader(file)]
    assert "practice.created" in actions
    assert actions[-1] == "audit_log.exported"
    verified = await processes.run(tmp_path, url, "audit", "verify")
    assert (verified.returncode, verified.stdout.count("events hold")) == (0, 2)
    cut = await processes.run(tmp_path, url, "audit", "cut")
    assert (cut.returncode, cut.stdout[:8]) == (0, "0 events")
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        await database.execute("UPDATE audit_events SET actor_name = 'Eve' WHERE action = 'practice.created'")
    broken = await processes.run(tmp_path, url, "audit", "verify", "--practice", str(row["practice_id"]))
    assert broken.returncode == 1
    assert "BROKEN at position" in broken.stdout
    actors = await database.fetch(
        "SELECT DISTINCT actor_name, ip_address FROM audit_events WHERE action LIKE 'audit_log.%'"
    )
    assert [(one["actor_name"].split()[0], one["ip_address"]) for one in actors] == [("operator", None)]
    wrong = await processes.run(tmp_path, {}, "audit", "verify")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "DATABASE_URL" in wrong.stderr
