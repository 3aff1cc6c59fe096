"""Types that several features answer with. Plain attributes: nothing is fetched while a type is resolved."""

from datetime import datetime
from uuid import UUID

import strawberry

from domain import recovery_codes
from domain.actors import Member
from domain.addresses import masked_phone
from domain.deliveries import AttemptRecord, DeliveryRecord
from domain.models.columns import (
    AccessLevel,
    Channel,
    DeliveryStatus,
    InvitationEnd,
    UserStatus,
)
from domain.outbox import Kind
from domain.permissions import Permission, permissions_of
from domain.sessions import SignedIn as SignedInRecord
from domain.signed_in_places import DeviceRecord, SessionRecord
from domain.users import InvitationRecord, UserRecord
from graph.context import Info, Seen
from graph.enums import InvitationState
from graph.ids import global_id
from graph.login_settings_types import LoginSettings
from graph.scalars import EmailAddress


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


@strawberry.type(description="One try at a message.")
class DeliveryTry:
    """What became of one try."""

    number: int = strawberry.field(
        description="From 1. A try that another part was at fault for is not counted, and its number comes again."
    )
    started_at: datetime = strawberry.field(description="When.")
    finished_at: datetime | None = strawberry.field(
        description="When it was known what became of it; null while under way, and where a worker ended without a word."
    )
    outcome: DeliveryStatus | None = strawberry.field(
        description="What became of the message with it; null as finishedAt."
    )
    detail: str | None = strawberry.field(description="A short reason that an administrator can act on.")

    @classmethod
    def of(cls, record: AttemptRecord) -> "DeliveryTry":
        """From the domain's record."""
        return cls(
            number=record.number,
            started_at=record.started_at,
            finished_at=record.finished_at,
            outcome=record.outcome,
            detail=record.detail,
        )


@strawberry.type(
    description="A message to one person, and how far it has got. Never what it says. For administrators, each in its practice."
)
class Delivery(Node):
    """A message's fate."""

    kind: Kind | None = strawberry.field(
        description="What it is about; null for what only a newer version of the server knows."
    )
    channel: Channel = strawberry.field(description="By which way it goes.")
    recipient: str | None = strawberry.field(
        description="Where it went or goes: a user's address; of numbers, and of addresses that are not the user's, a part. Null where that"
        " is settled only when it is sent."
    )
    user_id: strawberry.ID | None = strawberry.field(description="The user whom it is for.")
    user_name: str | None = strawberry.field(description="Their name.")
    next_try_at: datetime | None = strawberry.field(
        description="When it is tried next, at the earliest; null once it has ended, and while it is under way."
    )
    redelivery_of: strawberry.ID | None = strawberry.field(
        description="The message that did not arrive and that this one was sent in place of, by `redeliver`."
    )
    status: DeliveryStatus = strawberry.field(description="How far it has got.")
    attempts: int = strawberry.field(description="How often it was tried.")
    queued_at: datetime = strawberry.field(description="When it was asked for.")
    sent_at: datetime | None = strawberry.field(description="When the receiving server or carrier took it over.")
    problem: str | None = strawberry.field(description="A short reason that an administrator can act on.")
    viewer: strawberry.Private[Member]
    row_id: strawberry.Private[UUID]

    @strawberry.field(description="Each try, the first one first.")
    async def tries(self, info: Info) -> list[DeliveryTry]:
        """Read for all messages of a request together."""
        found = await info.context.delivery_attempts.load((self.viewer, self.row_id))
        return [DeliveryTry.of(record) for record in found]

    @classmethod
    def of(cls, record: DeliveryRecord, viewer: Member) -> "Delivery":
        """From the domain's record, for an administrator."""
        return cls(
            id=global_id("Delivery", record.id),
            kind=Kind(record.kind) if record.kind in set(Kind) else None,
            channel=record.channel,
            recipient=record.recipient,
            user_id=global_id("User", record.user_id) if record.user_id else None,
            user_name=record.user_name,
            next_try_at=record.next_try_at,
            redelivery_of=global_id("Delivery", record.redelivery_of) if record.redelivery_of else None,
            viewer=viewer,
            row_id=record.id,
            status=record.status,
            attempts=record.attempts,
            queued_at=record.queued_at,
            sent_at=record.sent_at,
            problem=record.problem,
        )


_STATES = {
    InvitationEnd.DECLINED: InvitationState.DECLINED,
    InvitationEnd.UNKNOWN_PRACTICE: InvitationState.DECLINED,
    InvitationEnd.ADDRESS_IN_USE: InvitationState.ADDRESS_IN_USE,
    InvitationEnd.INVITER_DEACTIVATED: InvitationState.INVITER_DEACTIVATED,
}
_ENDED = {
    InvitationEnd.DECLINED: "The person declined. Ask them before you send another invitation.",
    InvitationEnd.UNKNOWN_PRACTICE: "The person who got the mail says that they do not know your practice. Check the address with the"
    " person, and put another one.",
    InvitationEnd.ADDRESS_IN_USE: "There is an account with this address by now. Ask the person for another address, and resend the"
    " invitation to that one.",
    InvitationEnd.INVITER_DEACTIVATED: "The administrator who sent it was deactivated. Resend it if the person is to join.",
}


@strawberry.type(description="A place in the practice, offered to a person by e-mail.")
class Invitation(Node):
    """A user's latest invitation."""

    state: InvitationState = strawberry.field(description="What has become of it.")
    sent_at: datetime | None = strawberry.field(
        description="When the latest e-mail was taken over by the receiving server."
    )
    ended_at: datetime | None = strawberry.field(
        description="When it ended without being accepted: taken back, declined, or for the reason that state names. Null otherwise."
    )
    problem: str | None = strawberry.field(
        description="Why it ended, where no administrator took it back, and what to do; to be shown as it is. Null otherwise."
    )
    expires_at: datetime = strawberry.field(description="Until when the link is good.")
    can_resend: bool = strawberry.field(description="Whether `resend` makes sense: the person has not finished.")
    resendable_at: datetime | None = strawberry.field(
        description="When resend will next be accepted; null when it is now, or never."
    )
    address_bounced_at: datetime | None = strawberry.field(
        description="When mail to the person's address came back or was called spam, as long as `resend` to it is refused for that"
        " (AddressBounced): ask for another address first. Null otherwise."
    )
    delivery: Delivery = strawberry.field(description="How far the latest invitation e-mail has got.")

    @classmethod
    def of(cls, record: InvitationRecord, viewer: Member) -> "Invitation":
        """From the domain's record, for an administrator."""
        return cls(
            id=global_id("Invitation", record.id),
            state=_STATES[record.end_reason] if record.end_reason else InvitationState(record.state),
            ended_at=record.ended_at,
            problem=_ENDED[record.end_reason] if record.end_reason else None,
            sent_at=record.sent_at,
            expires_at=record.expires_at,
            can_resend=record.can_resend,
            resendable_at=record.resendable_at,
            address_bounced_at=record.address_bounced_at,
            delivery=Delivery.of(record.delivery, viewer),
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
    address_released_at: datetime | None = strawberry.field(
        description="When the practice let go of the person's address; `email` is then for the record alone. Administrators only, null for"
        " everyone else, and while the address stands for this person."
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

    @strawberry.field(
        description="Whom this user had invited and whose invitations ended when this user was deactivated, until they are sent again:"
        " offer `resendInvitations`. At most 200 people. Administrators only, empty for everyone else."
    )
    async def ended_invitations(self, info: Info) -> list["User"]:
        """Read for all users of a request together."""
        viewer = self.seen[0]
        return [User.of(record, viewer) for record in (await info.context.ended_invitations.load(self.seen)).people]

    @strawberry.field(description="How many those of endedInvitations are, all of them.")
    async def ended_invitations_count(self, info: Info) -> int:
        """Read for all users of a request together."""
        return (await info.context.ended_invitations.load(self.seen)).total

    @strawberry.field(description="Where the user is signed in, latest use first. As devices.")
    async def sessions(self, info: Info) -> list[Session]:
        """Read for all users of a request together."""
        return [Session.of(record, self.seen[0]) for record in await info.context.sessions.load(self.seen)]

    @strawberry.field(
        description="How many of one's own recovery codes are left; null for everybody else. 0 also for whoever joined before there were"
        " any: renewRecoveryCodes makes ten."
    )
    async def recovery_codes_left(self) -> int | None:
        """Only for oneself, so one statement is enough."""
        viewer, user_id = self.seen
        return await recovery_codes.left(user_id) if viewer.user_id == user_id else None

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
            invitation=Invitation.of(shown, viewer) if shown else None,
            last_sign_in_at=record.last_sign_in_at,
            is_dormant=record.is_dormant,
            address_released_at=record.address_released_at if viewer.is_administrator else None,
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
        description="Give it to signIn next time: while the device is trusted no code is asked for, and wrong passwords of strangers lock nobody"
        " out on it at any time. Replaced at each sign-in; null when the device is not to be remembered."
    )
    expires_at: datetime = strawberry.field(description="When the session ends at the latest.")
    user: User = strawberry.field(description="Who signed in.")
    recovery_codes: list[str] | None = strawberry.field(
        description="After setPassword: ten codes, each of which answers a challenge once in place of a code from the phone. Shown this once;"
        " have the person keep them apart from the phone. Null after every other way of signing in."
    )

    @classmethod
    def of(cls, signed_in: SignedInRecord, user: UserRecord) -> "SignedIn":
        """From the domain's record and the user whose session it is."""
        return cls(
            session_token=signed_in.session_token,
            device_token=signed_in.device_token,
            expires_at=signed_in.expires_at,
            user=User.of(user, signed_in.member),
            recovery_codes=list(signed_in.recovery_codes) if signed_in.recovery_codes is not None else None,
        )
