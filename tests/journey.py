"""The product's whole journey in twelve steps, through HTTP alone, against a server that runs elsewhere.

What a person would read in a mail or on a phone comes from `inbox`, so that the same steps run against the development mailbox, a
real SMTP server and a Twilio-shaped carrier.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.world import document

Json = dict[str, Any]
# The texts of all messages to an address or number, newest first.
Inbox = Callable[[str], list[str]]

WAIT_SECONDS = 60.0
TILE = """
{ practice { name subscription { status accessAllowed } }
  viewer { email }
  usersTile { activeCount invitedCount inactiveCount practiceAccessCode { code }
    users { nodes { id email status invitation { state delivery { status } } } } } }
"""


@dataclass
class Journey:
    """Walks the steps, and keeps every secret that it met for whoever looks for them afterwards.

    bases: URLs of the API's processes; requests take turns between them.
    """

    bases: list[str]
    inbox: Inbox
    secrets: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    sessions: list[Json] = field(default_factory=list)
    _calls: int = 0

    def walk(self) -> None:
        """All twelve steps, from sign-up to deactivation."""
        admin, staff = "ada@elm-street.example", "grace@elm-street.example"
        admin_phone, staff_phone = "+12025550143", "+12025550144"
        self._do(1, "signUp", SIGN_UP | {"email": admin}, "CheckYourEmail")
        link = self._secret(self._found(admin, r"#token=([\w-]{40,})"))
        enrollment = self._do(2, "verifyEmail", {"token": link}, "Enrollment")["token"]
        ada = self._prove_and_set((3, 4, 5), enrollment, admin_phone, "SMS", "six purple teacups sail north")
        code = self._secret(self._found(admin, r"\b([0-9A-Z]{5}[ -]?[0-9A-Z]{5})\b"))
        session = ada["sessionToken"]
        tile = self._query(6, TILE, session)
        assert tile["usersTile"]["practiceAccessCode"]["code"] == re.sub(r"[ -]", "", code)
        row = {"firstName": "Grace", "lastName": "Hopper", "email": staff, "accessLevel": "PROVIDER"}
        user_id = self._do(7, "invite", {"users": [row]}, "InviteReport", session)["rows"][0]["user"]["id"]
        link = self._secret(self._found(staff, r"#token=([\w-]{40,})"))
        values = {"token": link, "practiceAccessCode": code.lower()}
        enrollment = self._do(8, "acceptInvitation", values, "Enrollment")["token"]
        grace = self._prove_and_set((9, 9, 9), enrollment, staff_phone, "VOICE", "nine quiet lighthouses hum along")
        password = {"email": staff, "password": "nine quiet lighthouses hum along"}
        known = self._do(10, "signIn", password | {"deviceToken": grace["deviceToken"]}, "SignedIn")
        challenge = self._do(11, "signIn", password, "SecurityChallenge")["token"]
        signed_in = self._do(11, "verifyDevice", self._answer(challenge, staff_phone), "SignedIn")
        reset = self._forget_password(password, staff_phone)
        self._move(password, "grace@oak-street.example", staff_phone, reset["sessionToken"])
        deactivated = self._do(12, "deactivate", {"userId": user_id, "reason": "Moved away"}, "User", session)
        assert deactivated["status"] == "INACTIVE"
        for token in (known["sessionToken"], signed_in["sessionToken"], reset["sessionToken"]):
            assert self._post("{ viewer { email } }", {}, token)["data"]["viewer"] is None
        self._do(12, "signIn", password, "AccountInactive")
        assert self._query(12, TILE, session)["usersTile"]["inactiveCount"] == 1

    def _answer(self, challenge: str, phone: str) -> Json:
        """What answers a challenge: its token, and the code that came by text."""
        before = len(self.inbox(phone))
        values = {"challengeToken": self._secret(challenge), "channel": "SMS"}
        self._do(11, "sendSecurityCode", values, "SecurityCodeSent")
        digits = self._secret(self._found(phone, r"\b(\d{6})\b", newer_than=before))
        return {"challengeToken": challenge, "code": digits}

    def _forget_password(self, password: Json, phone: str) -> Json:
        """A new password by link and code; what signing in takes is brought up to date."""
        self._do(11, "requestPasswordReset", {"email": password["email"]}, "CheckYourEmail")
        self._secret(self._found(password["email"], r"/reset-password#token=([\w-]{40,})"))
        code = self._secret(
            self._found(password["email"], r"/reset-password and enter this link code: ([0-9A-Z-]{24})")
        )
        token = {"token": f" {code.lower()}."}
        challenge = self._do(11, "startPasswordReset", token, "SecurityChallenge")["token"]
        self._secret(code.replace("-", ""))
        password["password"] = self._secret("eleven slow trains to the north")
        values = self._answer(challenge, phone) | {"newPassword": password["password"]}
        return self._do(11, "resetPassword", values, "SignedIn")

    def _move(self, password: Json, email: str, phone: str, session: str) -> None:
        """Another address by code and link; what signing in takes is brought up to date."""
        challenge = self._do(11, "changeEmail", {"email": email}, "SecurityChallenge", session)["token"]
        self._do(11, "verifyEmailChange", self._answer(challenge, phone), "CheckYourEmail", session)
        link = self._secret(self._found(email, r"/confirm-email#token=([\w-]{40,})"))
        self._do(11, "confirmEmail", {"token": link}, "EmailConfirmed")
        password["email"] = email

    def _prove_and_set(
        self, steps: tuple[int, int, int], enrollment: str, phone: str, channel: str, password: str
    ) -> Json:
        self._secret(enrollment)
        before = len(self.inbox(phone))
        values = {"enrollmentToken": enrollment, "phone": phone, "channel": channel}
        self._do(steps[0], "sendPhoneCode", values, "SecurityCodeSent")
        pattern = r"\b(\d{6})\b" if channel == "SMS" else r"((?:\d[^\d]{1,8}){5}\d)"
        digits = re.sub(r"\D", "", self._found(phone, pattern, newer_than=before))
        self._secret(digits)
        self._do(steps[1], "verifyPhone", {"enrollmentToken": enrollment, "code": digits}, "Enrollment")
        values = {"enrollmentToken": enrollment, "password": self._secret(password), "deviceName": "A browser"}
        return self._do(steps[2], "setPassword", values, "SignedIn")

    def _secret(self, value: str) -> str:
        self.secrets.append(value)
        return value

    def _found(self, recipient: str, pattern: str, *, newer_than: int = 0) -> str:
        """The first thing of a form in the newest message to somebody, waiting for it to arrive."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            texts = self.inbox(recipient)
            for text in texts[: len(texts) - newer_than]:
                match = re.search(pattern, text)
                if match:
                    return match.group(1)
            time.sleep(0.1)
        raise AssertionError(f"no message to {recipient} with {pattern} within {WAIT_SECONDS} s")

    def _do(self, step: int, mutation: str, values: Json, expected: str, token: str | None = None) -> Json:
        result: Json = self._post(document(mutation), {"input": values}, token)["data"][mutation]
        assert result["__typename"] == expected, (mutation, result)
        self.steps.append(f"{step}. {mutation}: {expected}")
        if expected == "SignedIn":
            self.sessions.append(result)
        for name in ("sessionToken", "deviceToken"):
            if result.get(name):
                self._secret(result[name])
        for code in result.get("recoveryCodes") or ():
            self._secret(code)
        return result

    def _query(self, step: int, query: str, token: str) -> Json:
        answer = self._post(query, {}, token)
        assert "errors" not in answer, answer
        self.steps.append(f"{step}. {', '.join(answer['data'])}")
        data: Json = answer["data"]
        return data

    def _post(self, query: str, variables: Json, token: str | None) -> Json:
        base = self.bases[self._calls % len(self.bases)]
        self._calls += 1
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = httpx.post(
            f"{base}/graphql", json={"query": query, "variables": variables}, headers=headers, timeout=30
        )
        answer: Json = response.json()
        return answer


SIGN_UP = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "phone": "+1 202 555 0100",
    "practiceName": "Elm Street Practice",
    "specialty": "Family medicine",
    "timeZone": "America/Chicago",
}
