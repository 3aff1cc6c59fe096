"""What others change about an account: one half at a time, on record, told to the owner, and stopped by a link."""

import asyncio
import contextvars
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

from domain import database, lost_phones, retention
from domain.actors import operator
from domain.models.columns import Channel
from tests.conftest import Clock
from tests.world import Api, Json, Mail, Person, PracticeWorld, World, document

NEW_EMAIL = "grace@new.example"
NEW_PASSWORD = "seven green kites over the bay"
OPERATOR = operator("root")


async def joined(world: World) -> tuple[PracticeWorld, Person]:
    """A practice that pays, and somebody who has joined it."""
    practice = await world.practice()
    await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
    return practice, await world.joined(practice, "grace@clinic.example")


async def correct(api: Api, practice: PracticeWorld, person: Person, email: str = NEW_EMAIL) -> Json:
    """The administrator corrects an address."""
    values = {"userId": person.id, "email": email}
    return await api.do("correctUserEmail", values, token=practice.administrator.session)


async def confirmed(world: World, practice: PracticeWorld, person: Person, email: str = NEW_EMAIL) -> None:
    """The administrator corrects an address, and the link that went to the new one is followed."""
    await correct(world.api, practice, person, email)
    result = await world.api.do("confirmEmail", {"token": await world.link(email)})
    assert result["__typename"] == "EmailConfirmed", result


async def reset_phone(api: Api, practice: PracticeWorld, person: Person) -> Json:
    """The administrator takes a phone away."""
    return await api.do("resetPhone", {"userId": person.id}, token=practice.administrator.session)


async def stop(api: Api, token: str) -> Json:
    """The owner follows the link."""
    return await api.do("stopAccountChange", {"token": token})


async def address(person: Person) -> str:
    """The address that a user has."""
    rows = await database.fetch("SELECT email FROM users WHERE id = $1", person.row_id)
    email: str = rows[0]["email"]
    return email


async def signed_in(api: Api, token: str) -> bool:
    """Whether a session is open."""
    return (await api.query("{ viewer { id } }", token=token))["viewer"] is not None


async def actions(prefix: str) -> list[tuple[str, str]]:
    """What is on record, oldest first, and by whom."""
    rows = await database.fetch(
        "SELECT action, actor_name FROM audit_events WHERE action LIKE $1 ORDER BY occurred_at, id", prefix
    )
    return [(row["action"], row["actor_name"]) for row in rows]


async def test_an_administrator_corrects_a_name_and_the_person_is_told(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    values = {"userId": grace.id, "firstName": "Grace", "lastName": "Murray"}
    for _ in range(2):  # the second time there is nothing to do
        result = await api.do("correctUserName", values, token=practice.administrator.session)
        assert result["__typename"] == "User"
    names = await database.fetch("SELECT first_name, last_name, sort_name FROM users WHERE id = $1", grace.row_id)
    assert names == [{"first_name": "Grace", "last_name": "Murray", "sort_name": "murray grace"}]
    told = [sent for sent in await mail.run() if sent.content.notice == "name_corrected"]
    assert [sent.content.recipient for sent in told] == [grace.email]
    assert await actions("user.renamed") == [("user.renamed", "Ada Lovelace")]
    # Somebody who is only invited has a name too.
    invited = await world.invite(practice, "new@clinic.example")
    values = {"userId": invited, "firstName": "Mary", "lastName": "Jackson"}
    result = await api.do("correctUserName", values, token=practice.administrator.session)
    assert (result["__typename"], result["status"]) == ("User", "INVITED")


async def test_with_a_corrected_address_and_the_phone_the_person_sets_a_new_password(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await api.do("requestPasswordReset", {"email": grace.email})
    old_link = await world.link(grace.email)
    result = await correct(api, practice, grace)
    assert (result["__typename"], result["email"]) == ("User", grace.email)  # until the new mailbox was shown
    told = {(sent.row.channel, sent.content.recipient, sent.content.notice) for sent in await mail.run()}
    assert told == {
        (Channel.EMAIL, grace.email, "email_corrected"),
        (Channel.EMAIL, NEW_EMAIL, ""),
        (Channel.SMS, grace.phone, "email_corrected"),
    }
    await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
    assert await address(grace) == NEW_EMAIL
    assert (await api.do("startPasswordReset", {"token": old_link}))["__typename"] == "LinkInvalid"
    # The session goes on: the address is told apart from the person.
    assert await signed_in(api, grace.session)
    await api.do("requestPasswordReset", {"email": NEW_EMAIL})
    challenge = await api.do("startPasswordReset", {"token": await world.link(NEW_EMAIL)})
    values = {
        "challengeToken": challenge["token"],
        "code": await world.code(challenge["token"], grace.phone),
        "newPassword": NEW_PASSWORD,
    }
    assert (await api.do("resetPassword", values))["__typename"] == "SignedIn"
    assert await actions("email.corrected") == [("email.corrected", "Ada Lovelace")]


async def test_the_former_addresss_link_and_the_phones_put_the_address_back(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    for recipient in (grace.email, grace.phone):
        await correct(api, practice, grace)
        token = (await mail.latest(recipient)).content.link_token
        await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
        assert token
        session = await world.again(Person(grace.id, NEW_EMAIL, grace.phone, "", None))
        assert (await stop(api, token))["change"] == "EMAIL"
        assert await address(grace) == grace.email
        assert not await signed_in(api, session)
        notices = {(sent.content.recipient, sent.content.notice) for sent in await mail.run()}
        assert (grace.email, "account_change_stopped") in notices
        assert (
            practice.administrator.email,
            "email_corrected",
        ) in notices  # that it was stopped, with whom and by whom
        assert (await stop(api, token))["__typename"] == "AccountChangeStopped"  # nothing happens, and it is true
    assert len(await actions("account_change.stopped")) == 2


async def test_inviting_the_former_address_does_not_keep_the_owner_from_having_it_back(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    token = (await mail.latest(grace.email)).content.link_token
    await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
    invited = await world.invite(practice, grace.email)
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert await actions("invitation.revoked") == [("invitation.revoked", "Grace Hopper")]
    again = await api.do("resend", {"userId": invited}, token=practice.administrator.session)
    assert again["__typename"] == "NotFound"


async def test_deactivating_whoever_was_invited_at_the_former_address_does_not_keep_it_from_its_owner(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await confirmed(world, practice, grace)
    token = (await mail.latest(grace.phone)).content.link_token
    session = await world.again(Person(grace.id, NEW_EMAIL, grace.phone, "", None))
    stranger_link = await password_link(world, NEW_EMAIL)
    invited = await world.invite(practice, grace.email)
    await api.do("deactivate", {"userId": invited}, token=practice.administrator.session)
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert not await signed_in(api, session)
    assert (await api.do("startPasswordReset", {"token": stranger_link}))["__typename"] == "LinkInvalid"
    again = await api.do("reactivate", {"userId": invited}, token=practice.administrator.session)
    assert again["__typename"] == "EmailInUse"


async def password_link(world: World, email: str) -> str:
    """A link to another password, which the reader of a mailbox asked for."""
    await world.api.do("requestPasswordReset", {"email": email})
    return await world.link(email)


async def test_where_another_account_has_the_former_address_the_stop_does_all_the_rest(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await confirmed(world, practice, grace)
    token = (await mail.latest(grace.phone)).content.link_token
    await clock.forward(hours=1)
    session = await world.again(Person(grace.id, NEW_EMAIL, grace.phone, "", None))
    hospital = await world.practice("Hospital")
    other = await world.joined(hospital, grace.email)
    for _ in range(2):  # the second time nothing more happens
        assert (await stop(api, token))["__typename"] == "EmailInUse"
        assert await address(grace) == NEW_EMAIL
    assert not await signed_in(api, session)
    assert await actions("account_change.stopped") == [("account_change.stopped", "Grace Hopper")]
    told = [sent.content for sent in await mail.run() if sent.content.notice == "email_kept"]
    assert [one.recipient for one in told] == [practice.administrator.email]
    # What the rest was for: the phone stays for its day.
    practice.administrator.session = await world.again(practice.administrator)
    assert (await reset_phone(api, practice, grace))["__typename"] == "ChangedRecently"
    # Once the other account lets go of it, the same link puts the address back.
    gone = {"userId": other.id, "releaseAddress": True}
    done = await api.do("deactivate", gone, token=hospital.administrator.session)
    assert done["__typename"] == "User"
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert (await reset_phone(api, practice, grace))["__typename"] == "User"


async def test_an_invitation_to_the_former_address_that_is_under_way_does_not_keep_it_from_its_owner(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await confirmed(world, practice, grace)
    token = (await mail.latest(grace.phone)).content.link_token
    row = {"firstName": "Grace", "lastName": "Hopper", "email": grace.email, "accessLevel": "PROVIDER"}
    async with database.transaction():
        # The invitation has made its user by now, and cannot queue its mail.
        await database.execute("LOCK TABLE deliveries IN SHARE MODE")
        inviting = in_own_context(api.do("invite", {"users": [row]}, token=practice.administrator.session))
        await waiting(1)
        stopping = in_own_context(stop(api, token))
        await waiting(2)
    report, stopped = await asyncio.gather(inviting, stopping)
    assert report["rows"][0]["user"]
    assert stopped["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert await actions("invitation.revoked") == [("invitation.revoked", "Grace Hopper")]


def in_own_context(request: Coroutine[Any, Any, Json]) -> asyncio.Task[Json]:
    """A request that has nothing to do with the transaction under way."""
    return asyncio.get_running_loop().create_task(request, context=contextvars.Context())


async def waiting(number: int) -> None:
    """Until so many statements wait for a lock."""
    sql = (
        "SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted AND pid IN (SELECT l.pid FROM pg_locks l"
        " JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database())"
    )
    for _ in range(1000):
        if (await database.fetch(sql))[0]["n"] >= number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"there are not {number} statements that wait")


async def test_stopping_ends_no_invitation_to_an_address_that_the_practice_let_go_of(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await confirmed(world, practice, grace)
    token = (await mail.latest(grace.phone)).content.link_token
    gone = {"userId": grace.id, "releaseAddress": True}
    await api.do("deactivate", gone, token=practice.administrator.session)
    hospital = await world.practice("Hospital")
    enrollment = await world.enrolled(hospital, grace.email)
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert (await world.finish(enrollment, grace.email)).session
    again = await api.do("reactivate", {"userId": grace.id}, token=practice.administrator.session)
    assert again["__typename"] == "EmailInUse"


async def change_own_address(world: World, person: Person, email: str) -> None:
    """The owner changes the address, with a code to the phone and the link that goes to the new one."""
    session = await world.again(person)
    challenge = await world.api.do("changeEmail", {"email": email}, token=session)
    values = {"challengeToken": challenge["token"], "code": await world.code(challenge["token"], person.phone)}
    await world.api.do("verifyEmailChange", values, token=session)
    result = await world.api.do("confirmEmail", {"token": await world.link(email)})
    assert result["__typename"] == "EmailConfirmed", result


async def test_a_correction_that_nobody_confirmed_reverts_nothing_that_came_after_it(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace, "typo@stranger.example")
    token = (await mail.latest(grace.email)).content.link_token
    await clock.forward(hours=22)
    await change_own_address(world, grace, "grace@own.example")
    assert (await stop(api, token))["__typename"] == "LinkInvalid"
    assert await address(grace) == "grace@own.example"
    practice.administrator.session = await world.again(practice.administrator)
    assert (await reset_phone(api, practice, grace))["__typename"] == "User"


async def test_a_confirmed_correction_does_not_revert_what_its_owner_chose_afterwards(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    token = (await mail.latest(grace.email)).content.link_token
    await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
    await clock.forward(hours=1)
    await change_own_address(world, Person(grace.id, NEW_EMAIL, grace.phone, "", None), "grace@own.example")
    assert (await stop(api, token))["__typename"] == "LinkInvalid"
    assert await address(grace) == "grace@own.example"


async def test_of_two_corrections_the_older_ones_link_ends_unless_it_was_confirmed(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace, "typo@stranger.example")
    first = (await mail.latest(grace.email)).content.link_token
    await clock.forward(minutes=5)
    await confirmed(world, practice, grace)
    assert (await stop(api, first))["__typename"] == "LinkInvalid"
    second = next(one.content.link_token for one in reversed(mail.sent) if one.content.notice == "email_corrected")
    assert (await stop(api, second))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email


async def test_the_day_of_a_correction_begins_when_the_new_mailbox_confirms_it(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    mary = await world.joined(practice, "mary@clinic.example")
    tokens = {}
    for person in (grace, mary):
        await correct(api, practice, person, f"new-{person.email}")
        tokens[person.email] = (await mail.latest(person.email)).content.link_token
    links = {person.email: await world.link(f"new-{person.email}") for person in (grace, mary)}
    await clock.forward(hours=20)
    for link in links.values():
        assert (await api.do("confirmEmail", {"token": link}))["__typename"] == "EmailConfirmed"
    await clock.forward(hours=10)
    practice.administrator.session = await world.again(practice.administrator)
    assert (await reset_phone(api, practice, grace))["__typename"] == "ChangedRecently"
    assert (await stop(api, tokens[grace.email]))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    await clock.forward(hours=15)
    practice.administrator.session = await world.again(practice.administrator)
    assert (await reset_phone(api, practice, mary))["__typename"] == "User"
    assert (await stop(api, tokens[mary.email]))["__typename"] == "LinkExpired"


async def test_nobody_has_an_address_whose_mailbox_they_did_not_show(world: World, api: Api, mail: Mail) -> None:
    hospital = await world.practice("Hospital")
    await world.invite(hospital, "nurse@hospital.example")
    practice, mule = await joined(world)
    assert (await correct(api, practice, mule, "nurse@hospital.example"))["__typename"] == "User"
    assert await address(mule) == mule.email
    # Her own practice's invitation goes on, and she finishes: the other's link is worth nothing to anybody then.
    stolen = (await mail.latest("nurse@hospital.example")).content.link_token
    invitation = [
        one for one in mail.sent if one.content.recipient == "nurse@hospital.example" and one.content.practice_name
    ]
    values = {
        "token": invitation[0].content.link_token,
        "practiceAccessCode": hospital.practice_access_code,
    }
    enrollment = await api.do("acceptInvitation", values)
    await world.finish(enrollment["token"], "nurse@hospital.example")
    assert (await api.do("confirmEmail", {"token": stolen}))["__typename"] == "EmailInUse"


async def test_a_mistyped_correction_gives_a_stranger_nothing_once_it_is_corrected(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace, "typo@stranger.example")
    strangers = (await mail.latest("typo@stranger.example")).content.link_token
    assert (await stop(api, strangers))["__typename"] == "LinkInvalid"  # it is good, but for something else
    await confirmed(world, practice, grace)
    assert (await api.do("confirmEmail", {"token": strangers}))["__typename"] == "LinkInvalid"
    assert await address(grace) == NEW_EMAIL
    assert {one.content.recipient for one in mail.sent if one.content.notice == "email_corrected"} == {
        grace.email,
        grace.phone,
    }


async def test_the_same_correction_twice_sends_one_mail_and_a_day_has_few(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await mail.run()
    for _ in range(3):
        assert (await correct(api, practice, grace))["__typename"] == "User"
    assert len(await mail.run()) == 3  # the link, the mail and the text that tell of it
    results = [(await correct(api, practice, grace, f"grace{number}@new.example"))["__typename"] for number in range(6)]
    assert (results[0], results[-1]) == ("User", "LimitReached")


async def test_blocking_somebody_hides_no_change_and_its_link_works(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    told = {sent.content.recipient for sent in await mail.run() if sent.content.notice == "email_corrected"}
    assert told == {grace.email, grace.phone}
    token = (await mail.latest(grace.email)).content.link_token
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    mary = await world.joined(practice, "mary@clinic.example")
    await confirmed(world, practice, mary, "mary@new.example")
    await api.do("deactivate", {"userId": mary.id}, token=practice.administrator.session)
    token = (await mail.latest(mary.phone)).content.link_token
    assert (await stop(api, token))["__typename"] == "AccountChangeStopped"
    assert await address(mary) == mary.email


async def test_recovery_codes_end_when_somebody_is_blocked(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    for act in ("deactivate", "reactivate"):
        await api.do(act, {"userId": grace.id}, token=practice.administrator.session)
    values = {"challengeToken": await world.challenged(grace), "code": grace.recovery_codes[0]}
    assert (await api.do("verifyDevice", values))["__typename"] == "CodeExpired"


async def test_a_name_that_is_so_already_is_not_told_of_again(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    values = {"userId": grace.id, "firstName": "Cher", "lastName": ""}
    for _ in range(3):
        await api.do("correctUserName", values, token=practice.administrator.session)
    assert len(await actions("user.renamed")) == 1


async def test_a_stopped_correction_takes_later_ones_with_it(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    first = (await mail.latest(grace.email)).content.link_token
    await api.do("confirmEmail", {"token": await world.link(NEW_EMAIL)})
    await correct(api, practice, grace, "grace@evil.example")
    second = (await mail.latest(NEW_EMAIL)).content.link_token
    await api.do("confirmEmail", {"token": await world.link("grace@evil.example")})
    assert second not in ("", first)
    assert (await stop(api, first))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email
    assert (await stop(api, second))["__typename"] == "AccountChangeStopped"
    assert await address(grace) == grace.email


async def test_a_phone_that_was_taken_away_comes_back_with_the_mailboxs_link_alone(
    world: World, api: Api, mail: Mail
) -> None:
    practice, grace = await joined(world)
    await reset_phone(api, practice, grace)
    text = (await mail.latest(grace.phone)).content
    assert (text.notice, text.link_token) == ("phone_reset", "")  # whoever stole the phone must not keep it
    token = (await mail.latest(grace.email)).content.link_token
    # Somebody with password and access code proves another phone meanwhile.
    stranger = world.number()
    challenge = await world.challenged(grace)
    values = {
        "challengeToken": challenge,
        "code": await world.code(challenge, stranger, is_new=True),
        "practiceAccessCode": practice.practice_access_code,
    }
    session = (await api.do("verifyDevice", values))["sessionToken"]
    assert (await stop(api, token))["change"] == "PHONE"
    assert not await signed_in(api, session)
    phones = await database.fetch("SELECT phone, phone_reset_at FROM users WHERE id = $1", grace.row_id)
    assert phones == [{"phone": grace.phone, "phone_reset_at": None}]
    challenge = await world.challenged(grace)
    values = {"challengeToken": challenge, "code": await world.code(challenge, grace.phone)}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"


async def test_nobody_changes_both_halves_within_a_day_one_way_or_the_other(
    world: World, api: Api, clock: Clock
) -> None:
    practice, grace = await joined(world)
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    mary = await world.joined(practice, "mary@clinic.example")
    acts: list[tuple[Person, str, Json]] = [
        (grace, "correctUserEmail", {"email": NEW_EMAIL}),
        (mary, "resetPhone", {}),
    ]
    for person, mutation, values in acts:
        done = await api.do(mutation, {"userId": person.id} | values, token=practice.administrator.session)
        assert done["__typename"] == "User", done
    others: list[tuple[Person, str, Json, str]] = [
        (grace, "resetPhone", {}, "EMAIL"),
        (mary, "correctUserEmail", {"email": "mary@new.example"}, "PHONE"),
    ]
    for person, mutation, values, changed in others:
        for administrator in (practice.administrator, second):  # whoever asks
            refused = await api.do(mutation, {"userId": person.id} | values, token=administrator.session)
            assert (refused["__typename"], refused["changed"]) == ("ChangedRecently", changed)
            left = datetime.fromisoformat(refused["bothAt"]) - await database.now()
            assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert {name for name, _ in await actions("%refused")} == {"phone.reset_refused", "email.correction_refused"}
    await clock.forward(days=1, seconds=1)
    practice.administrator.session = await world.again(practice.administrator)
    for person, mutation, values, _ in others:
        done = await api.do(mutation, {"userId": person.id} | values, token=practice.administrator.session)
        assert done["__typename"] == "User", done


async def test_of_both_halves_changed_at_once_one_is_refused(world: World, api: Api) -> None:
    practice, _ = await joined(world)
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    for number in range(4):
        mary = await world.joined(practice, f"mary{number}@clinic.example")
        correction = {"userId": mary.id, "email": f"mary{number}@new.example"}
        results = await asyncio.gather(
            api.do("correctUserEmail", correction, token=practice.administrator.session),
            api.do("resetPhone", {"userId": mary.id}, token=second.session),
        )
        assert sorted(result["__typename"] for result in results) == ["ChangedRecently", "User"]


async def test_a_change_that_was_stopped_holds_nothing_up(world: World, api: Api, mail: Mail) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await stop(api, (await mail.latest(grace.email)).content.link_token)
    assert (await reset_phone(api, practice, grace))["__typename"] == "User"


async def test_of_a_stop_and_another_correction_at_once_the_stop_holds(world: World, api: Api, mail: Mail) -> None:
    practice, _ = await joined(world)
    for number in range(4):
        mary = await world.joined(practice, f"mary{number}@clinic.example")
        await confirmed(world, practice, mary, f"mary{number}@new.example")
        token = (await mail.latest(mary.phone)).content.link_token
        await correct(api, practice, mary, f"mary{number}@evil.example")
        link = await world.link(f"mary{number}@evil.example")
        later = (await mail.latest(mary.phone)).content.link_token
        assert later not in ("", token)
        # The administrator corrects it once more, too. Only what comes after the stop may go on.
        stopped, _, again = await asyncio.gather(
            stop(api, token),
            api.do("confirmEmail", {"token": link}),
            correct(api, practice, mary, f"mary{number}@worse.example"),
        )
        assert stopped["__typename"] == "AccountChangeStopped"
        assert again["__typename"] == "User"
        assert await address(mary) == mary.email
        assert (await api.do("confirmEmail", {"token": link}))["__typename"] == "LinkInvalid"
        # It was never confirmed and was replaced, or the first one's stop ended it.
        assert (await stop(api, later))["__typename"] in ("LinkInvalid", "AccountChangeStopped")
        # If the third came after the stop, it has a stop link of its own, which went to the address that the owner reads.
        last = (await mail.latest(f"mary{number}@worse.example")).content.link_token if await is_waiting(mary) else ""
        if last:
            assert (await api.do("confirmEmail", {"token": last}))["__typename"] == "EmailConfirmed"
            own = next(
                one.content.link_token
                for one in reversed(mail.sent)
                if one.content.recipient == mary.email and one.content.notice == "email_corrected"
            )
            assert (await stop(api, own))["__typename"] == "AccountChangeStopped"
        assert await address(mary) == mary.email


async def is_waiting(person: Person) -> bool:
    """Whether a link to another address waits to be followed."""
    sql = "SELECT 1 FROM email_changes WHERE user_id = $1 AND confirmed_at IS NULL AND superseded_at IS NULL"
    return bool(await database.fetch(sql, person.row_id))


async def test_only_whoever_can_sign_in_has_an_address_corrected_and_nobody_their_own(world: World, api: Api) -> None:
    practice, grace = await joined(world)
    invited = await world.invite(practice, "new@clinic.example")
    gone = await world.joined(practice, "gone@clinic.example")
    await api.do("deactivate", {"userId": gone.id}, token=practice.administrator.session)
    for user_id, words in ((invited, "Resend"), (gone.id, "Reactivate"), (practice.administrator.id, "changeEmail")):
        values = {"userId": user_id, "email": NEW_EMAIL}
        refused = await api.do("correctUserEmail", values, token=practice.administrator.session)
        assert refused["__typename"] == "InputInvalid"
        assert words in refused["problems"][0]["message"]
    assert (await correct(api, practice, grace, grace.email.upper()))["__typename"] == "User"  # it is so already
    assert await actions("email.corrected") == []
    assert (await correct(api, practice, grace, "no address"))["__typename"] == "InputInvalid"
    other = await world.practice("Other Practice")
    assert (await correct(api, practice, grace, other.administrator.email))["__typename"] == "EmailInUse"
    forbidden = await api.post(
        document("correctUserEmail"), {"input": {"userId": grace.id, "email": NEW_EMAIL}}, token=grace.session
    )
    assert forbidden["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_an_operators_phone_reset_waits_a_day_and_then_asks_for_another_phone(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, _ = await joined(world)
    admin = practice.administrator
    found = await lost_phones.plan_reset(OPERATOR, admin.row_id, "She rang, and we know her voice.")
    assert found.phone_reset_at is not None
    for _ in range(2):  # asked for again, it does not begin anew
        again = await lost_phones.plan_reset(OPERATOR, admin.row_id, "She rang again.")
        assert again.phone_reset_at == found.phone_reset_at
    told = [sent.content for sent in await mail.run()]
    assert [(one.recipient, one.notice) for one in told if one.link_token] == [(admin.email, "phone_reset_planned")]
    assert [(one.recipient, one.notice) for one in told if not one.link_token] == [(admin.phone, "phone_reset_planned")]
    await clock.forward(hours=23, minutes=59)
    assert await lost_phones.reset_due() == 0
    assert await world.challenged(admin)
    await clock.forward(minutes=2)
    # Two workers look at once.
    assert sorted(await asyncio.gather(lost_phones.reset_due(), lost_phones.reset_due())) == [0, 1]
    assert "phone_reset" in {sent.content.notice for sent in await mail.run()}
    # There may be nobody else to ask for the access code.
    [access_code] = [
        sent.content.code for sent in mail.sent[-5:] if sent.content.recipient == admin.email and sent.content.code
    ]
    challenge = await world.challenged(admin)
    phone = world.number()
    values = {"challengeToken": challenge, "code": await world.code(challenge, phone, is_new=True)}
    assert (await api.do("verifyDevice", values))["__typename"] == "PracticeAccessCodeIncorrect"
    values["practiceAccessCode"] = access_code
    assert (await api.do("verifyDevice", values))["user"]["phone"] == phone
    assert [name for name, _ in await actions("phone.reset%")] == ["phone.reset_planned", "phone.reset"]
    assert (await actions("phone.reset_planned"))[0][1] == "operator root"


async def test_the_owner_stops_an_operators_phone_reset_before_and_after(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, _ = await joined(world)
    admin = practice.administrator
    for hours in (1, 25):
        await lost_phones.plan_reset(OPERATOR, admin.row_id, "Somebody rang.")
        token = next(sent.content.link_token for sent in await mail.run() if sent.content.link_token)
        await clock.forward(hours=hours)
        await lost_phones.reset_due()
        assert (await stop(api, token))["change"] == "PHONE"
        await clock.forward(hours=25)
        assert await lost_phones.reset_due() == 0
        phones = await database.fetch("SELECT phone FROM users WHERE id = $1", admin.row_id)
        assert phones == [{"phone": admin.phone}]


async def test_an_operators_phone_reset_and_a_corrected_address_keep_a_day_apart(
    world: World, api: Api, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await lost_phones.plan_reset(OPERATOR, grace.row_id, "He rang.")
    assert (await correct(api, practice, grace))["__typename"] == "ChangedRecently"
    # An address that was changed in a way that knows nothing of this is waited for all the same.
    await database.execute(
        "INSERT INTO account_changes (id, user_id, kind, changed_by, old_email, old_email_canonical, nonce, key_id, effective_at, expires_at,"
        " carried_out_at, created_at) SELECT gen_random_uuid(), id, 'EMAIL', 'Ada', email, email_canonical, decode(repeat('00', 16), 'hex'), 'x',"
        " clock_now() + interval '20 hours', clock_now() + interval '44 hours', clock_now() + interval '20 hours', clock_now()"
        " FROM users WHERE id = $1",
        grace.row_id,
    )
    await clock.forward(hours=24, seconds=1)
    assert await lost_phones.reset_due() == 0
    await clock.forward(hours=20)
    assert await lost_phones.reset_due() == 1


async def test_an_administrators_phone_reset_overtakes_the_operators(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    practice, grace = await joined(world)
    await lost_phones.plan_reset(OPERATOR, grace.row_id, "He rang.")
    planned = (await mail.latest(grace.email)).content.link_token
    assert (await reset_phone(api, practice, grace))["__typename"] == "User"
    challenge = await world.challenged(grace)
    phone = world.number()
    values = {
        "challengeToken": challenge,
        "code": await world.code(challenge, phone, is_new=True),
        "practiceAccessCode": practice.practice_access_code,
    }
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"
    assert (await stop(api, planned))["__typename"] == "LinkInvalid"  # it would claim to have stopped something
    await clock.forward(hours=25)
    assert await lost_phones.reset_due() == 0
    assert (await database.fetch("SELECT phone FROM users WHERE id = $1", grace.row_id))[0]["phone"] == phone


async def test_a_phone_that_its_owner_proved_meanwhile_is_not_taken_away(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    _, grace = await joined(world)
    await lost_phones.plan_reset(OPERATOR, grace.row_id, "He rang.")
    planned = (await mail.latest(grace.email)).content.link_token
    phone = world.number()
    change = await api.do("changePhone", {"password": grace.password, "phone": phone}, token=grace.session)
    values = {"challengeToken": change["token"], "code": await world.code(change["token"], phone)}
    assert (await api.do("confirmPhone", values, token=grace.session))["__typename"] == "User"
    assert (await stop(api, planned))["__typename"] == "LinkInvalid"
    await clock.forward(hours=25)
    assert await lost_phones.reset_due() == 0
    assert (await database.fetch("SELECT phone FROM users WHERE id = $1", grace.row_id))[0]["phone"] == phone


async def test_somebody_blocked_meanwhile_loses_no_phone(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice, grace = await joined(world)
    await lost_phones.plan_reset(OPERATOR, grace.row_id, "He rang.")
    planned = (await mail.latest(grace.email)).content.link_token
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    await clock.forward(hours=25)
    await lost_phones.reset_due()
    rows = await database.fetch("SELECT phone FROM users WHERE id = $1", grace.row_id)
    assert rows == [{"phone": grace.phone}]
    assert (await stop(api, planned))["__typename"] == "LinkInvalid"  # nothing was stopped by it


async def test_former_addresses_and_numbers_are_thrown_away(world: World, api: Api, mail: Mail, clock: Clock) -> None:
    practice, grace = await joined(world)
    await correct(api, practice, grace)
    await mail.run()
    await clock.forward(hours=23)
    await retention.purge()
    assert len(await database.fetch("SELECT 1 FROM account_changes")) == 1
    await clock.forward(hours=24)
    await retention.purge()
    assert await database.fetch("SELECT 1 FROM account_changes") == []
