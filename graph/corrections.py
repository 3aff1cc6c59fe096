"""An administrator corrects a name or an address; the owner stops what others changed."""

from typing import Annotated

import strawberry

from domain import corrections, stopped_changes
from domain.models.columns import AccountChangeKind
from graph.context import Info
from graph.errors import (
    AddressBounced,
    ChangedRecently,
    EmailInUse,
    InputInvalid,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NotFound,
    SignInAgain,
    SubscriptionLapsed,
    TooManyAttempts,
)
from graph.ids import row_id
from graph.invitations import ADDRESS_REPAIRED
from graph.scalars import FROM_LINK, EmailAddress
from graph.types import User


@strawberry.input(description="Whose name it is, and what it should be.")
class CorrectUserNameInput:
    """Who, and what."""

    user_id: strawberry.ID = strawberry.field(description="The user.")
    first_name: str = strawberry.field(description="First name.")
    last_name: str = strawberry.field(description="Last name.")


@strawberry.input(description="Whose address it is, and what it should be.")
class CorrectUserEmailInput:
    """Who, and what."""

    user_id: strawberry.ID = strawberry.field(description="The user.")
    email: EmailAddress = strawberry.field(description="The address that the person has.")
    address_repaired: bool = strawberry.field(default=False, description=ADDRESS_REPAIRED)


@strawberry.input(description="The link that came by e-mail or text.")
class StopAccountChangeInput:
    """The link."""

    token: str = strawberry.field(description=FROM_LINK)


@strawberry.type(
    description="The change was stopped: what was there before is there again, and every session has ended."
)
class AccountChangeStopped:
    """As before."""

    change: AccountChangeKind = strawberry.field(description="What had been changed.")


CorrectUserNameResult = Annotated[
    User | NotFound | InputInvalid | SignInAgain,
    strawberry.union("CorrectUserNameResult", description="What correctUserName answers."),
]
CorrectUserEmailResult = Annotated[
    User
    | NotFound
    | AddressBounced
    | EmailInUse
    | InputInvalid
    | ChangedRecently
    | LimitReached
    | SignInAgain
    | SubscriptionLapsed,
    strawberry.union("CorrectUserEmailResult", description="What correctUserEmail answers."),
]
StopAccountChangeResult = Annotated[
    AccountChangeStopped | LinkInvalid | LinkExpired | EmailInUse | TooManyAttempts,
    strawberry.union("StopAccountChangeResult", description="What stopAccountChange answers."),
]


@strawberry.type
class CorrectionMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Correct the name of a user, who is told by e-mail. Administrators only, who signed in at most ten minutes ago."
    )
    async def correct_user_name(
        self, info: Info, input: Annotated[CorrectUserNameInput, strawberry.argument(description="Who, and what.")]
    ) -> CorrectUserNameResult:
        """As people are called."""
        actor = info.context.actor
        member = actor.administrator()
        user_id = row_id("User", input.user_id)
        return User.of(await corrections.correct_name(actor, user_id, input.first_name, input.last_name), member)

    @strawberry.mutation(
        description="Correct the address of an active user, who has lost the mailbox or never had it. A link goes to the new address; it is the"
        " person's once that link was followed (confirmEmail). The present address and the phone are told, and get a link that stops it, until 24"
        " hours after the change. The same again, after a minute and while that link waits, mails it once more. Administrators only, who signed in at most ten minutes ago; not for"
        " oneself, and not within 24 hours after the phone was taken away."
    )
    async def correct_user_email(
        self, info: Info, input: Annotated[CorrectUserEmailInput, strawberry.argument(description="Who, and what.")]
    ) -> CorrectUserEmailResult:
        """For a mailbox that is closed."""
        actor = info.context.actor
        member = actor.administrator()
        user_id = row_id("User", input.user_id)
        corrected = await corrections.correct_email(
            actor, user_id, input.email, address_repaired=input.address_repaired
        )
        return User.of(corrected.user, member)

    @strawberry.mutation(
        description="Stop a change that somebody else made to one's address or phone, with the link that came by e-mail or text. What was"
        " there before comes back, every session ends, and the administrators are told. EmailInUse: another account has the former address; the"
        " present one stays, and all the rest is done. Public; doing it again changes nothing."
    )
    async def stop_account_change(
        self, info: Info, input: Annotated[StopAccountChangeInput, strawberry.argument(description="The link.")]
    ) -> StopAccountChangeResult:
        """Not me."""
        return AccountChangeStopped(change=await stopped_changes.stop(info.context.actor, input.token))
