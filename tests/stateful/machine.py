"""The steps that people take, in any order, each compared with what the model says."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Rule, RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain import database
from tests.conftest import Clock
from tests.stateful.model import (
    ENROLLMENT_SECONDS,
    HOUR,
    INVITATION_SECONDS,
    MINUTE,
    Challenge,
    Code,
    Device,
    Enrollment,
    Invitation,
    Model,
    Person,
    Practice,
    Reset,
    Session,
)
from tests.stateful.product import Product
from tests.world import Json, World

T = TypeVar("T")

EMAILS = ("ann@x.example", "bob@x.example", "cat@x.example")
LEVELS = ("ADMINISTRATOR", "PROVIDER")
PASSWORDS = ("seven green kites over the bay", "eleven slow trains to the north")
STEPS = (2 * MINUTE, 11 * MINUTE, 31 * MINUTE, 13 * HOUR, 8 * 24 * HOUR)
PHONE = "+12025550111"
WRONG = "XXXXXXXXXX"
INDEX = st.integers(min_value=0, max_value=1000)


def any_step(machine: RuleBasedStateMachine, is_possible: Callable[[Rule], bool]) -> st.SearchStrategy[Any]:
    """A rule that is possible now, and what it is called with.

    Hypothesis would leave a random part of the rules out of each example, which starves ways that take ten different steps.
    """
    rules = st.sampled_from(machine.setup_state().rules).filter(is_possible)
    return rules.flatmap(lambda chosen: st.tuples(st.just(chosen), st.fixed_dictionaries(chosen.arguments_strategies)))


class Machine(RuleBasedStateMachine):
    """Two practices, three addresses that both want, and what people do. The test sets the class's attributes."""

    loop: asyncio.AbstractEventLoop
    world: World
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self._rules_strategy = any_step(self, self._rules_strategy.is_valid)  # type: ignore[assignment]  # it is asked for no more
        self.product = Product(self.world.api)
        self.model = Model([])
        self.old_codes: list[str] = []
        self.dead_links: list[str] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the test's loop, from the machine's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def act(self, expected: str, mutation: str, values: Json | None, session: Session | None = None) -> Json:
        """Take a step; the answer must be of the type that the model says."""
        kind, result = self.run(self.product.act(mutation, values, session.token if session else None))
        assert kind == expected, f"{mutation}: the model says {expected}, the product {kind}: {result}"
        return result

    @initialize()
    def begin(self) -> None:
        """Two practices, each with an administrator and a colleague who is one too."""
        self.run(self.clock.stop())
        for name in ("Elm", "Oak"):
            made = self.run(self.world.practice(f"{name} Practice", f"admin@{name.lower()}.example"))
            practice = Practice(f"{name} Practice", made.practice_access_code)
            founder = made.administrator
            person = Person(founder.id, practice, founder.email, "ADMINISTRATOR", "ACTIVE", password=founder.password)
            assert founder.device is not None
            self.signed_in(person, {"sessionToken": founder.session, "deviceToken": founder.device}, proved=True)
            practice.people.append(person)
            self.model.practices.append(practice)
        self.run(database.execute("UPDATE subscriptions SET status = 'ACTIVE', current_period_ends_at = NULL"))
        # Somebody has joined already, and somebody is about to.
        for email, practice, level in zip(EMAILS, self.model.practices, LEVELS, strict=False):
            self.invite(self._place(self.sessions(), practice.people[0].sessions[0]) * 4, email, level)
        self.join(0, PASSWORDS[0])

    def teardown(self) -> None:
        """Leave nothing for the next example."""
        self.run(_empty(self.world, self.clock))

    # -- choosing ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def pick(some: Sequence[T], index: int) -> T | None:
        """One of these, the later ones first: what was done last is what the next step is mostly about."""
        return some[-1 - index % len(some)] if some else None

    def acting(self, index: int) -> Session | None:
        """Somebody's session: of every four one whatever it is, the others one that is open, if there is any."""
        good = [session for session in self.sessions() if self.model.is_open(session)]
        return self.pick(self.sessions() if index % 4 == 0 or not good else good, index // 4)

    def about(self, index: int) -> Person:
        """Whom an act on an invitation is about: of every four one anybody, the others somebody who has one, if there is any."""
        fit = [one for one in self.everybody() if one.status == "INVITED" and not one.removed]
        found = self.pick(self.everybody() if index % 4 == 0 or not fit else fit, index // 4)
        assert found is not None
        return found

    def sessions(self) -> list[Session]:
        """Every session that ever was."""
        return [session for practice in self.model.practices for one in practice.people for session in one.sessions]

    def everybody(self) -> list[Person]:
        """Everybody who ever was."""
        return [person for practice in self.model.practices for person in practice.people]

    def enrollments(self) -> list[tuple[Person, Enrollment]]:
        """The latest enrollment of everybody who has one."""
        return [
            (one, one.invitation.enrollment) for one in self.everybody() if one.invitation and one.invitation.enrollment
        ]

    def challenges(self) -> list[Challenge]:
        """Every challenge that ever was."""
        return [challenge for person in self.everybody() for challenge in person.challenges]

    # -- what comes of it ----------------------------------------------------------------------------------------------------

    def signed_in(self, person: Person, result: Json, *, proved: bool, device: Device | None = None) -> None:
        """A session has begun, perhaps on a device that is known from now on."""
        now, settings = self.model.now, person.practice.settings
        if result["deviceToken"] is not None and device is None:
            device = Device(result["deviceToken"], now, settings.device_days, now)
            person.devices.append(device)
        elif result["deviceToken"] is not None and device is not None:
            device.token, device.seen_at = result["deviceToken"], now
        session = Session(
            result["sessionToken"], person, now, settings.session_hours, now, now if proved else None, device
        )
        person.sessions.append(session)

    def linked(self, person: Person) -> None:
        """A fresh link went out; the one before is dead."""
        token = self.run(self.product.link(person.id))
        if person.invitation is not None:
            assert token != person.invitation.token, "a fresh link is another one"
            self.dead_links.append(person.invitation.token)
            self.model.end_enrollment(person)
        person.invitation, person.ended = Invitation(token, self.model.now), None

    # -- inviting ------------------------------------------------------------------------------------------------------------

    @rule(who=INDEX, email=st.sampled_from(EMAILS), level=st.sampled_from(LEVELS))
    def invite(self, who: int, email: str, level: str) -> None:
        """An administrator, or somebody who is none, invites."""
        session = self.acting(who)
        row = {"firstName": "A", "lastName": "B", "email": email, "accessLevel": level}
        refused = self.model.forbids(session, fresh=level == "ADMINISTRATOR")
        result = self.act(refused or "InviteReport", "invite", {"users": [row]}, session)
        if refused or session is None:
            return
        practice = session.person.practice
        expected = self.model.invite(practice, email)
        found = result["rows"][0]
        kind = "User" if found["user"] else found["error"]["__typename"]
        assert kind == expected, f"invite {email}: the model says {expected}, the product {kind}"
        if expected == "User":
            person = Person(found["user"]["id"], practice, email, level, invited_by=session.person)
            practice.people.append(person)
            self.linked(person)

    @rule(who=INDEX, whom=INDEX)
    def resend(self, who: int, whom: int) -> None:
        """An invitation is sent again."""
        session, person = self.acting(who), self.about(whom)
        expected = self.model.forbids(session)
        if expected is None:
            assert session is not None
            expected = self.model.why_not_invited(session.person.practice, person) or self.model.resend(session, person)
        self.act(expected, "resend", {"userId": person.id}, session)
        if expected == "User":
            self.linked(person)

    @rule(who=INDEX, whom=INDEX)
    def revoke(self, who: int, whom: int) -> None:
        """An invitation is taken back."""
        session, person = self.acting(who), self.about(whom)
        expected = self.model.forbids(session)
        if expected is None:
            assert session is not None
            is_gone = person.practice is session.person.practice and person.removed
            expected = "InvitationRevoked" if is_gone else self.model.why_not_invited(session.person.practice, person)
        self.act(expected or "InvitationRevoked", "revokeInvitation", {"userId": person.id}, session)
        if expected is None:
            self.model.withdraw(person)

    @precondition(lambda self: any(one.invitation for one in self.everybody()))
    @rule(whom=INDEX, dead=st.booleans())
    def decline(self, whom: int, dead: bool) -> None:
        """A link is declined; sometimes one that was replaced."""
        person = self.pick([one for one in self.everybody() if one.invitation is not None], whom)
        if person is None or person.invitation is None:
            return
        token = self.pick(self.dead_links, whom) if dead else person.invitation.token
        if token is not None:
            self.act(self.model.decline(token), "declineInvitation", {"token": token})

    # -- joining -------------------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(one.invitation for one in self.everybody()))
    @rule(whom=INDEX, which=st.sampled_from(("right", "right", "former", "other", "wrong")), dead=st.booleans())
    def accept(self, whom: int, which: str, dead: bool) -> None:
        """Link and access code are given; sometimes a link that was replaced, or a code that is none or another's."""
        invited = [one for one in self.everybody() if one.invitation is not None]
        person = self.pick(invited, whom)
        if person is None or person.invitation is None:
            return
        token = self.pick(self.dead_links, whom) if dead else person.invitation.token
        if token is None:
            return
        practice = person.practice
        other = next(one for one in self.model.practices if one is not practice)
        former = self.pick(self.old_codes, whom) or WRONG
        typed = {"right": practice.code, "former": former, "other": other.code, "wrong": WRONG}[which]
        expected = self.model.accept(token, typed)
        result = self.act(expected, "acceptInvitation", {"token": token, "practiceAccessCode": typed})
        if expected == "Enrollment":
            ends_at = min(self.model.now + ENROLLMENT_SECONDS, person.invitation.sent_at + INVITATION_SECONDS)
            old = person.invitation.enrollment
            if self.model.is_done(old):
                assert old is not None
                assert (old.token, "DONE") == (result["token"], result["nextStep"])
            elif old is None or not self.model.enrollment(old, person):
                assert old is None or old.token != result["token"]
                person.invitation.enrollment = Enrollment(result["token"], ends_at)
            else:
                assert old.token == result["token"], "accepting again leads to the same enrollment"
                assert old.step == result["nextStep"]

    @precondition(lambda self: bool(self.enrollments()))
    @rule(which=INDEX)
    def send_phone_code(self, which: int) -> None:
        """A code goes to the phone that is to be proved."""
        found = self.pick(self.enrollments(), which)
        if found is None:
            return
        person, enrollment = found
        expected = "SecurityCodeSent"
        if not self.model.enrollment(enrollment, person):
            expected = "StepOutOfOrder" if self.model.is_done(enrollment) else "EnrollmentInvalid"
        elif enrollment.step == "SET_PASSWORD":
            expected = "StepOutOfOrder"
        elif enrollment.code is not None and self.model.now == enrollment.code.sent_at:
            expected = "TooSoon"
        self.act(expected, "sendPhoneCode", {"enrollmentToken": enrollment.token, "phone": PHONE, "channel": "SMS"})
        if expected == "SecurityCodeSent":
            enrollment.code, enrollment.step = Code(self.run(self.product.code()), self.model.now), "VERIFY_PHONE"

    @precondition(lambda self: bool(self.enrollments()))
    @rule(which=INDEX, right=st.booleans())
    def verify_phone(self, which: int, right: bool) -> None:
        """The code is given."""
        found = self.pick(self.enrollments(), which)
        if found is None:
            return
        person, enrollment = found
        digits = enrollment.code.digits if enrollment.code and right else _other(enrollment.code)
        if not self.model.enrollment(enrollment, person):
            expected = "Enrollment" if self.model.is_done(enrollment) else "EnrollmentInvalid"
        elif enrollment.step == "SET_PASSWORD":
            expected = "Enrollment"
        elif enrollment.step != "VERIFY_PHONE":
            expected = "StepOutOfOrder"
        else:
            expected = self.model.guess(enrollment.code, digits) or "Enrollment"
        self.act(expected, "verifyPhone", {"enrollmentToken": enrollment.token, "code": digits})
        if expected == "Enrollment" and enrollment.step == "VERIFY_PHONE":
            assert enrollment.code is not None
            enrollment.code.used, enrollment.step = True, "SET_PASSWORD"

    @precondition(lambda self: bool(self.enrollments()))
    @rule(which=INDEX, password=st.sampled_from(PASSWORDS), trust=st.booleans())
    def set_password(self, which: int, password: str, trust: bool) -> None:
        """The last step of joining."""
        found = self.pick(self.enrollments(), which)
        if found is None:
            return
        person, enrollment = found
        expected = "SignedIn"
        if self.model.is_done(enrollment):
            expected = "StepOutOfOrder" if password == person.password else "CredentialsIncorrect"
        elif not self.model.enrollment(enrollment, person):
            expected = "EmailInUse" if person.ended == "LOST" else "EnrollmentInvalid"
        elif enrollment.step != "SET_PASSWORD":
            expected = "StepOutOfOrder"
        values = {"enrollmentToken": enrollment.token, "password": password, "trustDevice": trust}
        result = self.act(expected, "setPassword", values)
        if expected == "SignedIn":
            enrollment.ended, enrollment.done_at, person.status, person.password = (
                True,
                self.model.now,
                "ACTIVE",
                password,
            )
            self.model.finish(person)
            assert (result["deviceToken"] is not None) == trust
            self.signed_in(person, result, proved=True)

    # -- signing in ----------------------------------------------------------------------------------------------------------

    @rule(whom=INDEX, right=st.sampled_from((True, True, True, False)), device=st.integers(min_value=0, max_value=3))
    def sign_in(self, whom: int, right: bool, device: int) -> None:
        """Somebody signs in, on a device that is known, was known, is another's, or is new."""
        person = self.pick(self.everybody(), whom)
        assert person is not None
        devices = [one for somebody in self.everybody() for one in somebody.devices]
        used = self.pick((person.devices if device < 2 else devices) if device < 3 else [], whom)
        holder = self.model.holder(person.email)
        password = (holder.password if holder and holder.password and right else None) or "not the password at all"
        expected, found = self.model.sign_in(person.email, password, used)
        values = {"email": person.email, "password": password, "deviceToken": used.token if used else None}
        result = self.act(expected, "signIn", values)
        if found is None:
            return
        if expected == "SignedIn":
            self.signed_in(found, result, proved=False, device=used)
        elif expected == "SecurityChallenge":
            is_known = used is not None and used in found.devices and self.model.knows(used)
            challenge = Challenge(result["token"], found, self.model.now, "SIGN_IN", used if is_known else None)
            found.challenges.append(challenge)

    @precondition(lambda self: bool(self.challenges()))
    @rule(which=INDEX)
    def send_security_code(self, which: int) -> None:
        """A code goes to the verified phone."""
        challenge = self.pick(self.challenges(), which)
        if challenge is None:
            return
        expected = "SecurityCodeSent"
        if not self.model.answers(challenge):
            expected = "ChallengeInvalid"
        elif challenge.code is not None and self.model.now == challenge.code.sent_at:
            expected = "TooSoon"
        self.act(expected, "sendSecurityCode", {"challengeToken": challenge.token, "channel": "SMS"})
        if expected == "SecurityCodeSent":
            challenge.code = Code(self.run(self.product.code()), self.model.now)

    @precondition(lambda self: bool(self.challenges()))
    @rule(which=INDEX, right=st.sampled_from((True, True, False)), trust=st.booleans())
    def verify_device(self, which: int, right: bool, trust: bool) -> None:
        """A challenge is answered; one for a new password is good for nothing here."""
        challenge = self.pick(self.challenges(), which)
        if challenge is None:
            return
        digits = challenge.code.digits if challenge.code and right else _other(challenge.code)
        if not self.model.answers(challenge) or challenge.purpose != "SIGN_IN":
            expected = "ChallengeInvalid"
        else:
            expected = self.model.guess(challenge.code, digits) or "SignedIn"
        values = {"challengeToken": challenge.token, "code": digits, "trustDevice": trust}
        result = self.act(expected, "verifyDevice", values)
        if expected != "SignedIn":
            return
        assert challenge.code is not None
        challenge.code.used = challenge.ended = True
        known = challenge.device if challenge.device and not challenge.device.forgotten else None
        days = challenge.person.practice.settings.device_days
        assert (result["deviceToken"] is not None) == trust
        if known is not None and trust:
            known.trusted_at, known.days = self.model.now, days
        elif known is not None and not trust:
            known.forgotten = True
        self.signed_in(challenge.person, result, proved=True, device=known if trust else None)

    @rule(which=INDEX)
    def end_session(self, which: int) -> None:
        """Somebody signs out."""
        session = self.pick(self.sessions(), which)
        assert session is not None
        was_open = self.model.use(session) is not None
        answer = self.run(self.world.api.query("mutation { signOut }", token=session.token))
        assert answer["signOut"] is was_open
        session.ended = session.ended or was_open

    # -- passwords -----------------------------------------------------------------------------------------------------------

    @rule(which=INDEX, right=st.sampled_from((True, True, False)), new=st.sampled_from(PASSWORDS))
    def change_password(self, which: int, right: bool, new: str) -> None:
        """Somebody changes their own."""
        session = self.acting(which)
        person = self.model.use(session)
        assert session is not None
        current = session.person.password if right and session.person.password else "not the password at all"
        if person is None:
            expected = "UNAUTHENTICATED"
        elif current != person.password:
            is_done = self.model.has_just_changed(session) and person.password == new
            expected = "User" if is_done else "CredentialsIncorrect"
        else:
            expected = "PasswordRejected" if new == current else "User"
        self.act(expected, "changePassword", {"currentPassword": current, "newPassword": new}, session)
        if expected == "User" and person is not None and current == person.password:
            self.model.end_everything(person, but=session, devices=False)
            person.password, session.changed_at = new, self.model.now

    @rule(whom=INDEX)
    def request_reset(self, whom: int) -> None:
        """Somebody forgot it; the answer never tells whether there is an account."""
        person = self.pick(self.everybody(), whom)
        assert person is not None
        self.act("CheckYourEmail", "requestPasswordReset", {"email": person.email})
        found = self.model.holder(person.email)
        if found is not None and found.status == "ACTIVE":
            found.resets.append(Reset(self.run(self.product.reset_link(found.id)), self.model.now))

    @precondition(lambda self: any(one.resets for one in self.everybody()))
    @rule(whom=INDEX, which=INDEX)
    def start_reset(self, whom: int, which: int) -> None:
        """A reset's link is followed."""
        person = self.pick([one for one in self.everybody() if one.resets], whom)
        reset = self.pick(person.resets, which) if person else None
        if person is None or reset is None:
            return
        expected = "SecurityChallenge"
        if reset.dead or person.status != "ACTIVE":
            expected = "LinkInvalid"
        elif self.model.now >= reset.sent_at + HOUR:
            expected = "LinkExpired"
        result = self.act(expected, "startPasswordReset", {"token": reset.token})
        if expected == "SecurityChallenge":
            for challenge in person.challenges:
                challenge.ended = challenge.ended or challenge.purpose == "PASSWORD_RESET"
            person.challenges.append(Challenge(result["token"], person, self.model.now, "PASSWORD_RESET", reset=reset))

    @precondition(lambda self: bool(self.challenges()))
    @rule(which=INDEX, right=st.sampled_from((True, True, False)), new=st.sampled_from(PASSWORDS))
    def reset_password(self, which: int, right: bool, new: str) -> None:
        """A new password is set with the code."""
        challenge = self.pick(self.challenges(), which)
        if challenge is None:
            return
        digits = challenge.code.digits if challenge.code and right else _other(challenge.code)
        if not self.model.answers(challenge) or challenge.purpose != "PASSWORD_RESET":
            expected = "ChallengeInvalid"
        else:
            refused = self.model.guess(challenge.code, digits)
            assert challenge.reset is not None
            link_is_good = not challenge.reset.dead and self.model.now < challenge.reset.sent_at + HOUR
            same = "PasswordRejected" if new == challenge.person.password else None
            expected = refused or same or ("SignedIn" if link_is_good else "ChallengeInvalid")
            if refused is None and expected != "SignedIn" and challenge.code is not None:
                challenge.code.guesses -= 1  # a right code that led to nothing is as good as before
        values = {"challengeToken": challenge.token, "code": digits, "newPassword": new}
        result = self.act(expected, "resetPassword", values)
        if expected == "SignedIn":
            self.model.end_everything(challenge.person)
            challenge.person.password = new
            self.signed_in(challenge.person, result, proved=True)

    # -- whole ways, so that the rest happens to people who are in -----------------------------------------------------------

    @precondition(lambda self: any(one.status == "INVITED" and not one.removed for one in self.everybody()))
    @rule(whom=INDEX, password=st.sampled_from(PASSWORDS))
    def join(self, whom: int, password: str) -> None:
        """Somebody invited goes the whole way, or as far as it leads."""
        person = self.pick([one for one in self.everybody() if one.status == "INVITED" and not one.removed], whom)
        assert person is not None
        self.accept(self._place([one for one in self.everybody() if one.invitation], person), "right", dead=False)
        if person.invitation is None or person.invitation.enrollment is None:
            return
        place = self._place([one for one, _ in self.enrollments()], person)
        self.send_phone_code(place)
        self.verify_phone(place, right=True)
        self.set_password(place, password, trust=True)

    @rule(whom=INDEX, device=st.integers(min_value=0, max_value=3))
    def come_in(self, whom: int, device: int) -> None:
        """Somebody signs in and gives the code that is asked for."""
        before = len(self.challenges())
        self.sign_in(whom, right=True, device=device)
        if len(self.challenges()) > before:
            person = self.pick(self.everybody(), whom)
            holder = self.model.holder(person.email) if person else None
            assert holder is not None
            place = self._place(self.challenges(), holder.challenges[-1])
            self.send_security_code(place)
            self.verify_device(place, right=True, trust=True)

    @rule(whom=INDEX, new=st.sampled_from(PASSWORDS))
    def forget_password(self, whom: int, new: str) -> None:
        """Somebody sets a new password by link and code."""
        person = self.pick(self.everybody(), whom)
        self.request_reset(whom)
        holder = self.model.holder(person.email) if person else None
        if holder is None or holder.status != "ACTIVE":
            return
        self.start_reset(self._place([one for one in self.everybody() if one.resets], holder), 0)
        place = self._place(self.challenges(), holder.challenges[-1])
        self.send_security_code(place)
        self.reset_password(place, right=True, new=new)

    @staticmethod
    def _place(some: Sequence[T], wanted: T) -> int:
        """The index by which `pick` finds it."""
        return len(some) - 1 - next(number for number, one in enumerate(some) if one is wanted)

    # -- administering -------------------------------------------------------------------------------------------------------

    @rule(who=INDEX)
    def rotate(self, who: int) -> None:
        """The access code is replaced."""
        session = self.acting(who)
        refused = self.model.forbids(session, fresh=True)
        result = self.act(refused or "PracticeAccessCode", "rotatePracticeAccessCode", None, session)
        if refused is None and session is not None:
            practice = session.person.practice
            assert (result["code"] != practice.code) == self.model.rotates(session), "a second click replaces nothing"
            if self.model.rotates(session):
                self.old_codes.append(practice.code)
                self.model.rotate(session, result["code"])

    @rule(who=INDEX, whom=INDEX, release=st.booleans())
    def deactivate(self, who: int, whom: int, release: bool) -> None:
        """Somebody is blocked, and perhaps their address is let go of."""
        session, person = self.acting(who), self.pick(self.everybody(), whom)
        assert person is not None
        expected = self.model.forbids(session, fresh=release)
        if expected is None:
            assert session is not None
            expected = self.model.deactivate(session.person.practice, person, release=release)
        self.act(expected, "deactivate", {"userId": person.id, "releaseAddress": release}, session)

    @rule(who=INDEX, whom=INDEX)
    def release(self, who: int, whom: int) -> None:
        """The address of somebody who was blocked is let go of."""
        session, person = self.acting(who), self.pick(self.everybody(), whom)
        assert person is not None
        expected = self.model.forbids(session, fresh=True)
        if expected is None:
            assert session is not None
            expected = self.model.release(session.person.practice, person)
        self.act(expected, "releaseAddress", {"userId": person.id}, session)

    @rule(who=INDEX, whom=INDEX)
    def reactivate(self, who: int, whom: int) -> None:
        """Somebody is let back in."""
        session, person = self.acting(who), self.pick(self.everybody(), whom)
        assert person is not None
        was_inactive = person.status == "INACTIVE"
        refused = self.model.forbids(session)
        expected = refused or self.model.reactivate(session, person)  # type: ignore[arg-type]  # it is open
        self.act(expected, "reactivate", {"userId": person.id}, session)
        if expected == "User" and was_inactive and person.status == "INVITED":
            self.linked(person)

    @rule(who=INDEX, whom=INDEX, level=st.sampled_from(LEVELS))
    def change_level(self, who: int, whom: int, level: str) -> None:
        """Somebody may do more, or less."""
        session, person = self.acting(who), self.pick(self.everybody(), whom)
        assert person is not None
        expected = self.model.forbids(session, fresh=True)
        if expected is None:
            assert session is not None
            practice = session.person.practice
            loses = person.level == "ADMINISTRATOR" != level and person.status == "ACTIVE"
            expected = "User"
            if person.practice is not practice or person.removed:
                expected = "NotFound"
            elif loses and self.model.administrators(practice) == [person]:
                expected = "LastAdministrator"
        self.act(expected, "changeAccessLevel", {"userId": person.id, "accessLevel": level}, session)
        if expected == "User":
            if person.status == "ACTIVE" and person.level == "ADMINISTRATOR" != level:
                person.knows = person.practice.code
            changes, person.level = person.level != level, level
            if changes and person.status == "INVITED" and person.ended is None and not self.model.has_expired(person):
                self.linked(person)

    @rule(
        who=INDEX,
        idle=st.sampled_from((10, 30, 60)),
        hours=st.sampled_from((1, 12, 24)),
        days=st.sampled_from((0, 30, 90)),
        every=st.booleans(),
    )
    def change_settings(self, who: int, idle: int, hours: int, days: int, every: bool) -> None:
        """Login settings change, and bite at once."""
        session = self.acting(who)
        values = {
            "idleTimeoutMinutes": idle,
            "sessionHours": hours,
            "trustedDeviceDays": days,
            "securityCode": "EVERY_SIGN_IN" if every else "NEW_DEVICE",
        }
        refused = self.model.forbids(session, fresh=True)
        self.act(refused or "LoginSettings", "updateLoginSettings", values, session)
        if refused is None and session is not None:
            settings = session.person.practice.settings
            settings.idle_minutes, settings.session_hours = idle, hours
            settings.device_days, settings.every_sign_in = days, every

    @rule(seconds=st.sampled_from(STEPS))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.run(self.clock.forward(seconds=seconds))
        self.model.now += seconds

    # -- what holds always ---------------------------------------------------------------------------------------------------

    @invariant()
    def everybody_stands_where_the_model_says(self) -> None:
        """Status, access level and address of everybody; and each practice has somebody who answers for it."""
        found = sorted(
            (row["practice"], row["email"], row["status"], row["access_level"], row["holds_email"])
            for row in self.run(self.product.state())
        )
        people = self.model.people()
        assert found == sorted((one.practice.name, one.email, one.status, one.level, one.holds) for one in people)
        assert all(self.model.administrators(practice) for practice in self.model.practices)

    @invariant()
    def the_latest_sessions_are_as_open_as_the_model_says(self) -> None:
        """Looked at without using them: what is asked for by somebody keeps a session open."""
        for session in self.sessions()[-2:]:
            expected = session.person.id if self.model.is_open(session) else None
            assert self.run(self.product.viewer(session.token)) == expected
            self.model.use(session)


def _other(code: Code | None) -> str:
    return "000000" if code is None or code.digits != "000000" else "111111"


async def _empty(world: World, clock: Clock) -> None:
    await clock.reset()
    await world.start_over()
