"""E-mails about the subscription: each once, to every active administrator, and only while it is true."""

import asyncio

from domain import database, outbox, subscription_notices
from tests.conftest import Clock
from tests.test_subscriptions import id_of, put
from tests.world import Mail, PracticeWorld, World


async def told(mail: Mail) -> list[tuple[str, str]]:
    """Let the schedule look, and run the outbox; who was told what about the subscription."""
    await subscription_notices.send_due()
    return sorted(
        (message.content.recipient, message.content.notice)
        for message in await mail.run()
        if message.row.kind is outbox.Kind.SUBSCRIPTION
    )


async def trialing(world: World, clock: Clock) -> PracticeWorld:
    """A practice whose trial ends in seven days and an hour."""
    practice = await world.practice()
    await world.mail.run()
    await clock.forward(days=6, hours=23)
    return practice


async def test_every_administrator_is_told_7_3_and_1_days_before_a_trial_ends_and_when_it_has(
    world: World, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    admin, second = practice.administrator, await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    gone = await world.joined(practice, "gone@clinic.example", "ADMINISTRATOR")
    await world.joined(practice, "grace@clinic.example")
    await world.api.do("deactivate", {"userId": gone.id}, token=admin.session)
    await mail.run()
    await clock.forward(days=6, hours=23)
    both = sorted([admin.email, second.email])
    assert await told(mail) == []
    for forward, kind in (
        ({"hours": 2}, "TRIAL_ENDS_IN_7_DAYS"),
        ({"days": 4}, "TRIAL_ENDS_IN_3_DAYS"),
        ({"days": 2}, "TRIAL_ENDS_IN_1_DAY"),
        ({"days": 1}, "LAPSED"),
    ):
        await clock.forward(**forward)
        assert await told(mail) == [(email, kind) for email in both]
        assert await told(mail) == []
    await clock.forward(days=30)
    assert await told(mail) == []
    rows = await database.fetch(
        "SELECT actor_name, details->>'kind' AS kind, details->>'administrators' AS n FROM audit_events"
        " WHERE action = 'subscription.notice_sent' ORDER BY id"
    )
    assert {(row["actor_name"], row["n"]) for row in rows} == {("the schedule", "2")}
    assert [row["kind"] for row in rows] == [
        "TRIAL_ENDS_IN_7_DAYS",
        "TRIAL_ENDS_IN_3_DAYS",
        "TRIAL_ENDS_IN_1_DAY",
        "LAPSED",
    ]


async def test_workers_that_look_at_once_tell_it_once(world: World, mail: Mail, clock: Clock) -> None:
    practices = [await world.practice(name) for name in ("Elm Street Practice", "Oak Street Practice")]
    await mail.run()
    await clock.forward(days=11, hours=1)
    done = await asyncio.gather(*(subscription_notices.send_due() for _ in range(20)))
    assert sum(done) == 2
    assert sorted(message.content.recipient for message in await mail.run()) == sorted(
        practice.administrator.email for practice in practices
    )


async def test_after_an_outage_only_the_most_urgent_is_sent(world: World, mail: Mail, clock: Clock) -> None:
    practice = await trialing(world, clock)
    await clock.forward(days=6, hours=2)
    assert await told(mail) == [(practice.administrator.email, "TRIAL_ENDS_IN_1_DAY")]
    assert await told(mail) == []


async def test_nothing_is_told_about_what_ended_long_ago(world: World, mail: Mail, clock: Clock) -> None:
    await trialing(world, clock)
    await clock.forward(days=15)
    assert await told(mail) == []


async def test_nothing_is_told_once_it_was_paid(world: World, mail: Mail, clock: Clock) -> None:
    practice = await trialing(world, clock)
    await clock.forward(hours=2)
    await subscription_notices.send_due()
    await put(await id_of(practice), "ACTIVE", 365)  # after the mail was queued, and before it is sent
    assert await told(mail) == []
    assert [row.kind for row, _ in mail.withdrawn] == [outbox.Kind.SUBSCRIPTION]
    await clock.forward(days=10)
    assert await told(mail) == []


async def test_a_trial_that_is_put_off_is_told_anew(world: World, mail: Mail, clock: Clock) -> None:
    practice = await trialing(world, clock)
    await clock.forward(days=5)
    assert await told(mail) == [(practice.administrator.email, "TRIAL_ENDS_IN_3_DAYS")]
    await put(await id_of(practice), "TRIALING", 14)
    assert await told(mail) == []
    await clock.forward(days=11, hours=1)
    assert await told(mail) == [(practice.administrator.email, "TRIAL_ENDS_IN_3_DAYS")]


async def test_a_mail_that_was_held_up_is_overtaken_by_the_more_urgent_one(
    world: World, mail: Mail, clock: Clock
) -> None:
    practice = await trialing(world, clock)
    await clock.forward(hours=2)
    await subscription_notices.send_due()  # and no worker sends it
    await clock.forward(days=4)
    assert await told(mail) == [(practice.administrator.email, "TRIAL_ENDS_IN_3_DAYS")]


async def test_past_due_is_told_when_it_begins_and_when_work_ends(world: World, mail: Mail, clock: Clock) -> None:
    practice = await trialing(world, clock)
    email = practice.administrator.email
    await put(await id_of(practice), "ACTIVE", 30)
    await clock.forward(days=30, hours=12)
    assert await told(mail) == []  # a payment is settled some hours late
    await clock.forward(hours=13)
    assert await told(mail) == [(email, "PAST_DUE")]
    await clock.forward(days=14)
    assert await told(mail) == [(email, "LAPSED")]


async def test_whoever_is_no_administrator_any_more_is_not_told(world: World, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await clock.forward(days=6, hours=23, minutes=58)
    token = await world.again(practice.administrator)
    await clock.forward(minutes=5)
    assert await subscription_notices.send_due() == 1
    values = {"userId": second.id, "accessLevel": "BILLING"}
    assert (await world.api.do("changeAccessLevel", values, token=token))["__typename"] == "User"
    assert await told(mail) == [(practice.administrator.email, "TRIAL_ENDS_IN_7_DAYS")]
