"""Changing one's own name, address and phone; and an administrator's help with a lost phone."""

from typing import Annotated

import strawberry

from domain import email_changes, own_names, phone_changes
from graph.challenges import SecurityChallenge
from graph.context import Info
from graph.errors import (
    AddressBounced,
    ChallengeInvalid,
    ChangedRecently,
    CodeExpired,
    CodeIncorrect,
    CredentialsIncorrect,
    EmailInUse,
    InputInvalid,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NotFound,
    NotSetUpYet,
    PhoneNumberUnusable,
    SignInAgain,
    TooManyAttempts,
)
from graph.ids import row_id
from graph.invitations import ADDRESS_REPAIRED
from graph.scalars import FROM_LINK, TYPED_CODE, EmailAddress, PhoneNumber
from graph.sign_up import CheckYourEmail
from graph.types import User


@strawberry.input(description="One's name.")
class ChangeNameInput:
    """Both parts."""

    first_name: str = strawberry.field(description="First name.")
    last_name: str = strawberry.field(description="Last name; empty for somebody with one name.")


@strawberry.input(description="The address to have.")
class ChangeEmailInput:
    """Which."""

    email: EmailAddress = strawberry.field(description="The new address.")
    address_repaired: bool = strawberry.field(default=False, description=ADDRESS_REPAIRED)


@strawberry.input(description="The answer to the challenge of changeEmail.")
class VerifyEmailChangeInput:
    """The digits."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description=TYPED_CODE)


@strawberry.input(description="The link that went to the new address.")
class ConfirmEmailInput:
    """The link."""

    token: str = strawberry.field(description=FROM_LINK)


@strawberry.type(description="The address is the user's from now on: to sign in with, and for every e-mail.")
class EmailConfirmed:
    """Changed."""

    email: EmailAddress = strawberry.field(description="The new address.")


@strawberry.input(description="The phone to have.")
class ChangePhoneInput:
    """With the password."""

    password: str = strawberry.field(description="The password in use.")
    phone: PhoneNumber = strawberry.field(description="The new phone.")


@strawberry.input(description="The answer to the challenge of changePhone.")
class ConfirmPhoneInput:
    """The digits."""

    challenge_token: str = strawberry.field(description="Of the challenge.")
    code: str = strawberry.field(description=f"From the new phone. {TYPED_CODE}")


@strawberry.input(description="Whose phone is lost.")
class ResetPhoneInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="The user.")


ChangeNameResult = Annotated[
    User | InputInvalid, strawberry.union("ChangeNameResult", description="What changeName answers.")
]
ChangeEmailResult = Annotated[
    SecurityChallenge | InputInvalid | SignInAgain | LimitReached | AddressBounced,
    strawberry.union("ChangeEmailResult", description="What changeEmail answers."),
]
VerifyEmailChangeResult = Annotated[
    CheckYourEmail | ChallengeInvalid | CodeIncorrect | CodeExpired | TooManyAttempts | InputInvalid,
    strawberry.union("VerifyEmailChangeResult", description="What verifyEmailChange answers."),
]
ConfirmEmailResult = Annotated[
    EmailConfirmed | LinkInvalid | LinkExpired | EmailInUse | TooManyAttempts,
    strawberry.union("ConfirmEmailResult", description="What confirmEmail answers."),
]
ChangePhoneResult = Annotated[
    SecurityChallenge | PhoneNumberUnusable | CredentialsIncorrect | TooManyAttempts | SignInAgain,
    strawberry.union("ChangePhoneResult", description="What changePhone answers."),
]
ConfirmPhoneResult = Annotated[
    User | ChallengeInvalid | CodeIncorrect | CodeExpired | TooManyAttempts | InputInvalid,
    strawberry.union("ConfirmPhoneResult", description="What confirmPhone answers."),
]
ResetPhoneResult = Annotated[
    User | NotFound | InputInvalid | ChangedRecently | SignInAgain | NotSetUpYet,
    strawberry.union("ResetPhoneResult", description="What resetPhone answers."),
]


@strawberry.type
class OwnAccountMutation:
    """Root fields."""

    @strawberry.mutation(description="Change one's own name.")
    async def change_name(
        self, info: Info, input: Annotated[ChangeNameInput, strawberry.argument(description="The name.")]
    ) -> ChangeNameResult:
        """As people are called."""
        actor = info.context.actor
        return User.of(await own_names.change(actor, input.first_name, input.last_name), actor.signed_in())

    @strawberry.mutation(
        description="Ask for another address. A code to the verified phone comes next, and verifyEmailChange answers. Needs a sign-in of"
        " the last ten minutes."
    )
    async def change_email(
        self, info: Info, input: Annotated[ChangeEmailInput, strawberry.argument(description="The address.")]
    ) -> ChangeEmailResult:
        """First the phone."""
        actor = info.context.actor
        return SecurityChallenge.of(
            await email_changes.start(actor, input.email, address_repaired=input.address_repaired)
        )

    @strawberry.mutation(
        description="Answer with the code that came: a link goes to the new address, word of it to the old one, which works until then."
    )
    async def verify_email_change(
        self, info: Info, input: Annotated[VerifyEmailChangeInput, strawberry.argument(description="The code.")]
    ) -> VerifyEmailChangeResult:
        """Then the link."""
        email = await email_changes.prove(info.context.actor, input.challenge_token, input.code)
        return CheckYourEmail(email=EmailAddress(email))

    @strawberry.mutation(description="Follow the link that went to the new address. Both addresses are told.")
    async def confirm_email(
        self, info: Info, input: Annotated[ConfirmEmailInput, strawberry.argument(description="The link.")]
    ) -> ConfirmEmailResult:
        """Then it is changed."""
        email = await email_changes.confirm(info.context.actor, input.token)
        return EmailConfirmed(email=EmailAddress(email))

    @strawberry.mutation(
        description="Ask for another phone. A code to the new one comes next, and confirmPhone answers. Needs a sign-in of the last ten"
        " minutes."
    )
    async def change_phone(
        self, info: Info, input: Annotated[ChangePhoneInput, strawberry.argument(description="Password and phone.")]
    ) -> ChangePhoneResult:
        """First the password."""
        actor = info.context.actor
        return SecurityChallenge.of(await phone_changes.start(actor, input.password, input.phone))

    @strawberry.mutation(
        description="Answer with the code that came to the new phone. Every other session and every device ends; the old number is told."
    )
    async def confirm_phone(
        self, info: Info, input: Annotated[ConfirmPhoneInput, strawberry.argument(description="The code.")]
    ) -> ConfirmPhoneResult:
        """Then the code."""
        actor = info.context.actor
        return User.of(await phone_changes.confirm(actor, input.challenge_token, input.code), actor.signed_in())

    @strawberry.mutation(
        description="Take the phone away from a user who has lost it: the next sign-in proves another one, with the practice access code."
        " The owner gets a link that stops it. Administrators only, who signed in at most ten minutes ago; not for oneself, and not within 24"
        " hours after the address was corrected."
    )
    async def reset_phone(
        self, info: Info, input: Annotated[ResetPhoneInput, strawberry.argument(description="Whose.")]
    ) -> ResetPhoneResult:
        """A lost phone."""
        actor = info.context.actor
        member = actor.administrator()
        return User.of(await phone_changes.reset(actor, row_id("User", input.user_id)), member)
