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
    ("verifyDevice", "ChallengeInvalid"): "This took too long. Begin again.",
    ("resetPassword", "ChallengeInvalid"): "This took too long. Begin again.",
}


@pytest.mark.parametrize(("mutation", "kind"), WORDS)
async def test_the_words_fit_what_was_asked(
    world: World, api: Api, mail: Mail, clock: Clock, mutation: str, kind: str
) -> None:
    result = await DRIVERS[mutation, kind](await made(world, api, mail, clock))
    assert result["message"] == WORDS[mutation, kind]
