"""Refusals as clients see them: one type for each of the domain's, and the table between the two.

A refusal that the field's union does not declare is not converted; it comes out as a masked error, so that forgetting one is loud.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.types.field import StrawberryField

from domain import errors
from domain.errors import Allowance, PasswordProblem
from domain.models.columns import EnrollmentStep, PhoneChannel, SubscriptionStatus
from graph.types import EmailAddress, User

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


@strawberry.type(description="The address belongs to an account or a pending invitation of some practice.")
class EmailInUse(UserError):
    """The address is taken."""

    email: EmailAddress = strawberry.field(description="The address, as typed.")


@strawberry.type(
    description="The address belongs to someone who was deactivated in this very practice: reactivate instead."
)
class UserInactive(UserError):
    """The person is known here."""

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


@strawberry.type(description="The enrollment token is not, or no longer, good: begin again with the link.")
class EnrollmentInvalid(UserError):
    """No enrollment."""


@strawberry.type(
    description="The request came with somebody's session, and an invitation is for a person who has none yet: sign out first."
)
class SignedInAlready(UserError):
    """Nobody joins as somebody else unawares."""


@strawberry.type(description="The challenge token is not, or no longer, good: sign in again.")
class ChallengeInvalid(UserError):
    """No challenge."""


@strawberry.type(description="Another step comes first.")
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


@strawberry.type(description="E-mail address or password wrong: the two are never told apart.")
class CredentialsIncorrect(UserError):
    """Wrong."""


@strawberry.type(description="Told alike for known and unknown addresses after as many wrong guesses.")
class AccountLocked(UserError):
    """Guessed too often."""

    retry_at: datetime = strawberry.field(description="When sign-in is taken again.")


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


@strawberry.type(description="A sensitive act, and the latest sign-in is more than ten minutes old.")
class SignInAgain(UserError):
    """Prove once more who you are."""


@strawberry.type(description="The practice would be left without an active administrator.")
class LastAdministrator(UserError):
    """Somebody has to answer for the practice."""


LIMITS = {
    Allowance.SIGN_UPS: "There were too many sign-ups from here. Try again later.",
    Allowance.INVITATIONS: "Your practice has invited as many people as it can today. Try again tomorrow.",
    Allowance.RESENDS: "This invitation was sent often enough today. Check the address with the person, and try again tomorrow.",
    Allowance.INVITATION_MAILS: "This address got as many invitations from your practice as it may in a day. Try again tomorrow.",
    Allowance.CORRECTIONS: "Your practice has corrected as many addresses as it can today. Try again tomorrow.",
    Allowance.CODES: "Too many codes were asked for. Try again later.",
    Allowance.RESETS: "Too many links were asked for. Look for the newest e-mail, or try again later.",
    Allowance.EMAIL_CHANGES: "Your address was to be changed often enough today. Try again tomorrow.",
    Allowance.AUDIT_VERIFICATIONS: "The audit log was verified often enough this hour. Try again later.",
    Allowance.SIGN_INS: "There were too many wrong passwords from here. Try again later.",
}

PASSWORD_PROBLEMS = {
    PasswordProblem.TOO_SHORT: "is too short",
    PasswordProblem.TOO_LONG: "is too long",
    PasswordProblem.TOO_COMMON: "is too easy to guess",
    PasswordProblem.CONTAINS_OWN_NAME: "is little more than your own, your practice's or this product's name",
    PasswordProblem.SAME_AS_BEFORE: "is the one you had",
}


def _input_invalid(refusal: errors.InputInvalid) -> InputInvalid:
    problems = [InputProblem(path=list(problem.path), message=problem.message) for problem in refusal.problems]
    return InputInvalid(message="Please correct what is marked, and send it again.", problems=problems)


def _email_in_use(refusal: errors.EmailInUse) -> EmailInUse:
    if refusal.is_own_invitation:
        message = "This address is invited in your practice already. Resend that invitation instead."
    else:
        message = "This address is in use. Each person needs an address of their own; put another one."
    return EmailInUse(message=message, email=EmailAddress(refusal.email))


def _too_many_attempts(refusal: errors.TooManyAttempts) -> TooManyAttempts:
    wait = "There were too many wrong codes. Wait a while, then try again."
    anew = "There were too many wrong codes. Ask for a new link or code."
    return TooManyAttempts(message=wait if refusal.retry_at else anew, retry_at=refusal.retry_at)


def _password_rejected(refusal: errors.PasswordRejected) -> PasswordRejected:
    reasons = " and ".join(PASSWORD_PROBLEMS[problem] for problem in refusal.problems)
    return PasswordRejected(
        message=f"This password {reasons}. Take {refusal.min_length} to {refusal.max_length} characters; a few words in a row are good.",
        problems=refusal.problems,
        min_length=refusal.min_length,
        max_length=refusal.max_length,
    )


def _subscription_lapsed(refusal: errors.SubscriptionLapsed) -> SubscriptionLapsed:
    return SubscriptionLapsed(
        message="Your practice's trial or subscription is over. An administrator can renew it; nothing is lost meanwhile.",
        status=refusal.status,
    )


def _outside_allowed_hours(refusal: errors.OutsideAllowedHours) -> OutsideAllowedHours:
    return OutsideAllowedHours(
        message="This is outside the hours in which you may sign in. Come back when they begin, or ask an administrator of your practice.",
        retry_at=refusal.retry_at,
    )


def _network_not_allowed(refusal: errors.NetworkNotAllowed) -> NetworkNotAllowed:
    return NetworkNotAllowed(
        message=f"You may not sign in from this network ({refusal.ip_address}). Use one that your practice allows, or ask an administrator."
    )


def _fixed(kind: type[UserError], message: str) -> Callable[[Any], UserError]:
    return lambda _: kind(message=message)


# The table between the two sides: what is raised, what it becomes, and how.
TABLE: list[tuple[type[errors.Refusal], type[UserError], Callable[[Any], UserError]]] = [
    (errors.InputInvalid, InputInvalid, _input_invalid),
    (errors.NotFound, NotFound, _fixed(NotFound, "There is no such thing in your practice. Reload, and try again.")),
    (errors.EmailInUse, EmailInUse, _email_in_use),
    (
        errors.LinkInvalid,
        LinkInvalid,
        _fixed(LinkInvalid, "This link is not good any more. Use the newest e-mail, or ask for a new link."),
    ),
    (errors.LinkExpired, LinkExpired, _fixed(LinkExpired, "This link has run out. Ask for a new one.")),
    (
        errors.PracticeAccessCodeIncorrect,
        PracticeAccessCodeIncorrect,
        lambda refusal: PracticeAccessCodeIncorrect(
            message="This is not the practice access code. Ask your administrator to tell it to you again.",
            attempts_left=refusal.attempts_left,
        ),
    ),
    (
        errors.EnrollmentInvalid,
        EnrollmentInvalid,
        _fixed(EnrollmentInvalid, "Setting up has to begin again. Open the link in your e-mail once more."),
    ),
    (
        errors.SignedInAlready,
        SignedInAlready,
        _fixed(SignedInAlready, "Somebody is signed in here. Sign out first, then open the link once more."),
    ),
    (errors.ChallengeInvalid, ChallengeInvalid, _fixed(ChallengeInvalid, "This took too long. Sign in again.")),
    (
        errors.StepOutOfOrder,
        StepOutOfOrder,
        lambda refusal: StepOutOfOrder(message="Another step comes first.", next_step=refusal.next_step),
    ),
    (
        errors.PhoneNumberUnusable,
        PhoneNumberUnusable,
        lambda refusal: PhoneNumberUnusable(
            message=f"This {refusal.reason}. Put a phone that you can answer yourself."
        ),
    ),
    (
        errors.ChannelNotAllowed,
        ChannelNotAllowed,
        lambda refusal: ChannelNotAllowed(message="Your practice sends codes another way.", channels=refusal.channels),
    ),
    (
        errors.CodeIncorrect,
        CodeIncorrect,
        lambda refusal: CodeIncorrect(
            message="This is not the code. Look at the newest message, and try again.",
            attempts_left=refusal.attempts_left,
        ),
    ),
    (errors.CodeExpired, CodeExpired, _fixed(CodeExpired, "This code is not good any more. Ask for a new one.")),
    (errors.TooManyAttempts, TooManyAttempts, _too_many_attempts),
    (
        errors.TooSoon,
        TooSoon,
        lambda refusal: TooSoon(message="One is on its way already. Wait a moment.", retry_at=refusal.retry_at),
    ),
    (
        errors.LimitReached,
        LimitReached,
        lambda refusal: LimitReached(message=LIMITS[refusal.allowance], retry_at=refusal.retry_at),
    ),
    (errors.PasswordRejected, PasswordRejected, _password_rejected),
    (
        errors.CredentialsIncorrect,
        CredentialsIncorrect,
        _fixed(CredentialsIncorrect, "The e-mail address or the password is not right."),
    ),
    (
        errors.AccountLocked,
        AccountLocked,
        lambda refusal: AccountLocked(
            message="There were too many tries with this address. Wait a while, then try again.",
            retry_at=refusal.retry_at,
        ),
    ),
    (
        errors.AccountInactive,
        AccountInactive,
        _fixed(AccountInactive, "This account was deactivated. Ask an administrator of your practice."),
    ),
    (errors.SubscriptionLapsed, SubscriptionLapsed, _subscription_lapsed),
    (errors.OutsideAllowedHours, OutsideAllowedHours, _outside_allowed_hours),
    (errors.NetworkNotAllowed, NetworkNotAllowed, _network_not_allowed),
    (errors.SignInAgain, SignInAgain, _fixed(SignInAgain, "For this, sign in again first.")),
    (
        errors.LastAdministrator,
        LastAdministrator,
        _fixed(LastAdministrator, "A practice needs an active administrator. Make somebody else one first."),
    ),
]

_BY_REFUSAL = {refusal: convert for refusal, _, convert in TABLE}


def user_error(refusal: errors.Refusal, viewer: Any = None) -> UserError:
    """A refusal as clients see it. viewer: the member asking, for refusals that show a user."""
    if isinstance(refusal, errors.UserInactive):
        return UserInactive(
            message="This person was deactivated in your practice. Reactivate them instead of inviting them again.",
            user=User.of(refusal.user, viewer),
        )
    return _BY_REFUSAL[type(refusal)](refusal)


class Handler:
    """Turns one kind of refusal into its type, in fields whose union has it (Strawberry's `exception_handlers`)."""

    def __init__(self, exception_type: type[errors.Refusal], error_type: type[UserError]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type

    def handle(
        self, exception: errors.Refusal, *, field: StrawberryField, info: strawberry.Info[Any, Any]
    ) -> UserError:
        """Called by Strawberry with what a resolver raised."""
        return user_error(exception)


HANDLERS = [Handler(exception_type, error_type) for exception_type, error_type, _ in TABLE]

TYPES = [error_type for _, error_type, _ in TABLE] + [UserInactive]


def top_level(exception: BaseException) -> GraphQLError | None:
    """What a programmer has to put right, as a top-level error with `extensions.code`; None for everything else."""
    if isinstance(exception, errors.ShutOut):
        return _shut_out(exception.because)
    if isinstance(exception, errors.Unauthenticated):
        return GraphQLError(
            "Sign in first: send the session token as `Authorization: Bearer …`.",
            extensions={"code": "UNAUTHENTICATED"},
        )
    if isinstance(exception, errors.Forbidden):
        return GraphQLError("Only administrators can do this.", extensions={"code": "FORBIDDEN"})
    if isinstance(exception, errors.Busy):
        extensions = {"code": "RATE_LIMITED", "retryAt": exception.retry_at.isoformat()}
        return GraphQLError("There is too much to do right now. Try again in a moment.", extensions=extensions)
    return None


def _shut_out(
    because: errors.SubscriptionLapsed | errors.OutsideAllowedHours | errors.NetworkNotAllowed,
) -> GraphQLError:
    """Nobody may act with this session for now: what sign-in would say, where a client that has signed in reads it."""
    extensions: dict[str, object] = {"code": "UNAUTHENTICATED"}
    if isinstance(because, errors.SubscriptionLapsed):
        extensions |= {"reason": "SUBSCRIPTION_LAPSED", "status": because.status.value}
    elif isinstance(because, errors.OutsideAllowedHours):
        retry_at = because.retry_at.isoformat() if because.retry_at else None
        extensions |= {"reason": "OUTSIDE_ALLOWED_HOURS", "retryAt": retry_at}
    else:
        extensions["reason"] = "NETWORK_NOT_ALLOWED"
    return GraphQLError(user_error(because).message, extensions=extensions)
