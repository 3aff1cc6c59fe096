"""Scalars, enums and the types that several features answer with. Plain attributes: nothing is fetched while a type is resolved."""

import base64
import binascii
import enum
from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from domain.actors import Member
from domain.addresses import masked_phone
from domain.errors import NotFound, PasswordProblem
from domain.models.columns import (
    AccessLevel,
    DeliveryStatus,
    EnrollmentStep,
    SubscriptionStatus,
    UserStatus,
)
from domain.permissions import Permission, permissions_of
from domain.sessions import SignedIn as SignedInRecord
from domain.signed_in_places import DeviceRecord, SessionRecord
from domain.subscriptions import SubscriptionNoticeKind
from domain.users import DeliveryRecord, InvitationRecord, UserRecord
from graph.context import Info, Seen
from graph.enums import describe as _describe
from graph.login_settings_types import LoginSettings

EmailAddress = NewType("EmailAddress", str)
PhoneNumber = NewType("PhoneNumber", str)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise GraphQLError("A DateTime is written in ISO 8601, such as 2026-01-31T09:30:00Z.") from None
    if moment.tzinfo is None:
        raise GraphQLError("A DateTime needs an offset, such as Z or -05:00.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise GraphQLError("A DateTime lies in the years 1 to 9999 of UTC.") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise GraphQLError("A string is needed here.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime", description="ISO 8601 with an offset.", serialize=datetime.isoformat, parse_value=_moment
    ),
    EmailAddress: strawberry.scalar(
        name="EmailAddress",
        description="As typed; at most 254 characters. Compared without regard to case.",
        serialize=str,
        parse_value=_text,
    ),
    PhoneNumber: strawberry.scalar(
        name="PhoneNumber",
        description="E.164, for example +14155550123. Input may be typed with spaces and brackets, numbers of the United States without +1.",
        serialize=str,
        parse_value=_text,
    ),
}


@strawberry.enum(description="What has become of an invitation.")
class InvitationState(enum.Enum):
    """The states that a client sees; that one has expired is told from the clock."""

    PENDING = strawberry.enum_value("PENDING", description="Sent, and still to be taken up.")
    ACCEPTED = strawberry.enum_value("ACCEPTED", description="The person has finished setting up.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ran out before the person finished; resend it.")
    REVOKED = strawberry.enum_value("REVOKED", description="Taken back by an administrator.")


_describe(
    AccessLevel,
    "What a user may do in the practice's records.",
    ADMINISTRATOR="Everything, and answers for who has access.",
    PROVIDER="Sees patients, writes and signs charts.",
    CLINICAL_STAFF="Prepares visits and writes charts, without signing.",
    FRONT_DESK="Schedules and patients' contact data.",
    BILLING="Claims and payments.",
    READ_ONLY="Reads, and changes nothing.",
)
_describe(
    Permission,
    "A right in the practice's records. Access levels carry them; ask for the right, not for the level.",
    ADMINISTER_PRACTICE="Decide who has access, when and how; see the access code and the audit log.",
    READ_CHARTS="Read patients' charts.",
    WRITE_CHARTS="Write into charts and prepare visits.",
    SIGN_CHARTS="Sign charts, orders and prescriptions.",
    READ_SCHEDULE="See appointments.",
    MANAGE_SCHEDULE="Make and change appointments.",
    EDIT_PATIENT_DETAILS="Change patients' contact and insurance data.",
    READ_BILLING="See claims and payments.",
    MANAGE_BILLING="Work on claims and payments.",
)
_describe(
    UserStatus,
    "Where a user stands.",
    INVITED="Has not finished setting up.",
    ACTIVE="Can sign in.",
    INACTIVE="Is blocked.",
)
_describe(
    SubscriptionStatus,
    "What the practice's plan stands at.",
    TRIALING="In the trial.",
    ACTIVE="Paid.",
    PAST_DUE="A payment is late; work goes on for a while.",
    CANCELED="Canceled; work goes on to the end of the paid period.",
    EXPIRED="Over; staff cannot sign in.",
)
_describe(
    DeliveryStatus,
    "How far a message has got.",
    QUEUED="Waiting for its turn.",
    SENDING="Being handed over.",
    RETRYING="Put off after a fault that may pass.",
    SENT="Taken over by the receiving server or carrier.",
    DELIVERED="Confirmed as delivered.",
    BOUNCED="Refused by the receiving side.",
    FAILED="Given up.",
    CANCELED="Not needed any more.",
)
_describe(
    EnrollmentStep,
    "The next step of setting up an account.",
    SEND_PHONE_CODE="Call sendPhoneCode with a phone number.",
    VERIFY_PHONE="Call verifyPhone with the code that came.",
    SET_PASSWORD="Call setPassword.",  # noqa: S106 -- the name of a step
    DONE="The account is set up.",
)
_describe(
    SubscriptionNoticeKind,
    "What an administrator should know about the subscription.",
    TRIAL_ENDING="The trial ends within a week.",
    PAST_DUE="A payment is late; work goes on until endsAt.",
    CANCELED_ENDING="Canceled; work goes on until endsAt.",
    LAPSED="Over; staff cannot sign in.",
)
_describe(
    PasswordProblem,
    "Why a password is not taken.",
    TOO_SHORT="Shorter than minLength.",
    TOO_LONG="Longer than maxLength.",
    TOO_COMMON="Known from lists of common passwords, or easily guessed.",
    CONTAINS_OWN_NAME="Little more than the person's, the practice's or the product's own words.",
    SAME_AS_BEFORE="The one that was in use.",
)


def global_id(type_name: str, row_id: UUID) -> strawberry.ID:
    """An opaque id that is unique over all types."""
    return strawberry.ID(base64.urlsafe_b64encode(f"{type_name}:{row_id.hex}".encode()).decode().rstrip("="))


def split_id(value: str) -> tuple[str, UUID] | None:
    """The type and row that an id names; None when it is no id of ours."""
    try:
        name, _, row = (
            base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).decode().partition(":")
        )
        return name, UUID(hex=row)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def row_id(type_name: str, value: str) -> UUID:
    """The row that an id of this type names. Raises NotFound for every other id."""
    found = split_id(value)
    if found is None or found[0] != type_name:
        raise NotFound
    return found[1]


@strawberry.interface(description="Anything with an id of its own.")
class Node:
    """What `node` can answer with."""

    id: strawberry.ID = strawberry.field(description="Opaque, and unique over all types.")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """As in the Relay specification."""

    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether there are some before.")
    start_cursor: str | None = strawberry.field(description="The first edge's cursor.")
    end_cursor: str | None = strawberry.field(description="The last edge's cursor.")


@strawberry.type(description="How far a message has got.")
class Delivery:
    """A message's fate."""

    status: DeliveryStatus = strawberry.field(description="How far it has got.")
    attempts: int = strawberry.field(description="How often it was tried.")
    queued_at: datetime = strawberry.field(description="When it was asked for.")
    sent_at: datetime | None = strawberry.field(description="When the receiving server or carrier took it over.")
    problem: str | None = strawberry.field(description="A short reason that an administrator can act on.")

    @classmethod
    def of(cls, record: DeliveryRecord) -> "Delivery":
        """From the domain's record."""
        return cls(
            status=record.status,
            attempts=record.attempts,
            queued_at=record.queued_at,
            sent_at=record.sent_at,
            problem=record.problem,
        )


@strawberry.type(description="A place in the practice, offered to a person by e-mail.")
class Invitation(Node):
    """A user's latest invitation."""

    state: InvitationState = strawberry.field(description="What has become of it.")
    sent_at: datetime | None = strawberry.field(
        description="When the latest e-mail was taken over by the receiving server."
    )
    expires_at: datetime = strawberry.field(description="Until when the link is good.")
    can_resend: bool = strawberry.field(description="Whether `resend` makes sense: the person has not finished.")
    resendable_at: datetime | None = strawberry.field(
        description="When resend will next be accepted; null when it is now, or never."
    )
    delivery: Delivery = strawberry.field(description="How far the latest invitation e-mail has got.")

    @classmethod
    def of(cls, record: InvitationRecord) -> "Invitation":
        """From the domain's record."""
        return cls(
            id=global_id("Invitation", record.id),
            state=InvitationState(record.state),
            sent_at=record.sent_at,
            expires_at=record.expires_at,
            can_resend=record.can_resend,
            resendable_at=record.resendable_at,
            delivery=Delivery.of(record.delivery),
        )


@strawberry.type(description="A device on which a user proved the phone: it needs no code until its trust ends.")
class Device(Node):
    """A trusted device."""

    name: str = strawberry.field(description="What the client called it.")
    trusted_until: datetime | None = strawberry.field(description="Until when no code is asked for on it.")
    last_seen_at: datetime = strawberry.field(description="When it was last used to sign in.")
    current: bool = strawberry.field(description="Whether this request comes from it.")

    @classmethod
    def of(cls, record: DeviceRecord, viewer: Member) -> "Device":
        """From the domain's record."""
        return cls(
            id=global_id("Device", record.id),
            name=record.name,
            trusted_until=record.trusted_until,
            last_seen_at=record.last_seen_at,
            current=record.id == viewer.device_id,
        )


@strawberry.type(description="A user signed in somewhere.")
class Session(Node):
    """An open session."""

    device_name: str = strawberry.field(description="What the client called the device.")
    ip_address: str = strawberry.field(description="Where the sign-in came from.")
    created_at: datetime = strawberry.field(description="When it began.")
    last_used_at: datetime = strawberry.field(description="When it was last used, to the minute.")
    expires_at: datetime = strawberry.field(description="When it ends at the latest.")
    current: bool = strawberry.field(description="Whether this request belongs to it.")

    @classmethod
    def of(cls, record: SessionRecord, viewer: Member) -> "Session":
        """From the domain's record."""
        return cls(
            id=global_id("Session", record.id),
            device_name=record.device_name,
            ip_address=record.ip_address,
            created_at=record.created_at,
            last_used_at=record.last_used_at,
            expires_at=record.expires_at,
            current=record.id == viewer.session_id,
        )


@strawberry.type(description="A person in the practice.")
class User(Node):
    """A user, as far as whoever asks may see."""

    first_name: str = strawberry.field(description="First name.")
    last_name: str = strawberry.field(description="Last name.")
    email: EmailAddress = strawberry.field(description="The address that the person signs in with.")
    access_level: AccessLevel = strawberry.field(description="What the person may do in the practice's records.")
    permissions: list[Permission] = strawberry.field(
        description="The rights that the access level carries. Whether the person can use them at all is told by status."
    )
    status: UserStatus = strawberry.field(description="Where the person stands.")
    phone: str | None = strawberry.field(description="Masked for everyone but its owner.")
    phone_verified: bool = strawberry.field(description="Whether the person proved to hold the phone.")
    may_know_practice_access_code: bool = strawberry.field(
        description="Whether the person could see the current practice access code as an administrator and is none any more: rotate it."
        " False for every viewer who is no administrator."
    )
    invitation: Invitation | None = strawberry.field(
        description="The latest invitation. Administrators only, null for everyone else and for whoever signed the practice up."
    )
    last_sign_in_at: datetime | None = strawberry.field(description="When the person last signed in.")
    is_dormant: bool = strawberry.field(
        description="Whether the person could sign in and has not for 90 days; perhaps the account is of no more use."
    )
    created_at: datetime = strawberry.field(description="When the person was invited or signed the practice up.")
    seen: strawberry.Private[Seen]

    @strawberry.field(
        description="The settings in force for this user: the practice's, with this user's own laid over them. For everyone in the practice."
    )
    async def login_settings(self, info: Info) -> LoginSettings:
        """Read for all users of a request together."""
        return LoginSettings.of(await info.context.login_settings.load(self.seen))

    @strawberry.field(
        description="Devices that need no code. One's own, and any user's for an administrator; empty for everyone else."
    )
    async def devices(self, info: Info) -> list[Device]:
        """Read for all users of a request together."""
        return [Device.of(record, self.seen[0]) for record in await info.context.devices.load(self.seen)]

    @strawberry.field(description="Where the user is signed in, latest use first. As devices.")
    async def sessions(self, info: Info) -> list[Session]:
        """Read for all users of a request together."""
        return [Session.of(record, self.seen[0]) for record in await info.context.sessions.load(self.seen)]

    @classmethod
    def of(cls, record: UserRecord, viewer: Member) -> "User":
        """From the domain's record, as far as this member may see."""
        phone = record.phone
        if phone is not None and record.id != viewer.user_id:
            phone = masked_phone(phone)
        shown = record.invitation if viewer.is_administrator else None
        return cls(
            id=global_id("User", record.id),
            first_name=record.first_name,
            last_name=record.last_name,
            email=EmailAddress(record.email),
            access_level=record.access_level,
            permissions=list(permissions_of(record.access_level)),
            status=record.status,
            phone=phone,
            phone_verified=record.phone_verified,
            may_know_practice_access_code=record.may_know_access_code and viewer.is_administrator,
            invitation=Invitation.of(shown) if shown else None,
            last_sign_in_at=record.last_sign_in_at,
            is_dormant=record.is_dormant,
            created_at=record.created_at,
            seen=(viewer, record.id),
        )


@strawberry.type(
    description="Handed out once. Send sessionToken as `Authorization: Bearer …`; keep deviceToken on the device for later sign-ins."
)
class SignedIn:
    """A session that has just begun."""

    session_token: str = strawberry.field(description="Stands for the session until it ends.")
    device_token: str | None = strawberry.field(
        description="Give it to signIn next time, and no code is asked for. Replaced at each sign-in; null when the device is not trusted."
    )
    expires_at: datetime = strawberry.field(description="When the session ends at the latest.")
    user: User = strawberry.field(description="Who signed in.")

    @classmethod
    def of(cls, signed_in: SignedInRecord, user: UserRecord) -> "SignedIn":
        """From the domain's record and the user whose session it is."""
        return cls(
            session_token=signed_in.session_token,
            device_token=signed_in.device_token,
            expires_at=signed_in.expires_at,
            user=User.of(user, signed_in.member),
        )
