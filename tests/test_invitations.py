"""Inviting, resending, revoking, and taking an invitation up."""

import asyncio

import pytest

from domain import database
from tests.conftest import Clock
from tests.world import Api, Mail, World, keep_sessions_open

PREVIEW = "query ($token: String!) { invitation(token: $token) { practiceName firstName email expiresAt } }"


async def test_good_rows_go_out_whatever_becomes_of_the_others(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    other = await world.practice("Other Practice")
    rows = [
        {"firstName": "Grace", "lastName": "Hopper", "email": "Grace@Clinic.example", "accessLevel": "PROVIDER"},
        {"firstName": "<b>", "lastName": "https://evil.example", "email": "nope", "accessLevel": "BILLING"},
        {"firstName": "Mary", "lastName": "Again", "email": "grace@clinic.EXAMPLE", "accessLevel": "BILLING"},
        {"firstName": "Known", "lastName": "Elsewhere", "email": other.administrator.email, "accessLevel": "BILLING"},
        {"firstName": "Mary", "lastName": "Jackson", "email": "mary@clinic.example", "accessLevel": "FRONT_DESK"},
    ]
    report = await api.do("invite", {"users": rows}, token=practice.administrator.session)
    assert report["invitedCount"] == 2
    assert [bool(row["user"]) for row in report["rows"]] == [True, False, False, False, True]
    errors = [row["error"] for row in report["rows"]]
    assert [problem["path"] for problem in errors[1]["problems"]] == [
        ["users", "1", field] for field in ("firstName", "lastName", "email")
    ]
    assert errors[2]["problems"][0]["path"] == ["users", "2", "email"]
    assert (errors[3]["__typename"], errors[3]["email"]) == ("EmailInUse", other.administrator.email)
    sent = [message.content.recipient for message in await mail.run()]
    assert sorted(sent) == ["Grace@Clinic.example", "mary@clinic.example"]


@pytest.mark.parametrize("count", [0, 201])
async def test_one_to_two_hundred_people_are_invited_at_once(world: World, api: Api, count: int) -> None:
    practice = await world.practice()
    rows = [
        {"firstName": "A", "lastName": "B", "email": f"u{n}@clinic.example", "accessLevel": "BILLING"}
        for n in range(count)
    ]
    result = await api.do("invite", {"users": rows}, token=practice.administrator.session)
    assert result["__typename"] == "InputInvalid"
    full = [
        {"firstName": "A", "lastName": "B", "email": f"u{n}@clinic.example", "accessLevel": "BILLING"}
        for n in range(200)
    ]
    assert (await api.do("invite", {"users": full}, token=practice.administrator.session))["invitedCount"] == 200


async def test_two_practices_that_invite_the_same_people_at_the_same_moment_both_may(
    world: World, api: Api, mail: Mail
) -> None:
    first, second = await world.practice("First Practice"), await world.practice("Second Practice")
    rows = [
        {"firstName": "A", "lastName": "B", "email": f"u{n}@clinic.example", "accessLevel": "BILLING"}
        for n in range(20)
    ]
    reports = await asyncio.gather(
        api.do("invite", {"users": rows}, token=first.administrator.session),
        api.do("invite", {"users": rows[::-1]}, token=second.administrator.session),
    )
    assert [report["invitedCount"] for report in reports] == [20, 20]
    assert len(await mail.run()) == 40


async def test_the_landing_page_shows_whose_link_it_is_and_spends_nothing(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    before = await database.fetch(
        "SELECT (SELECT count(*) FROM audit_events) AS events, (SELECT count(*) FROM enrollments) AS enrollments"
    )
    for _ in range(50):
        shown = (await api.query(PREVIEW, {"token": token}))["invitation"]
    assert (shown["practiceName"], shown["firstName"], shown["email"]) == (
        practice.name,
        "Grace",
        "g•••@clinic.example",
    )
    after = await database.fetch(
        "SELECT (SELECT count(*) FROM audit_events) AS events, (SELECT count(*) FROM enrollments) AS enrollments"
    )
    assert before == after
    assert (await api.query(PREVIEW, {"token": token[:-1] + ("A" if token[-1] != "A" else "B")}))["invitation"] is None
    accepted = await api.do("acceptInvitation", {"token": token, "practiceAccessCode": practice.practice_access_code})
    assert accepted["__typename"] == "Enrollment"


async def test_the_access_code_is_taken_as_people_type_it(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    code = practice.practice_access_code
    typed = f" {code[:5].lower()} - {code[5:]} ".replace("0", "o").replace("1", "l")
    values = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": typed}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_twenty_parallel_acceptances_make_one_enrollment(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    values = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": practice.practice_access_code}
    results = await asyncio.gather(*(api.do("acceptInvitation", values) for _ in range(20)))
    tokens = {result.get("token") for result in results if result["__typename"] == "Enrollment"}
    assert len(tokens) == 1
    rows = await database.fetch("SELECT count(*) AS n FROM enrollments WHERE invitation_id IS NOT NULL")
    assert rows[0]["n"] == 1


async def test_of_parallel_passwords_one_makes_the_account(world: World, api: Api) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await world.proved(enrollment)
    results = await asyncio.gather(
        *(
            api.do("setPassword", {"enrollmentToken": enrollment, "password": f"correct horse battery {n}"})
            for n in range(8)
        )
    )
    assert [result["__typename"] for result in results].count("SignedIn") == 1
    sessions = await database.fetch(
        "SELECT 1 FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.email = 'grace@clinic.example'"
    )
    assert len(sessions) == 1


async def test_ten_wrong_access_codes_end_a_link_and_a_resend_makes_a_new_one(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    results = await asyncio.gather(
        *(api.do("acceptInvitation", {"token": token, "practiceAccessCode": "WRONGWRONG"}) for _ in range(25))
    )
    kinds = [result["__typename"] for result in results]
    assert (kinds.count("PracticeAccessCodeIncorrect"), kinds.count("TooManyAttempts")) == (10, 15)
    right = {"token": token, "practiceAccessCode": practice.practice_access_code}
    refused = await api.do("acceptInvitation", right)
    assert (refused["__typename"], refused["retryAtOrNull"]) == ("TooManyAttempts", None)
    await clock.forward(seconds=61)
    await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    fresh = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", fresh))["__typename"] == "Enrollment"


async def test_wrong_access_codes_over_many_links_lock_the_practices_code(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    kinds = []
    for n in range(6):
        await world.invite(practice, f"u{n}@clinic.example")
        token = await world.link(f"u{n}@clinic.example")
        for _ in range(9):
            result = await api.do("acceptInvitation", {"token": token, "practiceAccessCode": "WRONGWRONG"})
            kinds.append(result["__typename"])
        await clock.forward(minutes=16)  # past the lock of the client's network, which comes first
    assert "TooManyAttempts" in kinds
    assert kinds.count("PracticeAccessCodeIncorrect") <= 50


async def test_nobody_joins_while_somebody_else_is_signed_in(world: World, api: Api) -> None:
    practice, other = await world.practice(), await world.practice("Other Practice")
    await world.invite(practice, "grace@clinic.example")
    values = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": practice.practice_access_code}
    for somebody in (practice.administrator, other.administrator):
        refused = await api.do("acceptInvitation", values, token=somebody.session)
        assert refused["__typename"] == "SignedInAlready"
    rows = await database.fetch("SELECT actor_name FROM audit_events WHERE action = 'invitation.open_refused'")
    assert [row["actor_name"] for row in rows] == ["Grace Hopper"] * 2
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_a_right_access_code_takes_back_only_its_own_guess(world: World, api: Api) -> None:
    practice = await world.practice()
    code = practice.practice_access_code
    await world.invite(practice, "grace@clinic.example")
    await world.invite(practice, "mary@clinic.example")
    grace, mary = await world.link("grace@clinic.example"), await world.link("mary@clinic.example")
    for _ in range(3):
        await api.do("acceptInvitation", {"token": grace, "practiceAccessCode": "XXXXXXXXXX"})
    assert (await api.do("acceptInvitation", {"token": mary, "practiceAccessCode": code}))["__typename"] == "Enrollment"
    shared = "SELECT failures FROM guess_counters WHERE key LIKE 'pac:practice:%' OR key LIKE 'pac:network:%'"
    assert await database.fetch(shared) == [{"failures": 3}, {"failures": 3}]
    # The guess that reaches a limit locks what it reaches; when it was right, it locks nothing.
    await database.execute("UPDATE guess_counters SET failures = 29 WHERE key LIKE 'pac:network:%'")
    assert (await api.do("acceptInvitation", {"token": mary, "practiceAccessCode": code}))["__typename"] == "Enrollment"
    wrong = await api.do("acceptInvitation", {"token": grace, "practiceAccessCode": "XXXXXXXXXX"})
    assert wrong["__typename"] == "PracticeAccessCodeIncorrect"
    locked = await api.do("acceptInvitation", {"token": mary, "practiceAccessCode": code})
    assert locked["__typename"] == "TooManyAttempts"


async def test_a_link_that_is_used_up_locks_no_practice(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    for _ in range(14):
        await api.do("acceptInvitation", {"token": token, "practiceAccessCode": "XXXXXXXXXX"})
    rows = await database.fetch("SELECT failures FROM guess_counters WHERE key LIKE 'pac:practice:%'")
    assert rows == [{"failures": 10}]


async def test_a_network_that_is_locked_locks_no_practice_and_a_practice_no_network(world: World, api: Api) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")
    values = {"token": await world.link("grace@clinic.example"), "practiceAccessCode": "XXXXXXXXXX"}
    assert (await api.do("acceptInvitation", values))["__typename"] == "PracticeAccessCodeIncorrect"
    counts = "SELECT key, failures FROM guess_counters WHERE key LIKE 'pac:%' ORDER BY key"
    before = await database.fetch(counts)
    for locked in ("pac:network:%", "pac:practice:%"):
        await database.execute("UPDATE guess_counters SET locked_until = NULL")
        await database.execute(
            "UPDATE guess_counters SET locked_until = clock_now() + interval '1 hour' WHERE key LIKE $1", locked
        )
        assert (await api.do("acceptInvitation", values))["__typename"] == "TooManyAttempts"
        assert await database.fetch(counts) == before, locked


async def test_the_access_code_alone_opens_nothing(world: World, api: Api) -> None:
    practice = await world.practice()
    result = await api.do("acceptInvitation", {"token": "A" * 46, "practiceAccessCode": practice.practice_access_code})
    assert result["__typename"] == "LinkInvalid"


async def test_resending_makes_a_new_link_and_ends_the_old_one(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "grace@clinic.example")
    old = await world.link("grace@clinic.example")
    early = await api.do("resend", {"userId": user_id}, token=admin)
    assert early["__typename"] == "TooSoon"
    await clock.forward(seconds=61)
    sent = await api.do("resend", {"userId": user_id}, token=admin)
    assert sent["invitation"]["resendableAt"] is not None
    new = await world.link("grace@clinic.example")
    code = practice.practice_access_code
    assert (await api.do("acceptInvitation", {"token": old, "practiceAccessCode": code}))["__typename"] == "LinkInvalid"
    assert (await api.do("acceptInvitation", {"token": new, "practiceAccessCode": code}))["__typename"] == "Enrollment"


async def test_an_expired_invitation_cannot_be_accepted_and_can_be_resent(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    await clock.forward(days=7, minutes=1)
    values = {"token": token, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "LinkExpired"
    assert (await api.query(PREVIEW, {"token": token}))["invitation"] is None
    await keep_sessions_open()
    resent = await api.do("resend", {"userId": user_id}, token=practice.administrator.session)
    assert resent["invitation"]["state"] == "PENDING"
    values["token"] = await world.link("grace@clinic.example")
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"


async def test_a_mistyped_address_is_put_right_by_resending(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "grcae@clinic.example")
    old = await world.link("grcae@clinic.example")
    await clock.forward(seconds=61)
    bad = await api.do("resend", {"userId": user_id, "email": "grace@@clinic"}, token=admin)
    assert bad["__typename"] == "InputInvalid"
    taken = await api.do("resend", {"userId": user_id, "email": practice.administrator.email}, token=admin)
    assert taken["__typename"] == "EmailInUse"
    right = await api.do("resend", {"userId": user_id, "email": "grace@clinic.example"}, token=admin)
    assert right["email"] == "grace@clinic.example"
    code = practice.practice_access_code
    assert (await api.do("acceptInvitation", {"token": old, "practiceAccessCode": code}))["__typename"] == "LinkInvalid"
    new = await world.link("grace@clinic.example")
    assert (await api.do("acceptInvitation", {"token": new, "practiceAccessCode": code}))["__typename"] == "Enrollment"
    assert (await world.invite(practice, "grcae@clinic.example")) != user_id


async def test_ten_resends_a_day_and_it_says_when_the_next_may_be(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "grace@clinic.example")
    kinds = []
    for _ in range(21):
        await clock.forward(seconds=61)
        kinds.append((await api.do("resend", {"userId": user_id}, token=admin))["__typename"])
    assert "LimitReached" in kinds  # 21 minutes touch two days at most
    assert kinds.count("User") <= 20


async def test_resending_ends_what_the_old_link_had_begun(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    rows = await database.fetch("SELECT id FROM users WHERE email = 'grace@clinic.example'")
    await clock.forward(seconds=61)
    from graph.ids import global_id

    await api.do("resend", {"userId": global_id("User", rows[0]["id"])}, token=practice.administrator.session)
    result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": world.number(), "channel": "SMS"})
    assert result["__typename"] == "EnrollmentInvalid"


async def test_a_revoked_invitation_is_dead_and_its_address_free(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    admin = practice.administrator.session
    user_id = await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    assert (await api.do("revokeInvitation", {"userId": user_id}, token=admin))["userId"] == user_id
    values = {"token": token, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "LinkInvalid"
    assert (await api.do("revokeInvitation", {"userId": user_id}, token=admin))["userId"] == user_id
    assert (await api.do("resend", {"userId": user_id}, token=admin))["__typename"] == "NotFound"
    other = await world.practice("Other Practice")
    await world.invite(other, "grace@clinic.example")


async def test_a_message_that_waits_is_withdrawn_with_its_invitation(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    await mail.run()
    user_id = await world.invite(practice, "grace@clinic.example")
    await api.do("revokeInvitation", {"userId": user_id}, token=practice.administrator.session)
    assert await mail.run() == []


async def test_staff_cannot_invite_resend_or_revoke(world: World, api: Api) -> None:
    practice = await world.practice()
    staff = await world.joined(practice, "grace@clinic.example")
    user_id = await world.invite(practice, "mary@clinic.example")
    row = {"firstName": "A", "lastName": "B", "email": "new@clinic.example", "accessLevel": "ADMINISTRATOR"}
    from tests.world import document

    for mutation, values in (
        ("invite", {"users": [row]}),
        ("resend", {"userId": user_id}),
        ("revokeInvitation", {"userId": user_id}),
    ):
        answer = await api.post(document(mutation), {"input": values}, token=staff.session)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        answer = await api.post(document(mutation), {"input": values})
        assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_lapsed_subscription_stops_inviting_and_joining(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    user_id = await world.invite(practice, "grace@clinic.example")
    token = await world.link("grace@clinic.example")
    await database.execute("UPDATE subscriptions SET status = 'CANCELED'")
    row = {"firstName": "A", "lastName": "B", "email": "new@clinic.example", "accessLevel": "BILLING"}
    admin = practice.administrator.session
    assert (await api.do("invite", {"users": [row]}, token=admin))["subscriptionStatus"] == "CANCELED"
    assert (await api.do("resend", {"userId": user_id}, token=admin))["__typename"] == "SubscriptionLapsed"
    values = {"token": token, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "SubscriptionLapsed"
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"
