"""Refusals say what was refused where one type stands for several acts."""

from datetime import UTC, datetime

import pytest

from domain.errors import Allowance, Busy, LimitReached
from graph.refusals import LIMITS, top_level, user_error
from tests.conftest import Clock
from tests.refusals import joining, signing_in, the_house
from tests.refusals.registry import DRIVERS
from tests.refusals.scene import made
from tests.world import Api, Mail, World

__all__ = ["joining", "signing_in", "the_house"]

OWN = "This is not your password. Look at it as you type, and try again."
WORDS = {
    ("signIn", "CredentialsIncorrect"): "The e-mail address or the password is not right.",
    ("changePassword", "CredentialsIncorrect"): OWN,
    ("renewSignIn", "CredentialsIncorrect"): OWN,
    ("changePhone", "CredentialsIncorrect"): OWN,
    ("changePassword", "TooManyAttempts"): "There were too many wrong tries. Wait a while, then try again.",
    ("verifyPhone", "TooManyAttempts"): "There were too many wrong tries. Ask for a new link or code.",
    ("verifyDevice", "ChallengeInvalid"): "This request is not known here any more. Begin again.",
    ("resetPassword", "ChallengeInvalid"): "This request is not known here any more. Begin again.",
    ("verifyPhone", "StepOutOfOrder"): "Ask for a code to your phone first.",
    ("sendPhoneCode", "StepOutOfOrder"): "Your phone is verified already. Choose a password now.",
    (
        "setPassword",
        "CredentialsIncorrect",
    ): "Your account is set up already, with another password than this one. Sign in with that"
    " password, or ask for a link to set a new one.",
    (
        "resend",
        "AlreadySetUp",
    ): "Grace has already set up an account, so there is no invitation to send or to take back. If Grace cannot"
    " sign in, send a link to set a new password. To end the access, deactivate Grace.",
    ("revokeInvitation", "UserInactive"): "Grace was deactivated in your practice. Reactivate Grace instead.",
    ("sendPasswordReset", "UserInactive"): "Grace was deactivated in your practice. Reactivate Grace instead.",
    ("sendPasswordReset", "NotSetUpYet"): "Grace has not set up an account yet. Send the invitation again instead.",
}


@pytest.mark.parametrize(("mutation", "kind"), WORDS)
async def test_the_words_fit_what_was_asked(
    world: World, api: Api, mail: Mail, clock: Clock, mutation: str, kind: str
) -> None:
    result = await DRIVERS[mutation, kind](await made(world, api, mail, clock))
    assert result["message"] == WORDS[mutation, kind]


@pytest.mark.parametrize("allowance", Allowance)
def test_the_words_of_each_allowance_are_said_where_it_is_used_up(allowance: Allowance) -> None:
    retry_at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    busy = top_level(Busy(retry_at, allowance))
    assert busy is not None
    assert busy.message == LIMITS[allowance] == user_error(LimitReached(allowance, retry_at)).message
    assert busy.extensions == {"code": "RATE_LIMITED", "retryAt": "2026-01-31T12:00:00.000Z"}


async def test_a_network_that_tries_too_many_passwords_is_not_told_that_an_address_is_locked(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    scene = await made(world, api, mail, clock)
    values = {"email": "nobody@clinic.example", "password": "wrong"}
    await api.do("signIn", values)
    await scene.use_up("passwords:network:", 300)
    result = await api.do("signIn", values | {"email": "somebody@clinic.example"})
    assert (result["__typename"], result["message"]) == ("AccountLocked", LIMITS[Allowance.SIGN_INS])
