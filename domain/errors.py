"""What can be refused, as data. The words for people stand in `graph/errors.py`."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from domain.models.columns import (
    AccountChangeKind,
    ChallengePurpose,
    EnrollmentStep,
    PhoneChannel,
    SubscriptionStatus,
)

if TYPE_CHECKING:
    from domain.users import UserRecord


class Refusal(Exception):
    """Something a caller asked for and cannot have. One class for each thing that a caller may do differently."""


class Unauthenticated(Refusal):
    """Nobody is signed in, and this needs somebody."""


class Forbidden(Refusal):
    """The signed-in user may not do this."""


@dataclass
class Busy(Refusal):
    """There is no room for this now. retry_at: when to try again. allowance: what was used up; None where the server is at its limit."""

    retry_at: datetime
    allowance: "Allowance | None" = None


@dataclass
class KeyUnknown(Busy):
    """A row names a server key that this process lacks, so nothing of it can be made or compared here. Another process may have the key.

    key_id: which one. Whoever counted a guess for the comparison gives it back.
    """

    key_id: str = ""


@dataclass
class InputProblem:
    """One thing wrong with the input. path: into the input, such as ("users", "3", "email")."""

    path: tuple[str, ...]
    message: str


@dataclass
class InputInvalid(Refusal):
    """The input cannot be what was meant; nothing was done."""

    problems: list[InputProblem]


class NotFound(Refusal):
    """There is no such thing in the caller's practice."""


@dataclass
class EmailInUse(Refusal):
    """An account has the address, or somebody invited in the caller's own practice.

    is_own_invitation, is_own_user: it is an invitation, or somebody who has set up an account, of the caller's own practice.
    is_own_address: the caller proved to own the address, so it is their own account.
    """

    email: str
    is_own_invitation: bool = False
    is_own_address: bool = False
    is_own_user: bool = False


@dataclass
class AddressBounced(Refusal):
    """Mail from this practice to the address came back, or was called spam. stands_until: None for a complaint. reason: a sentence."""

    email: str
    reason: str
    is_complaint: bool
    bounced_at: datetime
    stands_until: datetime | None


@dataclass
class UserInactive(Refusal):
    """The person was deactivated in the caller's practice."""

    user: "UserRecord"


@dataclass
class AlreadySetUp(Refusal):
    """The person has set up an account in the caller's practice, so there is no open invitation."""

    user: "UserRecord"


@dataclass
class NotSetUpYet(Refusal):
    """The person is invited to the caller's practice and has not set up an account, so there is no password and no phone."""

    user: "UserRecord"


class LinkInvalid(Refusal):
    """The link was never good, or was replaced, revoked or used."""


class LinkExpired(Refusal):
    """The link was good once."""


@dataclass
class PracticeAccessCodeIncorrect(Refusal):
    """The guess was counted."""

    attempts_left: int


class EnrollmentInvalid(Refusal):
    """The enrollment token is not, or no longer, good."""


class SignedInAlready(Refusal):
    """Somebody is signed in on this device, and the link is for a person who cannot be: nobody joins as somebody else unawares."""


class ChallengeProblem(StrEnum):
    """Why a challenge cannot be answered."""

    UNKNOWN = "UNKNOWN"
    USED = "USED"
    EXPIRED = "EXPIRED"
    ENDED = "ENDED"


@dataclass
class ChallengeInvalid(Refusal):
    """The challenge token is not, or no longer, good. purpose: what the challenge was for; None for a token that is unknown here."""

    problem: ChallengeProblem = ChallengeProblem.UNKNOWN
    purpose: ChallengePurpose | None = None


@dataclass
class StepOutOfOrder(Refusal):
    """Another step comes first."""

    next_step: EnrollmentStep


@dataclass
class PhoneNumberUnusable(Refusal):
    """Codes cannot be sent to this number. reason: a clause such as "is a premium-rate number". is_proved: it was proved some time ago.

    country: the number's, where codes do not go there; two letters.
    """

    reason: str
    is_proved: bool = False
    country: str | None = None


@dataclass
class ChannelNotAllowed(Refusal):
    """The practice does not use this channel. channels: those it does."""

    channels: list[PhoneChannel]


@dataclass
class CodeIncorrect(Refusal):
    """The guess was counted."""

    attempts_left: int


class CodeExpired(Refusal):
    """No code is good any more: it ran out, or was used, or none was sent."""


@dataclass
class TooManyAttempts(Refusal):
    """Guessed too often. retry_at: None when a new link or code is needed instead of waiting."""

    retry_at: datetime | None = None


@dataclass
class TooSoon(Refusal):
    """Asked for again before the cool-down was over."""

    retry_at: datetime


class Allowance(StrEnum):
    """What a budget was for, so that the message can say it."""

    SIGN_UPS = "SIGN_UPS"
    INVITATIONS = "INVITATIONS"
    RESENDS = "RESENDS"
    INVITATION_MAILS = "INVITATION_MAILS"
    CORRECTIONS = "CORRECTIONS"
    CODES = "CODES"
    WRONG_CODES = "WRONG_CODES"
    NEW_PHONES = "NEW_PHONES"
    SIGN_INS = "SIGN_INS"
    RESETS = "RESETS"
    LINK_CODES = "LINK_CODES"
    EMAIL_CHANGES = "EMAIL_CHANGES"
    AUDIT_VERIFICATIONS = "AUDIT_VERIFICATIONS"
    REDELIVERIES = "REDELIVERIES"
    RECOVERY_CODES = "RECOVERY_CODES"


@dataclass
class LimitReached(Refusal):
    """A budget is used up. retry_at: when the next one begins."""

    allowance: Allowance
    retry_at: datetime


class RedeliveryProblem(StrEnum):
    """Why a message is not sent again."""

    NOT_DEAD = "NOT_DEAD"
    SENT_AGAIN = "SENT_AGAIN"
    SECURITY_CODE = "SECURITY_CODE"
    REPLACED = "REPLACED"
    ENDED = "ENDED"
    KEY_LOST = "KEY_LOST"


@dataclass
class NotRedeliverable(Refusal):
    """Sending the message again makes no sense. kind: what it says, as in `outbox.Kind`."""

    kind: str
    problem: RedeliveryProblem


class PasswordProblem(StrEnum):
    """Why a password is not taken."""

    TOO_SHORT = "TOO_SHORT"
    TOO_LONG = "TOO_LONG"
    TOO_COMMON = "TOO_COMMON"
    CONTAINS_OWN_NAME = "CONTAINS_OWN_NAME"
    SAME_AS_BEFORE = "SAME_AS_BEFORE"


@dataclass
class PasswordRejected(Refusal):
    """The password is not taken. Lengths in characters (Unicode code points)."""

    problems: list[PasswordProblem]
    min_length: int
    max_length: int


@dataclass
class CredentialsIncorrect(Refusal):
    """The address or the password is wrong; never told which. is_own_password: somebody who is signed in gave theirs, and no address.

    is_second_password: the account is set up already, and this is not its password.
    """

    is_own_password: bool = False
    is_second_password: bool = False


@dataclass
class AccountLocked(Refusal):
    """Too many wrong passwords for this address, whether or not it is known; is_network: from this network, whatever the address.

    reset_required: the password is not taken any more, however long one waits; retry_at is of no meaning then.
    """

    retry_at: datetime
    is_network: bool = False
    reset_required: bool = False


class AccountInactive(Refusal):
    """The right password of somebody who was deactivated."""


@dataclass
class SubscriptionLapsed(Refusal):
    """The practice's subscription does not allow this."""

    status: SubscriptionStatus


@dataclass
class OutsideAllowedHours(Refusal):
    """The user may not come in at this time of the week. retry_at: when the next allowed hours begin."""

    retry_at: datetime | None


@dataclass
class NetworkNotAllowed(Refusal):
    """The user may not come in from this address."""

    ip_address: str


@dataclass
class ShutOut(Unauthenticated):
    """Somebody has signed in and is kept out for now all the same. because: what they would be told at sign-in."""

    because: SubscriptionLapsed | OutsideAllowedHours | NetworkNotAllowed


@dataclass
class ChangedRecently(Refusal):
    """Somebody changed the other half of what a reset takes, and both must not change at once. changed: which. retry_at: from when on."""

    changed: AccountChangeKind
    retry_at: datetime


class SignInAgain(Refusal):
    """A sensitive act, and the latest sign-in is too long ago."""


class LastAdministrator(Refusal):
    """The practice would be left without an active administrator."""


@dataclass
class Problems:
    """Gathers what is wrong with an input, so that all of it can be told at once."""

    found: list[InputProblem] = field(default_factory=list)

    def add(self, path: tuple[str, ...], message: str) -> None:
        """Note one more problem."""
        self.found.append(InputProblem(path, message))

    def raise_any(self) -> None:
        """Raises InputInvalid when something was noted."""
        if self.found:
            raise InputInvalid(self.found)
