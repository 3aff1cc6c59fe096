"""The disk that logs go to is full, or the trail cannot be written."""

from pathlib import Path

import pytest

from tests import processes
from tests.faults.scene import Scene, people, post


@pytest.mark.fault("F39")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no /dev/full")
async def test_an_api_whose_log_has_no_room_goes_on_serving(scene: Scene) -> None:
    session = await scene.administrator()
    settings = scene.settings | {"LOG_LEVEL": "debug"}
    with processes.serving(scene.parts.folder, "api", "api", settings=settings, output=Path("/dev/full")) as api:
        answer = post(api.url, "invite", {"users": people(3)}, session)
        assert answer["data"]["invite"]["invitedCount"] == 3
        # What only the log is told of is lost; whoever asked is answered all the same.
        await scene.sql("ALTER TABLE invitations RENAME TO away")
        broken = post(api.url, "invite", {"users": people(1, "other.example")}, session)
        assert broken["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        await scene.sql("ALTER TABLE away RENAME TO invitations")
        healed = post(api.url, "invite", {"users": people(1, "other.example")}, session)
        assert healed["data"]["invite"]["invitedCount"] == 1


@pytest.mark.fault("F39")
async def test_an_act_whose_row_in_the_trail_cannot_be_written_does_not_happen(scene: Scene) -> None:
    session = await scene.administrator()
    await scene.sql(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$"
    )
    await scene.sql("CREATE TRIGGER no_room BEFORE INSERT ON audit_events EXECUTE FUNCTION no_room()")
    with scene.api() as api:
        answer = post(api.url, "invite", {"users": people(1)}, session)
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert await scene.sql("SELECT 1 AS one FROM invitations") == []
        await scene.sql("DROP TRIGGER no_room ON audit_events")
        again = post(api.url, "invite", {"users": people(1)}, session)
        assert again["data"]["invite"]["invitedCount"] == 1
