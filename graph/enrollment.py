"""Setting up an account: the invitation, the phone, the password."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import accounts, enrollment, security_codes, users
from domain.enrollment import Progress
from domain.models.columns import EnrollmentStep, PhoneChannel
from domain.security_codes import CodeSent
from graph.context import Info
from graph.errors import (
    AccountLocked,
    ChannelNotAllowed,
    CodeExpired,
    CodeIncorrect,
    CredentialsIncorrect,
    EmailInUse,
    EnrollmentInvalid,
    InputInvalid,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NetworkNotAllowed,
    OutsideAllowedHours,
    PasswordRejected,
    PhoneNumberUnusable,
    PracticeAccessCodeIncorrect,
    SignedInAlready,
    StepOutOfOrder,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
)
from graph.scalars import FROM_LINK, TYPED_CODE, PhoneNumber
from graph.types import SignedIn


@strawberry.type(
    description="Setting up an account, step by step. The token stands for the person until the password is set."
)
class Enrollment:
    """Where somebody stands."""

    token: str = strawberry.field(description="Give it to each of the next steps.")
    next_step: EnrollmentStep = strawberry.field(description="What to do next.")
    phone: str | None = strawberry.field(description="Masked; null until one was given, and once all is done.")
    expires_at: datetime = strawberry.field(description="Until when the token is good; the link leads back here.")

    @classmethod
    def of(cls, progress: Progress) -> "Enrollment":
        """From the domain's record."""
        return cls(
            token=progress.token, next_step=progress.next_step, phone=progress.phone, expires_at=progress.expires_at
        )


@strawberry.type(description="A security code is on its way.")
class SecurityCodeSent:
    """What to tell the person who waits."""

    channel: PhoneChannel = strawberry.field(description="How it travels.")
    phone: str = strawberry.field(description="Masked.")
    expires_at: datetime = strawberry.field(description="Until when it is good.")
    resendable_at: datetime = strawberry.field(description="When another may be asked for.")

    @classmethod
    def of(cls, sent: CodeSent) -> "SecurityCodeSent":
        """From the domain's record."""
        return cls(channel=sent.channel, phone=sent.phone, expires_at=sent.expires_at, resendable_at=sent.resendable_at)


@strawberry.input(description="The two secrets of an invitation.")
class AcceptInvitationInput:
    """The link and the spoken code."""

    token: str = strawberry.field(description=FROM_LINK)
    practice_access_code: str = strawberry.field(
        description="As the administrator told it, ten letters and digits: case, spaces and dashes do not matter, look-alikes are forgiven."
    )


@strawberry.input(description="The phone that is to be proved.")
class SendPhoneCodeInput:
    """Where the code goes."""

    enrollment_token: str = strawberry.field(description="Of the enrollment.")
    phone: PhoneNumber = strawberry.field(description="A phone that the person can answer.")
    channel: PhoneChannel = strawberry.field(description="By text or by call.")


@strawberry.input(description="The code that came.")
class VerifyPhoneInput:
    """The digits."""

    enrollment_token: str = strawberry.field(description="Of the enrollment.")
    code: str = strawberry.field(description=TYPED_CODE)


@strawberry.input(description="The password to sign in with from now on.")
class SetPasswordInput:
    """The last step."""

    enrollment_token: str = strawberry.field(description="Of the enrollment.")
    password: str = strawberry.field(description="15 to 128 characters of any kind.")
    device_name: str | None = strawberry.field(
        default=None, description="What to call this device in lists; at most 100 characters."
    )
    trust_device: bool = strawberry.field(default=True, description="Whether this device needs no code next time.")


AcceptInvitationResult = Annotated[
    Enrollment
    | LinkInvalid
    | LinkExpired
    | PracticeAccessCodeIncorrect
    | TooManyAttempts
    | SubscriptionLapsed
    | SignedInAlready
    | EmailInUse
    | InputInvalid,
    strawberry.union("AcceptInvitationResult", description="What acceptInvitation answers."),
]
SendPhoneCodeResult = Annotated[
    SecurityCodeSent
    | EnrollmentInvalid
    | StepOutOfOrder
    | PhoneNumberUnusable
    | ChannelNotAllowed
    | TooSoon
    | LimitReached,
    strawberry.union("SendPhoneCodeResult", description="What sendPhoneCode answers."),
]
VerifyPhoneResult = Annotated[
    Enrollment | EnrollmentInvalid | StepOutOfOrder | CodeIncorrect | CodeExpired | TooManyAttempts | InputInvalid,
    strawberry.union("VerifyPhoneResult", description="What verifyPhone answers."),
]
SetPasswordResult = Annotated[
    SignedIn
    | EnrollmentInvalid
    | StepOutOfOrder
    | EmailInUse
    | PasswordRejected
    | OutsideAllowedHours
    | NetworkNotAllowed
    | SubscriptionLapsed
    | CredentialsIncorrect
    | AccountLocked,
    strawberry.union("SetPasswordResult", description="What setPassword answers."),
]


@strawberry.type
class EnrollmentQuery:
    """Root fields."""

    @strawberry.field(
        description="Where someone who is setting up an account stands: DONE for an hour after the end. Public; null when the token is not,"
        " or no longer, good."
    )
    async def enrollment(
        self, token: Annotated[str, strawberry.argument(description="Of the enrollment.")]
    ) -> Enrollment | None:
        """For a page that was reloaded."""
        progress = await enrollment.find(token)
        return Enrollment.of(progress) if progress else None


@strawberry.type
class EnrollmentMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Take up an invitation. Doing it again leads to the same enrollment, which is DONE for an hour after its end."
    )
    async def accept_invitation(
        self, info: Info, input: Annotated[AcceptInvitationInput, strawberry.argument(description="Link and code.")]
    ) -> AcceptInvitationResult:
        """The two secrets meet."""
        return Enrollment.of(await enrollment.accept(info.context.actor, input.token, input.practice_access_code))

    @strawberry.mutation(
        description="Send a security code to the phone that is to be proved. A newer code replaces an older one."
    )
    async def send_phone_code(
        self, info: Info, input: Annotated[SendPhoneCodeInput, strawberry.argument(description="The phone.")]
    ) -> SendPhoneCodeResult:
        """A code for the phone."""
        sent = await security_codes.send_to_prove_phone(
            info.context.actor, input.enrollment_token, input.phone, input.channel
        )
        return SecurityCodeSent.of(sent)

    @strawberry.mutation(
        description="Prove the phone with the code that came. Once it is proved, this answers how the enrollment stands."
    )
    async def verify_phone(
        self, info: Info, input: Annotated[VerifyPhoneInput, strawberry.argument(description="The code.")]
    ) -> VerifyPhoneResult:
        """The phone is proved."""
        return Enrollment.of(await security_codes.prove_phone(info.context.actor, input.enrollment_token, input.code))

    @strawberry.mutation(
        description="Set the password, which ends setting up and signs in. For a sign-up, the practice exists from now on. For an hour after"
        " that the same password again is answered StepOutOfOrder with DONE, and another one CredentialsIncorrect; both mean: sign in."
    )
    async def set_password(
        self, info: Info, input: Annotated[SetPasswordInput, strawberry.argument(description="The password.")]
    ) -> SetPasswordResult:
        """The account is there."""
        signed_in = await accounts.set_password(
            info.context.actor,
            input.enrollment_token,
            input.password,
            raw_device_name=input.device_name,
            trust_device=input.trust_device,
        )
        return SignedIn.of(signed_in, await users.of_session(signed_in))
