"""Signing in and out."""

from typing import Annotated

import strawberry

from domain import challenges, sessions, sign_in, users
from domain.challenges import Challenged
from domain.models.columns import PhoneChannel
from graph.challenges import SecurityChallenge
from graph.context import Info
from graph.enrollment import SecurityCodeSent
from graph.errors import (
    AccountInactive,
    AccountLocked,
    ChallengeInvalid,
    ChannelNotAllowed,
    CodeExpired,
    CodeIncorrect,
    CredentialsIncorrect,
    LimitReached,
    NetworkNotAllowed,
    OutsideAllowedHours,
    PhoneNumberUnusable,
    PracticeAccessCodeIncorrect,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
)
from graph.scalars import EmailAddress, PhoneNumber
from graph.types import SignedIn


@strawberry.input(description="Address and password.")
class SignInInput:
    """What the form has."""

    email: EmailAddress = strawberry.field(description="The person's address.")
    password: str = strawberry.field(description="The person's password.")
    device_token: str | None = strawberry.field(default=None, description="From the latest sign-in on this device.")
    device_name: str | None = strawberry.field(
        default=None, description="What to call this device in lists; at most 100 characters."
    )


@strawberry.input(description="How the code is to travel.")
class SendSecurityCodeInput:
    """Which way."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    channel: PhoneChannel = strawberry.field(description="By text or by call.")
    phone: PhoneNumber | None = strawberry.field(
        default=None,
        description="Where the challenge says phoneRequired: the phone that is to be proved. Of no account otherwise.",
    )


@strawberry.input(description="The answer to a challenge.")
class VerifyDeviceInput:
    """The digits."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description="Six digits; spaces are ignored. Or one of the person's recovery codes.")
    practice_access_code: str | None = strawberry.field(
        default=None, description="Where the challenge says that it is required."
    )
    device_name: str | None = strawberry.field(
        default=None, description="What to call this device in lists; at most 100 characters."
    )
    trust_device: bool = strawberry.field(default=True, description="Whether this device needs no code next time.")


SignInResult = Annotated[
    SignedIn
    | SecurityChallenge
    | CredentialsIncorrect
    | AccountLocked
    | AccountInactive
    | OutsideAllowedHours
    | NetworkNotAllowed
    | SubscriptionLapsed,
    strawberry.union("SignInResult", description="What signIn answers."),
]
SendSecurityCodeResult = Annotated[
    SecurityCodeSent | ChallengeInvalid | ChannelNotAllowed | PhoneNumberUnusable | TooSoon | LimitReached,
    strawberry.union("SendSecurityCodeResult", description="What sendSecurityCode answers."),
]
VerifyDeviceResult = Annotated[
    SignedIn
    | ChallengeInvalid
    | CodeIncorrect
    | CodeExpired
    | PracticeAccessCodeIncorrect
    | TooManyAttempts
    | OutsideAllowedHours
    | NetworkNotAllowed
    | SubscriptionLapsed,
    strawberry.union("VerifyDeviceResult", description="What verifyDevice answers."),
]


@strawberry.type
class SignInMutation:
    """Root fields."""

    @strawberry.mutation(description="Sign in. On a device that is not known, a challenge comes first.")
    async def sign_in(
        self, info: Info, input: Annotated[SignInInput, strawberry.argument(description="Address and password.")]
    ) -> SignInResult:
        """Password first."""
        result = await sign_in.sign_in(
            info.context.actor,
            input.email,
            input.password,
            device_token=input.device_token,
            raw_device_name=input.device_name,
        )
        if isinstance(result, Challenged):
            return SecurityChallenge.of(result)
        return SignedIn.of(result, await users.of_session(result))

    @strawberry.mutation(
        description="Send a code to the verified phone, or to the one that the challenge is to prove. A newer code replaces an older one."
    )
    async def send_security_code(
        self, info: Info, input: Annotated[SendSecurityCodeInput, strawberry.argument(description="Which way.")]
    ) -> SendSecurityCodeResult:
        """A code for the phone."""
        actor = info.context.actor
        return SecurityCodeSent.of(await challenges.send_code(actor, input.challenge_token, input.channel, input.phone))

    @strawberry.mutation(description="Answer the challenge with the code that came, and be signed in.")
    async def verify_device(
        self, info: Info, input: Annotated[VerifyDeviceInput, strawberry.argument(description="The answer.")]
    ) -> VerifyDeviceResult:
        """The device is known from now on."""
        signed_in = await sign_in.verify_device(
            info.context.actor,
            input.challenge_token,
            input.code,
            practice_access_code=input.practice_access_code,
            raw_device_name=input.device_name,
            trust_device=input.trust_device,
        )
        return SignedIn.of(signed_in, await users.of_session(signed_in))

    @strawberry.mutation(description="End the session that this request came with; false when there was none.")
    async def sign_out(self, info: Info) -> bool:
        """Out."""
        return await sessions.sign_out(info.context.actor)
