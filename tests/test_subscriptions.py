"""What a practice has subscribed to: set by the operator, told by the clock, shown to administrators."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain import database, subscriptions
from domain.actors import SCHEDULE, Actor, operator
from domain.errors import Forbidden, InputInvalid, NotFound
from domain.models.columns import SubscriptionStatus
from domain.subscriptions import Change
from tests.conftest import Clock
from tests.world import Api, Json, PracticeWorld, World

OPERATOR = operator("ada")
SHOWN = """
{ practice { subscription { plan status trialEndsAt currentPeriodEndsAt accessAllowed accessEndsAt notice { kind message endsAt } } }
  usersTile { notice { kind message endsAt } } }
"""


async def id_of(practice: PracticeWorld) -> UUID:
    """The id of a practice's row."""
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1", practice.administrator.row_id)
    assert row is not None
    found: UUID = row["practice_id"]
    return found


async def put(practice_id: UUID, status: str, days: float | None = None, *, event_id: str | None = None) -> None:
    """Set a status, with its end so many days from now."""
    until = await database.now() + timedelta(days=days) if days is not None else None
    change = Change(status=SubscriptionStatus(status), until=until)
    await subscriptions.change(OPERATOR, practice_id, change, event_id=event_id)


async def shown(api: Api, token: str) -> Json:
    """The subscription as a client sees it; the notice is the same in both places."""
    answer = await api.query(SHOWN, token=token)
    subscription: Json = answer["practice"]["subscription"]
    assert answer["usersTile"]["notice"] == subscription["notice"]
    return subscription


# The status that was set, and its end in days from now; what it stands at, whether staff may work, the notice.
STANDINGS = [
    ("TRIALING", 8, "TRIALING", True, None),
    ("TRIALING", 6.9, "TRIALING", True, "TRIAL_ENDING"),
    ("ACTIVE", None, "ACTIVE", True, None),
    ("ACTIVE", 30, "ACTIVE", True, None),
    ("PAST_DUE", 0, "PAST_DUE", True, "PAST_DUE"),
    ("PAST_DUE", -13.9, "PAST_DUE", True, "PAST_DUE"),
    ("PAST_DUE", -14.1, "EXPIRED", False, "LAPSED"),
    ("CANCELED", 20, "CANCELED", True, "CANCELED_ENDING"),
    ("CANCELED", -1, "CANCELED", False, "LAPSED"),
    ("EXPIRED", None, "EXPIRED", False, "LAPSED"),
]


@pytest.mark.parametrize(("put_status", "days", "status", "allowed", "kind"), STANDINGS)
async def test_what_is_set_tells_whether_staff_may_work(
    world: World, api: Api, put_status: str, days: float | None, status: str, allowed: bool, kind: str | None
) -> None:
    practice = await world.practice()
    await put(await id_of(practice), put_status, days)
    found = await shown(api, practice.administrator.session)
    assert (found["status"], found["accessAllowed"]) == (status, allowed)
    assert (found["notice"] and found["notice"]["kind"]) == kind
    if found["notice"]:
        assert found["notice"]["endsAt"] == found["accessEndsAt"]


async def invited(world: World, api: Api, practice: PracticeWorld) -> bool:
    """Whether the practice's subscription lets an administrator invite."""
    row = {
        "firstName": "Grace",
        "lastName": "Hopper",
        "email": f"{uuid4().hex}@clinic.example",
        "accessLevel": "BILLING",
    }
    kind = (await api.do("invite", {"users": [row]}, token=await world.again(practice.administrator)))["__typename"]
    assert kind in ("InviteReport", "SubscriptionLapsed")
    return bool(kind == "InviteReport")


async def test_past_due_works_on_for_14_days_and_an_end_that_passes_is_past_due_a_day_later(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    await put(await id_of(practice), "ACTIVE", 30)
    for forward, status, works in (
        ({"days": 30, "hours": 23}, "ACTIVE", True),
        ({"hours": 2}, "PAST_DUE", True),
        ({"days": 12, "hours": 22}, "PAST_DUE", True),
        ({"hours": 2}, "EXPIRED", False),
    ):
        await clock.forward(**forward)
        assert await invited(world, api, practice) == works
        assert (await shown(api, await world.again(practice.administrator)))["status"] == status
    await put(await id_of(practice), "ACTIVE", 30)
    assert await invited(world, api, practice)


async def test_a_notice_is_for_administrators_and_says_how_long_there_is(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    staff = await world.joined(practice, "grace@clinic.example")
    await put(await id_of(practice), "TRIALING", 2.5)
    notice = (await shown(api, practice.administrator.session))["notice"]
    assert notice["message"].startswith("Your trial ends within 3 days.")
    assert (await shown(api, staff.session))["notice"] is None
    await put(await id_of(practice), "PAST_DUE", -13.5)
    notice = (await shown(api, practice.administrator.session))["notice"]
    assert "for up to 1 day." in notice["message"]
    await put(await id_of(practice), "EXPIRED")
    notice = (await shown(api, practice.administrator.session))["notice"]
    assert (notice["kind"], notice["endsAt"]) == ("LAPSED", None)
    assert "nothing is lost" in notice["message"]


async def changes() -> list[tuple[str, str, str]]:
    """What the trail says about subscriptions: who, from what, to what."""
    rows = await database.fetch(
        "SELECT actor_name, details->'before'->>'status' AS before, details->'after'->>'status' AS after FROM audit_events"
        " WHERE action = 'subscription.changed' ORDER BY id"
    )
    return [(row["actor_name"], row["before"], row["after"]) for row in rows]


async def test_a_change_is_audited_with_what_was_before_and_setting_the_same_writes_nothing(world: World) -> None:
    practice_id = await id_of(await world.practice())
    until = await database.now() + timedelta(days=30)
    wanted = Change(plan="standard", status=SubscriptionStatus.ACTIVE, until=until)
    for _ in range(3):
        found = await subscriptions.change(OPERATOR, practice_id, wanted)
        assert (found.plan, found.status, found.current_period_ends_at) == ("standard", "ACTIVE", until)
    assert await changes() == [("operator ada", "TRIALING", "ACTIVE")]
    found = await subscriptions.change(OPERATOR, practice_id, Change(without_end=True))
    assert (found.plan, found.current_period_ends_at, found.access_ends_at) == ("standard", None, None)


async def test_a_trial_that_ran_out_is_put_off_by_its_end_alone(world: World, clock: Clock) -> None:
    practice_id = await id_of(await world.practice())
    await clock.forward(days=15)
    assert (await subscriptions.show(OPERATOR, practice_id)).status == "EXPIRED"
    until = await database.now() + timedelta(days=7)
    found = await subscriptions.change(OPERATOR, practice_id, Change(until=until))
    assert (found.status, found.trial_ends_at, found.access_allowed) == ("TRIALING", until, True)
    with pytest.raises(InputInvalid):
        await subscriptions.change(OPERATOR, practice_id, Change(without_end=True))


async def test_an_event_that_comes_again_or_at_once_changes_nothing_more(world: World) -> None:
    practice_id = await id_of(await world.practice())
    await asyncio.gather(*(put(practice_id, "ACTIVE", 30, event_id="evt_1") for _ in range(8)))
    await put(practice_id, "PAST_DUE", -1, event_id="evt_2")
    await put(practice_id, "ACTIVE", 30, event_id="evt_1")
    assert await changes() == [("operator ada", "TRIALING", "ACTIVE"), ("operator ada", "ACTIVE", "PAST_DUE")]
    assert (await subscriptions.show(OPERATOR, practice_id)).status == "PAST_DUE"


async def test_an_event_that_was_refused_may_come_again(world: World) -> None:
    practice_id = await id_of(await world.practice())
    with pytest.raises(InputInvalid):
        await put(practice_id, "ACTIVE", -1, event_id="evt_1")
    await put(practice_id, "ACTIVE", 1, event_id="evt_1")
    assert (await subscriptions.show(OPERATOR, practice_id)).status == "ACTIVE"


@pytest.mark.parametrize(
    ("status", "days"),
    [
        ("TRIALING", -1),
        ("TRIALING", 40_000),
        ("ACTIVE", -1),
        ("ACTIVE", 40_000),
        ("PAST_DUE", None),
        ("PAST_DUE", 3),
        ("CANCELED", None),
        ("CANCELED", -40_000),
        ("EXPIRED", 3),
    ],
)
async def test_what_cannot_be_meant_is_refused(world: World, status: str, days: float | None) -> None:
    practice_id = await id_of(await world.practice())
    before = await subscriptions.show(OPERATOR, practice_id)
    with pytest.raises(InputInvalid) as refused:
        await put(practice_id, status, days)
    assert [problem.path for problem in refused.value.problems] == [("until",)]
    assert await subscriptions.show(OPERATOR, practice_id) == before
    assert await changes() == []


@pytest.mark.parametrize("plan", ["", " ", "x" * 41, "gold\n"])
async def test_a_plan_has_a_name(world: World, plan: str) -> None:
    practice_id = await id_of(await world.practice())
    with pytest.raises(InputInvalid):
        await subscriptions.change(OPERATOR, practice_id, Change(plan=plan))
    assert (await subscriptions.change(OPERATOR, practice_id, Change(plan="x" * 40))).plan == "x" * 40


@pytest.mark.parametrize("event_id", ["", "x" * 256])
async def test_an_event_has_an_id(world: World, event_id: str) -> None:
    practice_id = await id_of(await world.practice())
    with pytest.raises(InputInvalid):
        await put(practice_id, "ACTIVE", 1, event_id=event_id)
    await put(practice_id, "ACTIVE", 1, event_id="x" * 255)


async def test_only_the_operator_sets_or_sees_any_practices_subscription(world: World) -> None:
    practice_id = await id_of(await world.practice())
    for actor in (Actor(ip_address="198.51.100.7"), SCHEDULE):
        with pytest.raises(Forbidden):
            await subscriptions.change(actor, practice_id, Change(plan="gold"))
        with pytest.raises(Forbidden):
            await subscriptions.show(actor, practice_id)
    with pytest.raises(NotFound):
        await subscriptions.change(OPERATOR, uuid4(), Change(plan="gold"))
    with pytest.raises(NotFound):
        await subscriptions.show(OPERATOR, uuid4())
