"""A forgotten password."""

from typing import Annotated

import strawberry

from domain import password_resets, users
from graph.challenges import SecurityChallenge
from graph.context import Info
from graph.errors import (
    ChallengeInvalid,
    CodeExpired,
    CodeIncorrect,
    InputInvalid,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NetworkNotAllowed,
    NotFound,
    NotSetUpYet,
    OutsideAllowedHours,
    PasswordRejected,
    PracticeAccessCodeIncorrect,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
    UserInactive,
)
from graph.ids import row_id
from graph.scalars import FROM_LINK, TYPED_CODE, EmailAddress
from graph.sign_up import CheckYourEmail
from graph.types import SignedIn, User


@strawberry.input(description="Whose password was forgotten.")
class RequestPasswordResetInput:
    """The address."""

    email: EmailAddress = strawberry.field(description="The person's address.")
    device_token: str | None = strawberry.field(
        default=None,
        description="From the latest sign-in on this device: strangers who ask for this address again and again do not keep its owner"
        " from asking here.",
    )


@strawberry.input(description="The link of a reset's e-mail.")
class StartPasswordResetInput:
    """The link."""

    token: str = strawberry.field(description=FROM_LINK)


@strawberry.input(description="The new password, with the code that came.")
class ResetPasswordInput:
    """Link, code, password."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description=TYPED_CODE)
    new_password: str = strawberry.field(description="The password to have from now on.")
    device_name: str | None = strawberry.field(
        default=None, description="What to call this device in lists; at most 100 characters."
    )
    practice_access_code: str | None = strawberry.field(
        default=None, description="Where the challenge says that it is required."
    )


@strawberry.input(description="Who is to get a link to set a new password with.")
class SendPasswordResetInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="The user.")


RequestPasswordResetResult = Annotated[
    CheckYourEmail | LimitReached,
    strawberry.union("RequestPasswordResetResult", description="What requestPasswordReset answers."),
]
StartPasswordResetResult = Annotated[
    SecurityChallenge | LinkInvalid | LinkExpired | TooManyAttempts,
    strawberry.union("StartPasswordResetResult", description="What startPasswordReset answers."),
]
ResetPasswordResult = Annotated[
    SignedIn
    | ChallengeInvalid
    | CodeIncorrect
    | CodeExpired
    | PracticeAccessCodeIncorrect
    | TooManyAttempts
    | PasswordRejected
    | OutsideAllowedHours
    | NetworkNotAllowed
    | SubscriptionLapsed
    | InputInvalid,
    strawberry.union("ResetPasswordResult", description="What resetPassword answers."),
]
SendPasswordResetResult = Annotated[
    User | NotFound | TooSoon | LimitReached | NotSetUpYet | UserInactive,
    strawberry.union("SendPasswordResetResult", description="What sendPasswordReset answers."),
]


@strawberry.type
class PasswordResetMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Mail a link to set a new password with. The answer is the same whether or not the address is known. One link an hour is"
        " mailed however many ask: after LimitReached, the newest e-mail has one that is good."
    )
    async def request_password_reset(
        self, info: Info, input: Annotated[RequestPasswordResetInput, strawberry.argument(description="Whose.")]
    ) -> RequestPasswordResetResult:
        """By mail."""
        email = await password_resets.request(info.context.actor, input.email, device_token=input.device_token)
        return CheckYourEmail(email=EmailAddress(email))

    @strawberry.mutation(description="Follow the link: a code to the phone comes next, and resetPassword answers.")
    async def start_password_reset(
        self, info: Info, input: Annotated[StartPasswordResetInput, strawberry.argument(description="The link.")]
    ) -> StartPasswordResetResult:
        """By phone."""
        return SecurityChallenge.of(await password_resets.start(info.context.actor, input.token))

    @strawberry.mutation(
        description="Set the new password and be signed in on this device; every other session and every device ends."
    )
    async def reset_password(
        self, info: Info, input: Annotated[ResetPasswordInput, strawberry.argument(description="Code and password.")]
    ) -> ResetPasswordResult:
        """Both."""
        signed_in = await password_resets.reset(
            info.context.actor,
            input.challenge_token,
            input.code,
            input.new_password,
            practice_access_code=input.practice_access_code,
            raw_device_name=input.device_name,
        )
        return SignedIn.of(signed_in, await users.of_session(signed_in))

    @strawberry.mutation(
        description="Mail a user a link to set a new password with. Nobody but the user sees it. Administrators only."
    )
    async def send_password_reset(
        self, info: Info, input: Annotated[SendPasswordResetInput, strawberry.argument(description="Who.")]
    ) -> SendPasswordResetResult:
        """For somebody who asks in person."""
        actor = info.context.actor
        member = actor.administrator()
        return User.of(await password_resets.send(actor, row_id("User", input.user_id)), member)
