"""What somebody can do again and again has a bound: mails, texts, comparisons of passwords and of recovery codes."""

import pytest

from domain import budgets, change_texts, database, outbox
from domain.models.columns import Channel
from domain.outbox import Kind
from tests.conftest import Clock
from tests.test_account_changes import correct, joined
from tests.test_recovery_codes import RENEW, verify
from tests.world import PASSWORD, Api, Json, Mail, Person, PracticeWorld, World


async def rename(api: Api, practice: PracticeWorld, person: Person, last_name: str) -> None:
    values = {"userId": person.id, "firstName": "Grace", "lastName": last_name}
    assert (await api.do("correctUserName", values, token=practice.administrator.session))["__typename"] == "User"


async def level(api: Api, practice: PracticeWorld, person: Person, access_level: str) -> None:
    values = {"userId": person.id, "accessLevel": access_level}
    assert (await api.do("changeAccessLevel", values, token=practice.administrator.session))["__typename"] == "User"


async def test_who_renames_a_colleague_again_and_again_mails_them_five_times(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await mail.run()
    for number in range(7):
        await rename(api, practice, grace, f"Hopper{number % 2}")
    assert [sent.content.notice for sent in await mail.run()] == ["name_corrected"] * 5
    assert len(await database.fetch("SELECT 1 FROM audit_events WHERE action = 'user.renamed'")) == 7
    # Another kind is told all the same: many of one do not hide the other.
    for number in range(7):
        await level(api, practice, grace, ("BILLING", "PROVIDER")[number % 2])
    assert [sent.content.notice for sent in await mail.run()] == ["access_level_changed"] * 5
    rows = await database.fetch("SELECT access_level FROM users WHERE id = $1", grace.row_id)
    assert rows == [{"access_level": "BILLING"}]


@pytest.mark.parametrize("mutation", ["renewSignIn", "changePhone", "changePassword"])
async def test_a_right_password_is_compared_twenty_times_an_hour(
    world: World, api: Api, clock: Clock, mutation: str
) -> None:
    await clock.stop()
    _, grace = await joined(world)
    given: dict[str, Json] = {
        "renewSignIn": {"password": PASSWORD},
        "changePhone": {"password": PASSWORD, "phone": world.number()},
        "changePassword": {"currentPassword": PASSWORD, "newPassword": "short"},
    }
    await database.execute("DELETE FROM budgets WHERE key LIKE 'passwords:%'")
    answers = [
        (await api.do(mutation, given[mutation], token=grace.session))["__typename"]
        for _ in range(budgets.PASSWORDS_IN_SESSION.amount + 1)
    ]
    assert "TooManyAttempts" not in answers[:-1]
    assert answers[-1] == "TooManyAttempts"
    await clock.forward(hours=1, seconds=1)
    session = await world.again(grace)
    assert (await api.do(mutation, given[mutation], token=session))["__typename"] == answers[0]


async def test_recovery_codes_that_were_replaced_cost_no_more_the_more_there_are(world: World, api: Api) -> None:
    _, grace = await joined(world)
    used, replaced = grace.recovery_codes[:2]
    assert (await verify(world, grace, used))["__typename"] == "SignedIn"
    codes = (await api.query(RENEW, token=grace.session))["renewRecoveryCodes"]["codes"]
    # As many as a year of renewals leaves, all from before.
    await database.execute(
        "INSERT INTO recovery_codes (id, user_id, mac, key_id, created_at, superseded_at)"
        " SELECT gen_random_uuid(), $1, decode(repeat('00', 32), 'hex'), 'gone', clock_now() - interval '1 day', clock_now() - interval '1 day'"
        " FROM generate_series(1, 5000)",
        grace.row_id,
    )
    for code in (used, replaced):
        assert (await verify(world, grace, code))["__typename"] == "CodeExpired"
    assert (await verify(world, grace, codes[0]))["__typename"] == "SignedIn"
    # The oldest are not compared any more.
    await database.execute(
        "UPDATE recovery_codes SET superseded_at = clock_now() WHERE user_id = $1 AND key_id = 'gone'", grace.row_id
    )
    assert (await verify(world, grace, replaced))["__typename"] == "CodeIncorrect"
    assert (await verify(world, grace, codes[1]))["__typename"] == "SignedIn"


async def claimed_text(kind: Kind = Kind.ACCOUNT_CHANGE_TEXT) -> outbox.Claimed:
    """The text that waits, in the hand of a worker."""
    (row,) = await outbox.claim(outbox.LANE_CODES, at_most=5, lease_seconds=60, channels=[Channel.SMS])
    assert row.kind is kind
    return row


async def used(name: str) -> int:
    rows = await database.fetch("SELECT coalesce(sum(used), 0) AS used FROM budgets WHERE key LIKE $1", name)
    return int(rows[0]["used"])


async def test_texts_about_changes_count_with_those_to_new_phones(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    mary = await world.joined(practice, "mary@clinic.example")
    await mail.run()
    day = "codes:customers:day:SMS"
    before, own = await used(day), await used("codes:%number%")
    await correct(api, practice, grace)
    row = await claimed_text()
    for _ in range(3):  # tries of one text cost once
        assert await change_texts.may_go(row, grace.phone)
    assert await used(day) == before + 1
    assert await used("codes:%number%") == own  # the owner's allowance for codes
    for key in ("codes:customers:day:SMS", "codes:customers:prefix:%", "codes:prove:practice:%"):
        await database.execute("UPDATE budgets SET used = 100000 WHERE key LIKE $1", key)
        await correct(api, practice, mary, f"mary{len(key)}@new.example")
        text = await claimed_text()
        assert not await change_texts.may_go(text, mary.phone)
        await database.execute("UPDATE budgets SET used = 0 WHERE key LIKE $1", key)
