"""Signing in once more within a session, for acts that ask for a fresh sign-in."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import renewals
from graph.challenges import SecurityChallenge
from graph.context import Info
from graph.errors import ChallengeInvalid, CodeExpired, CodeIncorrect, CredentialsIncorrect, TooManyAttempts


@strawberry.input(description="The password, once more.")
class RenewSignInInput:
    """The password."""

    password: str = strawberry.field(description="The password in use.")


@strawberry.input(description="The answer to a renewal's challenge.")
class ConfirmSignInInput:
    """The digits."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description="Six digits; spaces are ignored. Or one of the person's recovery codes.")


@strawberry.type(description="The session counts as freshly signed in; its token stays the same.")
class SignInRenewed:
    """Fresh for a while."""

    fresh_until: datetime = strawberry.field(description="Until when sensitive acts are taken.")


RenewSignInResult = Annotated[
    SecurityChallenge | CredentialsIncorrect | TooManyAttempts,
    strawberry.union("RenewSignInResult", description="What renewSignIn answers."),
]
ConfirmSignInResult = Annotated[
    SignInRenewed | ChallengeInvalid | CodeIncorrect | CodeExpired | TooManyAttempts,
    strawberry.union("ConfirmSignInResult", description="What confirmSignIn answers."),
]


@strawberry.type
class RenewalMutation:
    """Root fields."""

    @strawberry.mutation(
        description="After SignInAgain: give the password once more. A code to the phone comes next, and confirmSignIn answers."
    )
    async def renew_sign_in(
        self, info: Info, input: Annotated[RenewSignInInput, strawberry.argument(description="The password.")]
    ) -> RenewSignInResult:
        """First the password."""
        return SecurityChallenge.of(await renewals.renew(info.context.actor, input.password))

    @strawberry.mutation(description="Answer with the code that came; then repeat the act.")
    async def confirm_sign_in(
        self, info: Info, input: Annotated[ConfirmSignInInput, strawberry.argument(description="The code.")]
    ) -> ConfirmSignInResult:
        """Then the code."""
        until = await renewals.confirm(info.context.actor, input.challenge_token, input.code)
        return SignInRenewed(fresh_until=until)
