"""Refusals as clients see them: one type for each of the domain's. `refusals.py` has the table between the two."""

from datetime import datetime

import strawberry

from domain.errors import ChallengeProblem, PasswordProblem, RedeliveryProblem
from domain.models.columns import AccountChangeKind, EnrollmentStep, PhoneChannel, SubscriptionStatus
from graph.scalars import EmailAddress
from graph.types import User

MESSAGE = "For a person, in plain words, saying what to do next."


@strawberry.interface(
    description="Something that was asked for and cannot be had, as data. Branch on the type; show the message."
)
class UserError:
    """What every refusal has."""

    message: str = strawberry.field(description=MESSAGE)


@strawberry.type(description="One thing that is wrong with the input.")
class InputProblem:
    """Where and what."""

    path: list[str] = strawberry.field(description='Into the input, for example ["users", "3", "email"].')
    message: str = strawberry.field(description=MESSAGE)


@strawberry.type(description="The input cannot be what was meant; nothing was done.")
class InputInvalid(UserError):
    """Everything that is wrong, at once."""

    problems: list[InputProblem] = strawberry.field(description="All that is wrong.")


@strawberry.type(description="No such thing here: also when it is another practice's.")
class NotFound(UserError):
    """Foreign and missing look alike."""


@strawberry.type(
    description="The address belongs to an account, or to somebody invited in this practice. An invitation of another practice holds nothing."
)
class EmailInUse(UserError):
    """The address is taken."""

    email: EmailAddress = strawberry.field(description="The address, as typed.")


@strawberry.type(
    description="An invitation from this practice to the address came back, or was marked as spam, or its receiver does not know the practice:"
    " ask the person for another address."
)
class AddressBounced(UserError):
    """Mail does not get through."""

    email: EmailAddress = strawberry.field(description="The address, as typed.")
    bounced_at: datetime = strawberry.field(description="When the mail came back, or the complaint came.")
    reason: str = strawberry.field(description="What was wrong, for a person.")
    complained: bool = strawberry.field(
        description="Whether the receiver wants no more of them: marked the mail as spam, or does not know the practice. Then nothing is mailed"
        " there again, and addressRepaired is not taken."
    )
    stands_until: datetime | None = strawberry.field(
        description="When the address may be tried again without addressRepaired; null for never."
    )


@strawberry.type(description="The person was deactivated in this very practice: reactivate instead.")
class UserInactive(UserError):
    """The person is known here."""

    user: User = strawberry.field(description="Who it is.")


@strawberry.type(
    description="The person has set up an account already, so no invitation is open: there is nothing to send again, or to take back."
)
class AlreadySetUp(UserError):
    """The person is in."""

    user: User = strawberry.field(description="Who it is.")


@strawberry.type(
    description="The person is invited and has not set up an account: there is no password and no phone. Send the invitation again instead."
)
class NotSetUpYet(UserError):
    """The person is not in yet."""

    user: User = strawberry.field(description="Who it is.")


@strawberry.type(description="The link is not good: mistyped, replaced by a newer one, revoked or used.")
class LinkInvalid(UserError):
    """No way in."""


@strawberry.type(description="The link was good once; a new one has to be asked for.")
class LinkExpired(UserError):
    """Too late."""


@strawberry.type(description="The practice access code is wrong. The guess was counted.")
class PracticeAccessCodeIncorrect(UserError):
    """A wrong guess."""

    attempts_left: int = strawberry.field(
        description="How many more guesses are taken: with this link on joining, from this person on a new device."
    )


@strawberry.type(
    description="The enrollment token is not, or no longer, good: begin again with the link, or sign in where the account is set up."
)
class EnrollmentInvalid(UserError):
    """No enrollment."""


@strawberry.type(
    description="The request came with somebody's session, and an invitation is for a person who has none yet: sign out first."
)
class SignedInAlready(UserError):
    """Nobody joins as somebody else unawares."""


@strawberry.type(description="The challenge token is not, or no longer, good: begin again.")
class ChallengeInvalid(UserError):
    """No challenge."""

    problem: ChallengeProblem = strawberry.field(description="Why.")


@strawberry.type(description="Another step comes now. DONE: the account is set up; sign in.")
class StepOutOfOrder(UserError):
    """The server holds the order."""

    next_step: EnrollmentStep = strawberry.field(description="The step to take now.")


@strawberry.type(description="Codes cannot be sent to this number.")
class PhoneNumberUnusable(UserError):
    """Not a number for codes."""


@strawberry.type(description="The practice does not send codes this way.")
class ChannelNotAllowed(UserError):
    """Another channel."""

    channels: list[PhoneChannel] = strawberry.field(description="The ways it does.")


@strawberry.type(description="The security code is wrong. The guess was counted.")
class CodeIncorrect(UserError):
    """A wrong guess."""

    attempts_left: int = strawberry.field(description="How many more guesses this code takes.")


@strawberry.type(description="No security code is good any more: it ran out, was used, or none was sent.")
class CodeExpired(UserError):
    """Ask for a new one."""


@strawberry.type(description="Too many wrong guesses.")
class TooManyAttempts(UserError):
    """Guessed too often."""

    retry_at: datetime | None = strawberry.field(
        description="When guesses are taken again; null when a new link or code is needed instead of waiting."
    )


@strawberry.type(description="Asked for again too soon.")
class TooSoon(UserError):
    """Wait a moment."""

    retry_at: datetime = strawberry.field(description="When it may be asked for again.")


@strawberry.type(description="A budget (messages to a number, invitations a day, …) is used up.")
class LimitReached(UserError):
    """Wait longer."""

    retry_at: datetime = strawberry.field(description="When the next budget begins.")


@strawberry.type(description="The password is not taken.")
class PasswordRejected(UserError):
    """Choose another."""

    problems: list[PasswordProblem] = strawberry.field(description="All that is wrong with it.")
    min_length: int = strawberry.field(description="In characters.")
    max_length: int = strawberry.field(description="In characters.")


@strawberry.type(
    description="E-mail address or password wrong: the two are never told apart. From setPassword: the account is set up already, and"
    " this is not its password."
)
class CredentialsIncorrect(UserError):
    """Wrong."""


@strawberry.type(description="Told alike for known and unknown addresses after as many wrong guesses.")
class AccountLocked(UserError):
    """Guessed too often."""

    retry_at: datetime = strawberry.field(
        description="When sign-in is taken again. Of no meaning with resetRequired: sign-in is not taken again by waiting."
    )
    reset_required: bool = strawberry.field(
        description="Whether the password ended, after 60 wrong ones in a row on devices that are not known: only a new one helps"
        " (requestPasswordReset). Known devices are counted apart and go on working."
    )


@strawberry.type(description="The account was deactivated. Told only to someone who gave the right password.")
class AccountInactive(UserError):
    """Blocked."""


@strawberry.type(
    description="The person may not come in at this time of the week. Told only to somebody who proved who they are."
)
class OutsideAllowedHours(UserError):
    """Not now."""

    retry_at: datetime | None = strawberry.field(description="When the next allowed hours begin.")


@strawberry.type(
    description="The person may not come in from this network. Told only to somebody who proved who they are."
)
class NetworkNotAllowed(UserError):
    """Not from here."""


@strawberry.type(description="The practice's trial or subscription is over.")
class SubscriptionLapsed(UserError):
    """Gated."""

    status: SubscriptionStatus = strawberry.field(description="What the plan stands at.")


@strawberry.type(
    description="The address of this person was corrected less than 24 hours ago, and the phone is to be taken away now; or the other way"
    " round. Both at once would let one administrator take the account over."
)
class ChangedRecently(UserError):
    """One after the other."""

    changed: AccountChangeKind = strawberry.field(description="What was changed.")
    retry_at: datetime = strawberry.field(description="From when on the other one may be.")


@strawberry.type(description="A sensitive act, and the latest sign-in is more than ten minutes old.")
class SignInAgain(UserError):
    """Prove once more who you are."""


@strawberry.type(description="Sending this message again makes no sense; the message says what to do instead.")
class NotRedeliverable(UserError):
    """Something else helps."""

    problem: RedeliveryProblem = strawberry.field(description="Why.")


@strawberry.type(description="The practice would be left without an active administrator.")
class LastAdministrator(UserError):
    """Somebody has to answer for the practice."""
