"""The gate: subscription, allowed hours and networks, where a session begins and on each request of one that is open."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio

from domain import database
from domain.settings import Settings
from graph.app import create_app
from graph.scalars import written
from tests.conftest import CLIENT_ADDRESS, Clock
from tests.world import Api, Json, Mail, Person, PracticeWorld, World, keep_sessions_open

VIEWER = "{ viewer { id } }"
AWAY = "203.0.113.9"
NEW_YORK = ZoneInfo("America/New_York")
DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


@pytest_asyncio.fixture
async def away(api: Api, app_settings: Settings) -> AsyncIterator[Api]:
    """The same API, asked from another network."""
    transport = httpx.ASGITransport(app=create_app(app_settings, checks={}), client=(AWAY, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield Api(client)


async def change(api: Api, practice: PracticeWorld, values: Json) -> None:
    """As the practice's administrator."""
    result = await api.do("updateLoginSettings", values, token=practice.administrator.session)
    assert result["__typename"] == "LoginSettings", result


async def refusal(api: Api, token: str, query: str = VIEWER) -> Json | None:
    """The extensions of the error that a request gets; None when it gets an answer."""
    answer = await api.post(query, token=token)
    extensions: Json | None = answer["errors"][0]["extensions"] if "errors" in answer else None
    return extensions


async def sign_in(api: Api, person: Person, **more: str | None) -> Json:
    """With the password, and on the device that is known where none is given."""
    values = {"email": person.email, "password": person.password, "deviceToken": person.device} | more
    return await api.do("signIn", values)


def hours(*texts: str) -> list[Json]:
    """As in `hours("MONDAY 08:00 18:00")`."""
    return [dict(zip(("day", "from", "until"), text.split(), strict=True)) for text in texts]


async def practice_in(world: World, zone: str) -> PracticeWorld:
    """A practice that pays, with its clock in a zone."""
    practice = await world.practice()
    await database.execute("UPDATE practices SET time_zone = $1", zone)
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    return practice


async def set_clock(clock: Clock, moment: datetime) -> None:
    """Let time pass until a moment, and open sessions with it."""
    await clock.forward(seconds=(moment - await database.now()).total_seconds())
    await keep_sessions_open()


async def actions(action: str) -> list[tuple[str, str | None]]:
    """Who and why, of the rows in the trail with an action."""
    rows = await database.fetch(
        "SELECT subject_name, details ->> 'reason' AS reason FROM audit_events WHERE action = $1 ORDER BY id", action
    )
    return [(row["subject_name"], row["reason"]) for row in rows]


# --------------------------------------------------------------------------------------------------- open sessions


async def test_a_shorter_idle_time_holds_for_sessions_that_are_open(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    grace, mary = [await world.joined(practice, f"{name}@clinic.example") for name in ("grace", "mary")]
    await change(api, practice, {"idleTimeoutMinutes": 5})
    await change(api, practice, {"userId": mary.id, "idleTimeoutMinutes": 10})
    await clock.forward(minutes=6)
    sessions = "{ usersTile { users { nodes { email sessions { id } } } } }"
    assert await refusal(api, grace.session, sessions) == {"code": "UNAUTHENTICATED"}
    await clock.forward(minutes=3)
    assert await refusal(api, mary.session) is None
    await clock.forward(minutes=9)
    assert await refusal(api, mary.session) is None
    await clock.forward(minutes=11)
    assert await refusal(api, mary.session, sessions) == {"code": "UNAUTHENTICATED"}


async def test_a_session_that_is_over_by_the_settings_is_not_shown(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    query = "{ usersTile { users { nodes { email sessions { expiresAt } } } } }"

    async def shown() -> list[Json]:
        data = await api.query(query, token=practice.administrator.session)
        found: list[Json] = next(
            node["sessions"] for node in data["usersTile"]["users"]["nodes"] if node["email"] == grace.email
        )
        return found

    long = (await shown())[0]["expiresAt"]
    await change(api, practice, {"sessionHours": 2, "userId": grace.id})
    short = (await shown())[0]["expiresAt"]
    assert datetime.fromisoformat(long) - datetime.fromisoformat(short) == timedelta(hours=10)
    await change(api, practice, {"idleTimeoutMinutes": 5, "userId": grace.id})
    await clock.forward(minutes=6)
    assert await shown() == []


async def test_a_shorter_session_length_holds_for_open_sessions_and_a_longer_one_does_not(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace, mary = [await world.joined(practice, f"{name}@clinic.example") for name in ("grace", "mary")]
    await change(api, practice, {"sessionHours": 1, "idleTimeoutMinutes": 60})
    await change(api, practice, {"userId": mary.id, "sessionHours": 24})
    await clock.forward(minutes=50)
    assert [await refusal(api, person.session) for person in (grace, mary)] == [None, None]
    await clock.forward(minutes=11)
    tile = "{ usersTile { activeCount } }"
    assert await refusal(api, grace.session, tile) == {"code": "UNAUTHENTICATED"}
    for _ in range(12):
        assert await refusal(api, mary.session, tile) is None
        await clock.forward(minutes=55)
    assert await refusal(api, mary.session, tile) == {"code": "UNAUTHENTICATED"}
    short = await sign_in(api, grace)
    lasts = datetime.fromisoformat(short["expiresAt"]) - await database.now()
    assert timedelta(minutes=59) < lasts <= timedelta(hours=1)


async def test_a_network_bites_an_open_session_on_its_next_request_and_lets_it_rest(
    world: World, api: Api, away: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    assert await refusal(away, grace.session) is None
    await change(api, practice, {"allowedNetworks": [f"{CLIENT_ADDRESS}/32"]})
    shut_out = {"code": "UNAUTHENTICATED", "reason": "NETWORK_NOT_ALLOWED"}
    for query in (VIEWER, "{ practice { id } }", "{ usersTile { activeCount } }", 'query { node(id: "x") { id } }'):
        assert await refusal(away, grace.session, query) == shut_out
    answer = await away.post(VIEWER, token=grace.session)
    assert AWAY in answer["errors"][0]["message"]
    # What is public stays so, and back in the network the session goes on.
    assert (await away.post('{ invitation(token: "x") { email } }', token=grace.session))["data"] == {
        "invitation": None
    }
    assert await refusal(api, grace.session) is None
    # Asking from outside is no use of the session: it runs out as if nobody had.
    for _ in range(3):
        await clock.forward(minutes=11)
        await refusal(away, grace.session)
    assert (await api.query(VIEWER, token=grace.session))["viewer"] is None
    assert await actions("session.refused") == [("Grace Hopper", "network not allowed")]


async def test_whoever_is_shut_out_can_still_sign_out(world: World, api: Api, away: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"userId": grace.id, "allowedNetworks": [f"{CLIENT_ADDRESS}/32"]})
    assert (await away.query("mutation { signOut }", token=grace.session))["signOut"] is True
    assert (await api.query(VIEWER, token=grace.session))["viewer"] is None
    assert await refusal(away, practice.administrator.session) is None


async def test_a_mutation_of_a_session_that_rests_does_nothing(world: World, api: Api, away: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator
    await change(api, practice, {"allowedNetworks": [f"{CLIENT_ADDRESS}/32"]})
    values = {"users": [{"firstName": "A", "lastName": "B", "email": "a@b.example", "accessLevel": "BILLING"}]}
    query = "mutation ($input: InviteInput!) { invite(input: $input) { __typename } }"
    answer = await away.post(query, {"input": values}, token=admin.session)
    assert answer["errors"][0]["extensions"]["reason"] == "NETWORK_NOT_ALLOWED"
    assert await database.fetch("SELECT 1 FROM invitations") == []


async def test_sessions_rest_outside_the_allowed_hours_and_over_midnight(world: World, api: Api, clock: Clock) -> None:
    practice = await practice_in(world, "Asia/Tokyo")  # which does not change its clock
    grace = await world.joined(practice, "grace@clinic.example")
    here = (await database.now()).astimezone(ZoneInfo("Asia/Tokyo"))
    first = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    own = {"userId": grace.id, "allowedHours": hours(f"{DAYS[first.weekday()]} 22:00 06:00")}
    await change(api, practice, own)
    opens, closes = first + timedelta(hours=22), first + timedelta(hours=30)
    for moment, is_open in [
        (first + timedelta(hours=5), False),
        (opens - timedelta(seconds=30), False),
        (opens + timedelta(seconds=1), True),
        (first + timedelta(hours=24), True),
        (closes - timedelta(seconds=30), True),
    ]:
        await set_clock(clock, moment)
        found = await refusal(api, grace.session)
        shut = {"code": "UNAUTHENTICATED", "reason": "OUTSIDE_ALLOWED_HOURS"} | {"retryAt": written(opens)}
        assert found == (None if is_open else shut), moment
        assert await refusal(api, practice.administrator.session) is None
    await set_clock(clock, closes)
    found = await refusal(api, grace.session)
    assert found is not None
    assert datetime.fromisoformat(found["retryAt"]) == opens + timedelta(days=7)


def next_change(zone: ZoneInfo, moment: datetime) -> datetime:
    """When a zone's clock is next changed, to the hour."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour.astimezone(zone).utcoffset() == (hour + timedelta(hours=1)).astimezone(zone).utcoffset():
        hour += timedelta(hours=1)
    return hour + timedelta(hours=1)


async def test_allowed_hours_are_right_over_both_changes_of_the_clock(world: World, api: Api, clock: Clock) -> None:
    practice = await practice_in(world, "America/New_York")
    grace = await world.joined(practice, "grace@clinic.example")
    now = await database.now()
    changes = [next_change(NEW_YORK, now)]
    changes.append(next_change(NEW_YORK, changes[0] + timedelta(hours=1)))
    # A night shift over the change, and half an hour of the day after it.
    night = {"userId": grace.id, "allowedHours": hours("SATURDAY 22:00 06:00", "SUNDAY 12:15 12:45")}
    await change(api, practice, night)
    for changed in changes:
        local = changed.astimezone(NEW_YORK)
        is_spring = local.dst() != timedelta(0)
        assert (local.weekday(), local.hour) == (6, 3 if is_spring else 1)
        begins = changed - timedelta(hours=4)
        ends = changed + timedelta(hours=3 if is_spring else 5)
        noon = ends + timedelta(hours=6, minutes=15)
        next_week = begins.astimezone(NEW_YORK) + timedelta(
            days=7
        )  # the same reading, whatever the zone's offset is then
        opens = {begins - timedelta(minutes=1): begins, ends: noon, noon + timedelta(minutes=30): next_week}
        for moment in sorted([*opens, begins, changed, ends - timedelta(minutes=1), noon]):
            await set_clock(clock, moment)
            found = await refusal(api, grace.session)
            retry_at = datetime.fromisoformat(found["retryAt"]) if found else None
            assert retry_at == opens.get(moment), moment


async def test_a_trial_that_runs_out_ends_the_sessions_of_staff(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await set_clock(clock, await database.now() + timedelta(days=13, hours=23, minutes=50))
    assert await refusal(api, grace.session) is None
    await clock.forward(minutes=11)
    lapsed = {"code": "UNAUTHENTICATED", "reason": "SUBSCRIPTION_LAPSED", "status": "EXPIRED"}
    assert await refusal(api, grace.session) == lapsed
    assert await refusal(api, practice.administrator.session) is None
    rows = await database.fetch("SELECT end_reason FROM sessions WHERE user_id = $1", grace.row_id)
    assert [row["end_reason"] for row in rows] == ["subscription"]
    assert await actions("session.ended") == [("Grace Hopper", "subscription")]
    # The token says so for as long as it lasts, and is of no use afterwards.
    await clock.forward(days=30)
    assert await refusal(api, grace.session) == lapsed
    assert (await api.query("mutation { signOut }", token=grace.session))["signOut"] is False
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    assert (await api.query(VIEWER, token=grace.session))["viewer"] is None
    assert await refusal(api, grace.session, "{ practice { id } }") == {"code": "UNAUTHENTICATED"}
    assert len(await actions("session.ended")) == 1


async def test_a_session_that_ended_otherwise_does_not_speak_of_the_subscription(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.query("mutation { signOut }", token=grace.session)
    await clock.forward(days=14, minutes=1)
    assert await refusal(api, grace.session, "{ practice { id } }") == {"code": "UNAUTHENTICATED"}


# ------------------------------------------------------------------------------------------------------ signing in


async def test_sign_in_tells_of_hours_and_networks_after_the_right_password_only(
    world: World, api: Api, away: Api, mail: Mail
) -> None:
    practice = await practice_in(world, "UTC")
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"userId": grace.id, "allowedNetworks": [CLIENT_ADDRESS]})
    assert (await sign_in(away, grace, password="wrong"))["__typename"] == "CredentialsIncorrect"
    for device in (None, grace.device):
        assert (await sign_in(away, grace, deviceToken=device))["__typename"] == "NetworkNotAllowed"
    now = await database.now()
    opens = (now + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    later = hours(f"{DAYS[opens.weekday()]} {opens:%H:%M} {opens + timedelta(hours=1):%H:%M}")
    await change(api, practice, {"userId": grace.id, "allowedHours": later})
    for client in (api, away):
        result = await sign_in(client, grace)
        assert (result["__typename"], datetime.fromisoformat(result["opensAt"])) == ("OutsideAllowedHours", opens)
    refused = [("Grace Hopper", "wrong password")] + [("Grace Hopper", "network not allowed")] * 2
    assert await actions("sign_in.refused") == refused + [("Grace Hopper", "outside the allowed hours")] * 2
    await change(api, practice, {"userId": grace.id, "allowedHours": None})
    assert (await sign_in(api, grace))["__typename"] == "SignedIn"


async def test_a_code_is_not_spent_when_the_gate_is_closed(world: World, api: Api, away: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    challenge = await world.challenged(grace)
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(grace.phone)).content.code
    await change(api, practice, {"userId": grace.id, "allowedNetworks": [CLIENT_ADDRESS]})
    values = {"challengeToken": challenge, "code": code}
    assert (await away.do("verifyDevice", values))["__typename"] == "NetworkNotAllowed"
    assert await actions("sign_in.refused") == [("Grace Hopper", "network not allowed")]
    assert len(await database.fetch("SELECT 1 FROM devices WHERE user_id = $1", grace.row_id)) == 1
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"


async def test_somebody_joining_waits_at_the_gate_and_goes_on_later(
    world: World, api: Api, away: Api, clock: Clock
) -> None:
    practice = await world.practice()
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    await world.proved(enrollment)
    await change(api, practice, {"allowedNetworks": [CLIENT_ADDRESS]})
    values = {"enrollmentToken": enrollment, "password": "a long and quiet river"}
    assert (await away.do("setPassword", values))["__typename"] == "NetworkNotAllowed"
    await database.execute("UPDATE subscriptions SET status = 'CANCELED'")
    assert (await api.do("setPassword", values))["subscriptionStatus"] == "CANCELED"
    rows = await database.fetch("SELECT status FROM users WHERE email_canonical = 'grace@clinic.example'")
    assert rows[0]["status"] == "INVITED"
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    assert (await api.do("setPassword", values))["__typename"] == "SignedIn"
    reasons = [reason for _, reason in await actions("sign_in.refused")]
    assert reasons == ["network not allowed", "subscription"]


async def test_a_lapsed_practice_tells_staff_with_a_challenge(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    for person, outcome in ((grace, "SubscriptionLapsed"), (practice.administrator, "SignedIn")):
        await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
        challenge = await world.challenged(person)
        await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
        code = (await mail.latest(person.phone)).content.code
        await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
        result = await api.do("verifyDevice", {"challengeToken": challenge, "code": code})
        assert result["__typename"] == outcome


# -------------------------------------------------------------------------------------------- codes and devices


async def verified(api: Api, mail: Mail, person: Person, challenge: str, **more: object) -> Json:
    """A challenge answered with the code that came."""
    await api.do("sendSecurityCode", {"challengeToken": challenge, "channel": "SMS"})
    code = (await mail.latest(person.phone)).content.code
    return await api.do("verifyDevice", {"challengeToken": challenge, "code": code} | more)


async def devices(person: Person) -> list[Json]:
    """The devices of somebody that are not forgotten."""
    return await database.fetch(
        "SELECT id, trusted_until FROM devices WHERE user_id = $1 AND forgotten_at IS NULL ORDER BY id", person.row_id
    )


async def test_a_code_at_every_sign_in_is_asked_for_on_known_devices_too(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    both = {"securityCode": "EVERY_SIGN_IN", "practiceAccessCode": "NEW_DEVICE"}
    await change(api, practice, both | {"userId": grace.id})
    known = await devices(grace)
    await clock.forward(days=1)
    challenge = await sign_in(api, grace)
    # The device is known, so the practice's code, which is for new ones, is not asked for.
    assert (challenge["__typename"], challenge["practiceAccessCodeRequired"]) == ("SecurityChallenge", False)
    await mail.run()
    told = len(mail.sent)
    signed_in = await verified(api, mail, grace, challenge["token"])
    assert signed_in["deviceToken"] not in (None, grace.device)
    await mail.run()
    assert len(mail.sent) == told + 1  # the code; a device that is known is no news
    again = await devices(grace)
    assert [device["id"] for device in again] == [device["id"] for device in known]
    assert again[0]["trusted_until"] - known[0]["trusted_until"] > timedelta(hours=23)
    # The token was replaced: the old one is a new device's now.
    assert (await sign_in(api, grace))["practiceAccessCodeRequired"] is True
    fresh = await sign_in(api, grace, deviceToken=signed_in["deviceToken"])
    assert fresh["practiceAccessCodeRequired"] is False
    await clock.forward(minutes=1)
    left = await verified(api, mail, grace, fresh["token"], trustDevice=False)
    assert left["deviceToken"] is None
    assert await devices(grace) == []
    assert await actions("device.forgotten") == [("Grace Hopper", None)]


async def test_a_known_device_that_is_forgotten_meanwhile_is_a_new_one(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    both = {"securityCode": "EVERY_SIGN_IN", "practiceAccessCode": "NEW_DEVICE"}
    await change(api, practice, both)
    challenge = await sign_in(api, grace)
    await database.execute("UPDATE devices SET forgotten_at = clock_now()")
    result = await verified(api, mail, grace, challenge["token"])
    assert result["__typename"] == "PracticeAccessCodeIncorrect"


async def test_no_device_is_trusted_where_none_is_to_be(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"trustedDeviceDays": 0})
    assert (await sign_in(api, practice.administrator))["__typename"] == "SecurityChallenge"
    challenge = await sign_in(api, grace)
    assert challenge["__typename"] == "SecurityChallenge"
    signed_in = await verified(api, mail, grace, challenge["token"])
    # The device is known from now on, which lets nobody in.
    grace.device = signed_in["deviceToken"]
    assert (signed_in["__typename"], grace.device is not None) == ("SignedIn", True)
    assert (await sign_in(api, grace))["__typename"] == "SecurityChallenge"
    mary = await world.joined(practice, "mary@clinic.example")
    assert (await sign_in(api, mary))["__typename"] == "SecurityChallenge"
    shown = await api.query("{ viewer { devices { id } } }", token=mary.session)
    assert shown["viewer"]["devices"] == []


async def test_a_device_that_is_known_and_not_trusted_spares_no_access_code(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"trustedDeviceDays": 0, "practiceAccessCode": "NEW_DEVICE"})
    for _ in range(2):
        challenge = await sign_in(api, grace)
        assert challenge["practiceAccessCodeRequired"] is True
        values = {"practiceAccessCode": practice.practice_access_code}
        code = await verified(api, mail, grace, challenge["token"])
        assert code["__typename"] == "PracticeAccessCodeIncorrect"
        code_of = (await mail.latest(grace.phone)).content.code
        answer = {"challengeToken": challenge["token"], "code": code_of} | values
        grace.device = (await api.do("verifyDevice", answer))["deviceToken"]


async def test_fewer_days_hold_for_devices_that_are_known_and_more_do_not(world: World, api: Api, clock: Clock) -> None:
    practice = await practice_in(world, "UTC")
    grace, mary = [await world.joined(practice, f"{name}@clinic.example") for name in ("grace", "mary")]
    await change(api, practice, {"userId": grace.id, "trustedDeviceDays": 5})
    await change(api, practice, {"userId": mary.id, "trustedDeviceDays": 90})
    shown = await api.query("{ viewer { devices { trustedUntil } } }", token=grace.session)
    until = datetime.fromisoformat(shown["viewer"]["devices"][0]["trustedUntil"])
    assert timedelta(days=4) < until - await database.now() < timedelta(days=5)
    await clock.forward(days=4)
    grace.device = (await sign_in(api, grace))["deviceToken"]
    assert grace.device
    await clock.forward(days=2)
    assert (await sign_in(api, grace))["__typename"] == "SecurityChallenge"
    mary.device = (await sign_in(api, mary))["deviceToken"]
    await clock.forward(days=25)
    assert (await sign_in(api, mary))["__typename"] == "SecurityChallenge"


async def test_the_practices_code_is_asked_for_on_each_new_device(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"practiceAccessCode": "NEW_DEVICE"})
    assert (await sign_in(api, practice.administrator))["__typename"] == "SignedIn"
    challenge = await sign_in(api, grace, deviceToken=None)
    assert challenge["practiceAccessCodeRequired"] is True
    token = challenge["token"]
    missing = await verified(api, mail, grace, token)
    assert (missing["__typename"], missing["attemptsLeft"]) == ("PracticeAccessCodeIncorrect", 10)
    code = (await mail.latest(grace.phone)).content.code
    values = {"challengeToken": token, "code": code}
    # Ten wrong ones are more than a security code takes, and do not touch it.
    for left in range(9, 3, -1):
        wrong = await api.do("verifyDevice", values | {"practiceAccessCode": "WRONG00000"})
        assert (wrong["__typename"], wrong["attemptsLeft"]) == ("PracticeAccessCodeIncorrect", left)
    both = values | {"practiceAccessCode": practice.practice_access_code.lower()}
    mistyped = await api.do("verifyDevice", both | {"code": "000000" if code != "000000" else "111111"})
    assert (mistyped["__typename"], mistyped["attemptsLeft"]) == ("CodeIncorrect", 4)
    assert (await api.do("verifyDevice", both))["__typename"] == "SignedIn"
    rows = await database.fetch("SELECT key, failures FROM guess_counters WHERE key LIKE 'pac:%' ORDER BY key")
    assert [row["key"].split(":")[1] for row in rows] == ["network", "practice"]  # theirs go on, for others' guesses
    assert [row["failures"] for row in rows] == [6, 6]


async def test_guesses_at_the_practices_code_are_counted_on_the_person(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await change(api, practice, {"practiceAccessCode": "NEW_DEVICE"})
    for _ in range(10):
        challenge = await world.challenged(grace)  # a new one begins no new count
        values = {"challengeToken": challenge, "code": "123456", "practiceAccessCode": "WRONG00000"}
        assert (await api.do("verifyDevice", values))["__typename"] == "PracticeAccessCodeIncorrect"
    right = {"challengeToken": challenge, "code": "123456", "practiceAccessCode": practice.practice_access_code}
    locked = await api.do("verifyDevice", right)
    assert locked["__typename"] == "TooManyAttempts"
    assert datetime.fromisoformat(locked["retryAtOrNull"]) > await database.now()
    missing = await api.do("verifyDevice", right | {"practiceAccessCode": " "})
    assert (missing["__typename"], missing["attemptsLeft"]) == ("PracticeAccessCodeIncorrect", 0)
    assert [reason for _, reason in await actions("practice_access_code.refused")] == ["wrong code"] * 10 + [
        "too many wrong codes"
    ]
    await clock.forward(minutes=15, seconds=1)
    challenge = await world.challenged(grace)
    signed_in = await verified(api, mail, grace, challenge, practiceAccessCode=practice.practice_access_code)
    assert signed_in["__typename"] == "SignedIn"


@pytest.mark.parametrize(("allowed", "other"), [("SMS", "VOICE"), ("VOICE", "SMS")])
async def test_codes_go_only_the_ways_that_the_practice_allows(
    world: World, api: Api, allowed: str, other: str
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    enrollment = await world.enrolled(practice, "mary@clinic.example")
    await change(api, practice, {"phoneChannels": [allowed]})
    challenge = await sign_in(api, grace, deviceToken=None)
    assert challenge["channels"] == [allowed]
    for mutation, values in (
        ("sendSecurityCode", {"challengeToken": challenge["token"]}),
        ("sendPhoneCode", {"enrollmentToken": enrollment, "phone": world.number()}),
    ):
        refused = await api.do(mutation, values | {"channel": other})
        assert (refused["__typename"], refused["channels"]) == ("ChannelNotAllowed", [allowed])
        assert (await api.do(mutation, values | {"channel": allowed}))["__typename"] == "SecurityCodeSent"
    # A practice that is only signing up has settings of the product alone.
    await world.sign_up("Other Practice", "other@clinic.example")
    token = (await api.do("verifyEmail", {"token": await world.link("other@clinic.example")}))["token"]
    values = {"enrollmentToken": token, "phone": world.number(), "channel": other}
    assert (await api.do("sendPhoneCode", values))["__typename"] == "SecurityCodeSent"
