"""Refusals say what was refused where one type stands for several acts."""

import pytest

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
