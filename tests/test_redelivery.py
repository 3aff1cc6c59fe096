"""A dead message is sent again: once, with the same link, at the price of a resend, and only while it makes sense."""

import asyncio

import pytest

from domain import audit, budgets, database
from graph.ids import global_id
from tests.conftest import Clock
from tests.world import Api, Json, Mail, PracticeWorld, World

TILE = "{ usersTile { users { nodes { email invitation { resendableAt delivery { id status redeliveryOf } } } } } }"


async def died(kind: str, email: str, status: str = "BOUNCED") -> str:
    """The latest message of a kind to somebody is dead now; its id."""
    rows = await database.fetch(
        """
        UPDATE deliveries SET status = $3, sent_at = NULL, problem = 'Nobody is there.' WHERE id = (
            SELECT d.id FROM deliveries d JOIN users u ON u.id = d.user_id WHERE d.kind = $1 AND u.email = $2
            ORDER BY d.id DESC LIMIT 1)
        RETURNING id
        """,
        kind,
        email,
        status,
    )
    return global_id("Delivery", rows[0]["id"])


async def dead_invitation(
    world: World, practice: PracticeWorld, clock: Clock, email: str = "new@clinic.example"
) -> str:
    """The message of an invitation that bounced, and a minute later."""
    await world.invite(practice, email)
    await world.mail.run()
    await clock.forward(seconds=61)
    return await died("invitation", email)


async def again(api: Api, practice: PracticeWorld, delivery_id: str) -> Json:
    """Ask for it once more."""
    return await api.do("redeliver", {"deliveryId": delivery_id}, token=practice.administrator.session)


async def test_what_bounced_goes_out_again_with_the_same_link_as_a_message_of_its_own(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    dead = await dead_invitation(world, practice, clock)
    first = mail.sent[-1]
    made = await again(api, practice, dead)
    assert (made["__typename"], made["status"], made["redeliveryOf"]) == ("Delivery", "QUEUED", dead)
    assert made["id"] != dead
    (second,) = await mail.run()
    assert second.content.recipient == first.content.recipient
    assert second.content.link_token == first.content.link_token
    assert second.row.id != first.row.id  # and with it the Message-ID
    shown = (await api.query(TILE, token=practice.administrator.session))["usersTile"]["users"]["nodes"]
    delivery = next(one["invitation"]["delivery"] for one in shown if one["email"] == "new@clinic.example")
    assert delivery == {"id": made["id"], "status": "SENT", "redeliveryOf": dead}
    old = await database.fetch(
        "SELECT status, problem FROM deliveries WHERE redelivery_of IS NULL AND kind = 'invitation'"
    )
    assert old == [{"status": "BOUNCED", "problem": "Nobody is there."}]
    values = {"token": second.content.link_token, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


@pytest.mark.parametrize("status", ["BOUNCED", "FAILED", "CANCELED"])
async def test_what_is_dead_in_any_way_can_be_sent_again_and_nothing_else(
    world: World, api: Api, clock: Clock, status: str
) -> None:
    practice = await world.practice()
    dead = await dead_invitation(world, practice, clock)
    await database.execute("UPDATE deliveries SET status = 'SENT', sent_at = clock_now() WHERE kind = 'invitation'")
    assert (await again(api, practice, dead))["problem"] == "NOT_DEAD"
    await died("invitation", "new@clinic.example", status)
    assert (await again(api, practice, dead))["__typename"] == "Delivery"


async def test_many_who_ask_at_once_send_it_once(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    dead = await dead_invitation(world, practice, clock)
    answers = await asyncio.gather(*(again(api, practice, dead) for _ in range(6)))
    assert sorted(answer["__typename"] for answer in answers) == ["Delivery"] + ["NotRedeliverable"] * 5
    assert {answer["problem"] for answer in answers if "problem" in answer} == {"SENT_AGAIN"}
    assert len(await mail.run()) == 1


async def test_a_resend_and_a_redelivery_at_once_leave_one_good_link_and_one_message(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    users = [f"u{n}@clinic.example" for n in range(4)]
    for email in users:
        dead = await dead_invitation(world, practice, clock, email)
        user_id = (await database.fetch("SELECT id FROM users WHERE email = $1", email))[0]["id"]
        resent, sent_again = await asyncio.gather(
            api.do("resend", {"userId": global_id("User", user_id)}, token=practice.administrator.session),
            again(api, practice, dead),
        )
        # Whoever comes second is told that it is too soon, or that a newer one took the place.
        kinds = (resent["__typename"], sent_again["__typename"])
        assert kinds in (("User", "NotRedeliverable"), ("TooSoon", "Delivery")), (resent, sent_again)
        (sent,) = await mail.run()
        values = {"token": sent.content.link_token, "practiceAccessCode": practice.practice_access_code}
        assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_a_redelivery_and_a_revocation_at_once_send_nothing(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    for n in range(4):
        dead = await dead_invitation(world, practice, clock, f"u{n}@clinic.example")
        row = await database.fetch("SELECT id FROM users WHERE email = $1", f"u{n}@clinic.example")
        _, revoked = await asyncio.gather(
            again(api, practice, dead),
            api.do(
                "revokeInvitation",
                {"userId": global_id("User", row[0]["id"])},
                token=practice.administrator.session,
            ),
        )
        assert revoked["__typename"] == "InvitationRevoked"
        assert await mail.run() == []


async def test_it_costs_what_a_resend_costs(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    message = await dead_invitation(world, practice, clock)
    for _ in range(10):
        made = await again(api, practice, message)
        assert made["__typename"] == "Delivery", made
        message = await died("invitation", "new@clinic.example", "FAILED")
        assert (await again(api, practice, message))["__typename"] == "TooSoon"
        await clock.forward(seconds=61)
    assert (await again(api, practice, message))["__typename"] == "LimitReached"
    row = await database.fetch("SELECT id FROM users WHERE email = 'new@clinic.example'")
    values = {"userId": global_id("User", row[0]["id"])}
    assert (await api.do("resend", values, token=practice.administrator.session))["__typename"] == "LimitReached"


async def test_what_its_message_says_has_to_be_good_still(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    session = practice.administrator.session
    dead = await dead_invitation(world, practice, clock)
    row = await database.fetch("SELECT id FROM users WHERE email = 'new@clinic.example'")
    await api.do("resend", {"userId": global_id("User", row[0]["id"])}, token=session)
    refused = await again(api, practice, dead)
    assert (refused["problem"], "newer message" in refused["message"]) == ("REPLACED", True)
    ended = await dead_invitation(world, practice, clock, "late@clinic.example")
    await database.execute("UPDATE invitations SET expires_at = clock_now()")
    refused = await again(api, practice, ended)
    assert (refused["problem"], "Resend it on the users tile" in refused["message"]) == ("ENDED", True)
    assert await database.fetch("SELECT 1 FROM deliveries WHERE redelivery_of IS NOT NULL") == []


async def test_a_code_is_never_sent_again_and_its_owner_is_to_ask_for_another(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.again(grace)
    dead = await died("security_code", grace.email, "FAILED")
    refused = await again(api, practice, dead)
    assert (refused["problem"], "ask for a new one" in refused["message"]) == ("SECURITY_CODE", True)


async def test_nobody_who_was_blocked_is_written_to(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.again(grace)  # on a new device, which the owner is told of
    await clock.forward(seconds=61)
    dead = await died("notice", grace.email, "FAILED")
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert (await again(api, practice, dead))["problem"] == "ENDED"
    await api.do("reactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert (await again(api, practice, dead))["__typename"] == "Delivery"


async def test_a_notice_that_is_sent_again_tells_when_it_happened(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.again(grace)  # on a new device, which the owner is told of
    first = await mail.latest(grace.email)
    for _ in range(2):  # also when the new one dies in its turn
        await clock.forward(minutes=5)
        dead = await died("notice", grace.email, "FAILED")
        assert (await again(api, practice, dead))["__typename"] == "Delivery"
        second = await mail.latest(grace.email)
        assert second.row.id != first.row.id
        assert second.content == first.content


async def test_a_link_to_a_new_password_costs_what_sending_one_costs(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("sendPasswordReset", {"userId": grace.id}, token=practice.administrator.session)
    first = await mail.latest(grace.email)
    await clock.forward(seconds=61)
    dead = await died("password_reset", grace.email)
    assert (await again(api, practice, dead))["__typename"] == "Delivery"
    assert (await mail.latest(grace.email)).content.link_token == first.content.link_token
    await clock.forward(seconds=61)
    dead = await died("password_reset", grace.email)
    await database.execute(
        "UPDATE budgets SET used = $1 WHERE key = $2",
        budgets.RESETS_BY_ADMINISTRATORS.amount,
        f"password-reset:user:{grace.row_id}",
    )
    assert (await again(api, practice, dead))["__typename"] == "LimitReached"


async def test_it_stands_in_the_trail_and_so_does_a_refusal(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    dead = await dead_invitation(world, practice, clock)
    made = await again(api, practice, dead)
    await again(api, practice, dead)
    rows = await database.fetch(
        "SELECT action, actor_name, subject_name, details::text AS details FROM audit_events WHERE action LIKE 'delivery.%' ORDER BY id"
    )
    assert [row["action"] for row in rows] == [
        audit.Action.DELIVERY_REDELIVERED,
        audit.Action.DELIVERY_REDELIVERY_REFUSED,
    ]
    assert all((row["actor_name"], row["subject_name"]) == ("Ada Lovelace", "Grace Hopper") for row in rows)
    assert '"SENT_AGAIN"' in rows[1]["details"]
    assert made["userName"] == "Grace Hopper"
