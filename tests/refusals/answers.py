"""What each mutation is driven by to each thing that it can answer beside refusals."""

from collections.abc import Awaitable, Callable

from tests.refusals.joining import ROW
from tests.refusals.scene import NEW_PASSWORD, PASSWORD, Scene
from tests.refusals.signing_in import ASKED, answer, codes
from tests.refusals.the_house import change_password, corrected, wanted
from tests.test_sign_up import FORM
from tests.world import Json

ANSWERS: dict[tuple[str, str], Callable[[Scene], Awaitable[Json]]] = {}


def answers(mutation: str, kind: str) -> Callable[[Callable[[Scene], Awaitable[Json]]], None]:
    """Drives a mutation to an answer."""

    def register(driver: Callable[[Scene], Awaitable[Json]]) -> None:
        assert (mutation, kind) not in ANSWERS
        ANSWERS[mutation, kind] = driver

    return register


@answers("signUp", "CheckYourEmail")
async def _(scene: Scene) -> Json:
    return await scene.api.do("signUp", FORM)


@answers("verifyEmail", "Enrollment")
async def _(scene: Scene) -> Json:
    await scene.api.do("signUp", FORM)
    return await scene.api.do("verifyEmail", {"token": await scene.world.link(FORM["email"])})


@answers("invite", "InviteReport")
async def _(scene: Scene) -> Json:
    report = await scene.api.do("invite", {"users": [ROW]}, token=scene.admin)
    assert report["invitedCount"] == 1
    return report


@answers("resend", "User")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.clock.forward(seconds=61)
    return await scene.api.do("resend", {"userId": user_id}, token=scene.admin)


@answers("redeliver", "Delivery")
async def _(scene: Scene) -> Json:
    dead = await scene.dead_invitation()
    result = await scene.api.do("redeliver", {"deliveryId": dead}, token=scene.admin)
    assert (result["redeliveryOf"], result["status"]) == (dead, "QUEUED")
    return result


@answers("revokeInvitation", "InvitationRevoked")
async def _(scene: Scene) -> Json:
    return await scene.api.do("revokeInvitation", {"userId": await scene.invited()}, token=scene.admin)


@answers("resendInvitations", "ResendReport")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.clock.forward(seconds=61)
    report = await scene.api.do("resendInvitations", {"userIds": [user_id]}, token=scene.admin)
    assert report["resentCount"] == 1
    return report


@answers("declineInvitation", "InvitationDeclined")
async def _(scene: Scene) -> Json:
    result = await scene.api.do("declineInvitation", {"token": await scene.link()})
    assert (result["practiceName"], result["unknownPractice"]) == (scene.practice.name, False)
    return result


@answers("acceptInvitation", "Enrollment")
async def _(scene: Scene) -> Json:
    values = {"token": await scene.link(), "practiceAccessCode": scene.practice.practice_access_code}
    return await scene.api.do("acceptInvitation", values)


@answers("sendPhoneCode", "SecurityCodeSent")
async def _(scene: Scene) -> Json:
    values = {"enrollmentToken": await scene.enrolled(), "phone": scene.world.number(), "channel": "VOICE"}
    return await scene.api.do("sendPhoneCode", values)


@answers("verifyPhone", "Enrollment")
async def _(scene: Scene) -> Json:
    token, phone = {"enrollmentToken": await scene.enrolled()}, scene.world.number()
    await scene.api.do("sendPhoneCode", token | {"phone": phone, "channel": "SMS"})
    return await scene.api.do("verifyPhone", token | {"code": (await scene.mail.latest(phone)).content.code})


@answers("setPassword", "SignedIn")
async def _(scene: Scene) -> Json:
    return await scene.api.do("setPassword", {"enrollmentToken": await scene.proved(), "password": PASSWORD})


@answers("signIn", "SecurityChallenge")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    return await scene.api.do("signIn", {"email": grace.email, "password": PASSWORD})


@answers("signIn", "SignedIn")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    return await scene.api.do("signIn", {"email": grace.email, "password": PASSWORD, "deviceToken": grace.device})


@answers("sendSecurityCode", "SecurityCodeSent")
async def _(scene: Scene) -> Json:
    values = {"challengeToken": await scene.world.challenged(await scene.staff()), "channel": "SMS"}
    return await scene.api.do("sendSecurityCode", values)


def _challenge(mutation: str, kind: str) -> None:
    @answers(mutation, kind)
    async def _(scene: Scene) -> Json:
        asked = await ASKED[mutation](scene)
        return await answer(scene, mutation, asked, (await codes(scene, asked))[0])


for _mutation, _kind in {
    "verifyDevice": "SignedIn",
    "resetPassword": "SignedIn",
    "confirmSignIn": "SignInRenewed",
    "verifyEmailChange": "CheckYourEmail",
    "confirmPhone": "User",
}.items():
    _challenge(_mutation, _kind)


@answers("endSession", "SessionEnded")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    found = await scene.api.query("{ viewer { sessions { id } } }", token=grace.session)
    session_id = found["viewer"]["sessions"][0]["id"]
    return await scene.api.do("endSession", {"sessionId": session_id}, token=scene.admin)


@answers("forgetDevice", "DeviceForgotten")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    found = await scene.api.query("{ viewer { devices { id } } }", token=grace.session)
    return await scene.api.do("forgetDevice", {"deviceId": found["viewer"]["devices"][0]["id"]}, token=grace.session)


@answers("requestPasswordReset", "CheckYourEmail")
async def _(scene: Scene) -> Json:
    return await scene.api.do("requestPasswordReset", {"email": "nobody@clinic.example"})


@answers("startPasswordReset", "SecurityChallenge")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.api.do("requestPasswordReset", {"email": grace.email})
    return await scene.api.do("startPasswordReset", {"token": await scene.world.link(grace.email)})


@answers("sendPasswordReset", "User")
async def _(scene: Scene) -> Json:
    return await scene.api.do("sendPasswordReset", {"userId": (await scene.staff()).id}, token=scene.admin)


@answers("changePassword", "User")
async def _(scene: Scene) -> Json:
    return await change_password(scene, await scene.staff(), new=NEW_PASSWORD)


@answers("renewSignIn", "SecurityChallenge")
async def _(scene: Scene) -> Json:
    return await scene.api.do("renewSignIn", {"password": PASSWORD}, token=scene.admin)


@answers("changeName", "User")
async def _(scene: Scene) -> Json:
    return await scene.api.do("changeName", {"firstName": "Augusta", "lastName": "King"}, token=scene.admin)


@answers("changeEmail", "SecurityChallenge")
async def _(scene: Scene) -> Json:
    return await scene.api.do("changeEmail", {"email": "ada@new.example"}, token=scene.admin)


@answers("confirmEmail", "EmailConfirmed")
async def _(scene: Scene) -> Json:
    return await scene.api.do("confirmEmail", {"token": await wanted(scene, "grace@new.example")})


@answers("changePhone", "SecurityChallenge")
async def _(scene: Scene) -> Json:
    values = {"password": PASSWORD, "phone": scene.world.number()}
    return await scene.api.do("changePhone", values, token=scene.admin)


@answers("resetPhone", "User")
async def _(scene: Scene) -> Json:
    return await scene.api.do("resetPhone", {"userId": (await scene.staff()).id}, token=scene.admin)


@answers("deactivate", "User")
async def _(scene: Scene) -> Json:
    return await scene.api.do("deactivate", {"userId": (await scene.staff()).id}, token=scene.admin)


@answers("releaseAddress", "User")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.api.do("deactivate", {"userId": grace.id}, token=scene.admin)
    result = await scene.api.do("releaseAddress", {"userId": grace.id}, token=scene.admin)
    assert result["addressReleasedAt"] is not None
    return result


@answers("reactivate", "User")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.api.do("deactivate", {"userId": grace.id}, token=scene.admin)
    return await scene.api.do("reactivate", {"userId": grace.id}, token=scene.admin)


@answers("changeAccessLevel", "User")
async def _(scene: Scene) -> Json:
    values = {"userId": (await scene.staff()).id, "accessLevel": "BILLING"}
    result = await scene.api.do("changeAccessLevel", values, token=scene.admin)
    assert result["accessLevel"] == "BILLING"
    return result


@answers("updateLoginSettings", "LoginSettings")
async def _(scene: Scene) -> Json:
    result = await scene.api.do("updateLoginSettings", {"sessionHours": 8}, token=scene.admin)
    assert result["sessionHours"] == 8
    return result


@answers("updatePracticeAccessCodeSettings", "PracticeAccessCodeSettings")
async def _(scene: Scene) -> Json:
    return await scene.api.do("updatePracticeAccessCodeSettings", {"graceHours": 1}, token=scene.admin)


@answers("rotatePracticeAccessCode", "PracticeAccessCode")
async def _(scene: Scene) -> Json:
    return await scene.do("rotatePracticeAccessCode", token=scene.admin)


@answers("renewRecoveryCodes", "RecoveryCodes")
async def _(scene: Scene) -> Json:
    return await scene.do("renewRecoveryCodes", token=scene.admin)


@answers("correctUserName", "User")
async def _(scene: Scene) -> Json:
    values = {"userId": (await scene.staff()).id, "firstName": "Grace", "lastName": "Murray"}
    return await scene.api.do("correctUserName", values, token=scene.admin)


@answers("correctUserEmail", "User")
async def _(scene: Scene) -> Json:
    values = {"userId": (await scene.staff()).id, "email": "grace@new.example"}
    result = await scene.api.do("correctUserEmail", values, token=scene.admin)
    assert result["email"] == "grace@clinic.example"  # until the new mailbox was shown
    return result


@answers("stopAccountChange", "AccountChangeStopped")
async def _(scene: Scene) -> Json:
    return await scene.api.do("stopAccountChange", {"token": await corrected(scene)})
