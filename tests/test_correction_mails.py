"""Links to a new address are mailed with the same care as invitations: bounces count, allowances hold, and one can be sent again."""

from uuid import UUID

import pytest

from domain import audit, database, redelivery
from domain.actors import operator
from domain.mail_reports import Verdict
from graph.ids import global_id
from tests.conftest import Clock
from tests.test_account_changes import NEW_EMAIL, correct, joined
from tests.test_bounced_addresses import NO_MAILBOX, bounce, report
from tests.test_redelivery import again
from tests.world import Api, Json, Mail, Person, PracticeWorld, World

OPERATOR = operator("root")


async def link_delivery(mail: Mail, email: str = NEW_EMAIL) -> UUID:
    """The delivery of the latest link to an address."""
    return (await mail.latest(email)).row.id


async def invite_row(api: Api, practice: PracticeWorld, email: str) -> Json:
    """What an invitation of one person answers."""
    row = {"firstName": "Mary", "lastName": "Jackson", "email": email, "accessLevel": "PROVIDER"}
    report = await api.do("invite", {"users": [row]}, token=practice.administrator.session)
    found: Json = report["rows"][0]
    return found


async def test_a_correction_whose_mail_bounces_holds_the_address_back(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    mary = await world.joined(practice, "mary@clinic.example")
    await correct(api, practice, grace)
    token = await world.link(NEW_EMAIL)
    await bounce(await link_delivery(mail))
    for number in range(2):  # told twice, it is noted once
        refused = await correct(api, practice, mary)
        assert (refused["__typename"], refused["reason"]) == ("AddressBounced", NO_MAILBOX), number
        await bounce(await link_delivery(mail))
    assert (await invite_row(api, practice, NEW_EMAIL))["error"]["__typename"] == "AddressBounced"
    own = await api.do("changeEmail", {"email": NEW_EMAIL}, token=mary.session)
    assert own["__typename"] == "AddressBounced"
    rows = await database.fetch(
        "SELECT actor_name, subject_name FROM audit_events WHERE action = 'email_change.bounced'"
    )
    assert rows == [{"actor_name": "the mail system", "subject_name": "Grace Hopper"}]
    await clock.forward(seconds=61)
    assert (await correct(api, practice, grace))["__typename"] == "AddressBounced"
    values = {"userId": grace.id, "email": NEW_EMAIL, "addressRepaired": True}
    done = await api.do("correctUserEmail", values, token=practice.administrator.session)
    assert done["__typename"] == "User"
    assert await world.link(NEW_EMAIL) == token
    assert (await api.do("confirmEmail", {"token": token}))["__typename"] == "EmailConfirmed"


async def test_the_owner_may_say_that_the_address_takes_mail_again(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await bounce(await link_delivery(mail))
    values = {"email": NEW_EMAIL, "addressRepaired": True}
    challenge = await api.do("changeEmail", values, token=grace.session)
    values = {"challengeToken": challenge["token"], "code": await world.code(challenge["token"], grace.phone)}
    await api.do("verifyEmailChange", values, token=grace.session)
    assert (await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)}))["__typename"] == "EmailConfirmed"


async def test_whoever_calls_a_link_to_a_new_address_spam_gets_no_other(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    delivery = await link_delivery(mail)
    await database.execute("DELETE FROM email_changes")  # complaints come days later
    await report(delivery, Verdict.COMPLAINED)
    values = {"userId": grace.id, "email": NEW_EMAIL, "addressRepaired": True}
    refused = await api.do("correctUserEmail", values, token=practice.administrator.session)
    assert (refused["__typename"], refused["complained"]) == ("AddressBounced", True)
    assert len(await database.fetch("SELECT 1 FROM audit_events WHERE action = 'email_change.complained_of'")) == 1


async def test_one_address_gets_few_links_a_day_whichever_practices_ask(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    mary = await world.joined(practice, "mary@clinic.example")
    other = await world.practice("Other Practice")
    for person in (grace, mary):
        for _ in range(5):
            result = await api.do("changeEmail", {"email": NEW_EMAIL}, token=person.session)
            assert result["__typename"] == "SecurityChallenge"
    refused = await api.do("changeEmail", {"email": NEW_EMAIL.upper()}, token=other.administrator.session)
    assert refused["__typename"] == "LimitReached"
    elsewhere = await api.do("changeEmail", {"email": "ada@new.example"}, token=other.administrator.session)
    assert elsewhere["__typename"] == "SecurityChallenge"


async def died(person: Person, kind: str, status: str = "FAILED") -> str:
    """The latest message of a kind to somebody is dead now, and a minute has passed; its id."""
    rows = await database.fetch(
        "UPDATE deliveries SET status = $3, sent_at = NULL, problem = 'The server was busy.', queued_at = queued_at - interval '61 seconds'"
        " WHERE id = (SELECT id FROM deliveries WHERE kind = $1 AND user_id = $2 ORDER BY id DESC LIMIT 1) RETURNING id",
        kind,
        person.row_id,
        status,
    )
    return global_id("Delivery", rows[0]["id"])


async def test_sending_a_link_again_costs_its_owner_nothing(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await mail.run()
    for _ in range(5):
        sent = await again(api, practice, await died(grace, "email_change"))
        assert sent["__typename"] == "Delivery", sent
        await mail.run()
    assert (await again(api, practice, await died(grace, "email_change")))["__typename"] == "LimitReached"
    own = await api.do("changeEmail", {"email": "grace@own.example"}, token=grace.session)
    assert own["__typename"] == "SecurityChallenge"


async def test_a_link_that_bounced_is_sent_again_by_an_operator_who_knows_better(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    delivery = await link_delivery(mail)
    await bounce(delivery)
    dead = await died(grace, "email_change", "BOUNCED")
    refused = await again(api, practice, dead)
    assert refused["__typename"] == "AddressBounced"
    assert NEW_EMAIL not in str(refused)  # nobody else's until it is proved
    await redelivery.redeliver(OPERATOR, delivery, address_repaired=True)
    assert (await mail.latest(NEW_EMAIL)).content.link_token
    assert await database.fetch("SELECT 1 FROM bounced_addresses") == []


async def test_blocking_withdraws_no_word_of_another_address(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    token = await world.link(NEW_EMAIL)
    await api.do("confirmEmail", {"token": token})
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert ("email_changed", grace.email) in {(one.row.kind, one.content.recipient) for one in await mail.run()}


@pytest.mark.parametrize("kind", ["account_change", "account_change_text", "email_changed"])
async def test_what_a_blocked_person_is_told_all_the_same_can_be_sent_again(
    world: World, api: Api, mail: Mail, kind: str
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
    await mail.run()
    await died(grace, kind)
    dead = await database.fetch("SELECT id FROM deliveries WHERE status = 'FAILED' AND kind = $1", kind)
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    await redelivery.redeliver(OPERATOR, dead[0]["id"])
    assert [one.row.kind for one in await mail.run()] == [kind]


async def test_a_link_that_was_lost_is_mailed_again_after_a_minute_at_the_same_cost(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    token = await world.link(NEW_EMAIL)
    await correct(api, practice, grace)
    assert await mail.run() == []
    for _ in range(4):
        await clock.forward(seconds=61)
        assert (await correct(api, practice, grace))["__typename"] == "User"
        (sent,) = await mail.run()  # the owner was told, and there is nothing new to tell
        assert (sent.content.recipient, sent.content.link_token) == (NEW_EMAIL, token)
    await clock.forward(seconds=61)
    assert (await correct(api, practice, grace))["__typename"] == "LimitReached"


async def test_a_refused_correction_is_not_put_on_record_under_anothers_practices_user(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    other = await world.practice("Other Practice")
    await correct(api, practice, grace)
    assert await database.execute(
        "UPDATE budgets SET used = 100 WHERE key LIKE 'corrections:%' AND key NOT LIKE '%user%'"
    )
    for user_id in (other.administrator.id, grace.id):
        values = {"userId": user_id, "email": NEW_EMAIL}
        result = await api.do("correctUserEmail", values, token=practice.administrator.session)
        assert result["__typename"] == "LimitReached"
    rows = await database.fetch(
        "SELECT subject_user_id, subject_name FROM audit_events WHERE action = $1 ORDER BY occurred_at, id",
        audit.Action.EMAIL_CORRECTION_REFUSED.value,
    )
    assert rows == [
        {"subject_user_id": None, "subject_name": None},
        {"subject_user_id": grace.row_id, "subject_name": "Grace Hopper"},
    ]
