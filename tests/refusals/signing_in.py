"""Refusals at the door: passwords, challenges, what an administrator decided about hours and networks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain import database
from tests.refusals.registry import refusal
from tests.refusals.scene import NEW_PASSWORD, NOBODY, PASSWORD, WRONG_PAC, Scene
from tests.world import Json, Person

CLOSED = ("OutsideAllowedHours", "NetworkNotAllowed", "SubscriptionLapsed")


async def sign_in(scene: Scene, person: Person, password: str = PASSWORD) -> Json:
    """Address and password."""
    return await scene.do("signIn", {"email": person.email, "password": password})


@refusal("signIn", "CredentialsIncorrect")
async def _(scene: Scene) -> Json:
    return await sign_in(scene, await scene.staff(), "not the password")


@refusal("signIn", "AccountLocked")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    for _ in range(5):
        await sign_in(scene, grace, "not the password")
    return await sign_in(scene, grace)


@refusal("signIn", "AccountInactive")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("deactivate", {"userId": grace.id}, token=scene.admin)
    return await sign_in(scene, grace)


@refusal("signIn", *CLOSED)
async def _(scene: Scene, kind: str) -> Json:
    grace = await scene.staff()
    await scene.close(kind)
    return await sign_in(scene, grace)


@dataclass
class Asked:
    """A challenge to be answered. values: what the answer needs beside the code. session: in which it is given."""

    token: str
    phone: str
    values: Json
    session: str | None = None


async def _device(scene: Scene) -> Asked:
    grace = await scene.staff()
    return Asked(await scene.world.challenged(grace), grace.phone, {})


async def _reset(scene: Scene) -> Asked:
    grace = await scene.staff()
    await scene.do("requestPasswordReset", {"email": grace.email})
    link = {"token": await scene.world.link(grace.email)}
    result = await scene.api.do("startPasswordReset", link)
    return Asked(result["token"], grace.phone, {"newPassword": NEW_PASSWORD})


async def _renewal(scene: Scene) -> Asked:
    grace = await scene.staff()
    result = await scene.api.do("renewSignIn", {"password": PASSWORD}, token=grace.session)
    return Asked(result["token"], grace.phone, {}, grace.session)


async def _email(scene: Scene) -> Asked:
    grace = await scene.staff()
    result = await scene.api.do("changeEmail", {"email": "grace@new.example"}, token=grace.session)
    return Asked(result["token"], grace.phone, {}, grace.session)


async def _phone(scene: Scene) -> Asked:
    grace, phone = await scene.staff(), scene.world.number()
    result = await scene.api.do("changePhone", {"password": PASSWORD, "phone": phone}, token=grace.session)
    return Asked(result["token"], phone, {}, grace.session)


ASKED: dict[str, Callable[[Scene], Awaitable[Asked]]] = {
    "verifyDevice": _device,
    "resetPassword": _reset,
    "confirmSignIn": _renewal,
    "verifyEmailChange": _email,
    "confirmPhone": _phone,
}


async def answer(scene: Scene, mutation: str, asked: Asked, code: str, **more: str) -> Json:
    """Answer a challenge."""
    values = {"challengeToken": asked.token, "code": code} | asked.values | more
    return await scene.do(mutation, values, token=asked.session)


async def codes(scene: Scene, asked: Asked) -> tuple[str, str]:
    """The right code, sent, and a wrong one."""
    code = await scene.world.code(asked.token, asked.phone)
    return code, "000000" if code != "000000" else "111111"


def _challenges(mutation: str) -> None:
    make = ASKED[mutation]

    @refusal(mutation, "ChallengeInvalid")
    async def _(scene: Scene) -> Json:
        asked = await make(scene)
        asked.token = "no token"
        return await answer(scene, mutation, asked, "123456")

    @refusal(mutation, "CodeIncorrect")
    async def _(scene: Scene) -> Json:
        asked = await make(scene)
        return await answer(scene, mutation, asked, (await codes(scene, asked))[1])

    @refusal(mutation, "InputInvalid")
    async def _(scene: Scene) -> Json:
        asked = await make(scene)
        return await answer(scene, mutation, asked, (await codes(scene, asked))[0][:5])

    @refusal(mutation, "CodeExpired")
    async def _(scene: Scene) -> Json:
        return await answer(scene, mutation, await make(scene), "123456")

    @refusal(mutation, "TooManyAttempts")
    async def _(scene: Scene) -> Json:
        asked = await make(scene)
        code, wrong = await codes(scene, asked)
        for _ in range(5):
            await answer(scene, mutation, asked, wrong)
        return await answer(scene, mutation, asked, code)


for _mutation in ASKED:
    _challenges(_mutation)


def _ways_in(mutation: str) -> None:
    make = ASKED[mutation]

    @refusal(mutation, "PracticeAccessCodeIncorrect")
    async def _(scene: Scene) -> Json:
        await scene.settings("practice_access_code", "NEW_DEVICE")
        asked = await make(scene)
        return await answer(scene, mutation, asked, (await codes(scene, asked))[0], practiceAccessCode=WRONG_PAC)

    @refusal(mutation, *CLOSED)
    async def _(scene: Scene, kind: str) -> Json:
        asked = await make(scene)
        code, _ = await codes(scene, asked)
        await scene.close(kind)
        refused = await answer(scene, mutation, asked, code)
        await database.execute("UPDATE subscriptions SET status = 'ACTIVE'")
        await database.execute("DELETE FROM login_settings")
        # The code and the challenge are as good as before.
        assert (await answer(scene, mutation, asked, code))["__typename"] == "SignedIn"
        return refused


for _mutation in ("verifyDevice", "resetPassword"):
    _ways_in(_mutation)


@refusal("resetPassword", "PasswordRejected")
async def _(scene: Scene) -> Json:
    return await answer(scene, "resetPassword", await _reset(scene), "123456", newPassword="short")


async def send(scene: Scene, token: str, **more: str) -> Json:
    """Ask for a code."""
    return await scene.do("sendSecurityCode", {"challengeToken": token, "channel": "SMS"} | more)


@refusal("sendSecurityCode", "ChallengeInvalid")
async def _(scene: Scene) -> Json:
    return await send(scene, "no token")


@refusal("sendSecurityCode", "ChannelNotAllowed")
async def _(scene: Scene) -> Json:
    asked = await _device(scene)
    await scene.settings("phone_channels", '["SMS"]')
    return await send(scene, asked.token, channel="VOICE")


@refusal("sendSecurityCode", "PhoneNumberUnusable")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("resetPhone", {"userId": grace.id}, token=scene.admin)
    return await send(scene, await scene.world.challenged(grace), phone="+1 900 234 5678")


@refusal("sendSecurityCode", "TooSoon")
async def _(scene: Scene) -> Json:
    asked = await _device(scene)
    await send(scene, asked.token)
    return await send(scene, asked.token)


@refusal("sendSecurityCode", "LimitReached")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    asked = await scene.world.challenged(grace)
    await scene.lock(f"phone:user:{grace.row_id}")
    return await send(scene, asked)


@refusal("endSession", "NotFound")
async def _(scene: Scene) -> Json:
    return await scene.do("endSession", {"sessionId": NOBODY}, token=scene.admin)


@refusal("forgetDevice", "NotFound")
async def _(scene: Scene) -> Json:
    return await scene.do("forgetDevice", {"deviceId": NOBODY}, token=scene.admin)


@refusal("requestPasswordReset", "LimitReached")
async def _(scene: Scene) -> Json:
    for _ in range(5):
        await scene.do("requestPasswordReset", {"email": "nobody@clinic.example"})
    return await scene.do("requestPasswordReset", {"email": "nobody@clinic.example"})


@refusal("startPasswordReset", "LinkInvalid")
async def _(scene: Scene) -> Json:
    return await scene.do("startPasswordReset", {"token": "no token"})


@refusal("startPasswordReset", "TooManyAttempts")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("requestPasswordReset", {"email": grace.email})
    return await scene.type_codes("startPasswordReset", grace.email)


@refusal("startPasswordReset", "LinkExpired")
async def _(scene: Scene) -> Json:
    grace = await scene.staff()
    await scene.do("requestPasswordReset", {"email": grace.email})
    token = await scene.world.link(grace.email)
    await scene.clock.forward(hours=1, seconds=1)
    return await scene.do("startPasswordReset", {"token": token})
