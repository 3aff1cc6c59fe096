"""What ought to happen, in plain Python: people, links, codes, sessions and the clock, without a database.

Written from the contract and the docs. A method says what an act is answered with, and what is so from then on. Guess counters of
passwords and budgets are left out (they have tests of their own, and are emptied after each step); those of links and codes are here.
"""

from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60, 3600, 86_400

INVITATION_SECONDS = 7 * DAY
ENROLLMENT_SECONDS = HOUR
CODE_SECONDS = 10 * MINUTE
CHALLENGE_SECONDS = 15 * MINUTE
RESET_SECONDS = HOUR
FRESH_SECONDS = 10 * MINUTE
GRACE_SECONDS = DAY
TOLD_SECONDS = HOUR
CODE_GUESSES = 5
LINK_GUESSES = 10


@dataclass
class Settings:
    """A practice's login settings."""

    idle_minutes: int = 30
    session_hours: int = 12
    device_days: int = 30
    every_sign_in: bool = False


@dataclass
class Code:
    """A security code. digits: as they came."""

    digits: str
    sent_at: int
    guesses: int = 0
    used: bool = False


@dataclass
class Enrollment:
    """Somebody setting up an account. done_at: when it ended with an account."""

    token: str
    ends_at: int
    step: str = "SEND_PHONE_CODE"
    ended: bool = False
    done_at: int | None = None
    code: Code | None = None


@dataclass
class Invitation:
    """A link to join. guesses: wrong access codes given with it."""

    token: str
    sent_at: int
    guesses: int = 0
    enrollment: Enrollment | None = None


@dataclass
class Device:
    """A device that is known, by the token that it is known by now; and for how many days it is trusted."""

    token: str
    trusted_at: int
    days: int
    seen_at: int
    forgotten: bool = False


@dataclass
class Session:
    """Somebody signed in. proved_at: when a code was given with the password. changed_at: when the password was changed in it."""

    token: str
    person: "Person"
    began_at: int
    hours: int
    used_at: int
    proved_at: int | None
    device: Device | None = None
    ended: bool = False
    changed_at: int | None = None


@dataclass
class Challenge:
    """A code to be given, for a device or for a new password."""

    token: str
    person: "Person"
    made_at: int
    purpose: str
    device: Device | None = None
    reset: "Reset | None" = None
    code: Code | None = None
    ended: bool = False


@dataclass
class Reset:
    """A link to set a new password with."""

    token: str
    sent_at: int
    dead: bool = False


@dataclass
class Person:
    """Somebody in a practice. released: the practice let go of the address. ended: how the invitation ended that nobody accepted: REVOKED,
    LOST (somebody else finished with the address), DECLINED, or INVITER (who sent it was deactivated).

    knows: the access code that was good when they stopped being an administrator.
    """

    id: str
    practice: "Practice"
    email: str
    level: str
    status: str = "INVITED"
    released: bool = False
    removed: bool = False
    password: str | None = None
    invitation: Invitation | None = None
    ended: str | None = None
    invited_by: "Person | None" = None
    knows: str | None = None
    devices: list[Device] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    challenges: list[Challenge] = field(default_factory=list)
    resets: list[Reset] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the address is theirs against everybody else: they finished, and their practice did not let go of it."""
        return self.password is not None and not self.released


@dataclass
class Practice:
    """A practice. former: the access codes before, and until when each is taken. rotated: when and in which session the present one came."""

    name: str
    code: str
    former: dict[str, int] = field(default_factory=dict)
    rotated: "tuple[int, Session] | None" = None
    settings: Settings = field(default_factory=Settings)
    people: list[Person] = field(default_factory=list)


@dataclass
class Model:
    """Everything, at a moment. now: seconds since the beginning."""

    practices: list[Practice]
    now: int = 0

    # -- what is so ----------------------------------------------------------------------------------------------------------

    def people(self) -> list[Person]:
        """Everybody who is to be seen."""
        return [person for practice in self.practices for person in practice.people if not person.removed]

    def has_expired(self, person: Person) -> bool:
        """Whether somebody's invitation has run out."""
        return person.invitation is not None and self.now >= person.invitation.sent_at + INVITATION_SECONDS

    def is_open(self, session: Session) -> bool:
        """Whether a session is good."""
        settings = session.person.practice.settings
        ends_at = session.began_at + min(session.hours, settings.session_hours) * HOUR
        idle_at = session.used_at + settings.idle_minutes * MINUTE
        return not session.ended and session.person.status == "ACTIVE" and self.now < min(ends_at, idle_at)

    def use(self, session: Session | None) -> Person | None:
        """Who acts with a session; using it keeps it open."""
        if session is None or not self.is_open(session):
            return None
        session.used_at = self.now
        return session.person

    def is_fresh(self, session: Session) -> bool:
        """Whether password and code were given in the last ten minutes."""
        return session.proved_at is not None and self.now < session.proved_at + FRESH_SECONDS

    def is_trusted(self, device: Device) -> bool:
        """Whether a device needs no code."""
        return not device.forgotten and self.now < device.trusted_at + device.days * DAY

    def knows(self, device: Device) -> bool:
        """Whether wrong passwords on a device are counted apart, trusted or not."""
        last = max(device.seen_at, device.trusted_at + device.days * DAY)
        return not device.forgotten and self.now < last + 90 * DAY

    def trusts(self, person: Person, device: Device) -> bool:
        """As `is_trusted`, by the settings of now."""
        days = min(device.days, person.practice.settings.device_days)
        return not device.forgotten and self.now < device.trusted_at + days * DAY

    def is_code(self, practice: Practice, typed: str) -> bool:
        """Whether this is the practice's access code, or one before while that is taken."""
        return typed == practice.code or self.now < practice.former.get(typed, 0)

    def rotates(self, session: Session) -> bool:
        """Whether the access code is replaced for a session; not by a second click."""
        practice = session.person.practice
        if practice.rotated is None or self.is_known_outside(practice):
            return True
        at, by = practice.rotated
        return by is not session or self.now >= at + MINUTE

    def rotate(self, session: Session, code: str) -> None:
        """The access code is another one. Those before keep the grace that they have, unless somebody left who knew the code."""
        practice = session.person.practice
        if self.is_known_outside(practice):
            practice.former = {}
        else:
            practice.former[practice.code] = self.now + GRACE_SECONDS
        practice.code, practice.rotated = code, (self.now, session)

    def is_known_outside(self, practice: Practice) -> bool:
        """Whether somebody knows the practice's code who could see it as an administrator, and is none any more."""
        return any(
            one.knows == practice.code and not (one.status == "ACTIVE" and one.level == "ADMINISTRATOR")
            for one in practice.people
            if not one.removed
        )

    def enrollment(self, enrollment: Enrollment, person: Person) -> bool:
        """Whether an enrollment goes on."""
        return not (
            enrollment.ended
            or self.now >= enrollment.ends_at
            or person.removed
            or person.status != "INVITED"
            or person.ended is not None
            or self.has_expired(person)
        )

    def administrators(self, practice: Practice) -> list[Person]:
        """Who answers for a practice."""
        return [one for one in practice.people if one.status == "ACTIVE" and one.level == "ADMINISTRATOR"]

    def forbids(self, session: Session | None, *, fresh: bool = False) -> str | None:
        """Why an administrator's act is refused at the door; None when it goes on."""
        actor = self.use(session)
        if actor is None:
            return "UNAUTHENTICATED"
        if actor.level != "ADMINISTRATOR":
            return "FORBIDDEN"
        assert session is not None
        return "SignInAgain" if fresh and not self.is_fresh(session) else None

    # -- inviting ------------------------------------------------------------------------------------------------------------

    def holder(self, email: str, *, but: Person | None = None) -> Person | None:
        """Who has an address, against everybody else."""
        return next((one for one in self.people() if one.email == email and one.holds and one is not but), None)

    def at_home(self, practice: Practice, email: str, *, but: Person | None = None) -> Person | None:
        """For whom an address stands in a practice, invited or not."""
        here = (one for one in practice.people if not one.removed and not one.released and one is not but)
        return next((one for one in here if one.email == email), None)

    def is_taken(self, person: Person) -> bool:
        """Whether somebody cannot have their address: an account has it, or somebody else in the practice."""
        others = self.holder(person.email, but=person), self.at_home(person.practice, person.email, but=person)
        return any(others)

    def finish(self, person: Person) -> None:
        """The address is somebody's from now on: what was open for it elsewhere ends."""
        for other in self.people():
            if (
                other.email == person.email
                and other is not person
                and other.status == "INVITED"
                and other.ended is None
            ):
                self.end_enrollment(other)
                other.ended = "LOST"

    def invite(self, practice: Practice, email: str) -> str:
        """What inviting an address is answered with."""
        own = self.at_home(practice, email)
        if own is not None:
            return "UserInactive" if own.status == "INACTIVE" else "EmailInUse"
        return "EmailInUse" if self.holder(email) else "User"

    def why_not_invited(self, practice: Practice, person: Person) -> str | None:
        """Why somebody has no invitation here that can be sent again or taken back."""
        if person.practice is not practice or person.removed:
            return "NotFound"
        return {"INVITED": None, "ACTIVE": "AlreadySetUp", "INACTIVE": "UserInactive"}[person.status]

    def is_done(self, enrollment: Enrollment | None) -> bool:
        """Whether somebody is told that they have set up their account."""
        return (
            enrollment is not None and enrollment.done_at is not None and self.now < enrollment.done_at + TOLD_SECONDS
        )

    def resend(self, session: Session, person: Person) -> str:
        """What sending an invitation again is answered with. One that had ended is the sender's from now on."""
        assert person.invitation is not None
        if person.level == "ADMINISTRATOR" and person.ended is not None and not self.is_fresh(session):
            return "SignInAgain"
        if self.now < person.invitation.sent_at + MINUTE:
            return "TooSoon"
        if self.is_taken(person):
            return "EmailInUse"
        person.invited_by = session.person if person.ended is not None else person.invited_by
        return "User"

    def end_enrollment(self, person: Person) -> None:
        """What was begun with a link ends with it."""
        if person.invitation is not None and person.invitation.enrollment is not None:
            person.invitation.enrollment.ended = True

    def withdraw(self, person: Person) -> None:
        """An invitation that was taken back, and the person with it."""
        self.end_enrollment(person)
        person.removed, person.ended = True, "REVOKED"

    def decline(self, token: str) -> str:
        """What declining by a link is answered with."""
        found = self.of_link(token)
        if found is None or found.password is not None or found.ended not in (None, "DECLINED"):
            return "LinkInvalid"
        self.end_enrollment(found)
        found.ended = "DECLINED"
        return "InvitationDeclined"

    # -- joining -------------------------------------------------------------------------------------------------------------

    def of_link(self, token: str) -> Person | None:
        """Whose link it is, if it was not replaced."""
        return next((one for one in self.people() if one.invitation and one.invitation.token == token), None)

    def accept(self, token: str, typed: str) -> str:  # noqa: PLR0911 -- one line an answer
        """What link and access code are answered with; the code is not asked for once all is done."""
        found = self.of_link(token)
        if found is not None and found.invitation is not None and self.is_done(found.invitation.enrollment):
            return "Enrollment"
        if found is None or found.invitation is None or found.password is not None:
            return "LinkInvalid"
        if found.ended is not None:
            return "EmailInUse" if found.ended == "LOST" else "LinkInvalid"
        if self.has_expired(found):
            return "LinkExpired"
        if found.invitation.guesses >= LINK_GUESSES:
            return "TooManyAttempts"
        if not self.is_code(found.practice, typed):
            found.invitation.guesses += 1
            return "PracticeAccessCodeIncorrect"
        found.invitation.guesses = 0
        return "Enrollment"

    def guess(self, code: Code | None, digits: str) -> str | None:
        """What a security code is refused with; None when it is right, and used up then."""
        if code is None or code.used or self.now >= code.sent_at + CODE_SECONDS:
            return "CodeExpired"
        if code.guesses >= CODE_GUESSES:
            return "TooManyAttempts"
        code.guesses += 1
        return None if digits == code.digits else "CodeIncorrect"

    # -- signing in ----------------------------------------------------------------------------------------------------------

    def sign_in(self, email: str, password: str, device: Device | None) -> tuple[str, Person | None]:
        """What a sign-in is answered with, and whose account it is."""
        person = self.holder(email)
        if person is None or person.password is None or person.password != password:
            return "CredentialsIncorrect", None
        if person.status != "ACTIVE":
            return "AccountInactive", person
        known = device is not None and device in person.devices and self.trusts(person, device)
        return ("SignedIn" if known and not person.practice.settings.every_sign_in else "SecurityChallenge"), person

    def answers(self, challenge: Challenge) -> bool:
        """Whether a challenge is still to be answered."""
        is_young = self.now < challenge.made_at + CHALLENGE_SECONDS
        return not challenge.ended and is_young and challenge.person.status == "ACTIVE"

    def has_just_changed(self, session: Session) -> bool:
        """Whether a copy of a change of the password may still come."""
        at = session.changed_at
        return at is not None and session.began_at < at and self.now < at + TOLD_SECONDS

    def end_everything(self, person: Person, *, but: Session | None = None, devices: bool = True) -> None:
        """Every way in that a person has open ends."""
        for session in person.sessions:
            session.ended = session.ended or session is not but
        for device in person.devices if devices else ():
            device.forgotten = True
        for challenge in person.challenges:
            challenge.ended = True
        for reset in person.resets:
            reset.dead = True

    # -- blocking ------------------------------------------------------------------------------------------------------------

    def release(self, practice: Practice, person: Person) -> str:
        """What letting go of an address is answered with."""
        if person.practice is not practice or person.removed:
            return "NotFound"
        if person.status != "INACTIVE":
            return "InputInvalid"
        person.released = True
        return "User"

    def deactivate(self, practice: Practice, person: Person, *, release: bool) -> str:
        """What blocking somebody is answered with."""
        answer = self._deactivate(practice, person)
        if answer == "User" and release:
            person.released = True
        return answer

    def _deactivate(self, practice: Practice, person: Person) -> str:
        if person.practice is not practice or person.removed:
            return "NotFound"
        if person.status == "INACTIVE":
            return "User"
        is_administrator = person.status == "ACTIVE" and person.level == "ADMINISTRATOR"
        if is_administrator and self.administrators(practice) == [person]:
            return "LastAdministrator"
        self.end_everything(person)
        if person.status == "INVITED":
            self.end_enrollment(person)
            person.ended = person.ended or "REVOKED"
        for invited in self.people():
            if invited.invited_by is person and invited.status == "INVITED" and invited.ended is None:
                self.end_enrollment(invited)
                invited.ended = "INVITER"
        if is_administrator:
            person.knows = practice.code
        person.status = "INACTIVE"
        return "User"

    def reactivate(self, session: Session, person: Person) -> str:
        """What letting somebody back in is answered with."""
        practice = session.person.practice
        if person.practice is not practice or person.removed:
            return "NotFound"
        if person.status != "INACTIVE":
            return "User"
        if person.level == "ADMINISTRATOR" and not self.is_fresh(session):
            return "SignInAgain"
        if self.is_taken(person):
            return "EmailInUse"
        person.released = False
        if person.password is None:
            person.status, person.invited_by = "INVITED", session.person
        else:
            person.status = "ACTIVE"
            self.finish(person)
        return "User"
