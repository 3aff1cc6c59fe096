"""Signing in and out."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import sessions, sign_in, users
from domain.models.columns import PhoneChannel
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
    PracticeAccessCodeIncorrect,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
)
from graph.types import EmailAddress, SignedIn


@strawberry.input(description="Address and password.")
class SignInInput:
    """What the form has."""

    email: EmailAddress = strawberry.field(description="The person's address.")
    password: str = strawberry.field(description="The person's password.")
    device_token: str | None = strawberry.field(default=None, description="From the latest sign-in on this device.")
    device_name: str | None = strawberry.field(
        default=None, description="What to call this device in lists; at most 100 characters."
    )


@strawberry.type(
    description="The password was right, and this device is new or a code is asked for each time: a code to the verified phone comes next."
)
class SecurityChallenge:
    """What a new device has to answer."""

    token: str = strawberry.field(description="Give it to sendSecurityCode and verifyDevice.")
    phone: str = strawberry.field(description="Masked.")
    channels: list[PhoneChannel] = strawberry.field(description="How a code may be sent.")
    practice_access_code_required: bool = strawberry.field(
        description="Whether verifyDevice asks for the practice access code too."
    )
    expires_at: datetime = strawberry.field(description="Until when the token is good.")

    @classmethod
    def of(cls, challenged: sign_in.Challenged) -> "SecurityChallenge":
        """From the domain's record."""
        return cls(
            token=challenged.token,
            phone=challenged.phone,
            channels=list(challenged.channels),
            practice_access_code_required=challenged.practice_access_code_required,
            expires_at=challenged.expires_at,
        )


@strawberry.input(description="How the code is to travel.")
class SendSecurityCodeInput:
    """Which way."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    channel: PhoneChannel = strawberry.field(description="By text or by call.")


@strawberry.input(description="The answer to a challenge.")
class VerifyDeviceInput:
    """The digits."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description="Six digits; spaces are ignored.")
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
    SecurityCodeSent | ChallengeInvalid | ChannelNotAllowed | TooSoon | LimitReached,
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
        if isinstance(result, sign_in.Challenged):
            return SecurityChallenge.of(result)
        return SignedIn.of(result, await users.of_session(result))

    @strawberry.mutation(description="Send a code to the verified phone. A newer code replaces an older one.")
    async def send_security_code(
        self, info: Info, input: Annotated[SendSecurityCodeInput, strawberry.argument(description="Which way.")]
    ) -> SendSecurityCodeResult:
        """A code for the phone."""
        return SecurityCodeSent.of(await sign_in.send_code(info.context.actor, input.challenge_token, input.channel))

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
