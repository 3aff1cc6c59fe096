"""An administrator invites, resends and revokes; the landing page of a link."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from domain import declining, invitations, inviting
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
    LinkInvalid,
    NotFound,
    SignInAgain,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
    UserError,
    UserInactive,
)
from graph.ids import row_id, split_id
from graph.refusals import user_error
from graph.scalars import FROM_LINK, EmailAddress
from graph.types import User

NO_USER = UUID(int=0)
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
    last_name: str = strawberry.field(description="At most 60 characters; empty for somebody with one name.")
    email: EmailAddress = strawberry.field(
        description="An address that no account has, and nobody invited in the practice."
    )
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


@strawberry.input(description="Whose invitations to send again.")
class ResendInvitationsInput:
    """Who."""

    user_ids: list[strawberry.ID] = strawberry.field(description="1 to 200 invited users.")


@strawberry.type(description="What became of one of the invitations: exactly one of user and error.")
class ResendRow:
    """One result."""

    user_id: strawberry.ID = strawberry.field(description="Whose invitation it is about.")
    user: User | None = strawberry.field(description="The user, to whom a fresh link is on its way.")
    error: UserError | None = strawberry.field(description="Why nothing was sent.")


@strawberry.type(description="One row per user, in the order given; each is sent whatever becomes of the others.")
class ResendReport:
    """All results."""

    rows: list[ResendRow] = strawberry.field(description="In the order given.")
    resent_count: int = strawberry.field(description="How many were sent again.")


@strawberry.input(description="Which invitation to decline, and whether the practice is known.")
class DeclineInvitationInput:
    """The link's token."""

    token: str = strawberry.field(description=FROM_LINK)
    unknown_practice: bool = strawberry.field(
        default=False,
        description="The person does not know the practice: it can mail nothing more to this address, and the operator is told.",
    )


@strawberry.type(description="The invitation is declined; its link is dead.")
class InvitationDeclined:
    """What stands."""

    practice_name: str = strawberry.field(description="Whose invitation it was.")
    unknown_practice: bool = strawberry.field(
        description="Whether it stands that the person does not know the practice."
    )


@strawberry.input(description="Whose invitation to take back.")
class RevokeInvitationInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="The invited user.")


@strawberry.type(description="The invitation was taken back: its link is dead, and the person is gone from the tile.")
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

ResendInvitationsResult = Annotated[
    ResendReport | InputInvalid | SubscriptionLapsed,
    strawberry.union("ResendInvitationsResult", description="What resendInvitations answers."),
]
DeclineInvitationResult = Annotated[
    InvitationDeclined | LinkInvalid | TooManyAttempts,
    strawberry.union("DeclineInvitationResult", description="What declineInvitation answers."),
]


def _row_id(user_id: str) -> UUID:
    """The row of one user among many; of no user where the id is none, so that the others are served."""
    found = split_id(user_id)
    return found[1] if found is not None and found[0] == "User" else NO_USER


@strawberry.type
class InvitationQuery:
    """Root fields."""

    @strawberry.field(
        description="What the landing page of an invitation link may show. Public; spends nothing; null when the link is not, or no"
        " longer, good."
    )
    async def invitation(
        self, info: Info, token: Annotated[str, strawberry.argument(description=FROM_LINK)]
    ) -> InvitationPreview | None:
        """Whose link it is."""
        found = await invitations.preview(info.context.actor, token)
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
        description="Mail a fresh link to someone who has not finished, also when the old one has run out, was declined or ended for another"
        " reason; the old link dies. Administrators only; with a fresh sign-in for the corrected address of an administrator, and for an"
        " administrator's invitation that had ended."
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

    @strawberry.mutation(description="Send several invitations again, each as `resend` does. Administrators only.")
    async def resend_invitations(
        self, info: Info, input: Annotated[ResendInvitationsInput, strawberry.argument(description="Whose.")]
    ) -> ResendInvitationsResult:
        """One to two hundred at once."""
        actor = info.context.actor
        member = actor.administrator()
        results = await invitations.resend_all(actor, [_row_id(user_id) for user_id in input.user_ids])
        rows = [
            ResendRow(user_id=user_id, user=None, error=user_error(result, member))
            if isinstance(result, Refusal)
            else ResendRow(user_id=user_id, user=User.of(result, member), error=None)
            for user_id, result in zip(input.user_ids, results, strict=True)
        ]
        return ResendReport(rows=rows, resent_count=sum(row.user is not None for row in rows))

    @strawberry.mutation(
        description="Decline an invitation, with its link alone. Declining it again answers what stands. For the page that a button in the"
        " invitation leads to; never call it because the page was opened."
    )
    async def decline_invitation(
        self, info: Info, input: Annotated[DeclineInvitationInput, strawberry.argument(description="Which.")]
    ) -> DeclineInvitationResult:
        """No, thank you."""
        declined = await declining.decline(info.context.actor, input.token, unknown_practice=input.unknown_practice)
        return InvitationDeclined(practice_name=declined.practice_name, unknown_practice=declined.unknown_practice)

    @strawberry.mutation(
        description="Take back an invitation that nobody has finished, whether or not it is still open. Administrators only."
    )
    async def revoke_invitation(
        self, info: Info, input: Annotated[RevokeInvitationInput, strawberry.argument(description="Whose invitation.")]
    ) -> RevokeInvitationResult:
        """Not after all."""
        actor = info.context.actor
        actor.administrator()
        await invitations.revoke(actor, row_id("User", input.user_id))
        return InvitationRevoked(user_id=input.user_id)
