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
    """Somebody setting up an account."""

    token: str
    ends_at: int
    step: str = "SEND_PHONE_CODE"
    ended: bool = False
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
    """Somebody signed in. proved_at: when a code was given with the password."""

    token: str
    person: "Person"
    began_at: int
    hours: int
    used_at: int
    proved_at: int | None
    device: Device | None = None
    ended: bool = False


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
    """Somebody in a practice. holds: whether the address is theirs against everybody else.

    knows: the access code that was good when they stopped being an administrator.
    """

    id: str
    practice: "Practice"
    email: str
    level: str
    status: str = "INVITED"
    holds: bool = True
    removed: bool = False
    password: str | None = None
    invitation: Invitation | None = None
    revoked: bool = False
    invited_by: "Person | None" = None
    knows: str | None = None
    devices: list[Device] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    challenges: list[Challenge] = field(default_factory=list)
    resets: list[Reset] = field(default_factory=list)


@dataclass
class Practice:
    """A practice. former: the access code before, and until when it is taken."""

    name: str
    code: str
    former: tuple[str, int] | None = None
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
        """Whether this is the practice's access code, or the one before while that is taken."""
        is_former = practice.former is not None and practice.former[0] == typed and self.now < practice.former[1]
        return typed == practice.code or is_former

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
            or person.revoked
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

    def let_go(self, email: str, practice: Practice) -> None:
        """What has run out elsewhere holds its address no longer."""
        found = self.holder(email)
        if found and found.practice is not practice and found.status == "INVITED" and self.has_expired(found):
            found.holds = False

    def invite(self, practice: Practice, email: str) -> str:
        """What inviting an address is answered with."""
        own = next((one for one in practice.people if one.email == email and not one.removed), None)
        if own is not None:
            return "UserInactive" if own.status == "INACTIVE" else "EmailInUse"
        self.let_go(email, practice)
        return "EmailInUse" if self.holder(email) else "User"

    def find_invited(self, practice: Practice, person: Person) -> bool:
        """Whether somebody has an invitation here that can be sent again or taken back."""
        return person.practice is practice and not person.removed and person.status == "INVITED"

    def resend(self, person: Person) -> str:
        """What sending an invitation again is answered with."""
        assert person.invitation is not None
        if self.now < person.invitation.sent_at + MINUTE:
            return "TooSoon"
        self.let_go(person.email, person.practice)
        if self.holder(person.email, but=person):
            return "EmailInUse"
        person.holds = True
        return "User"

    def end_enrollment(self, person: Person) -> None:
        """What was begun with a link ends with it."""
        if person.invitation is not None and person.invitation.enrollment is not None:
            person.invitation.enrollment.ended = True

    def withdraw(self, person: Person) -> None:
        """An invitation that was taken back, and the person with it."""
        self.end_enrollment(person)
        person.removed, person.holds, person.revoked = True, False, True

    # -- joining -------------------------------------------------------------------------------------------------------------

    def accept(self, token: str, typed: str) -> str:
        """What link and access code are answered with."""
        found = next(
            (
                one
                for one in self.people()
                if one.invitation and one.invitation.token == token and one.status == "INVITED" and not one.revoked
            ),
            None,
        )
        if found is None or found.invitation is None:
            return "LinkInvalid"
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

    def deactivate(self, practice: Practice, person: Person) -> str:
        """What blocking somebody is answered with."""
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
            person.revoked = True
        for invited in self.people():
            if invited.invited_by is person and invited.status == "INVITED" and invited is not person:
                self.withdraw(invited)
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
        self.let_go(person.email, practice)
        if self.holder(person.email, but=person):
            return "EmailInUse"
        person.holds = True
        person.status = "INVITED" if person.password is None else "ACTIVE"
        person.revoked = False
        return "User"
