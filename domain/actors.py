"""Who is asking. Every public domain function takes an `Actor` first; who may do what is settled here and in the features."""

from dataclasses import dataclass, replace
from uuid import UUID

from domain import database, names
from domain.errors import (
    Forbidden,
    NetworkNotAllowed,
    OutsideAllowedHours,
    ShutOut,
    SignInAgain,
    SubscriptionLapsed,
    Unauthenticated,
)
from domain.models.columns import AccessLevel, SubscriptionStatus
from domain.permissions import Permission, permissions_of

MAX_LOGIN_LENGTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A signed-in user as the database had them at the beginning of this request.

    is_fresh: the sign-in is at most ten minutes old; sensitive acts ask for that.
    """

    user_id: UUID
    practice_id: UUID
    session_id: UUID
    device_id: UUID | None
    first_name: str
    last_name: str
    access_level: AccessLevel
    subscription_status: SubscriptionStatus
    access_allowed: bool
    is_fresh: bool

    @property
    def name(self) -> str:
        """First and last name."""
        return names.full_name(self.first_name, self.last_name)

    @property
    def is_administrator(self) -> bool:
        """Whether this user answers for the practice's staff."""
        return Permission.ADMINISTER_PRACTICE in permissions_of(self.access_level)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOut:
    """A member whose session is good and who may not use it now. because: why, as it would be told at sign-in."""

    member: Member
    because: SubscriptionLapsed | OutsideAllowedHours | NetworkNotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Whoever sent the request. member: None when nobody is signed in. ip_address: of the client, not of a proxy.

    kept_out: who it would be, were it not for the subscription, the hour or the network. name: what the trail calls an actor who is
    nobody's user. is_operator: works on the server itself, or is the payment provider's word; no request ever is.
    """

    ip_address: str
    member: Member | None = None
    kept_out: KeptOut | None = None
    name: str = "somebody not signed in"
    is_operator: bool = False

    def signed_in(self) -> Member:
        """The member. Raises Unauthenticated, or of its kind ShutOut."""
        if self.kept_out is not None:
            raise ShutOut(self.kept_out.because)
        if self.member is None:
            raise Unauthenticated
        return self.member

    def freshly_signed_in(self) -> Member:
        """The member, who signed in at most ten minutes ago. Raises Unauthenticated, SignInAgain."""
        member = self.signed_in()
        if not member.is_fresh:
            raise SignInAgain
        return member

    def administrator(self) -> Member:
        """The member, who is an administrator. Raises Unauthenticated, Forbidden."""
        member = self.signed_in()
        if not member.is_administrator:
            raise Forbidden
        return member


SCHEDULE = Actor(ip_address="", name="the schedule")
MAIL_SYSTEM = Actor(ip_address="", name="the mail system")
# In the log of a practice that loses an address: nobody there learns who has it now, or where.
ADDRESS_HOLDER = Actor(ip_address="", name="somebody with the same address")


def operator(login: str) -> Actor:
    """Somebody who runs the product and acts on its server, by their login there."""
    shown = "".join(filter(str.isprintable, login))[:MAX_LOGIN_LENGTH] or "unknown"
    return Actor(ip_address="", name=f"operator {shown}", is_operator=True)


def require_operator(actor: Actor) -> None:
    """Raises Forbidden for everybody who comes by way of the API."""
    if not actor.is_operator:
        raise Forbidden


async def still_signed_in(actor: Actor) -> Member:
    """As `Actor.signed_in`, read again and held to the end of the transaction under way.

    An act that began before its actor was deactivated, demoted or signed out does not survive it. The lock is shared: acts do not
    wait for each other, only deactivation waits for them, or they for it. Raises Unauthenticated.
    """
    member = actor.signed_in()
    row = await database.fetch_one(
        "SELECT u.access_level FROM users u JOIN sessions s ON s.user_id = u.id"
        " WHERE u.id = $1 AND u.status = 'ACTIVE' AND s.id = $2 AND s.ended_at IS NULL FOR SHARE OF u",
        member.user_id,
        member.session_id,
    )
    if row is None:
        raise Unauthenticated
    return replace(member, access_level=AccessLevel(row["access_level"]))


async def still_administrator(actor: Actor) -> Member:
    """As `still_signed_in`, for an administrator. Raises Unauthenticated, Forbidden."""
    actor.administrator()
    member = await still_signed_in(actor)
    if not member.is_administrator:
        raise Forbidden
    return member


def require_subscription(member: Member) -> None:
    """Raises SubscriptionLapsed when the practice's trial or subscription is over."""
    if not member.access_allowed:
        raise SubscriptionLapsed(member.subscription_status)
