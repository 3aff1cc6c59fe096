"""Kinds of columns that several tables share, and the closed sets of values in them.

Migrations import these names: keep them importable.
"""

import os
import time
import uuid
from enum import StrEnum
from typing import Any

from tortoise import fields

MAX_NAME_LENGTH = 60
MAX_EMAIL_LENGTH = 254
MAX_E164_LENGTH = 16
NONCE_BYTES = 16
KEY_ID_LENGTH = 8
MAX_DEVICE_NAME_LENGTH = 100


class SubscriptionStatus(StrEnum):
    """What the practice's plan stands at."""

    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class PracticeNoticeKind(StrEnum):
    """What the administrators are told about the subscription, once each."""

    TRIAL_ENDS_IN_7_DAYS = "TRIAL_ENDS_IN_7_DAYS"
    TRIAL_ENDS_IN_3_DAYS = "TRIAL_ENDS_IN_3_DAYS"
    TRIAL_ENDS_IN_1_DAY = "TRIAL_ENDS_IN_1_DAY"
    PAST_DUE = "PAST_DUE"
    LAPSED = "LAPSED"


class AccessLevel(StrEnum):
    """What a user may do in the practice's records."""

    ADMINISTRATOR = "ADMINISTRATOR"
    PROVIDER = "PROVIDER"
    CLINICAL_STAFF = "CLINICAL_STAFF"
    FRONT_DESK = "FRONT_DESK"
    BILLING = "BILLING"
    READ_ONLY = "READ_ONLY"


class UserStatus(StrEnum):
    """INVITED: has not finished setting up. ACTIVE: can sign in. INACTIVE: blocked."""

    INVITED = "INVITED"
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class InvitationState(StrEnum):
    """What the row says; that a PENDING one has expired is told by its `expires_at` alone."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REVOKED = "REVOKED"


class InvitationEnd(StrEnum):
    """Why an invitation that nobody accepted is REVOKED, where no administrator took it back.

    DECLINED, UNKNOWN_PRACTICE: the invited person said no, or that they do not know the practice. ADDRESS_IN_USE: somebody set up an
    account with the address. INVITER_DEACTIVATED: the administrator who sent it was deactivated.
    """

    DECLINED = "DECLINED"
    UNKNOWN_PRACTICE = "UNKNOWN_PRACTICE"
    ADDRESS_IN_USE = "ADDRESS_IN_USE"
    INVITER_DEACTIVATED = "INVITER_DEACTIVATED"


class EnrollmentStep(StrEnum):
    """What has to be done next by someone who is setting up an account."""

    SEND_PHONE_CODE = "SEND_PHONE_CODE"
    VERIFY_PHONE = "VERIFY_PHONE"
    SET_PASSWORD = "SET_PASSWORD"  # noqa: S105 -- the name of a step
    DONE = "DONE"


class PhoneChannel(StrEnum):
    """How a security code travels."""

    SMS = "SMS"
    VOICE = "VOICE"


class SecurityCodePolicy(StrEnum):
    """When a code to the phone is asked for."""

    NEW_DEVICE = "NEW_DEVICE"
    EVERY_SIGN_IN = "EVERY_SIGN_IN"


class PracticeAccessCodePolicy(StrEnum):
    """When the practice access code is asked for: only on joining, or on each new device too."""

    INVITATION = "INVITATION"
    NEW_DEVICE = "NEW_DEVICE"


class Weekday(StrEnum):
    """Days in the order of the week."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class ChallengePurpose(StrEnum):
    """What goes on once a challenge is answered."""

    SIGN_IN = "SIGN_IN"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105 -- the name of a purpose
    RENEWAL = "RENEWAL"
    EMAIL_CHANGE = "EMAIL_CHANGE"
    PHONE_CHANGE = "PHONE_CHANGE"


class AccountChangeKind(StrEnum):
    """What of an account somebody else than its owner changed."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"


class Crowd(StrEnum):
    """With whom the one who asks for a code shares what codes may cost: with strangers, practices that pay, or all proved phones."""

    STRANGERS = "STRANGERS"
    CUSTOMERS = "CUSTOMERS"
    STAFF = "STAFF"


class Channel(StrEnum):
    """How a delivery travels."""

    EMAIL = "EMAIL"
    SMS = "SMS"
    VOICE = "VOICE"


class DeliveryStatus(StrEnum):
    """QUEUED, RETRYING and SENDING are on their way; the others are the end."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    RETRYING = "RETRYING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    BOUNCED = "BOUNCED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


def uuid7() -> uuid.UUID:
    """A time-ordered random id (RFC 9562 5.7), so that new rows land at the end of their index."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    number = (
        (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    )
    return uuid.UUID(int=number)


def new_nonce() -> bytes:
    """128 random bits that a row's secrets are derived from, together with a server key."""
    return os.urandom(NONCE_BYTES)


def id_column() -> Any:
    """The primary key of a table whose rows have ids of their own."""
    return fields.UUIDField(primary_key=True, default=uuid7)


def key_id_column() -> Any:
    """Which key of the ring a row's secrets are derived with."""
    return fields.CharField(max_length=KEY_ID_LENGTH)
