"""What a bounce and a complaint mean for the one who invites: told with the reason, and the address is not mailed to again."""

import asyncio
from uuid import UUID

import pytest

from domain import database, mail_reports, outbox, retention
from domain.mail_reports import MailReport, Verdict
from domain.models.columns import DeliveryStatus
from domain.outbox import Claimed, Outcome
from tests.conftest import Clock
from tests.world import Api, Json, Mail, PracticeWorld, World

MAIL = "new@clinic.example"
NO_MAILBOX = "The receiving server refuses this address (5.1.1). Check the address, and send again to the right one."
TILE = "{ usersTile { users { nodes { email invitation { addressBouncedAt delivery { status problem } } } } } }"


async def invited(world: World, mail: Mail) -> tuple[PracticeWorld, str, UUID]:
    """A practice, somebody invited there whose mail is out, and its delivery."""
    practice = await world.practice()
    user_id = await world.invite(practice, MAIL)
    return practice, user_id, (await mail.latest(MAIL)).row.id


async def report(delivery_id: UUID, verdict: Verdict, problem: str | None = None) -> bool:
    return await mail_reports.take(MailReport(delivery_id=delivery_id, verdict=verdict, problem=problem))


async def bounce(delivery_id: UUID) -> bool:
    return await report(delivery_id, Verdict.BOUNCED, NO_MAILBOX)


async def resend(api: Api, practice: PracticeWorld, user_id: str, **values: object) -> Json:
    return await api.do("resend", {"userId": user_id, **values}, token=practice.administrator.session)


async def on_the_tile(api: Api, practice: PracticeWorld) -> Json:
    data = await api.query(TILE, token=practice.administrator.session)
    found: list[Json] = [one["invitation"] for one in data["usersTile"]["users"]["nodes"] if one["invitation"]]
    return found[0]


async def trail(practice: PracticeWorld, action: str) -> list[Json]:
    return await database.fetch(
        "SELECT e.actor_name, e.subject_name, e.details FROM audit_events e JOIN users u ON u.practice_id = e.practice_id"
        " WHERE u.id = $1 AND e.action = $2",
        practice.administrator.row_id,
        action,
    )


async def test_a_bounce_is_told_with_its_reason_and_the_address_is_not_mailed_to_again(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await clock.forward(minutes=2)
    assert (await on_the_tile(api, practice))["addressBouncedAt"] is None
    assert await bounce(delivery)
    shown = await on_the_tile(api, practice)
    assert shown["delivery"] == {"status": "BOUNCED", "problem": NO_MAILBOX}
    assert shown["addressBouncedAt"] is not None
    refused = await resend(api, practice, user_id)
    assert refused["__typename"] == "AddressBounced"
    assert (refused["bouncedEmail"], refused["reason"], refused["complained"]) == (MAIL, NO_MAILBOX, False)
    assert NO_MAILBOX in refused["message"]
    again = await resend(api, practice, user_id, email="mary@clinic.example")
    assert again["__typename"] == "User"
    assert again["invitation"]["addressBouncedAt"] is None
    assert (await mail.latest("mary@clinic.example")).content.link_token


async def test_a_bounce_at_the_relay_counts_as_much(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, MAIL)
    (row,) = await outbox.claim(outbox.LANE_BULK, at_most=1, lease_seconds=60)
    refused = Outcome(row=row, status=DeliveryStatus.BOUNCED, recipient=MAIL.title(), problem=NO_MAILBOX)
    assert await outbox.settle([refused]) == 1
    await database.execute("DELETE FROM bounced_addresses")
    assert await outbox.settle([refused]) == 0  # a worker that comes too late has no say
    assert await database.fetch("SELECT 1 FROM bounced_addresses") == []
    await database.execute(
        "UPDATE deliveries SET status = 'SENDING', lease_owner = $2 WHERE id = $1", row.id, row.owner
    )
    assert await outbox.settle([refused]) == 1
    await clock.forward(minutes=2)
    assert (await resend(api, practice, user_id))["__typename"] == "AddressBounced"
    entry, _ = await trail(practice, "invitation.bounced")
    assert (entry["actor_name"], entry["subject_name"]) == ("the mail system", "Grace Hopper")
    assert NO_MAILBOX in entry["details"]


async def test_who_is_invited_anew_at_the_same_address_is_refused_alike(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    other = await world.practice("Other Practice")
    await bounce(delivery)
    row = {"firstName": "Grace", "lastName": "Hopper", "email": MAIL.upper(), "accessLevel": "PROVIDER"}

    async def invite(practice: PracticeWorld, **values: object) -> Json:
        session = practice.administrator.session
        report = await api.do("invite", {"users": [row | values, row | {"email": "ok@clinic.example"}]}, token=session)
        found: Json = report["rows"][0]
        return found

    assert (await invite(practice))["error"]["__typename"] == "EmailInUse"  # the invitation is there: it is resent
    await api.do("revokeInvitation", {"userId": user_id}, token=practice.administrator.session)
    refused = await invite(practice)
    assert (refused["error"]["__typename"], refused["error"]["reason"]) == ("AddressBounced", NO_MAILBOX)
    mine = await invite(other)  # what another practice's mail met is not told here
    assert mine["error"] is None
    await api.do("revokeInvitation", {"userId": mine["user"]["id"]}, token=other.administrator.session)
    assert (await invite(practice, addressRepaired=True))["error"] is None


@pytest.mark.parametrize("wait_days", [0, 7])
async def test_a_mailbox_that_was_repaired_is_mailed_to_when_somebody_says_so_or_after_a_week(
    world: World, api: Api, mail: Mail, clock: Clock, wait_days: int
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await bounce(delivery)
    await clock.forward(days=wait_days, minutes=2)
    if wait_days:
        session = await world.again(practice.administrator)
        result = await api.do("resend", {"userId": user_id}, token=session)
    else:
        assert (await resend(api, practice, user_id))["__typename"] == "AddressBounced"
        result = await resend(api, practice, user_id, addressRepaired=True)
    assert result["__typename"] == "User"
    again = (await mail.latest(MAIL)).row.id
    assert again != delivery
    assert not await bounce(delivery)  # the old news does not come back
    await retention.purge()
    practice.administrator.session = await world.again(practice.administrator)
    assert (await on_the_tile(api, practice))["addressBouncedAt"] is None
    assert await bounce(again)
    assert (await on_the_tile(api, practice))["addressBouncedAt"] is not None


async def test_whoever_complained_is_never_mailed_an_invitation_again(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    assert await report(delivery, Verdict.COMPLAINED)
    assert not await report(delivery, Verdict.COMPLAINED)
    shown = await on_the_tile(api, practice)
    assert shown["delivery"]["status"] == "DELIVERED"
    assert "spam" in shown["delivery"]["problem"]
    assert not await report(delivery, Verdict.DELIVERED)
    await clock.forward(days=12)
    await retention.purge()
    practice.administrator.session = await world.again(practice.administrator)
    for values in ({}, {"addressRepaired": True}):
        refused = await resend(api, practice, user_id, **values)
        assert (refused["__typename"], refused["complained"], refused["standsUntil"]) == ("AddressBounced", True, None)
    assert (await resend(api, practice, user_id, email="mary@clinic.example"))["__typename"] == "User"
    assert len(await trail(practice, "invitation.complained_of")) == 1


async def test_a_link_that_is_replaced_by_itself_is_not_mailed_to_a_bounced_address(
    world: World, api: Api, mail: Mail
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await bounce(delivery)
    level = {"userId": user_id, "accessLevel": "BILLING"}
    changed = await api.do("changeAccessLevel", level, token=practice.administrator.session)
    assert changed["__typename"] == "User"
    assert await mail.run() == []
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == "CANCELED"
    assert "came back" in shown["problem"]


async def test_reports_go_up_only_whatever_their_order(world: World, api: Api, mail: Mail) -> None:
    practice, _, delivery = await invited(world, mail)

    async def status() -> str:
        found: str = (await on_the_tile(api, practice))["delivery"]["status"]
        return found

    steps = [
        (Verdict.DELAYED, True, "SENT"),
        (Verdict.DELAYED, False, "SENT"),
        (Verdict.FAILED, True, "FAILED"),
        (Verdict.DELAYED, False, "FAILED"),
        (Verdict.DELIVERED, True, "DELIVERED"),
        (Verdict.FAILED, False, "DELIVERED"),
        (Verdict.DELIVERED, False, "DELIVERED"),
        (Verdict.BOUNCED, True, "BOUNCED"),
        (Verdict.BOUNCED, False, "BOUNCED"),
        (Verdict.DELIVERED, False, "BOUNCED"),
    ]
    for verdict, is_news, expected in steps:
        assert await report(delivery, verdict, "It waits.") is is_news, verdict
        assert await status() == expected, verdict
    assert len(await trail(practice, "invitation.bounced")) == 1


async def claimed() -> Claimed:
    (row,) = await outbox.claim(outbox.LANE_BULK, at_most=1, lease_seconds=60)
    return row


@pytest.mark.parametrize("outcome", [DeliveryStatus.SENT, DeliveryStatus.RETRYING, DeliveryStatus.CANCELED])
@pytest.mark.parametrize("verdict", [Verdict.BOUNCED, Verdict.DELIVERED, Verdict.COMPLAINED])
async def test_a_report_that_is_faster_than_the_worker_is_kept(
    world: World, api: Api, mail: Mail, outcome: DeliveryStatus, verdict: Verdict
) -> None:
    practice = await world.practice()
    await mail.run()
    user_id = await world.invite(practice, MAIL)
    row = await claimed()
    assert await report(row.id, verdict, NO_MAILBOX if verdict is Verdict.BOUNCED else None)
    assert (await on_the_tile(api, practice))["delivery"] == {"status": "SENDING", "problem": None}
    await outbox.settle([Outcome(row=row, status=outcome, retry_after_seconds=1, problem="The relay broke off.")])
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == ("BOUNCED" if verdict is Verdict.BOUNCED else "DELIVERED")
    assert (shown["problem"] or "").startswith({"BOUNCED": NO_MAILBOX, "COMPLAINED": "The person"}.get(verdict, ""))
    await database.execute("UPDATE invitations SET last_send_at = last_send_at - interval '2 minutes'")
    result = await resend(api, practice, user_id)
    assert result["__typename"] == ("User" if verdict is Verdict.DELIVERED else "AddressBounced")


async def test_a_delay_that_is_faster_than_the_worker_is_told(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    await mail.run()
    await world.invite(practice, MAIL)
    row = await claimed()
    assert await report(row.id, Verdict.DELAYED, "It waits.")
    await outbox.settle([Outcome(row=row, status=DeliveryStatus.SENT, recipient=MAIL)])
    assert (await on_the_tile(api, practice))["delivery"] == {"status": "SENT", "problem": "It waits."}
    assert await report(row.id, Verdict.DELIVERED)
    assert (await on_the_tile(api, practice))["delivery"] == {"status": "DELIVERED", "problem": None}


async def test_a_late_bounce_of_an_address_that_was_corrected_blames_the_old_one(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await clock.forward(minutes=2)
    await resend(api, practice, user_id, email="mary@clinic.example")
    await mail.run()
    assert await bounce(delivery)
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"
    await clock.forward(minutes=2)
    assert (await resend(api, practice, user_id, email=MAIL))["__typename"] == "AddressBounced"
    assert (await resend(api, practice, user_id))["__typename"] == "User"


async def test_what_was_never_tried_was_revoked_or_is_a_text_takes_no_report(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    sms = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    await api.do("sendSecurityCode", sms)
    text = (await mail.latest(grace.phone)).row.id
    user_id = await world.invite(practice, MAIL)
    (waiting,) = await database.fetch("SELECT id FROM deliveries WHERE status = 'QUEUED'")
    for delivery in (text, waiting["id"]):
        for verdict in Verdict:
            assert not await report(delivery, verdict, "It came back.")
    await api.do("revokeInvitation", {"userId": user_id}, token=practice.administrator.session)
    assert not await bounce(waiting["id"])
    assert await database.fetch("SELECT 1 FROM bounced_addresses") == []


async def test_an_event_is_taken_once_and_reports_at_once_end_alike(world: World, api: Api, mail: Mail) -> None:
    practice, _, delivery = await invited(world, mail)
    bounced = MailReport(delivery_id=delivery, verdict=Verdict.BOUNCED, problem=NO_MAILBOX)
    news = await asyncio.gather(*(mail_reports.take(bounced, event_id="ses:1") for _ in range(6)))
    assert sorted(news) == [False] * 5 + [True]
    await database.execute("UPDATE deliveries SET status = 'SENT', reported_status = NULL WHERE id = $1", delivery)
    assert not await mail_reports.take(bounced, event_id="ses:1")
    assert len(await trail(practice, "invitation.bounced")) == 1
    every = [MailReport(delivery_id=delivery, verdict=verdict, problem="x.") for verdict in Verdict]
    await asyncio.gather(*(mail_reports.take(one) for one in every * 4))
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "BOUNCED"


WAITS_FOR_US = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@pytest.mark.parametrize("late", [Verdict.FAILED, Verdict.DELIVERED, Verdict.DELAYED, Verdict.COMPLAINED])
async def test_a_report_that_waits_for_a_bounce_looks_again_once_it_is_its_turn(
    world: World, api: Api, mail: Mail, late: Verdict
) -> None:
    practice, _, delivery = await invited(world, mail)
    may_begin = asyncio.Event()

    async def waiting() -> bool:
        await may_begin.wait()
        return await report(delivery, late, "x.")

    task = asyncio.create_task(waiting())
    async with database.transaction():
        await database.execute(
            "UPDATE deliveries SET status = 'BOUNCED', reported_status = 'BOUNCED', reported_problem = $2, problem = $2 WHERE id = $1",
            delivery,
            NO_MAILBOX,
        )
        may_begin.set()
        async with asyncio.timeout(30):
            while not await database.fetch(WAITS_FOR_US):  # noqa: ASYNC110 -- the database rings no bell
                await asyncio.sleep(0.01)
    assert not await task
    assert (await on_the_tile(api, practice))["delivery"] == {"status": "BOUNCED", "problem": NO_MAILBOX}


async def test_resending_to_a_repaired_address_does_not_stand_in_the_way_of_a_bounce(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    await bounce(delivery)
    await clock.forward(minutes=2)
    await database.execute("UPDATE deliveries SET status = 'RETRYING' WHERE id = $1", delivery)
    may_begin = asyncio.Event()

    async def waiting() -> Json:
        await may_begin.wait()
        return await resend(api, practice, user_id, addressRepaired=True)

    task = asyncio.create_task(waiting())
    async with database.transaction():  # as one who notes a bounce: the delivery, then the address
        await database.execute("UPDATE deliveries SET status = 'BOUNCED' WHERE id = $1", delivery)
        may_begin.set()
        async with asyncio.timeout(30):
            while not await database.fetch(WAITS_FOR_US):  # noqa: ASYNC110 -- the database rings no bell
                await asyncio.sleep(0.01)
        await database.execute("UPDATE bounced_addresses SET delivery_id = gen_random_uuid()")
    assert (await task)["__typename"] == "User"
