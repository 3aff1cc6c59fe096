"""Who was invited is reminded once before the end, and administrators are told in one mail a day at most."""

import asyncio

import pytest

from domain import database, invitation_ends
from domain.outbox import Kind
from tests.conftest import Clock
from tests.test_redelivery import again, died
from tests.world import Api, Mail, PracticeWorld, Sent, World, keep_sessions_open

ZONE = "UPDATE practices SET time_zone = 'UTC'"


async def reminded(mail: Mail) -> list[str]:
    """Let the schedule look, and run the outbox; who was reminded."""
    await invitation_ends.remind_due()
    return sorted(one.content.recipient for one in await mail.run() if one.row.kind is Kind.INVITATION_REMINDER)


async def summarized(mail: Mail) -> list[Sent]:
    """Let the schedule look, and run the outbox; the summaries."""
    await invitation_ends.summarize_due()
    return [one for one in await mail.run() if one.row.kind in (Kind.INVITATIONS_ENDING, Kind.INVITATIONS_ENDED)]


async def invited(world: World, *emails: str) -> PracticeWorld:
    """A practice that has invited people, whose mail arrived."""
    practice = await world.practice()
    for email in emails:
        await world.invite(practice, email)
    await world.mail.run()
    return practice


async def test_whoever_has_not_finished_is_reminded_once_two_days_before_the_end_with_the_same_link(
    world: World, mail: Mail, clock: Clock
) -> None:
    await invited(world, "new@clinic.example")
    link = await world.link("new@clinic.example")
    await clock.forward(days=4, hours=23)
    assert await reminded(mail) == []
    await clock.forward(hours=2)
    assert await reminded(mail) == ["new@clinic.example"]
    assert mail.sent[-1].content.link_token == link
    for _ in range(3):
        await clock.forward(hours=12)
        assert await reminded(mail) == []
    rows = await database.fetch(
        "SELECT actor_name, subject_name FROM audit_events WHERE action = 'invitation.reminded'"
    )
    assert rows == [{"actor_name": "the schedule", "subject_name": "Grace Hopper"}]


async def test_many_workers_that_look_at_once_remind_once(world: World, mail: Mail, clock: Clock) -> None:
    emails = [f"u{n}@clinic.example" for n in range(20)]
    await invited(world, *emails)
    await clock.forward(days=6)
    await asyncio.gather(*(invitation_ends.remind_due() for _ in range(6)))
    assert await reminded(mail) == sorted(emails)
    rows = await database.fetch("SELECT count(*) AS n FROM deliveries WHERE kind = 'invitation_reminder'")
    assert rows[0]["n"] == len(emails)


async def test_after_an_outage_a_reminder_is_late_while_it_is_of_use_and_not_sent_after_that(
    world: World, mail: Mail, clock: Clock
) -> None:
    await invited(world, "new@clinic.example")
    await clock.forward(days=6, hours=22)
    assert await reminded(mail) == ["new@clinic.example"]
    other = await world.practice("Other Practice")
    await world.invite(other, "late@clinic.example")
    await mail.run()
    await clock.forward(days=6, hours=23, minutes=30)
    assert await reminded(mail) == []
    await clock.forward(days=1)
    assert await reminded(mail) == []


@pytest.mark.parametrize("status", ["BOUNCED", "FAILED", "CANCELED"])
async def test_nobody_is_reminded_of_a_mail_that_did_not_arrive(
    world: World, mail: Mail, clock: Clock, status: str
) -> None:
    await invited(world, "gone@clinic.example", "here@clinic.example")
    await clock.forward(days=6)
    await died("invitation", "gone@clinic.example", status)
    assert await reminded(mail) == ["here@clinic.example"]


async def test_nobody_is_reminded_who_has_finished_or_is_not_wanted_any_more(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await invited(world, "open@clinic.example")
    await world.joined(practice, "done@clinic.example")
    revoked = await world.invite(practice, "revoked@clinic.example")
    blocked = await world.invite(practice, "blocked@clinic.example")
    await mail.run()
    session = practice.administrator.session
    await api.do("revokeInvitation", {"userId": revoked}, token=session)
    await api.do("deactivate", {"userId": blocked}, token=session)
    await clock.forward(days=6)
    assert await reminded(mail) == ["open@clinic.example"]


@pytest.mark.parametrize("act", ["resend", "revokeInvitation", "deactivate"])
async def test_a_reminder_that_waits_is_not_sent_when_its_link_ends(
    world: World, api: Api, mail: Mail, clock: Clock, act: str
) -> None:
    practice = await invited(world)
    user_id = await world.invite(practice, "new@clinic.example")
    await mail.run()
    await clock.forward(days=6)
    await keep_sessions_open()
    await invitation_ends.remind_due()
    await api.do(act, {"userId": user_id}, token=practice.administrator.session)
    assert [one.row.kind for one in await mail.run()] == ([Kind.INVITATION] if act == "resend" else [])
    await clock.forward(days=1)
    assert await reminded(mail) == []


async def test_a_fresh_link_has_a_reminder_of_its_own_before_its_own_end(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await invited(world)
    user_id = await world.invite(practice, "new@clinic.example")
    await mail.run()
    await clock.forward(days=5, hours=1)
    assert await reminded(mail) == ["new@clinic.example"]
    await keep_sessions_open()
    resent = await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    assert resent["__typename"] == "User"
    await mail.run()
    await clock.forward(days=4)
    assert await reminded(mail) == []
    await clock.forward(days=1, hours=1)
    assert await reminded(mail) == ["new@clinic.example"]
    assert await reminded(mail) == []


async def test_a_link_that_lives_less_than_four_days_has_no_reminder(world: World, mail: Mail, clock: Clock) -> None:
    await invited(world, "short@clinic.example", "long@clinic.example")
    await database.execute(
        "UPDATE invitations SET expires_at = last_send_at + CASE WHEN u.email = 'short@clinic.example' THEN interval '95 hours'"
        " ELSE interval '96 hours' END FROM users u WHERE u.id = user_id"
    )
    await clock.forward(days=3)
    assert await reminded(mail) == ["long@clinic.example"]


async def test_a_practice_that_lets_nobody_in_reminds_nobody_until_it_is_renewed(
    world: World, mail: Mail, clock: Clock
) -> None:
    await invited(world, "new@clinic.example")
    await clock.forward(days=6)
    await database.execute(ZONE)
    await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")
    assert (await reminded(mail), await summarized(mail)) == ([], [])
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    assert await reminded(mail) == ["new@clinic.example"]


async def test_a_reminder_takes_nothing_of_what_an_administrator_may_send(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await invited(world)
    user_id = await world.invite(practice, "new@clinic.example")
    await mail.run()
    await clock.forward(days=5, hours=1)
    before = await database.fetch("SELECT * FROM budgets ORDER BY key, window_starts_at")
    assert await reminded(mail) == ["new@clinic.example"]
    assert await database.fetch("SELECT * FROM budgets ORDER BY key, window_starts_at") == before
    await keep_sessions_open()
    assert (await api.do("resend", {"userId": user_id}, token=practice.administrator.session))["__typename"] == "User"


async def test_a_reminder_that_died_can_be_sent_again(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await invited(world, "new@clinic.example")
    await clock.forward(days=5, hours=1)
    assert await reminded(mail) == ["new@clinic.example"]
    await clock.forward(seconds=61)
    await keep_sessions_open()
    made = await again(api, practice, await died("invitation_reminder", "new@clinic.example"))
    assert made["kind"] == "INVITATION_REMINDER"
    assert [one.row.kind for one in await mail.run()] == [Kind.INVITATION_REMINDER]
    assert await reminded(mail) == []


async def at_eight(clock: Clock) -> None:
    """It is eight o'clock of the next day, UTC."""
    row = await database.fetch_one(
        "SELECT extract(epoch FROM date_trunc('day', clock_now() AT TIME ZONE 'UTC') + interval '32 hours'"
        " - clock_now() AT TIME ZONE 'UTC')::float8 AS seconds"
    )
    assert row is not None
    await clock.forward(seconds=row["seconds"])


async def test_every_administrator_gets_one_summary_a_day_and_only_when_there_is_news(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await invited(world, "a@clinic.example", "b@clinic.example")
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await world.joined(practice, "staff@clinic.example")
    await database.execute(ZONE)
    await at_eight(clock)
    await clock.forward(days=2)
    assert await summarized(mail) == []
    await clock.forward(days=2)
    both = sorted([practice.administrator.email, second.email])
    await asyncio.gather(*(invitation_ends.summarize_due() for _ in range(5)))
    told = await summarized(mail)
    assert sorted(one.content.recipient for one in told) == both
    assert {one.content.people for one in told} == {("Grace Hopper", "Grace Hopper")}
    assert not any(one.content.link_token or one.content.code for one in told)
    assert await summarized(mail) == []
    await clock.forward(days=1)
    assert await summarized(mail) == []  # nothing that they were not told of
    await keep_sessions_open()
    await world.invite(practice, "c@clinic.example")
    await mail.run()
    await clock.forward(days=4, hours=2)
    assert len(await summarized(mail)) == 2
    rows = await database.fetch(
        "SELECT details::text AS details FROM audit_events WHERE action = 'invitation.summary_sent'"
    )
    assert len(rows) == 2


async def test_a_summary_comes_in_the_morning_of_the_practice(world: World, mail: Mail, clock: Clock) -> None:
    await invited(world, "a@clinic.example")
    await database.execute(ZONE)
    await at_eight(clock)
    await clock.forward(days=4, hours=-2)
    assert await summarized(mail) == []
    await clock.forward(hours=1, minutes=5)
    assert len(await summarized(mail)) == 1


async def test_a_summary_names_only_those_who_are_still_missing_when_it_is_sent(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    first = await world.invite(practice, "a@clinic.example", first_name="Ann", last_name="A")
    rest = await world.invite(practice, "b@clinic.example", first_name="Bea", last_name="B")
    await mail.run()
    await database.execute(ZONE)
    await at_eight(clock)
    await clock.forward(days=4)
    await keep_sessions_open()
    await invitation_ends.summarize_due()
    await api.do("revokeInvitation", {"userId": first}, token=practice.administrator.session)
    assert [one.content.people for one in await summarized(mail)] == [("Bea B",)]
    await database.execute("UPDATE invitations SET summarized_at = NULL")
    await database.execute("UPDATE practices SET invitations_summarized_on = NULL")
    await invitation_ends.summarize_due()
    await api.do("revokeInvitation", {"userId": rest}, token=practice.administrator.session)
    assert await summarized(mail) == []
    assert [row.kind for row, _ in mail.withdrawn] == [Kind.INVITATIONS_ENDING]


async def test_a_long_summary_names_twenty_and_counts_the_rest(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await invited(world, *(f"u{n}@clinic.example" for n in range(23)))
    await database.execute(ZONE)
    await at_eight(clock)
    await clock.forward(days=4)
    (told,) = await summarized(mail)
    assert told.content.recipient == practice.administrator.email
    assert (len(told.content.people), told.content.further_people) == (20, 3)
