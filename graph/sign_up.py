"""A practice signs up."""

from typing import Annotated

import strawberry

from domain import sign_up
from domain.sign_up import SignUpForm
from graph.context import Info
from graph.enrollment import Enrollment
from graph.errors import EmailInUse, InputInvalid, LimitReached, LinkExpired, LinkInvalid, TooManyAttempts
from graph.scalars import FROM_LINK, EmailAddress, PhoneNumber


@strawberry.input(description="Who signs up, and for which practice.")
class SignUpInput:
    """What the form has."""

    first_name: str = strawberry.field(description="First name of whoever will administer; at most 60 characters.")
    last_name: str = strawberry.field(
        description="Last name; at most 60 characters, and empty for somebody with one name."
    )
    email: EmailAddress = strawberry.field(description="Where the link goes; the address to sign in with.")
    phone: PhoneNumber = strawberry.field(description="The practice's contact number.")
    practice_name: str = strawberry.field(description="At most 120 characters.")
    specialty: str = strawberry.field(description="At most 80 characters, for example Family medicine.")
    time_zone: str | None = strawberry.field(
        default=None, description="IANA name, for example America/Chicago; America/New_York where left out."
    )


@strawberry.type(description="The same whether or not the address was known before; what to do next is in the e-mail.")
class CheckYourEmail:
    """A mail is on its way."""

    email: EmailAddress = strawberry.field(description="The address, as typed.")


@strawberry.input(description="The link of the sign-up's e-mail.")
class VerifyEmailInput:
    """The link's token."""

    token: str = strawberry.field(description=FROM_LINK)


SignUpResult = Annotated[
    CheckYourEmail | InputInvalid | LimitReached,
    strawberry.union("SignUpResult", description="What signUp answers."),
]
VerifyEmailResult = Annotated[
    Enrollment | LinkInvalid | LinkExpired | EmailInUse | TooManyAttempts,
    strawberry.union("VerifyEmailResult", description="What verifyEmail answers."),
]


@strawberry.type
class SignUpMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Sign a practice up. A link goes to the address; the practice exists once the password is set."
    )
    async def sign_up(
        self,
        info: Info,
        input: Annotated[SignUpInput, strawberry.argument(description="Who signs up, and for which practice.")],
    ) -> SignUpResult:
        """Step one of a practice."""
        form = SignUpForm(
            first_name=input.first_name,
            last_name=input.last_name,
            email=input.email,
            phone=input.phone,
            practice_name=input.practice_name,
            specialty=input.specialty,
            time_zone=input.time_zone,
        )
        return CheckYourEmail(email=EmailAddress(await sign_up.sign_up(info.context.actor, form)))

    @strawberry.mutation(
        description="Follow the link of the sign-up's e-mail. Following it twice leads to the same enrollment."
    )
    async def verify_email(
        self, info: Info, input: Annotated[VerifyEmailInput, strawberry.argument(description="The link's token.")]
    ) -> VerifyEmailResult:
        """Step two of a practice."""
        return Enrollment.of(await sign_up.verify_email(info.context.actor, input.token))
