"""The domain's enums, published with a description on each and on each value."""

import enum

import strawberry

from domain.errors import ChallengeProblem, PasswordProblem, RedeliveryProblem
from domain.models.columns import (
    AccessLevel,
    AccountChangeKind,
    Channel,
    DeliveryStatus,
    EnrollmentStep,
    PhoneChannel,
    PracticeAccessCodePolicy,
    SecurityCodePolicy,
    SubscriptionStatus,
    UserStatus,
    Weekday,
)
from domain.outbox import Kind
from domain.permissions import Permission
from domain.subscriptions import SubscriptionNoticeKind


def _describe(kind: type[enum.Enum], description: str, name: str | None = None, **values: str) -> None:
    """Publish an enum of the domain with a description on it and on each value; before any type has a field of it."""
    strawberry.enum(kind, name=name, description=description)
    definition = kind.__strawberry_definition__  # type: ignore[attr-defined]  # put there by strawberry.enum
    for value in definition.values:
        value.description = values[value.name]


@strawberry.enum(description="What has become of an invitation.")
class InvitationState(enum.Enum):
    """The states that a client sees; that one has expired is told from the clock."""

    PENDING = strawberry.enum_value("PENDING", description="Sent, and still to be taken up.")
    ACCEPTED = strawberry.enum_value("ACCEPTED", description="The person has finished setting up.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ran out before the person finished; resend it.")
    REVOKED = strawberry.enum_value("REVOKED", description="Taken back by an administrator.")
    DECLINED = strawberry.enum_value(
        "DECLINED", description="Declined by the person; resend it only if they ask for it."
    )
    ADDRESS_IN_USE = strawberry.enum_value(
        "ADDRESS_IN_USE",
        description="Ended because the address belongs to an account elsewhere by now; resend it to another address.",
    )
    INVITER_DEACTIVATED = strawberry.enum_value(
        "INVITER_DEACTIVATED", description="Ended because the administrator who sent it was deactivated; resend it."
    )


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
    Channel,
    "By which way a message goes.",
    EMAIL="As an e-mail.",
    SMS="As a text message.",
    VOICE="By a call that reads it out.",
)
_describe(
    Kind,
    "What a message is about.",
    name="MessageKind",
    VERIFY_EMAIL="Proves the address of whoever signs a practice up.",
    SIGN_UP_KNOWN="Tells whoever signs up with an address that is in use.",
    PRACTICE_ACCESS_CODE="The practice access code, to administrators.",
    INVITATION="An invitation.",
    SECURITY_CODE="A security code.",
    NOTICE="Tells a user what happened with their account.",
    PASSWORD_RESET="A link to a new password.",  # noqa: S106 -- the name of a kind
    EMAIL_CHANGE="Proves a user's new address.",
    EMAIL_CHANGED="Tells the address before that it is another now.",
    PHONE_NOTICE="Tells the number before that it is another now.",
    SUBSCRIPTION="What comes or came of the subscription, to administrators.",
    EMERGENCY_ACCESS="That the operator made somebody an administrator.",
    INVITATION_REMINDER="Reminds of an invitation that is about to end.",
    INVITATIONS_ENDING="Which invitations are about to end, to administrators.",
    INVITATION_PENDING="Leads an invited person on who tried to sign in or asked for a new password.",
    INVITATIONS_ENDED="Which invitations have ended without being accepted or taken back, and why, to administrators.",
    ADDRESS_RELEASED="That the practice let go of the address of somebody who was deactivated.",
    ACCOUNT_CHANGE="Tells a user that somebody else changed their address or phone, with a link that stops it.",
    ACCOUNT_CHANGE_TEXT="The same as a text to their phone.",
    ACCOUNT_CHANGE_STOPPED="That a user stopped such a change, to administrators.",
)
_describe(
    RedeliveryProblem,
    "Why a message is not sent again.",
    NOT_DEAD="It arrived, or is still on its way.",
    SENT_AGAIN="It was sent again before.",
    SECURITY_CODE="Codes live for minutes; whoever waits for one asks for another.",
    REPLACED="A newer message took its place.",
    ENDED="What it says is not good any more, or not wanted.",
    KEY_LOST="The server key that its link or code was made with is gone.",
)
_describe(
    AccountChangeKind,
    "What of an account somebody else than its owner changed.",
    EMAIL="The address.",
    PHONE="The phone: it was taken away.",
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
    ChallengeProblem,
    "Why a challenge cannot be answered.",
    UNKNOWN="There is no such challenge here.",
    USED="It was answered already.",
    EXPIRED="It took longer than the challenge was good for.",
    ENDED="Something else ended it, such as a newer challenge, another password or another phone.",
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
_describe(
    Channel,
    "How a message travels.",
    EMAIL="As an e-mail.",
    SMS="As a text message.",
    VOICE="By a call that reads it out.",
)
_describe(PhoneChannel, "How a security code travels.", SMS="As a text message.", VOICE="By a call that reads it out.")
_describe(
    SecurityCodePolicy,
    "When a code to the phone is asked for.",
    NEW_DEVICE="On devices that are not known.",
    EVERY_SIGN_IN="At every sign-in, on known devices too.",
)
_describe(
    PracticeAccessCodePolicy,
    "When the practice access code is asked for.",
    INVITATION="Only on joining.",
    NEW_DEVICE="On each new device too.",
)
_describe(Weekday, "A day of the week.", **{day.name: f"{day.name.capitalize()}." for day in Weekday})
