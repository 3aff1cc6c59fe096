"""What is thrown away, and what is kept: codes and tokens are gone a day after their end, people and the trail stay."""

import asyncio

from domain import database, retention
from tests.conftest import Clock
from tests.test_code_rotation import paying
from tests.test_practice_access_codes import rotate
from tests.test_subscriptions import id_of, put
from tests.world import Api, Mail, World

SECRET = ("security_codes", "challenges", "enrollments", "sign_ups", "sessions", "subscription_events")
KEPT = ("practices", "users", "invitations", "audit_events", "subscriptions")


async def census(*tables: str) -> dict[str, int]:
    """How many rows tables have."""
    return {table: (await database.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in tables}


async def test_nothing_is_left_of_codes_and_tokens_a_day_after_their_end(world: World, api: Api, clock: Clock) -> None:
    practice = await paying(world)
    staff = await world.joined(practice, "grace@clinic.example")
    await world.sign_up("Never finished", "stranger@clinic.example")
    await world.again(staff)
    await world.challenged(staff)
    await rotate(api, practice.administrator.session)
    await put(await id_of(practice), "ACTIVE", 30, event_id="evt_1")
    full = await census(*SECRET, "practice_access_codes")
    assert all(full.values()), full
    await retention.purge()
    assert await census(*SECRET, "practice_access_codes") == full
    kept = await census(*KEPT)
    await clock.forward(days=91)
    await asyncio.gather(*(retention.purge() for _ in range(4)))
    assert await census(*SECRET) == dict.fromkeys(SECRET, 0)
    assert await census("practice_access_codes", *KEPT) == kept | {"practice_access_codes": 1}
    token = await world.again(practice.administrator)
    assert (await api.query("{ usersTile { activeCount } }", token=token))["usersTile"]["activeCount"] == 2


async def test_what_is_still_open_or_ended_only_now_stays(world: World, api: Api, clock: Clock) -> None:
    practice = await paying(world)
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    await clock.forward(minutes=20)
    await retention.purge()
    assert (await api.query("{ viewer { id } }", token=practice.administrator.session))["viewer"] is not None
    await world.finish(enrollment, "grace@clinic.example")
    await api.query("mutation { signOut }", token=practice.administrator.session)
    await clock.forward(hours=21)
    before = await census(*SECRET)
    await retention.purge()
    assert await census(*SECRET) == before


async def test_what_too_many_wrong_guesses_ended_stays_ended_and_other_counts_go(
    world: World, api: Api, clock: Clock
) -> None:
    grace = await world.joined(await paying(world), "grace@clinic.example")
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at)"
        " VALUES ($1, 80, 5, clock_now()), ('phone:user:other', 79, 4, clock_now()), ('password:address:ended', 60, 5, clock_now()),"
        " ('password:address:locked', 59, 5, clock_now()), ('pac:user:any', 100, 9, clock_now())",
        f"phone:user:{grace.row_id}",
    )
    await clock.forward(days=91)
    await retention.purge()
    rows = await database.fetch("SELECT key FROM guess_counters WHERE failures >= 59 ORDER BY key")
    assert [row["key"] for row in rows] == ["password:address:ended", f"phone:user:{grace.row_id}"]
    values = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    assert (await api.do("sendSecurityCode", values))["__typename"] == "LimitReached"


async def test_messages_go_after_90_days_with_their_tries_but_for_the_latest_of_each_invitation(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await paying(world)
    admin = practice.administrator
    user_id = await world.invite(practice, "grace@clinic.example")
    await mail.run()
    await clock.forward(minutes=2)
    await api.do("resend", {"userId": user_id}, token=admin.session)
    await mail.run()
    before = await census("deliveries", "delivery_attempts")
    await clock.forward(days=89, hours=23)
    await retention.purge()
    assert await census("deliveries", "delivery_attempts") == before
    await clock.forward(hours=2)
    await asyncio.gather(*(retention.purge() for _ in range(3)))
    left = await database.fetch(
        "SELECT d.kind, u.email FROM deliveries d JOIN users u ON u.id = d.user_id ORDER BY d.id"
    )
    assert left == [{"kind": "invitation", "email": "grace@clinic.example"}]
    assert await census("delivery_attempts") == {"delivery_attempts": 1}
    token = await world.again(admin)
    shown = await api.query("{ usersTile { users { nodes { invitation { delivery { status } } } } } }", token=token)
    assert {"invitation": {"delivery": {"status": "SENT"}}} in shown["usersTile"]["users"]["nodes"]


async def test_many_messages_go_a_few_thousand_at_a_time_until_none_is_left(world: World, clock: Clock) -> None:
    await world.practice()
    await database.execute(
        "INSERT INTO deliveries (id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at)"
        " SELECT gen_random_uuid(), gen_random_uuid(), 'notice_of_old', 'EMAIL', 1, 'FAILED', 0, t.at, t.at, t.at"
        " FROM (SELECT clock_now() - interval '91 days' AS at FROM generate_series(1, 11000)) t"
    )
    kept = (await census("deliveries"))["deliveries"] - 11_000
    await retention.purge()
    assert await census("deliveries") == {"deliveries": kept}


async def test_a_device_goes_90_days_after_it_was_forgotten_or_its_trust_ended_and_the_trail_keeps_its_events(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await paying(world)
    grace, mary = [await world.joined(practice, f"{name}@clinic.example") for name in ("grace", "mary")]
    device = (await api.query("{ viewer { devices { id } } }", token=grace.session))["viewer"]["devices"][0]["id"]
    await api.do("forgetDevice", {"deviceId": device}, token=practice.administrator.session)
    await clock.forward(days=89)
    await retention.purge()
    assert await census("devices") == {"devices": 3}
    await clock.forward(days=2)
    await retention.purge()
    left = await database.fetch("SELECT user_id FROM devices")
    assert {row["user_id"] for row in left} == {mary.row_id, practice.administrator.row_id}
    assert await database.fetch("SELECT 1 FROM audit_events WHERE action = 'device.forgotten'")
    await clock.forward(days=90)
    await retention.purge()
    assert await census("devices") == {"devices": 0}


async def test_what_a_waiting_message_tells_of_stays_until_it_has_gone(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await paying(world)
    grace = await world.joined(practice, "grace@clinic.example")
    values = {"password": grace.password, "phone": "+12025550190"}
    challenge = (await api.do("changePhone", values, token=grace.session))["token"]
    code = await world.code(challenge, "+12025550190")
    await api.do("confirmPhone", {"challengeToken": challenge, "code": code}, token=grace.session)
    await clock.forward(hours=23, minutes=50)
    await retention.purge()
    assert grace.phone in [sent.content.recipient for sent in await mail.run()]
    await retention.purge()
    assert (await census("challenges"))["challenges"] == 0
