"""The table between what the domain raises and what clients see: which type, and in which words.

A refusal that the field's union does not declare is not converted; it comes out as a masked error, so that forgetting one is loud.
"""

from collections.abc import Callable
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.types.field import StrawberryField

from domain import errors
from domain.errors import Allowance, ChallengeProblem, PasswordProblem, RedeliveryProblem
from domain.models.columns import AccountChangeKind, ChallengePurpose, EnrollmentStep
from domain.outbox import Kind
from graph import masking, operations
from graph.errors import (
    AccountInactive,
    AccountLocked,
    AddressBounced,
    AlreadySetUp,
    ChallengeInvalid,
    ChangedRecently,
    ChannelNotAllowed,
    CodeExpired,
    CodeIncorrect,
    CredentialsIncorrect,
    EmailInUse,
    EnrollmentInvalid,
    InputInvalid,
    InputProblem,
    LastAdministrator,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NetworkNotAllowed,
    NotFound,
    NotRedeliverable,
    NotSetUpYet,
    OutsideAllowedHours,
    PasswordRejected,
    PhoneNumberUnusable,
    PracticeAccessCodeIncorrect,
    SignedInAlready,
    SignInAgain,
    StepOutOfOrder,
    SubscriptionLapsed,
    TooManyAttempts,
    TooSoon,
    UserError,
    UserInactive,
)
from graph.scalars import EmailAddress, written
from graph.types import User

LIMITS = {
    Allowance.SIGN_UPS: "There were too many sign-ups from here. Try again later.",
    Allowance.INVITATIONS: "Your practice has invited as many people as it can today. Try again tomorrow.",
    Allowance.RESENDS: "This invitation was sent often enough today. Check the address with the person, and try again tomorrow.",
    Allowance.INVITATION_MAILS: "This address got as many invitations from your practice as it may in a day. Try again tomorrow.",
    Allowance.CORRECTIONS: "Your practice has corrected as many addresses as it can today. Try again tomorrow.",
    Allowance.CODES: "Too many codes were asked for. Try again later.",
    Allowance.WRONG_CODES: "Too many wrong codes were given, so no codes are sent for now. Try again later, or use another way: a recovery"
    " code, a new password with a link by e-mail, or your administrator's help.",
    Allowance.NEW_PHONES: "Codes for new phones are held back for now, since too many were asked for. Try again later."
    " Whoever has proved a phone can sign in as ever.",
    Allowance.LINK_CODES: "There were too many wrong codes of links from here. Open the link in the e-mail, or try again later.",
    Allowance.RESETS: "Too many links were asked for. Look for the newest e-mail, or try again later.",
    Allowance.EMAIL_CHANGES: "Your address was to be changed often enough today. Try again tomorrow.",
    Allowance.AUDIT_VERIFICATIONS: "The audit log was verified often enough this hour. Try again later.",
    Allowance.REDELIVERIES: "Enough was sent to this person again today. Find out what is wrong with the address, and try again tomorrow.",
    Allowance.RECOVERY_CODES: "Recovery codes were made often enough today. The newest ones are good. Try again tomorrow.",
    Allowance.SIGN_INS: "There were too many wrong passwords from here. Try again later.",
}

CANNOT_BE_CHECKED = (
    "This cannot be checked right now. Try again in a few minutes. If that does not help, ask for a new link or code."
)

PASSWORD_PROBLEMS = {
    PasswordProblem.TOO_SHORT: "is too short",
    PasswordProblem.TOO_LONG: "is too long",
    PasswordProblem.TOO_COMMON: "is too easy to guess",
    PasswordProblem.CONTAINS_OWN_NAME: "is little more than your own, your practice's or this product's name",
    PasswordProblem.SAME_AS_BEFORE: "is the one you had",
}


CHALLENGES = {
    ChallengeProblem.UNKNOWN: "This request is not known here any more. Begin again.",
    ChallengeProblem.USED: "This code was used already. If what you wanted is not done, begin again.",
    ChallengeProblem.EXPIRED: "This took too long. Begin again.",
    ChallengeProblem.ENDED: "Something newer took the place of this request. Begin again.",
}
USED_CHALLENGES = {
    ChallengePurpose.SIGN_IN: "This code was used already to sign in. If you are not signed in here, sign in again.",
    ChallengePurpose.PASSWORD_RESET: "This code was used already to set a new password. Sign in with the password that you chose first.",
}
STEPS = {
    EnrollmentStep.SEND_PHONE_CODE: "Ask for a code to your phone first.",
    EnrollmentStep.VERIFY_PHONE: "First enter the code that we sent to your phone.",
    EnrollmentStep.SET_PASSWORD: "Your phone is verified already. Choose a password now.",
    EnrollmentStep.DONE: "You have set up your account already. Sign in with your e-mail address and your password.",
}
PEOPLE: dict[type[errors.Refusal], tuple[type[UserError], str]] = {
    errors.UserInactive: (
        UserInactive,
        "{name} was deactivated in your practice. Reactivate {name} instead.",
    ),
    errors.AlreadySetUp: (
        AlreadySetUp,
        (
            "{name} has already set up an account, so there is no invitation to send or to take back. If {name} cannot sign in, send a link"
            " to set a new password. To end the access, deactivate {name}."
        ),
    ),
    errors.NotSetUpYet: (
        NotSetUpYet,
        "{name} has not set up an account yet. Send the invitation again instead.",
    ),
}

NOT_REDELIVERABLE = {
    RedeliveryProblem.NOT_DEAD: "This message arrived or is on its way. Look again in a while.",
    RedeliveryProblem.SENT_AGAIN: "This message was sent again before. Look at the newer one.",
    RedeliveryProblem.SECURITY_CODE: "A code is good for minutes only. Let the person ask for a new one.",
    RedeliveryProblem.KEY_LOST: "What this message says is lost. Ask for it anew: resend the invitation, or send another link.",
    RedeliveryProblem.REPLACED: "A newer message took the place of this one. Look at that one.",
}
# What helps where a message's own end has come.
INSTEAD = {
    Kind.INVITATION: "This invitation has run out or is not open any more. Resend it on the users tile, where that can be done.",
    Kind.INVITATION_REMINDER: "This invitation has run out or is not open any more. Resend it on the users tile, where that can be done.",
    Kind.INVITATION_PENDING: "This invitation has run out or is not open any more. Resend it on the users tile, where that can be done.",
    Kind.ACCOUNT_CHANGE: "This link is not good any more: the change was stopped, or can be stopped no longer.",
    Kind.PASSWORD_RESET: "This link is not good any more. Send the person a new one.",
    Kind.EMAIL_CHANGE: "This link is not good any more. Let the person ask for the change again.",
    Kind.PRACTICE_ACCESS_CODE: "This access code is not for its reader any more. The users tile shows the present one.",
}
NOT_NEEDED = "There is no need for this message any more. Nothing has to be done."


def _not_redeliverable(refusal: errors.NotRedeliverable) -> NotRedeliverable:
    message = NOT_REDELIVERABLE.get(refusal.problem)
    if message is None:
        known = Kind(refusal.kind) if refusal.kind in set(Kind) else None
        message = INSTEAD.get(known, NOT_NEEDED) if known else NOT_NEEDED
    return NotRedeliverable(message=message, problem=refusal.problem)


def _input_invalid(refusal: errors.InputInvalid) -> InputInvalid:
    problems = [InputProblem(path=list(problem.path), message=problem.message) for problem in refusal.problems]
    return InputInvalid(message="Please correct what is marked, and send it again.", problems=problems)


def _email_in_use(refusal: errors.EmailInUse) -> EmailInUse:
    if refusal.is_own_address:
        message = "There is an account with this e-mail address already. Sign in with it, or ask for a new password."
    elif refusal.is_own_invitation:
        message = "This address is invited in your practice already. Resend that invitation instead."
    elif refusal.is_own_user:
        message = (
            "Somebody in your practice has already set up an account with this address, so there is nothing to send."
        )
    else:
        message = "This address is in use. Each person needs an address of their own; put another one."
    return EmailInUse(message=message, email=EmailAddress(refusal.email))


def _address_bounced(refusal: errors.AddressBounced) -> AddressBounced:
    if refusal.is_complaint:
        message = refusal.reason
    else:
        message = (
            f"Mail to this address came back: {refusal.reason} Put another address. Only if you know that it takes mail again, say so and"
            " send once more."
        )
    return AddressBounced(
        message=message,
        email=EmailAddress(refusal.email),
        bounced_at=refusal.bounced_at,
        reason=refusal.reason,
        complained=refusal.is_complaint,
        stands_until=refusal.stands_until,
    )


def _phone_number_unusable(refusal: errors.PhoneNumberUnusable) -> PhoneNumberUnusable:
    if refusal.is_proved:
        message = f"Your phone {refusal.reason}. Ask an administrator of your practice to take it away; then sign in, and prove another."
    else:
        message = f"This {refusal.reason}. Put a phone that you can answer yourself."
    return PhoneNumberUnusable(message=message)


def _account_locked(refusal: errors.AccountLocked) -> AccountLocked:
    wait = "There were too many tries with this address. Wait a while and try again, or set a new password with a link by e-mail."
    reset = "There were too many wrong passwords for this address, so the password stopped working here. Set a new one with a link by e-mail."
    return AccountLocked(
        message=reset if refusal.reset_required else LIMITS[Allowance.SIGN_INS] if refusal.is_network else wait,
        retry_at=refusal.retry_at,
        reset_required=refusal.reset_required,
    )


def _too_many_attempts(refusal: errors.TooManyAttempts) -> TooManyAttempts:
    wait = "There were too many wrong tries. Wait a while, then try again."
    anew = "There were too many wrong tries. Ask for a new link or code."
    return TooManyAttempts(message=wait if refusal.retry_at else anew, retry_at=refusal.retry_at)


def _credentials_incorrect(refusal: errors.CredentialsIncorrect) -> CredentialsIncorrect:
    message = "The e-mail address or the password is not right."
    if refusal.is_own_password:
        message = "This is not your password. Look at it as you type, and try again."
    elif refusal.is_second_password:
        message = (
            "Your account is set up already, with another password than this one. Sign in with that password, or ask for a link to set a new"
            " one."
        )
    return CredentialsIncorrect(message=message)


def _challenge_invalid(refusal: errors.ChallengeInvalid) -> ChallengeInvalid:
    message = CHALLENGES[refusal.problem]
    if refusal.problem is ChallengeProblem.USED and refusal.purpose is not None:
        message = USED_CHALLENGES.get(refusal.purpose, message)
    return ChallengeInvalid(message=message, problem=refusal.problem)


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


def _changed_recently(refusal: errors.ChangedRecently) -> ChangedRecently:
    what = {
        AccountChangeKind.EMAIL: "address was corrected",
        AccountChangeKind.PHONE: "phone was taken away, or is about to be",
    }[refusal.changed]
    return ChangedRecently(
        message=f"This person's {what}. Nobody can change both within 24 hours. Try again after that.",
        changed=refusal.changed,
        retry_at=refusal.retry_at,
    )


def _fixed(kind: type[UserError], message: str) -> Callable[[Any], UserError]:
    return lambda _: kind(message=message)


# The table between the two sides: what is raised, what it becomes, and how.
TABLE: list[tuple[type[errors.Refusal], type[UserError], Callable[[Any], UserError]]] = [
    (errors.InputInvalid, InputInvalid, _input_invalid),
    (errors.NotFound, NotFound, _fixed(NotFound, "We cannot find this in your practice any more. Reload the page.")),
    (errors.EmailInUse, EmailInUse, _email_in_use),
    (errors.AddressBounced, AddressBounced, _address_bounced),
    (
        errors.LinkInvalid,
        LinkInvalid,
        _fixed(
            LinkInvalid,
            "This link was used or replaced. If what it was for is done, sign in. Otherwise use the newest e-mail, or ask for a new link.",
        ),
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
        _fixed(
            EnrollmentInvalid,
            "This page is out of date. If you have set up your account, sign in. Otherwise open the link in your e-mail once more.",
        ),
    ),
    (
        errors.SignedInAlready,
        SignedInAlready,
        _fixed(SignedInAlready, "Somebody is signed in here. Sign out first, then open the link once more."),
    ),
    (errors.ChallengeInvalid, ChallengeInvalid, _challenge_invalid),
    (
        errors.StepOutOfOrder,
        StepOutOfOrder,
        lambda refusal: StepOutOfOrder(message=STEPS[refusal.next_step], next_step=refusal.next_step),
    ),
    (
        errors.PhoneNumberUnusable,
        PhoneNumberUnusable,
        _phone_number_unusable,
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
        lambda refusal: TooSoon(
            message="We sent one a moment ago. Wait a little before you ask again.", retry_at=refusal.retry_at
        ),
    ),
    (
        errors.LimitReached,
        LimitReached,
        lambda refusal: LimitReached(message=LIMITS[refusal.allowance], retry_at=refusal.retry_at),
    ),
    (errors.PasswordRejected, PasswordRejected, _password_rejected),
    (errors.CredentialsIncorrect, CredentialsIncorrect, _credentials_incorrect),
    (
        errors.AccountLocked,
        AccountLocked,
        _account_locked,
    ),
    (
        errors.AccountInactive,
        AccountInactive,
        _fixed(AccountInactive, "This account was deactivated. Ask an administrator of your practice."),
    ),
    (errors.SubscriptionLapsed, SubscriptionLapsed, _subscription_lapsed),
    (errors.OutsideAllowedHours, OutsideAllowedHours, _outside_allowed_hours),
    (errors.NetworkNotAllowed, NetworkNotAllowed, _network_not_allowed),
    (errors.ChangedRecently, ChangedRecently, _changed_recently),
    (errors.SignInAgain, SignInAgain, _fixed(SignInAgain, "For this, sign in again first.")),
    (errors.NotRedeliverable, NotRedeliverable, _not_redeliverable),
    (
        errors.LastAdministrator,
        LastAdministrator,
        _fixed(LastAdministrator, "A practice needs an active administrator. Make somebody else one first."),
    ),
]

_BY_REFUSAL = {refusal: convert for refusal, _, convert in TABLE}


def user_error(refusal: errors.Refusal, viewer: Any = None) -> UserError:
    """A refusal as clients see it. viewer: the member asking, for refusals that show a user."""
    if type(refusal) in PEOPLE:
        return _about_person(refusal, viewer)
    return _BY_REFUSAL[type(refusal)](refusal)


def _about_person(refusal: Any, viewer: Any) -> UserError:
    kind, words = PEOPLE[type(refusal)]
    return kind(message=words.format(name=refusal.user.first_name), user=User.of(refusal.user, viewer))  # type: ignore[call-arg]  # each has a user


class Handler:
    """Turns one kind of refusal into its type, in fields whose union has it (Strawberry's `exception_handlers`)."""

    def __init__(self, exception_type: type[errors.Refusal], error_type: type[UserError]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type

    def handle(
        self, exception: errors.Refusal, *, field: StrawberryField, info: strawberry.Info[Any, Any]
    ) -> UserError:
        """Called by Strawberry with what a resolver raised."""
        operations.refused(self.error_type.__name__)
        return user_error(exception, info.context.actor.member)


HANDLERS = [Handler(exception_type, error_type) for exception_type, error_type, _ in TABLE] + [
    Handler(exception_type, error_type) for exception_type, (error_type, _) in PEOPLE.items()
]

TYPES = [error_type for _, error_type, _ in TABLE] + [error_type for error_type, _ in PEOPLE.values()]

operations.announce(error_type.__name__ for error_type in TYPES)


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
    if isinstance(exception, errors.KeyUnknown):
        return GraphQLError(
            CANNOT_BE_CHECKED, extensions={"code": "RATE_LIMITED", "retryAt": written(exception.retry_at)}
        )
    if isinstance(exception, errors.Busy):
        return busy(exception)
    return None


def busy(refusal: errors.Busy) -> GraphQLError:
    """What is said to whoever has to ask again in a moment."""
    problem = LIMITS[refusal.allowance] if refusal.allowance else masking.TOO_MUCH_TO_DO
    return GraphQLError(problem, extensions={"code": "RATE_LIMITED", "retryAt": written(refusal.retry_at)})


def _shut_out(
    because: errors.SubscriptionLapsed | errors.OutsideAllowedHours | errors.NetworkNotAllowed,
) -> GraphQLError:
    """Nobody may act with this session for now: what sign-in would say, where a client that has signed in reads it."""
    extensions: dict[str, object] = {"code": "UNAUTHENTICATED"}
    if isinstance(because, errors.SubscriptionLapsed):
        extensions |= {"reason": "SUBSCRIPTION_LAPSED", "status": because.status.value}
    elif isinstance(because, errors.OutsideAllowedHours):
        retry_at = written(because.retry_at) if because.retry_at else None
        extensions |= {"reason": "OUTSIDE_ALLOWED_HOURS", "retryAt": retry_at}
    else:
        extensions["reason"] = "NETWORK_NOT_ALLOWED"
    return GraphQLError(user_error(because).message, extensions=extensions)
