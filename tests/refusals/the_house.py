"""Refusals in the administrator's house and in one's own account."""

from domain import database, mail_reports
from domain.mail_reports import MailReport, Verdict
from graph.ids import global_id
from tests.refusals.registry import refusal
from tests.refusals.scene import NEW_PASSWORD, NOBODY, PASSWORD, Scene
from tests.world import Json, Person

STALE: dict[str, Json | None] = {
    "changeAccessLevel": {"userId": NOBODY, "accessLevel": "BILLING"},
    "updateLoginSettings": {"sessionHours": 8},
    "updatePracticeAccessCodeSettings": {"graceHours": 1},
    "resetPhone": {"userId": NOBODY},
    "correctUserName": {"userId": NOBODY, "firstName": "Grace", "lastName": "Hopper"},
    "correctUserEmail": {"userId": NOBODY, "email": "grace@new.example"},
    "changeEmail": {"email": "ada@new.example"},
    "changePhone": {"password": PASSWORD, "phone": "+12025550190"},
    "deactivate": {"userId": NOBODY, "releaseAddress": True},
    "releaseAddress": {"userId": NOBODY},
    "rotatePracticeAccessCode": None,
    "renewRecoveryCodes": None,
}
MISSING: dict[str, Json] = {
    "deactivate": {"userId": NOBODY},
    "reactivate": {"userId": NOBODY},
    "changeAccessLevel": {"userId": NOBODY, "accessLevel": "BILLING"},
    "updateLoginSettings": {"userId": NOBODY, "sessionHours": 8},
    "sendPasswordReset": {"userId": NOBODY},
    "resetPhone": {"userId": NOBODY},
    "releaseAddress": {"userId": NOBODY},
    "correctUserName": {"userId": NOBODY, "firstName": "Grace", "lastName": "Hopper"},
    "correctUserEmail": {"userId": NOBODY, "email": "grace@new.example"},
}


def _stale(mutation: str, values: Json | None) -> None:
    @refusal(mutation, "SignInAgain")
    async def _(scene: Scene) -> Json:
        await scene.clock.forward(minutes=10, seconds=1)
        return await scene.do(mutation, values, token=scene.admin)


def _missing(mutation: str, values: Json) -> None:
    @refusal(mutation, "NotFound")
    async def _(scene: Scene) -> Json:
        return await scene.do(mutation, values, token=scene.admin)


for _mutation, _values in STALE.items():
    _stale(_mutation, _values)
for _mutation, _given in MISSING.items():
    _missing(_mutation, _given)


@refusal("deactivate", "LastAdministrator")
async def _(scene: Scene) -> Json:
    return await scene.do("deactivate", {"userId": scene.practice.administrator.id}, token=scene.admin)


@refusal("deactivate", "InputInvalid")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    return await scene.do("deactivate", {"userId": grace.id, "reason": "x" * 501}, token=scene.admin)


async def blocked(scene: Scene) -> str:
    """Somebody invited who was blocked before finishing; the id."""
    user_id = await scene.invited()
    await scene.do("deactivate", {"userId": user_id}, token=scene.admin)
    return user_id


@refusal("releaseAddress", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("releaseAddress", {"userId": (await scene.staff()).id}, token=scene.admin)


@refusal("reactivate", "EmailInUse")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.api.do("deactivate", {"userId": grace.id, "releaseAddress": True}, token=scene.admin)
    await scene.world.joined(await scene.world.practice("Other Practice"), grace.email)
    return await scene.do("reactivate", {"userId": grace.id}, token=scene.admin)


@refusal("renewRecoveryCodes", "LimitReached")
async def _(scene: Scene) -> Json:
    await scene.do("renewRecoveryCodes", token=scene.admin)
    await scene.use_up("recovery-codes:", 10)
    return await scene.do("renewRecoveryCodes", token=scene.admin)


@refusal("reactivate", "LimitReached")
async def _(scene: Scene) -> Json:
    user_id = await blocked(scene)
    await scene.use_up("invitation-mails:", 15)
    return await scene.do("reactivate", {"userId": user_id}, token=scene.admin)


@refusal("reactivate", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    user_id = await blocked(scene)
    await scene.lapse()
    return await scene.do("reactivate", {"userId": user_id}, token=scene.admin)


@refusal("changeAccessLevel", "LastAdministrator")
async def _(scene: Scene) -> Json:
    values = {"userId": scene.practice.administrator.id, "accessLevel": "BILLING"}
    return await scene.do("changeAccessLevel", values, token=scene.admin)


@refusal("changeAccessLevel", "LimitReached")
async def _(scene: Scene) -> Json:
    user_id = await scene.invited()
    await scene.use_up("invitation-mails:", 15)
    return await scene.do("changeAccessLevel", {"userId": user_id, "accessLevel": "ADMINISTRATOR"}, token=scene.admin)


@refusal("changeAccessLevel", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.lapse()
    return await scene.do("changeAccessLevel", {"userId": grace.id, "accessLevel": "ADMINISTRATOR"}, token=scene.admin)


@refusal("reactivate", "SignInAgain")
async def _(scene: Scene) -> Json:
    second = await scene.staff("second@clinic.example", "ADMINISTRATOR")
    await scene.do("deactivate", {"userId": second.id}, token=scene.admin)
    await scene.clock.forward(minutes=10, seconds=1)
    return await scene.do("reactivate", {"userId": second.id}, token=scene.admin)


@refusal("updateLoginSettings", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("updateLoginSettings", {"sessionHours": 25}, token=scene.admin)


@refusal("updatePracticeAccessCodeSettings", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("updatePracticeAccessCodeSettings", {"rotationDays": 366}, token=scene.admin)


@refusal("resetPhone", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("resetPhone", {"userId": scene.practice.administrator.id}, token=scene.admin)


@refusal("correctUserName", "InputInvalid")
async def _(scene: Scene) -> Json:
    values = {"userId": (await scene.staff()).id, "firstName": "", "lastName": ""}
    return await scene.do("correctUserName", values, token=scene.admin)


async def correct(scene: Scene, user_id: str, email: str = "grace@new.example") -> Json:
    """Somebody's address."""
    return await scene.do("correctUserEmail", {"userId": user_id, "email": email}, token=scene.admin)


@refusal("correctUserEmail", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await correct(scene, scene.practice.administrator.id)


@refusal("correctUserEmail", "AddressBounced")
async def _(scene: Scene) -> Json:
    await scene.api.do("declineInvitation", {"token": await scene.link(), "unknownPractice": True})
    return await correct(scene, (await scene.staff()).id, "new@clinic.example")


@refusal("correctUserEmail", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.lapse()
    return await correct(scene, grace.id)


@refusal("correctUserEmail", "EmailInUse")
async def _(scene: Scene) -> Json:
    grace, mary = await scene.staff(), await scene.staff("mary@clinic.example")
    return await correct(scene, grace.id, mary.email)


@refusal("correctUserEmail", "LimitReached")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await correct(scene, grace.id)
    await scene.use_up("corrections:", 100)
    return await correct(scene, grace.id, "grace@newer.example")


@refusal("correctUserEmail", "ChangedRecently")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("resetPhone", {"userId": grace.id}, token=scene.admin)
    return await correct(scene, grace.id)


@refusal("resetPhone", "ChangedRecently")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await correct(scene, grace.id)
    return await scene.do("resetPhone", {"userId": grace.id}, token=scene.admin)


async def corrected(scene: Scene) -> str:
    """Somebody's address was corrected; the token of the link that stops it."""
    grace = await scene.staff()
    await correct(scene, grace.id)
    return await scene.world.link(grace.email)


@refusal("stopAccountChange", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("stopAccountChange", {"token": "no token"})


@refusal("stopAccountChange", "LinkExpired")
async def _(scene: Scene) -> Json:
    token = await corrected(scene)
    await scene.clock.forward(days=1, seconds=1)
    return await scene.do("stopAccountChange", {"token": token})


@refusal("stopAccountChange", "EmailInUse")
async def _(scene: Scene) -> Json:
    token = await corrected(scene)
    await scene.api.do("confirmEmail", {"token": await scene.world.link("grace@new.example")})
    await scene.staff("grace@clinic.example")
    # The one refusal that leaves something behind: the address cannot be put back, and everything else is stopped all the same.
    return await scene.api.do("stopAccountChange", {"token": token})


@refusal("stopAccountChange", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await corrected(scene)
    return await scene.type_codes("stopAccountChange", "grace@clinic.example")


async def change_password(scene: Scene, person: Person, current: str = PASSWORD, new: str = NEW_PASSWORD) -> Json:
    """One's own."""
    values = {"currentPassword": current, "newPassword": new}
    return await scene.do("changePassword", values, token=person.session)


@refusal("changePassword", "CredentialsIncorrect")
async def _(scene: Scene) -> Json:
    return await change_password(scene, await scene.staff(), "not the password")


@refusal("changePassword", "PasswordRejected")
async def _(scene: Scene) -> Json:
    return await change_password(scene, await scene.staff(), new="short")


@refusal("changePassword", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.lock(f"password:user:{grace.row_id}")
    return await change_password(scene, grace)


@refusal("sendPasswordReset", "UserInactive")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("deactivate", {"userId": grace.id}, token=scene.admin)
    return await scene.do("sendPasswordReset", {"userId": grace.id}, token=scene.admin)


@refusal("sendPasswordReset", "NotSetUpYet")
async def _(scene: Scene) -> Json:
    return await scene.do("sendPasswordReset", {"userId": await scene.invited()}, token=scene.admin)


@refusal("resetPhone", "NotSetUpYet")
async def _(scene: Scene) -> Json:
    return await scene.do("resetPhone", {"userId": await scene.invited()}, token=scene.admin)


@refusal("sendPasswordReset", "TooSoon")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("sendPasswordReset", {"userId": grace.id}, token=scene.admin)
    return await scene.do("sendPasswordReset", {"userId": grace.id}, token=scene.admin)


@refusal("sendPasswordReset", "LimitReached")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("sendPasswordReset", {"userId": grace.id}, token=scene.admin)
    await scene.clock.forward(seconds=61)
    await scene.use_up("password-reset:user:", 10)
    return await scene.do("sendPasswordReset", {"userId": grace.id}, token=scene.admin)


@refusal("renewSignIn", "CredentialsIncorrect")
async def _(scene: Scene) -> Json:
    return await scene.do("renewSignIn", {"password": "not the password"}, token=scene.admin)


@refusal("renewSignIn", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await scene.lock(f"password:user:{scene.practice.administrator.row_id}")
    return await scene.do("renewSignIn", {"password": PASSWORD}, token=scene.admin)


@refusal("changeName", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("changeName", {"firstName": "", "lastName": ""}, token=scene.admin)


@refusal("changeEmail", "InputInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("changeEmail", {"email": "no address"}, token=scene.admin)


@refusal("changeEmail", "AddressBounced")
async def _(scene: Scene) -> Json:
    await scene.api.do("declineInvitation", {"token": await scene.link(), "unknownPractice": True})
    return await scene.do("changeEmail", {"email": "new@clinic.example"}, token=scene.admin)


@refusal("changeEmail", "LimitReached")
async def _(scene: Scene) -> Json:
    for _ in range(5):
        await scene.do("changeEmail", {"email": "ada@new.example"}, token=scene.admin)
    return await scene.do("changeEmail", {"email": "ada@new.example"}, token=scene.admin)


async def wanted(scene: Scene, email: str) -> str:
    """An address that somebody wants; the link's token."""
    grace = await scene.staff()
    challenge = (await scene.api.do("changeEmail", {"email": email}, token=grace.session))["token"]
    values = {"challengeToken": challenge, "code": await scene.world.code(challenge, grace.phone)}
    await scene.do("verifyEmailChange", values, token=grace.session)
    return await scene.world.link(email)


@refusal("confirmEmail", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("confirmEmail", {"token": "no token"})


@refusal("confirmEmail", "LinkExpired")
async def _(scene: Scene) -> Json:
    token = await wanted(scene, "grace@new.example")
    await scene.clock.forward(days=1, seconds=1)
    return await scene.do("confirmEmail", {"token": token})


@refusal("confirmEmail", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await wanted(scene, "grace@new.example")
    return await scene.type_codes("confirmEmail", "grace@new.example")


@refusal("confirmEmail", "EmailInUse")
async def _(scene: Scene) -> Json:
    return await scene.do("confirmEmail", {"token": await wanted(scene, scene.practice.administrator.email)})


@refusal("changePhone", "PhoneNumberUnusable")
async def _(scene: Scene) -> Json:
    return await scene.do("changePhone", {"password": PASSWORD, "phone": "911"}, token=scene.admin)


@refusal("changePhone", "CredentialsIncorrect")
async def _(scene: Scene) -> Json:
    values = {"password": "not the password", "phone": scene.world.number()}
    return await scene.do("changePhone", values, token=scene.admin)


@refusal("changePhone", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    await scene.lock(f"password:user:{scene.practice.administrator.row_id}")
    return await scene.do("changePhone", {"password": PASSWORD, "phone": scene.world.number()}, token=scene.admin)


async def redeliver(scene: Scene, delivery_id: str) -> Json:
    """Send a message again."""
    return await scene.do("redeliver", {"deliveryId": delivery_id}, token=scene.admin)


@refusal("redeliver", "NotFound")
async def _(scene: Scene) -> Json:
    return await redeliver(scene, NOBODY)


@refusal("redeliver", "NotRedeliverable")
async def _(scene: Scene) -> Json:
    dead = await scene.dead_invitation()
    await redeliver(scene, dead)
    return await redeliver(scene, dead)


@refusal("redeliver", "AddressBounced")
async def _(scene: Scene) -> Json:
    await scene.invited()
    sent = await scene.mail.latest("new@clinic.example")
    report = MailReport(delivery_id=sent.row.id, verdict=Verdict.BOUNCED, problem="There is no such mailbox.")
    assert await mail_reports.take(report)
    await scene.clock.forward(seconds=61)
    return await redeliver(scene, global_id("Delivery", sent.row.id))


@refusal("redeliver", "TooSoon")
async def _(scene: Scene) -> Json:
    dead = await scene.dead_invitation()
    again = (await scene.api.do("redeliver", {"deliveryId": dead}, token=scene.admin))["id"]
    await database.execute("UPDATE deliveries SET status = 'FAILED' WHERE redelivery_of IS NOT NULL")
    return await redeliver(scene, again)


@refusal("redeliver", "LimitReached")
async def _(scene: Scene) -> Json:
    dead = await scene.dead_invitation()
    await scene.use_up("invitation-mails:", 15)
    return await redeliver(scene, dead)


@refusal("redeliver", "SubscriptionLapsed")
async def _(scene: Scene) -> Json:
    dead = await scene.dead_invitation()
    await scene.lapse()
    return await redeliver(scene, dead)
