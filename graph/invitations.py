"""An administrator invites, resends and revokes; the landing page of a link."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import invitations, inviting
from domain.errors import Refusal
from domain.inviting import Invitee
from domain.models.columns import AccessLevel
from graph.context import Info
from graph.errors import (
    AddressBounced,
    AlreadySetUp,
    EmailInUse,
    InputInvalid,
    LimitReached,
    NotFound,
    SignInAgain,
    SubscriptionLapsed,
    TooSoon,
    UserError,
    UserInactive,
)
from graph.ids import row_id
from graph.refusals import user_error
from graph.scalars import EmailAddress
from graph.types import User

ADDRESS_REPAIRED = "True where you know that the address takes mail again, though mail to it came back before. Not taken after a complaint."


@strawberry.type(description="What the landing page of an invitation link may show.")
class InvitationPreview:
    """Whose link it is."""

    practice_name: str = strawberry.field(description="Who invites.")
    first_name: str = strawberry.field(description="Who is invited.")
    email: str = strawberry.field(description="Masked.")
    expires_at: datetime = strawberry.field(description="Until when the link is good.")


@strawberry.input(description="One person to invite.")
class InviteeInput:
    """One row."""

    first_name: str = strawberry.field(description="At most 60 characters.")
    last_name: str = strawberry.field(description="At most 60 characters.")
    email: EmailAddress = strawberry.field(description="An address that nobody else uses.")
    access_level: AccessLevel = strawberry.field(description="What the person may do.")
    address_repaired: bool = strawberry.field(default=False, description=ADDRESS_REPAIRED)


@strawberry.input(description="The people to invite.")
class InviteInput:
    """Rows."""

    users: list[InviteeInput] = strawberry.field(description="1 to 200 people.")


@strawberry.type(description="What became of one row: exactly one of user and error.")
class InviteRow:
    """One row's result."""

    user: User | None = strawberry.field(description="The new user, whose invitation is on its way.")
    error: UserError | None = strawberry.field(description="Why nobody was invited.")


@strawberry.type(
    description="One row per invitee, in the order given; the good ones go out whatever becomes of the others."
)
class InviteReport:
    """All rows' results."""

    rows: list[InviteRow] = strawberry.field(description="In the order given.")
    invited_count: int = strawberry.field(description="How many were invited.")


@strawberry.input(description="Whose invitation to send again.")
class ResendInput:
    """Who, and where to."""

    user_id: strawberry.ID = strawberry.field(description="The invited user.")
    email: EmailAddress | None = strawberry.field(
        default=None, description="Puts a mistyped address right before sending again."
    )
    address_repaired: bool = strawberry.field(default=False, description=ADDRESS_REPAIRED)


@strawberry.input(description="Whose invitation to take back.")
class RevokeInvitationInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="The invited user.")


@strawberry.type(description="The invitation was taken back: its link is dead, and the address is free.")
class InvitationRevoked:
    """Taken back."""

    user_id: strawberry.ID = strawberry.field(description="Who is no longer invited.")


InviteResult = Annotated[
    InviteReport | InputInvalid | LimitReached | SubscriptionLapsed | SignInAgain,
    strawberry.union("InviteResult", description="What invite answers."),
]
ResendResult = Annotated[
    User
    | NotFound
    | EmailInUse
    | AddressBounced
    | InputInvalid
    | TooSoon
    | LimitReached
    | SubscriptionLapsed
    | SignInAgain
    | AlreadySetUp
    | UserInactive,
    strawberry.union("ResendResult", description="What resend answers."),
]
RevokeInvitationResult = Annotated[
    InvitationRevoked | NotFound | AlreadySetUp | UserInactive,
    strawberry.union("RevokeInvitationResult", description="What revokeInvitation answers."),
]


@strawberry.type
class InvitationQuery:
    """Root fields."""

    @strawberry.field(
        description="What the landing page of an invitation link may show. Public; spends nothing; null when the link is not, or no"
        " longer, good."
    )
    async def invitation(
        self, token: Annotated[str, strawberry.argument(description="What stands behind #token= in the link.")]
    ) -> InvitationPreview | None:
        """Whose link it is."""
        found = await invitations.preview(token)
        if found is None:
            return None
        return InvitationPreview(
            practice_name=found.practice_name,
            first_name=found.first_name,
            email=found.email,
            expires_at=found.expires_at,
        )


@strawberry.type
class InvitationMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Invite people by e-mail. Administrators only. Good rows go out whatever becomes of the others. With an administrator"
        " among them, the sign-in must be fresh."
    )
    async def invite(
        self, info: Info, input: Annotated[InviteInput, strawberry.argument(description="The people.")]
    ) -> InviteResult:
        """One to two hundred at once."""
        invitees = [
            Invitee(
                first_name=row.first_name,
                last_name=row.last_name,
                email=row.email,
                access_level=row.access_level,
                address_repaired=row.address_repaired,
            )
            for row in input.users
        ]
        results = await inviting.invite(info.context.actor, invitees)
        member = info.context.actor.administrator()
        rows = [
            InviteRow(user=None, error=user_error(result, member))
            if isinstance(result, Refusal)
            else InviteRow(user=User.of(result, member), error=None)
            for result in results
        ]
        return InviteReport(rows=rows, invited_count=sum(row.user is not None for row in rows))

    @strawberry.mutation(
        description="Mail a fresh link to someone who has not finished, also when the old one has run out; the old link dies."
        " Administrators only; with a fresh sign-in for the corrected address of an administrator."
    )
    async def resend(
        self, info: Info, input: Annotated[ResendInput, strawberry.argument(description="Whose invitation.")]
    ) -> ResendResult:
        """Again."""
        actor = info.context.actor
        member = actor.administrator()
        record = await invitations.resend(
            actor, row_id("User", input.user_id), input.email, address_repaired=input.address_repaired
        )
        return User.of(record, member)

    @strawberry.mutation(description="Take back an invitation that nobody has finished. Administrators only.")
    async def revoke_invitation(
        self, info: Info, input: Annotated[RevokeInvitationInput, strawberry.argument(description="Whose invitation.")]
    ) -> RevokeInvitationResult:
        """Not after all."""
        actor = info.context.actor
        actor.administrator()
        await invitations.revoke(actor, row_id("User", input.user_id))
        return InvitationRevoked(user_id=input.user_id)
