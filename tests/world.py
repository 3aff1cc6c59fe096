"""Practices and people, made through the API as their clients would; and the outbox, run without a network."""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import httpx

from domain import contents, database, outbox, secrets
from domain.contents import Content, KeyMissing, Withdrawn
from domain.models.columns import DeliveryStatus
from domain.outbox import Claimed, Outcome
from graph.ids import split_id
from tests.scenes import Extra, Scenes
from workers.deliveries import without_key

Json = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

PASSWORD = "correct horse battery staple"
FIRST_NUMBER = 100

SELECTIONS = {
    "Enrollment": "token nextStep phone expiresAt",
    "SignedIn": "sessionToken deviceToken expiresAt recoveryCodes user { id email phone status accessLevel }",
    "SignInRenewed": "freshUntil",
    "EmailConfirmed": "email",
    "ChangedRecently": "changed bothAt: retryAt",
    "AccountChangeStopped": "change",
    "SecurityChallenge": "token phone phoneRequired channels practiceAccessCodeRequired expiresAt",
    "SecurityCodeSent": "channel phone expiresAt resendableAt",
    "CheckYourEmail": "email",
    "InviteReport": "invitedCount rows { user { id email status } error { __typename message"
    " ... on InputInvalid { problems { path message } } ... on EmailInUse { email } ... on AddressBounced { complained reason standsUntil } ... on UserInactive { user { id } } } }",
    "AddressBounced": "bouncedEmail: email bouncedAt reason complained standsUntil",
    "User": "id email status accessLevel addressReleasedAt invitation { id state problem endedAt canResend resendableAt addressBouncedAt expiresAt sentAt delivery { status attempts problem } }",
    "PracticeAccessCodeSettings": "rotationDays graceHours rotateOnDeparture",
    "InvitationRevoked": "userId",
    "InvitationDeclined": "practiceName unknownPractice",
    "ResendReport": "resentCount rows { userId user { id invitation { state } } error { __typename message } }",
    "Delivery": "id kind channel recipient userId userName status attempts queuedAt redeliveryOf tries { number outcome }",
    "NotRedeliverable": "problem",
    "SessionEnded": "sessionId",
    "DeviceForgotten": "deviceId",
    "InputInvalid": "problems { path message }",
    "PracticeAccessCodeIncorrect": "attemptsLeft",
    "CodeIncorrect": "attemptsLeft",
    "TooManyAttempts": "retryAtOrNull: retryAt",
    "TooSoon": "retryAt",
    "LimitReached": "retryAt",
    "AccountLocked": "retryAt resetRequired",
    "StepOutOfOrder": "nextStep",
    "PasswordRejected": "problems minLength maxLength",
    "SubscriptionLapsed": "subscriptionStatus: status",
    "OutsideAllowedHours": "opensAt: retryAt",
    "ChallengeInvalid": "challengeProblem: problem",
    "AlreadySetUp": "user { id }",
    "NotSetUpYet": "user { id }",
    "UserInactive": "user { id }",
    "ChannelNotAllowed": "channels",
    "LoginSettings": "securityCode practiceAccessCode trustedDeviceDays idleTimeoutMinutes sessionHours"
    " allowedHours { day from until } allowedNetworks phoneChannels voiceFallback",
}

RESULTS = {
    "signUp": "CheckYourEmail InputInvalid LimitReached",
    "verifyEmail": "Enrollment TooManyAttempts",
    "invite": "InviteReport InputInvalid LimitReached SubscriptionLapsed",
    "resend": "User AddressBounced InputInvalid TooSoon LimitReached SubscriptionLapsed AlreadySetUp UserInactive",
    "revokeInvitation": "InvitationRevoked AlreadySetUp UserInactive",
    "resendInvitations": "ResendReport InputInvalid SubscriptionLapsed",
    "declineInvitation": "InvitationDeclined TooManyAttempts",
    "releaseAddress": "User InputInvalid",
    "redeliver": "Delivery NotRedeliverable TooSoon LimitReached SubscriptionLapsed",
    "acceptInvitation": "Enrollment PracticeAccessCodeIncorrect TooManyAttempts SubscriptionLapsed InputInvalid",
    "sendPhoneCode": "SecurityCodeSent StepOutOfOrder ChannelNotAllowed TooSoon LimitReached",
    "verifyPhone": "Enrollment StepOutOfOrder CodeIncorrect TooManyAttempts InputInvalid",
    "setPassword": "SignedIn StepOutOfOrder PasswordRejected OutsideAllowedHours SubscriptionLapsed AccountLocked",
    "signIn": "SignedIn SecurityChallenge AccountLocked OutsideAllowedHours SubscriptionLapsed",
    "sendSecurityCode": "SecurityCodeSent ChannelNotAllowed TooSoon LimitReached ChallengeInvalid",
    "verifyDevice": "SignedIn CodeIncorrect PracticeAccessCodeIncorrect TooManyAttempts OutsideAllowedHours SubscriptionLapsed InputInvalid ChallengeInvalid",
    "updateLoginSettings": "LoginSettings InputInvalid",
    "requestPasswordReset": "CheckYourEmail LimitReached",
    "startPasswordReset": "SecurityChallenge TooManyAttempts",
    "resetPassword": "SignedIn CodeIncorrect PracticeAccessCodeIncorrect TooManyAttempts PasswordRejected SubscriptionLapsed ChallengeInvalid",
    "sendPasswordReset": "User TooSoon LimitReached NotSetUpYet UserInactive",
    "renewSignIn": "SecurityChallenge TooManyAttempts",
    "confirmSignIn": "SignInRenewed CodeIncorrect TooManyAttempts InputInvalid ChallengeInvalid",
    "changeName": "User InputInvalid",
    "changeEmail": "SecurityChallenge AddressBounced InputInvalid LimitReached",
    "verifyEmailChange": "CheckYourEmail CodeIncorrect TooManyAttempts InputInvalid ChallengeInvalid",
    "confirmEmail": "EmailConfirmed TooManyAttempts",
    "changePhone": "SecurityChallenge TooManyAttempts",
    "confirmPhone": "User CodeIncorrect TooManyAttempts InputInvalid ChallengeInvalid",
    "resetPhone": "User InputInvalid NotSetUpYet ChangedRecently",
    "correctUserName": "User InputInvalid",
    "correctUserEmail": "User AddressBounced InputInvalid ChangedRecently LimitReached SubscriptionLapsed",
    "stopAccountChange": "AccountChangeStopped TooManyAttempts",
    "deactivate": "User InputInvalid",
    "changePassword": "User PasswordRejected",
    "reactivate": "User SubscriptionLapsed",
    "changeAccessLevel": "User",
    "updatePracticeAccessCodeSettings": "PracticeAccessCodeSettings InputInvalid",
    "endSession": "SessionEnded",
    "forgetDevice": "DeviceForgotten",
}


def document(mutation: str) -> str:
    """A document that calls one mutation and selects all that can be asked of what it answers."""
    parts = " ".join(f"... on {name} {{ {SELECTIONS[name]} }}" for name in RESULTS[mutation].split())
    kind = mutation[0].upper() + mutation[1:]
    return f"mutation M($input: {kind}Input!) {{ {mutation}(input: $input) {{ __typename ... on UserError {{ message }} {parts} }} }}"


async def keep_sessions_open() -> None:
    """Every open session is as if it had begun just now, after a jump of the clock."""
    await database.execute(
        "UPDATE sessions SET created_at = clock_now(), last_used_at = clock_now(), expires_at = clock_now() + interval '12 hours'"
        " WHERE ended_at IS NULL"
    )


class Api:
    """Speaks GraphQL over HTTP with the API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def post(self, query: str, variables: Json | None = None, *, token: str | None = None) -> Json:
        """One operation; the whole answer."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = await self.client.post(
            "/graphql", json={"query": query, "variables": variables or {}}, headers=headers
        )
        answer: Json = response.json()
        return answer

    async def query(self, query: str, variables: Json | None = None, *, token: str | None = None) -> Json:
        """One operation that must not fail at the top level; its data."""
        answer = await self.post(query, variables, token=token)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data

    async def do(self, mutation: str, values: Json, *, token: str | None = None) -> Json:
        """Call one mutation; what it answers, with `__typename`."""
        data = await self.query(document(mutation), {"input": values}, token=token)
        result: Json = data[mutation]
        return result


@dataclass
class Sent:
    """A message that went out."""

    row: Claimed
    content: Content


@dataclass
class Mail:
    """Runs the outbox as a worker does, up to the network; keeps what went out."""

    sent: list[Sent] = field(default_factory=list)
    withdrawn: list[tuple[Claimed, Withdrawn]] = field(default_factory=list)

    async def run(self) -> list[Sent]:
        """Send all that is due; what went out just now, oldest first."""
        now: list[Sent] = []
        seen: set[UUID] = set()
        for lane in outbox.LANES:
            while rows := await outbox.claim(lane, at_most=100, lease_seconds=60):
                assert seen.isdisjoint(row.id for row in rows), "a message is claimed again and again"
                seen |= {row.id for row in rows}
                now += await self._send(rows)
        self.sent += now
        return now

    async def _send(self, rows: Sequence[Claimed]) -> list[Sent]:
        found = await contents.load(rows)
        outcomes, sent = [], []
        for row in rows:
            content = found[row.id]
            if isinstance(content, Withdrawn):
                self.withdrawn.append((row, content))
                outcomes.append(Outcome(row=row, status=DeliveryStatus.CANCELED, problem=content.reason))
            elif isinstance(content, KeyMissing):
                outcomes.append(without_key(row, content.key_id))
            else:
                sent.append(Sent(row, content))
                outcomes.append(Outcome(row=row, status=DeliveryStatus.SENT, recipient=content.recipient))
        await outbox.settle(outcomes)
        return sent

    async def latest(self, recipient: str) -> Sent:
        """The latest message to an address or a number, after sending all that is due."""
        await self.run()
        return [sent for sent in self.sent if sent.content.recipient.lower() == recipient.lower()][-1]


@dataclass
class Person:
    """Somebody with an account, and what they know and hold."""

    id: str
    email: str
    phone: str
    session: str
    device: str | None
    password: str = PASSWORD
    recovery_codes: tuple[str, ...] = ()

    @property
    def row_id(self) -> UUID:
        """The id of the row behind the global id."""
        found = split_id(self.id)
        assert found is not None
        return found[1]


@dataclass
class PracticeWorld:
    """A practice that has signed up."""

    name: str
    administrator: Person
    practice_access_code: str


def _arranging(
    step: Callable[Concatenate["World", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["World", P], Coroutine[Any, Any, T]]:
    """Put back what this step of the world's left where the same was arranged before."""

    @functools.wraps(step)
    async def put_back_or_take(self: "World", *arguments: P.args, **named: P.kwargs) -> T:
        key = (step.__name__, repr(arguments), repr(sorted(named.items())))
        return await self.arranged(key, lambda: step(self, *arguments, **named))

    return put_back_or_take  # type: ignore[return-value]  # functools.wraps gives `self` a name, which Callable cannot have


class World(Extra):
    """Makes practices and people through the API.

    scenes: where what was arranged before is put back from instead; None to arrange everything anew. context: what that depends on
    beside the arguments and the database.
    """

    def __init__(self, api: Api, mail: Mail, scenes: Scenes | None = None, context: Hashable = None) -> None:
        self.api = api
        self.mail = mail
        self.scenes = scenes
        self._context = context
        self._numbered = FIRST_NUMBER - 1

    def number(self) -> str:
        """A phone number that nobody here has yet."""
        return f"+1202555{self._next():04d}"

    def _next(self) -> int:
        self._numbered += 1
        return self._numbered

    async def start_over(self) -> None:
        """Forget all that was arranged; the database is empty afterwards. For tests that arrange many times."""
        assert self.scenes is not None
        await self.scenes.empty()
        self.mail.sent.clear()
        self.mail.withdrawn.clear()
        self._numbered = FIRST_NUMBER - 1

    async def arranged(self, key: Hashable, arrange: Callable[[], Awaitable[T]]) -> T:
        """What a test arranges itself, put back where the same was arranged before. key: tells it from all else that is arranged."""
        if self.scenes is None:
            return await arrange()
        made_with = tuple(secrets.ring().keys)  # what is put back must not need other keys than the test has
        return await self.scenes.step((key, self._numbered, self._context, made_with), arrange, self)

    def mark(self) -> tuple[int, int]:
        """Where we are before something is arranged."""
        return len(self.mail.sent), len(self.mail.withdrawn)

    def since(self, before: tuple[int, int]) -> tuple[list["Sent"], list[tuple[Claimed, Withdrawn]], int]:
        """What arranging added here."""
        return self.mail.sent[before[0] :], self.mail.withdrawn[before[1] :], self._numbered

    def add(self, more: tuple[list["Sent"], list[tuple[Claimed, Withdrawn]], int]) -> None:
        """Add it once more."""
        self.mail.sent += more[0]
        self.mail.withdrawn += more[1]
        self._numbered = more[2]

    @_arranging
    async def practice(self, name: str = "Elm Street Practice", email: str | None = None) -> PracticeWorld:
        """A practice with its administrator signed in, and its access code."""
        address = email or f"admin{self._next()}@{name.lower().replace(' ', '-')}.example"
        await self.sign_up(name, address)
        link = (await self.mail.latest(address)).content.link_token
        enrollment = await self.api.do("verifyEmail", {"token": link})
        administrator = await self.finish(enrollment["token"], address)
        code = (await self.mail.latest(address)).content.code
        return PracticeWorld(name, administrator, code)

    async def sign_up(self, name: str, email: str) -> Json:
        """The first step of a practice."""
        values = {
            "firstName": "Ada",
            "lastName": "Lovelace",
            "email": email,
            "phone": "+12025550100",
            "practiceName": name,
            "specialty": "Family medicine",
        }
        return await self.api.do("signUp", values)

    @_arranging
    async def invite(
        self,
        practice: PracticeWorld,
        email: str,
        access_level: str = "PROVIDER",
        first_name: str = "Grace",
        last_name: str = "Hopper",
    ) -> str:
        """Invite one person; the global id."""
        row = {"firstName": first_name, "lastName": last_name, "email": email, "accessLevel": access_level}
        report = await self.api.do("invite", {"users": [row]}, token=practice.administrator.session)
        user_id: str = report["rows"][0]["user"]["id"]
        return user_id

    async def link(self, email: str) -> str:
        """The token of the latest link to an address."""
        return (await self.mail.latest(email)).content.link_token

    @_arranging
    async def enrolled(self, practice: PracticeWorld, email: str, access_level: str = "PROVIDER") -> str:
        """Somebody invited who has given link and access code; the enrollment's token."""
        await self.invite(practice, email, access_level)
        values = {"token": await self.link(email), "practiceAccessCode": practice.practice_access_code}
        result = await self.api.do("acceptInvitation", values)
        token: str = result["token"]
        return token

    @_arranging
    async def proved(self, enrollment_token: str) -> str:
        """The phone of an enrollment is proved; the number."""
        phone = self.number()
        await self.api.do("sendPhoneCode", {"enrollmentToken": enrollment_token, "phone": phone, "channel": "SMS"})
        code = (await self.mail.latest(phone)).content.code
        result = await self.api.do("verifyPhone", {"enrollmentToken": enrollment_token, "code": code})
        assert result["nextStep"] == "SET_PASSWORD", result
        return phone

    @_arranging
    async def finish(self, enrollment_token: str, email: str) -> Person:
        """An enrollment, from the phone to the first session."""
        phone = await self.proved(enrollment_token)
        result = await self.api.do("setPassword", {"enrollmentToken": enrollment_token, "password": PASSWORD})
        assert result["__typename"] == "SignedIn", result
        codes = tuple(result["recoveryCodes"])
        return Person(
            result["user"]["id"], email, phone, result["sessionToken"], result["deviceToken"], recovery_codes=codes
        )

    @_arranging
    async def joined(self, practice: PracticeWorld, email: str, access_level: str = "PROVIDER") -> Person:
        """Somebody invited who has finished and is signed in."""
        return await self.finish(await self.enrolled(practice, email, access_level), email)

    @_arranging
    async def again(self, person: Person) -> str:
        """Somebody signs in once more, with a code as on a new device; the session's token."""
        challenge = {"challengeToken": await self.challenged(person)}
        await self.api.do("sendSecurityCode", challenge | {"channel": "SMS"})
        code = (await self.mail.latest(person.phone)).content.code
        result = await self.api.do("verifyDevice", challenge | {"code": code})
        token: str = result["sessionToken"]
        return token

    @_arranging
    async def challenged(self, person: Person) -> str:
        """A sign-in on a device that is not known; the challenge's token."""
        result = await self.api.do("signIn", {"email": person.email, "password": person.password})
        assert result["__typename"] == "SecurityChallenge", result
        token: str = result["token"]
        return token

    async def renewed(self, person: Person) -> str:
        """The person gives password and code once more in their session; until when it is fresh."""
        challenge = await self.api.do("renewSignIn", {"password": person.password}, token=person.session)
        assert challenge["__typename"] == "SecurityChallenge", challenge
        values = {"challengeToken": challenge["token"]}
        code = await self.code(challenge["token"], person.phone)
        result = await self.api.do("confirmSignIn", values | {"code": code}, token=person.session)
        fresh_until: str = result["freshUntil"]
        return fresh_until

    async def code(self, challenge_token: str, phone: str, *, is_new: bool = False) -> str:
        """The code for a challenge, sent by text to a phone. is_new: the challenge asks which one."""
        values = {"challengeToken": challenge_token, "channel": "SMS"} | ({"phone": phone} if is_new else {})
        sent = await self.api.do("sendSecurityCode", values)
        assert sent["__typename"] == "SecurityCodeSent", sent
        return (await self.mail.latest(phone)).content.code
