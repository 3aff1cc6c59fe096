"""A forgotten password: link and code, both; the same answer and work for every address; everything else ends."""

import asyncio
import json

import pytest

from domain import database
from tests.conftest import Clock
from tests.world import PASSWORD, Api, Json, Mail, Person, World, document

NEW = "seven green kites over the bay"
ROWS = """
    SELECT (SELECT count(*) FROM password_resets) AS resets, (SELECT count(*) FROM deliveries WHERE kind IN ('password_reset', 'invitation_pending')) AS mails,
        (SELECT count(*) FROM audit_events WHERE action = 'password_reset.requested') AS events,
        (SELECT count(*) FROM budgets WHERE key LIKE 'password-reset:%') AS budgets
"""


async def started(world: World, email: str) -> str:
    """A reset whose link was followed; the challenge's token."""
    await world.api.do("requestPasswordReset", {"email": email})
    result = await world.api.do("startPasswordReset", {"token": await world.link(email)})
    assert result["__typename"] == "SecurityChallenge", result
    token: str = result["token"]
    return token


async def answered(world: World, person: Person, **more: str) -> Json:
    """A whole reset with link and code."""
    challenge = await started(world, person.email)
    code = await world.code(challenge, person.phone)
    return await world.api.do("resetPassword", {"challengeToken": challenge, "code": code, "newPassword": NEW} | more)


async def test_link_and_code_set_a_new_password_and_end_all_else(world: World, api: Api, mail: Mail) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    other = await world.challenged(grace)
    result = await answered(world, grace, deviceName="New phone")
    assert (result["__typename"], result["user"]["id"]) == ("SignedIn", grace.id)
    assert (await api.query("{ viewer { id } }", token=grace.session))["viewer"] is None
    assert (await api.query("{ viewer { id } }", token=result["sessionToken"]))["viewer"] is not None
    sent = await api.do("sendSecurityCode", {"challengeToken": other, "channel": "SMS"})
    assert sent["__typename"] == "ChallengeInvalid"
    old = await api.do("signIn", {"email": grace.email, "password": PASSWORD})
    assert old["__typename"] == "CredentialsIncorrect"
    again = {"email": grace.email, "password": NEW}
    assert (await api.do("signIn", again | {"deviceToken": grace.device}))["__typename"] == "SecurityChallenge"
    assert (await api.do("signIn", again | {"deviceToken": result["deviceToken"]}))["__typename"] == "SignedIn"
    assert (await mail.latest(grace.email)).content.notice == "password_reset"


async def test_known_and_unknown_addresses_get_the_same_answer_and_make_the_same_work(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "half@clinic.example")
    gone = await world.joined(practice, "gone@clinic.example")
    await api.do("deactivate", {"userId": gone.id}, token=practice.administrator.session)
    await mail.run()
    answers, work = set(), []
    for email in (grace.email, "nobody@clinic.example", "half@clinic.example", gone.email, "no address at all"):
        before = (await database.fetch(ROWS))[0]
        response = await api.client.post(
            "/graphql", json={"query": document("requestPasswordReset"), "variables": {"input": {"email": email}}}
        )
        after = (await database.fetch(ROWS))[0]
        answers.add(response.content.replace(email.encode(), b"..."))
        work.append({name: after[name] - before[name] for name in after if name != "budgets"})
    assert len(answers) == 1
    assert work == [{"resets": 1, "mails": 1, "events": 1}] * 5
    assert [sent.content.recipient for sent in await mail.run()] == [grace.email]


async def test_an_address_gets_five_links_a_day_known_or_not(world: World, api: Api, clock: Clock) -> None:
    await clock.stop()
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    for email in (grace.email, "nobody@clinic.example"):
        kinds = [(await api.do("requestPasswordReset", {"email": email}))["__typename"] for _ in range(6)]
        assert kinds == ["CheckYourEmail"] * 5 + ["LimitReached"]


async def test_a_stranger_who_asks_changes_nothing_for_the_owner(world: World, api: Api, clock: Clock) -> None:
    await clock.stop()
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("requestPasswordReset", {"email": grace.email})
    own = await world.link(grace.email)
    challenge = (await api.do("startPasswordReset", {"token": own}))["token"]
    kinds = [(await api.do("requestPasswordReset", {"email": grace.email}))["__typename"] for _ in range(5)]
    assert kinds == ["CheckYourEmail"] * 4 + ["LimitReached"]
    # On a device that is known, and by an administrator, there is more to be had; by another one's device there is not.
    known = {"email": grace.email, "deviceToken": grace.device}
    assert (await api.do("requestPasswordReset", known))["__typename"] == "CheckYourEmail"
    foreign = {"email": grace.email, "deviceToken": practice.administrator.device}
    assert (await api.do("requestPasswordReset", foreign))["__typename"] == "LimitReached"
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone), "newPassword": NEW}
    assert (await api.do("resetPassword", values))["__typename"] == "SignedIn"
    links = {one.content.link_token for one in world.mail.sent if one.content.link_token}
    for link in links:
        assert (await api.do("startPasswordReset", {"token": link}))["__typename"] == "LinkInvalid"


async def test_a_strangers_requests_keep_no_administrator_from_helping(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("requestPasswordReset", {"email": grace.email})
    sent = await api.do("sendPasswordReset", {"userId": grace.id}, token=practice.administrator.session)
    assert sent["__typename"] == "User"


async def test_links_that_administrators_send_at_once_leave_one_that_is_good(world: World, api: Api) -> None:
    practice = await world.practice()
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    for number in range(6):
        grace = await world.joined(practice, f"grace{number}@clinic.example")
        results = await asyncio.gather(
            *(
                api.do("sendPasswordReset", {"userId": grace.id}, token=session)
                for session in (practice.administrator.session, second.session) * 2
            )
        )
        assert sorted(result["__typename"] for result in results) == ["TooSoon"] * 3 + ["User"]
        good = await database.fetch(
            "SELECT 1 FROM password_resets WHERE user_id = $1 AND superseded_at IS NULL", grace.row_id
        )
        assert len(good) == 1


async def test_a_link_is_good_for_an_hour_and_once(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await api.do("requestPasswordReset", {"email": grace.email})
    link = await world.link(grace.email)
    for _ in range(2):  # following it spends nothing
        assert (await api.do("startPasswordReset", {"token": link}))["__typename"] == "SecurityChallenge"
    await clock.forward(hours=1, seconds=1)
    assert (await api.do("startPasswordReset", {"token": link}))["__typename"] == "LinkExpired"
    await answered(world, grace)
    used = await world.mail.latest(grace.email)
    token = next(one.content.link_token for one in reversed(world.mail.sent) if one.content.link_token)
    assert used is not None
    assert (await api.do("startPasswordReset", {"token": token}))["__typename"] == "LinkInvalid"


async def test_an_administrators_link_ends_those_before_it(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await api.do("requestPasswordReset", {"email": grace.email})
    first = await world.link(grace.email)
    await api.do("sendPasswordReset", {"userId": grace.id}, token=practice.administrator.session)
    assert (await api.do("startPasswordReset", {"token": first}))["__typename"] == "LinkInvalid"
    second = await world.link(grace.email)
    assert (await api.do("startPasswordReset", {"token": second}))["__typename"] == "SecurityChallenge"


async def test_a_weak_password_costs_no_code_and_the_old_one_is_told_only_with_it(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await started(world, grace.email)
    code = await world.code(challenge, grace.phone)
    values = {"challengeToken": challenge, "code": code}
    wrong = {"challengeToken": challenge, "code": "000000" if code != "000000" else "111111"}
    for _ in range(8):
        weak = await api.do("resetPassword", wrong | {"newPassword": "short"})
        assert (weak["__typename"], "TOO_SHORT" in weak["problems"]) == ("PasswordRejected", True)
    same = await api.do("resetPassword", wrong | {"newPassword": PASSWORD})
    assert (same["__typename"], same["attemptsLeft"]) == ("CodeIncorrect", 4)
    for _ in range(6):  # a right code is not used up by it
        same = await api.do("resetPassword", values | {"newPassword": PASSWORD})
        assert (same["__typename"], same["problems"]) == ("PasswordRejected", ["SAME_AS_BEFORE"])
    refused = await database.fetch("SELECT 1 FROM audit_events WHERE action = 'password.refused'")
    assert len(refused) == 14
    assert (await api.do("resetPassword", values | {"newPassword": NEW}))["__typename"] == "SignedIn"


async def test_of_parallel_resets_with_the_right_code_one_wins(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await started(world, grace.email)
    code = await world.code(challenge, grace.phone)
    values = {"challengeToken": challenge, "code": code}
    words = ("green", "blue", "white", "black", "brown")
    results = await asyncio.gather(
        *(api.do("resetPassword", values | {"newPassword": f"seven {word} kites over the bay"}) for word in words)
    )
    kinds = [result["__typename"] for result in results]
    assert kinds.count("SignedIn") == 1, kinds
    assert set(kinds) <= {"SignedIn", "ChallengeInvalid", "CodeExpired"}
    won = words[kinds.index("SignedIn")]
    signed_in = await api.do("signIn", {"email": grace.email, "password": f"seven {won} kites over the bay"})
    assert signed_in["__typename"] == "SecurityChallenge"


async def test_blocking_somebody_ends_a_reset_that_is_under_way(world: World, api: Api) -> None:
    practice = await world.practice()
    for number in range(5):
        grace = await world.joined(practice, f"grace{number}@clinic.example")
        challenge = await started(world, grace.email)
        code = await world.code(challenge, grace.phone)
        values = {"challengeToken": challenge, "code": code, "newPassword": NEW}
        reset, _ = await asyncio.gather(
            api.do("resetPassword", values),
            api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session),
        )
        if reset["__typename"] == "SignedIn":
            assert (await api.query("{ viewer { id } }", token=reset["sessionToken"]))["viewer"] is None
        open_ = await database.fetch("SELECT 1 FROM sessions WHERE user_id = $1 AND ended_at IS NULL", grace.row_id)
        assert open_ == []
        assert (await api.do("startPasswordReset", {"token": challenge}))["__typename"] == "LinkInvalid"


async def test_a_reset_lifts_the_lock_of_the_old_password(world: World, api: Api, clock: Clock) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await clock.stop()  # the lock is a pause of a second
    for _ in range(6):
        await api.do("signIn", {"email": grace.email, "password": "wrong"})
    assert (await api.do("signIn", {"email": grace.email, "password": PASSWORD}))["__typename"] == "AccountLocked"
    await answered(world, grace)
    assert (await api.do("signIn", {"email": grace.email, "password": NEW}))["__typename"] == "SecurityChallenge"


async def test_a_changed_password_ends_the_links_that_were_sent(world: World, api: Api) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    await api.do("requestPasswordReset", {"email": grace.email})
    link = await world.link(grace.email)
    await api.do("changePassword", {"currentPassword": PASSWORD, "newPassword": NEW}, token=grace.session)
    assert (await api.do("startPasswordReset", {"token": link}))["__typename"] == "LinkInvalid"


async def test_an_administrator_has_a_link_mailed_and_never_sees_it(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    grace = await world.joined(practice, "grace@clinic.example")
    mary = await world.joined(practice, "mary@clinic.example")
    values = {"userId": grace.id}
    sent = await api.do("sendPasswordReset", values, token=admin)
    link = await world.link(grace.email)
    assert sent["__typename"] == "User"
    assert link not in json.dumps(sent)
    assert (await api.do("sendPasswordReset", values, token=admin))["__typename"] == "TooSoon"
    await clock.forward(seconds=61)
    assert (await api.do("sendPasswordReset", values, token=admin))["__typename"] == "User"
    invited = await world.invite(practice, "new@clinic.example")
    assert (await api.do("sendPasswordReset", {"userId": invited}, token=admin))["__typename"] == "NotSetUpYet"
    forbidden = await api.post(document("sendPasswordReset"), {"input": values}, token=mary.session)
    assert forbidden["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("mutation", ["verifyDevice", "confirmSignIn", "confirmPhone", "verifyEmailChange"])
async def test_a_resets_challenge_is_good_for_nothing_else(world: World, api: Api, mutation: str) -> None:
    grace = await world.joined(await world.practice(), "grace@clinic.example")
    challenge = await started(world, grace.email)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    assert (await api.do(mutation, values, token=grace.session))["__typename"] == "ChallengeInvalid"
    assert (await api.do("resetPassword", values | {"newPassword": NEW}))["__typename"] == "SignedIn"
    device = await world.challenged(Person(grace.id, grace.email, grace.phone, "", None, NEW))
    values = {"challengeToken": device, "code": "123456"}
    assert (await api.do("resetPassword", values | {"newPassword": PASSWORD}))["__typename"] == "ChallengeInvalid"
