"""Refusals on the way in: signing up, inviting, accepting, setting up an account."""

from domain import mail_reports, secrets
from domain.mail_reports import MailReport, Verdict
from tests.refusals.registry import refusal
from tests.refusals.scene import NEW_PASSWORD, NOBODY, PASSWORD, WRONG_PAC, Scene
from tests.test_sign_up import FORM
from tests.world import Json

ROW = {"firstName": "Mary", "lastName": "Shelley", "email": "mary@clinic.example", "accessLevel": "BILLING"}


@refusal("signUp", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("signUp", FORM | {"email": "no address"})


@refusal("signUp", "LimitReached")
async def _(scene: Scene) -> Json:
    await scene.use_up("sign-up:network", 20)
    return await scene.do("signUp", FORM)


@refusal("verifyEmail", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("verifyEmail", {"token": "no token"})


@refusal("verifyEmail", "LinkExpired")
async def _(scene: Scene) -> Json:
    await scene.do("signUp", FORM)
    token = await scene.world.link(FORM["email"])
    await scene.clock.forward(days=1, seconds=1)
    return await scene.do("verifyEmail", {"token": token})


@refusal("verifyEmail", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await scene.do("signUp", FORM)
    return await scene.type_codes("verifyEmail", FORM["email"])


@refusal("verifyEmail", "EmailInUse")
async def _(scene: Scene) -> Json:
    await scene.do("signUp", FORM)
    token = await scene.world.link(FORM["email"])
    await scene.staff(FORM["email"])
    return await scene.do("verifyEmail", {"token": token})


@refusal("invite", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("invite", {"users": []}, token=scene.admin)


@refusal("invite", "LimitReached")
async def _(scene: Scene) -> Json:
    await scene.invited()
    await scene.use_up("invitations:", 1000)
    return await scene.do("invite", {"users": [ROW]}, token=scene.admin)


@refusal("invite", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    await scene.lapse()
    return await scene.do("invite", {"users": [ROW]}, token=scene.admin)


@refusal("invite", "SignInAgain")
async def _(scene: Scene) -> Json:
    await scene.clock.forward(minutes=10, seconds=1)
    return await scene.do("invite", {"users": [ROW | {"accessLevel": "ADMINISTRATOR"}]}, token=scene.admin)


@refusal("resend", "SignInAgain")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited(access_level="ADMINISTRATOR")
    await scene.clock.forward(minutes=10, seconds=1)
    return await scene.do("resend", {"userId": user_id, "email": "other@clinic.example"}, token=scene.admin)


@refusal("resend", "NotFound")
async def _(scene: Scene) -> Json:
    return await scene.do("resend", {"userId": NOBODY}, token=scene.admin)


@refusal("resend", "EmailInUse")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.clock.forward(seconds=61)
    values = {"userId": user_id, "email": scene.practice.administrator.email}
    return await scene.do("resend", values, token=scene.admin)


@refusal("resend", "AddressBounced")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    sent = await scene.mail.latest("new@clinic.example")
    report = MailReport(delivery_id=sent.row.id, verdict=Verdict.BOUNCED, problem="There is no such mailbox.")
    assert await mail_reports.take(report)
    return await scene.do("resend", {"userId": user_id}, token=scene.admin)


@refusal("resend", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("resend", {"userId": await scene.invited(), "email": "no address"}, token=scene.admin)


@refusal("resend", "TooSoon")
async def _(scene: Scene) -> Json:
    return await scene.do("resend", {"userId": await scene.invited()}, token=scene.admin)


@refusal("resend", "LimitReached")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.clock.forward(seconds=61)
    await scene.use_up("invitation-mails:", 15)
    return await scene.do("resend", {"userId": user_id}, token=scene.admin)


@refusal("resend", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.lapse()
    return await scene.do("resend", {"userId": user_id}, token=scene.admin)


@refusal("resendInvitations", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("resendInvitations", {"userIds": []}, token=scene.admin)


@refusal("resendInvitations", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.lapse()
    return await scene.do("resendInvitations", {"userIds": [user_id]}, token=scene.admin)


@refusal("declineInvitation", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("declineInvitation", {"token": "no token"})


@refusal("declineInvitation", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await scene.link()
    return await scene.type_codes("declineInvitation", "new@clinic.example")


@refusal("revokeInvitation", "NotFound")
async def _(scene: Scene) -> Json:
    return await scene.do("revokeInvitation", {"userId": NOBODY}, token=scene.admin)


def _of_somebody_else(mutation: str) -> None:
    """Invitations of people who are not invited any more, and are here."""

    @refusal(mutation, "AlreadySetUp")
    async def _(scene: Scene) -> Json:
        return await scene.do(mutation, {"userId": (await scene.staff()).id}, token=scene.admin)

    @refusal(mutation, "UserInactive")
    async def _(scene: Scene) -> Json:
        user_id = await scene.invited()
        await scene.do("deactivate", {"userId": user_id}, token=scene.admin)
        return await scene.do(mutation, {"userId": user_id}, token=scene.admin)


for _mutation in ("resend", "revokeInvitation"):
    _of_somebody_else(_mutation)


async def accept(scene: Scene, token: str, code: str | None = None, session: str | None = None) -> Json:
    """Give link and access code."""
    values = {"token": token, "practiceAccessCode": code or scene.practice.practice_access_code}
    return await scene.do("acceptInvitation", values, token=session)


@refusal("acceptInvitation", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await accept(scene, "no token")


@refusal("acceptInvitation", "LinkExpired")
async def _(scene: Scene) -> Json:
    token = await scene.link()
    await scene.clock.forward(days=7, seconds=1)
    return await accept(scene, token)


@refusal("acceptInvitation", "PracticeAccessCodeIncorrect")
async def _(scene: Scene) -> Json:
    return await accept(scene, await scene.link(), WRONG_PAC)


@refusal("acceptInvitation", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await accept(scene, await scene.link(), "XXXXX-XXXX")


@refusal("acceptInvitation", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    token = await scene.link()
    for _ in range(10):
        await accept(scene, token, WRONG_PAC)
    return await accept(scene, token)


@refusal("acceptInvitation", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    token = await scene.link()
    await scene.lapse()
    return await accept(scene, token)


@refusal("acceptInvitation", "SignedInAlready")
async def _(scene: Scene) -> Json:
    return await accept(scene, await scene.link(), session=scene.admin)


async def elsewhere(scene: Scene, email: str = "new@clinic.example") -> None:
    """Somebody finishes in another practice."""
    await scene.world.joined(await scene.world.practice("Other Practice"), email)


@refusal("acceptInvitation", "EmailInUse")
async def _(scene: Scene) -> Json:
    token = await scene.link()
    await elsewhere(scene)
    return await accept(scene, token)


async def send(scene: Scene, token: str, **more: str) -> Json:
    """Ask for a code to prove a phone."""
    values = {"enrollmentToken": token, "phone": scene.world.number(), "channel": "SMS"} | more
    return await scene.do("sendPhoneCode", values)


@refusal("sendPhoneCode", "EnrollmentInvalid")
async def _(scene: Scene) -> Json:
    return await send(scene, "no token")


@refusal("sendPhoneCode", "StepOutOfOrder")
async def _(scene: Scene) -> Json:
    return await send(scene, await scene.proved())


@refusal("sendPhoneCode", "PhoneNumberUnusable")
async def _(scene: Scene) -> Json:
    return await send(scene, await scene.enrolled(), phone="+1 900 234 5678")


@refusal("sendPhoneCode", "ChannelNotAllowed")
async def _(scene: Scene) -> Json:
    await scene.settings("phone_channels", '["SMS"]')
    return await send(scene, await scene.enrolled(), channel="VOICE")


@refusal("sendPhoneCode", "TooSoon")
async def _(scene: Scene) -> Json:
    token = await scene.enrolled()
    await send(scene, token)
    return await send(scene, token)


@refusal("sendPhoneCode", "LimitReached")
async def _(scene: Scene) -> Json:
    token = await scene.enrolled()
    await send(scene, token)
    await scene.clock.forward(seconds=31)
    await scene.use_up("codes:account:user:", 30)
    return await send(scene, token)


async def verify(scene: Scene, token: str, code: str) -> Json:
    """Give a code to prove a phone."""
    return await scene.do("verifyPhone", {"enrollmentToken": token, "code": code})


async def sent(scene: Scene) -> tuple[str, str, str]:
    """An enrollment to whose phone a code went; the right code and a wrong one."""
    token, phone = await scene.enrolled(), scene.world.number()
    await send(scene, token, phone=phone)
    code = (await scene.mail.latest(phone)).content.code
    return token, code, "000000" if code != "000000" else "111111"


@refusal("verifyPhone", "EnrollmentInvalid")
async def _(scene: Scene) -> Json:
    return await verify(scene, "no token", "123456")


@refusal("verifyPhone", "StepOutOfOrder")
async def _(scene: Scene) -> Json:
    return await verify(scene, await scene.enrolled(), "123456")


@refusal("verifyPhone", "InputInvalid")
async def _(scene: Scene) -> Json:
    token, code, _ = await sent(scene)
    return await verify(scene, token, code[:5])


@refusal("verifyPhone", "CodeIncorrect")
async def _(scene: Scene) -> Json:
    token, _, wrong = await sent(scene)
    return await verify(scene, token, wrong)


@refusal("verifyPhone", "CodeExpired")
async def _(scene: Scene) -> Json:
    token, code, _ = await sent(scene)
    await scene.clock.forward(minutes=10, seconds=1)
    return await verify(scene, token, code)


@refusal("verifyPhone", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    token, code, wrong = await sent(scene)
    for _ in range(5):
        await verify(scene, token, wrong)
    return await verify(scene, token, code)


async def set_password(scene: Scene, token: str, password: str = PASSWORD) -> Json:
    """The last step."""
    return await scene.do("setPassword", {"enrollmentToken": token, "password": password})


@refusal("setPassword", "EnrollmentInvalid")
async def _(scene: Scene) -> Json:
    return await set_password(scene, "no token")


@refusal("setPassword", "StepOutOfOrder")
async def _(scene: Scene) -> Json:
    return await set_password(scene, await scene.enrolled())


@refusal("setPassword", "CredentialsIncorrect")
async def _(scene: Scene) -> Json:
    token = await scene.proved()
    assert (await set_password(scene, token))["__typename"] == "SignedIn"
    return await set_password(scene, token, NEW_PASSWORD)


@refusal("setPassword", "AccountLocked")
async def _(scene: Scene) -> Json:
    token = await scene.proved()
    await set_password(scene, token)
    await scene.lock(f"password:address:{secrets.fingerprint('email', 'new@clinic.example')}")
    return await set_password(scene, token)


@refusal("setPassword", "PasswordRejected")
async def _(scene: Scene) -> Json:
    return await set_password(scene, await scene.proved(), "short")


@refusal("setPassword", "OutsideAllowedHours", "NetworkNotAllowed", "SubscriptionLapsed")
async def _(scene: Scene, kind: str) -> Json:
    token = await scene.proved()
    await scene.close(kind)
    refused = await set_password(scene, token, NEW_PASSWORD)
    # Nothing is lost: once it is put right, the same token goes on where it stood.
    found = await scene.api.query("query ($t: String!) { enrollment(token: $t) { nextStep } }", {"t": token})
    assert found["enrollment"] == {"nextStep": "SET_PASSWORD"}
    return refused


@refusal("setPassword", "EmailInUse")
async def _(scene: Scene) -> Json:
    token = await scene.proved()
    await elsewhere(scene)
    return await scene.do("setPassword", {"enrollmentToken": token, "password": PASSWORD})
