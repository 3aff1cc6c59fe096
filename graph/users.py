"""The users tile, and deactivation."""

from typing import Annotated

import strawberry

from domain import access_levels, address_release, deactivation, practice_access_codes, subscriptions, users
from domain.actors import Member
from domain.models.columns import AccessLevel, UserStatus
from domain.users import Filter
from graph import paging
from graph.context import Info
from graph.errors import (
    EmailInUse,
    InputInvalid,
    LastAdministrator,
    LimitReached,
    NotFound,
    SignInAgain,
    SubscriptionLapsed,
)
from graph.ids import row_id
from graph.practice_access_codes import PracticeAccessCode
from graph.subscriptions import SubscriptionNotice
from graph.types import PageInfo, User


@strawberry.input(description="Which users.")
class UserFilter:
    """All that are given have to hold."""

    status: list[UserStatus] | None = strawberry.field(default=None, description="Any of these; all where left out.")
    access_level: list[AccessLevel] | None = strawberry.field(
        default=None, description="Any of these; all where left out."
    )
    search: str | None = strawberry.field(
        default=None,
        description="Words in any order, each the start of a word in the names or of the e-mail address. Case, accents, apostrophes and hyphens make no difference.",
    )
    is_dormant: bool | None = strawberry.field(
        default=None, description="Only who could sign in and has not for 90 days, or only everybody else."
    )


@strawberry.type(description="A user in a list.")
class UserEdge:
    """As in the Relay specification."""

    cursor: str = strawberry.field(description="The user's place in the list.")
    node: User = strawberry.field(description="The user.")


@strawberry.type(description="Users by last and first name.")
class UserConnection:
    """As in the Relay specification."""

    edges: list[UserEdge] = strawberry.field(description="The users with their places.")
    nodes: list[User] = strawberry.field(description="The users alone.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    wanted: strawberry.Private[Filter]
    known_total: strawberry.Private[int | None]

    @strawberry.field(description="How many users the filter lets through.")
    async def total_count(self, info: Info) -> int:
        """Counted when it is asked for, unless the page has all of them."""
        if self.known_total is not None:
            return self.known_total
        return await users.total(info.context.actor, self.wanted)


@strawberry.type(description="The dashboard tile: who has access, who is still invited, who is inactive.")
class UsersTile:
    """Counts, code and list."""

    member: strawberry.Private[Member]

    @strawberry.field(description="Users who can sign in.")
    async def active_count(self, info: Info) -> int:
        """With the next two by one statement, when one of them is asked for."""
        return (await info.context.user_counts.load(self.member)).active

    @strawberry.field(description="Users who have not finished setting up.")
    async def invited_count(self, info: Info) -> int:
        """See `active_count`."""
        return (await info.context.user_counts.load(self.member)).invited

    @strawberry.field(description="Users who are blocked.")
    async def inactive_count(self, info: Info) -> int:
        """See `active_count`."""
        return (await info.context.user_counts.load(self.member)).inactive

    @strawberry.field(description="Active users who have not signed in for 90 days.")
    async def dormant_count(self) -> int:
        """By a statement of its own."""
        return await users.dormant(self.member)

    @strawberry.field(description="Administrators only; null for everyone else. Each look is audited.")
    async def practice_access_code(self, info: Info) -> PracticeAccessCode | None:
        """The code beside the list."""
        actor = info.context.actor
        if not actor.signed_in().is_administrator:
            return None
        return PracticeAccessCode.of(await practice_access_codes.current(actor))

    @strawberry.field(
        description="What an administrator should know about the subscription now; null for nothing, and for everyone else."
    )
    async def notice(self, info: Info) -> SubscriptionNotice | None:
        """As `PracticeSubscription.notice`, where it is seen."""
        record = await subscriptions.notice(info.context.actor)
        return SubscriptionNotice.of(record) if record else None

    @strawberry.field(
        description="Users by last and first name. At most 100 a page, 50 where neither first nor last is given."
    )
    async def users(
        self,
        info: Info,
        first: Annotated[
            int | None, strawberry.argument(description="How many from the beginning, or after a place.")
        ] = None,
        after: Annotated[str | None, strawberry.argument(description="A place: an edge's cursor.")] = None,
        last: Annotated[
            int | None, strawberry.argument(description="How many up to the end, or before a place.")
        ] = None,
        before: Annotated[str | None, strawberry.argument(description="A place: an edge's cursor.")] = None,
        filter: Annotated[
            UserFilter | None, strawberry.argument(description="Which users; all where left out.")
        ] = None,
    ) -> UserConnection:
        """The list."""
        size = paging.size(first, last)
        actor = info.context.actor
        member = actor.signed_in()
        wanted = _filter(filter)
        page = await users.page(
            actor,
            wanted,
            size=size,
            after=paging.place(after),
            before=paging.place(before),
            backwards=last is not None,
        )
        edges = [
            UserEdge(cursor=paging.cursor((record.sort_name, record.id)), node=User.of(record, member))
            for record in page.users
        ]
        return UserConnection(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=paging.page_info(
                [edge.cursor for edge in edges], has_previous=page.has_previous, has_next=page.has_next
            ),
            wanted=wanted,
            known_total=None if page.has_previous or page.has_next else len(edges),
        )


def _filter(given: UserFilter | None) -> Filter:
    if given is None:
        return Filter()
    return Filter(
        statuses=given.status or (),
        access_levels=given.access_level or (),
        search=given.search or "",
        is_dormant=given.is_dormant,
    )


@strawberry.input(description="Whom to block.")
class DeactivateInput:
    """Who, and why."""

    user_id: strawberry.ID = strawberry.field(description="The user.")
    reason: str | None = strawberry.field(default=None, description="For the trail; at most 500 characters.")
    release_address: bool = strawberry.field(
        default=False,
        description="Let go of the person's e-mail address too, as `releaseAddress` does; asks for a fresh sign-in.",
    )


@strawberry.input(description="Whose address to let go of.")
class ReleaseAddressInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="Somebody who was deactivated.")


@strawberry.input(description="Whom to let back in.")
class ReactivateInput:
    """Who."""

    user_id: strawberry.ID = strawberry.field(description="The user.")


@strawberry.input(description="Who is to have which access level.")
class ChangeAccessLevelInput:
    """Who, and what."""

    user_id: strawberry.ID = strawberry.field(description="The user.")
    access_level: AccessLevel = strawberry.field(description="What the person may do from now on.")


ReactivateResult = Annotated[
    User | NotFound | EmailInUse | LimitReached | SubscriptionLapsed | SignInAgain,
    strawberry.union("ReactivateResult", description="What reactivate answers."),
]
ChangeAccessLevelResult = Annotated[
    User | NotFound | LastAdministrator | SubscriptionLapsed | LimitReached | SignInAgain,
    strawberry.union("ChangeAccessLevelResult", description="What changeAccessLevel answers."),
]
DeactivateResult = Annotated[
    User | NotFound | LastAdministrator | InputInvalid | SignInAgain,
    strawberry.union("DeactivateResult", description="What deactivate answers."),
]
ReleaseAddressResult = Annotated[
    User | NotFound | InputInvalid | SignInAgain,
    strawberry.union("ReleaseAddressResult", description="What releaseAddress answers."),
]


@strawberry.type
class UserQuery:
    """Root fields."""

    @strawberry.field(description="The dashboard tile: who has access, who is still invited, who is inactive.")
    async def users_tile(self, info: Info) -> UsersTile:
        """The tile of the signed-in user's practice."""
        return UsersTile(member=info.context.actor.signed_in())


@strawberry.type
class UserMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Block a user at once: sessions, devices, codes and links end, and the invitations that they made and nobody accepted."
        " Recovery codes end too, for good."
        " Select endedInvitations to see whose those were; `resendInvitations` sends them again. Administrators only; with a fresh sign-in"
        " to let go of the address as well."
    )
    async def deactivate(
        self, info: Info, input: Annotated[DeactivateInput, strawberry.argument(description="Whom.")]
    ) -> DeactivateResult:
        """Out, now."""
        actor = info.context.actor
        member = actor.administrator()
        record = await deactivation.deactivate(
            actor, row_id("User", input.user_id), input.reason, release_address=input.release_address
        )
        return User.of(record, member)

    @strawberry.mutation(
        description="Let go of the e-mail address of somebody who was deactivated: another practice can invite it, this one can give it to"
        " somebody else, and its owner can sign up. Reactivating the person takes it again, unless it is in use by then. Administrators"
        " only, who signed in at most ten minutes ago."
    )
    async def release_address(
        self, info: Info, input: Annotated[ReleaseAddressInput, strawberry.argument(description="Whose.")]
    ) -> ReleaseAddressResult:
        """Free again."""
        actor = info.context.actor
        member = actor.administrator()
        return User.of(await address_release.release(actor, row_id("User", input.user_id)), member)

    @strawberry.mutation(
        description="Let a user back in. No old session, device or recovery code comes back: the next sign-in asks for a code from the phone,"
        " and renewRecoveryCodes makes new recovery codes. Someone who had not"
        " finished setting up is invited again. Administrators only."
    )
    async def reactivate(
        self, info: Info, input: Annotated[ReactivateInput, strawberry.argument(description="Whom.")]
    ) -> ReactivateResult:
        """In again."""
        actor = info.context.actor
        member = actor.administrator()
        return User.of(await access_levels.reactivate(actor, row_id("User", input.user_id)), member)

    @strawberry.mutation(
        description="Change what a user may do, from the next request on. Administrators only, who signed in at most ten minutes ago."
    )
    async def change_access_level(
        self, info: Info, input: Annotated[ChangeAccessLevelInput, strawberry.argument(description="Who, and what.")]
    ) -> ChangeAccessLevelResult:
        """More, or less."""
        actor = info.context.actor
        member = actor.administrator()
        return User.of(await access_levels.change(actor, row_id("User", input.user_id), input.access_level), member)
