"""A carrier's error code, from its answer to a request or from a status callback.

Codes: Twilio's dictionary (https://www.twilio.com/docs/api/errors), as far as texts and calls that this product makes can meet them.
Carriers that speak Twilio's REST use the same. A code that is not here goes by its range, since the dictionary grows every month.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from domain.delivery_faults.causes import Fault

_TOLD = "The number is not at fault. The operator of this product has been told."
_NO_TEXT = "Ask for a call instead"


class Scope(Enum):
    """What a fault of ours or the carrier's is about. MESSAGE: this one, at this carrier. ACCOUNT: everything at this carrier.

    PASSING: it may be over soon.
    """

    MESSAGE = "MESSAGE"
    ACCOUNT = "ACCOUNT"
    PASSING = "PASSING"


class PhoneCause(Enum):
    """Why a text or call failed: a word for the log, the fault, its scope, and sentences for an administrator."""

    NUMBER = (
        "number",
        Fault.RECIPIENT,
        Scope.MESSAGE,
        "This number cannot be reached. Check it, or use another phone.",
    )
    NO_TEXTS = (
        "takes no texts",
        Fault.RECIPIENT,
        Scope.MESSAGE,
        "This number takes no texts. Ask for a call, or use a mobile phone.",
    )
    OPTED_OUT = (
        "opted out",
        Fault.RECIPIENT,
        Scope.MESSAGE,
        "Somebody texted STOP to us from this phone. Text START to {sender} from it, or ask for a call instead.",
    )
    BLOCKED = ("blocked", Fault.RECIPIENT, Scope.MESSAGE, f"The phone blocks texts from us. {_NO_TEXT}.")

    OUT_OF_REACH = (
        "out of reach",
        Fault.UNKNOWN,
        Scope.PASSING,
        "The phone is switched off or out of reach. Try again later, or by a call.",
    )
    BUSY_LINE = ("busy", Fault.UNKNOWN, Scope.PASSING, "The line was busy. Try again.")
    NO_ANSWER = ("no answer", Fault.UNKNOWN, Scope.PASSING, "Nobody answered the call. Try again.")
    TOO_LATE = ("too late", Fault.UNKNOWN, Scope.PASSING, "The message waited too long at the carrier. Try again.")
    NOT_SAID = ("not said", Fault.UNKNOWN, Scope.PASSING, "The carrier does not say why. Try again, or another way.")

    NETWORK = ("network", Fault.RELAY, Scope.PASSING, "The phone's network did not take it. Try again, or by a call.")
    CARRIER = ("carrier", Fault.RELAY, Scope.PASSING, "The carrier is busy or faulty. Try again in a moment.")
    RATE = ("rate", Fault.SENDER, Scope.PASSING, f"We send more than our carrier takes for now. {_TOLD}")

    ACCOUNT = ("account", Fault.SENDER, Scope.ACCOUNT, f"Our carrier refuses our account. {_TOLD}")
    SENDER = ("sender", Fault.SENDER, Scope.ACCOUNT, f"Our carrier refuses the number that we send from. {_TOLD}")
    NOT_THE_CARRIER = ("not the carrier", Fault.SENDER, Scope.ACCOUNT, f"What answers is not our carrier. {_TOLD}")

    UNREGISTERED = (
        "sender not registered",
        Fault.SENDER,
        Scope.MESSAGE,
        f"Phone networks do not take texts from our number, since it is not registered with them. {_TOLD} {_NO_TEXT}.",
    )
    FILTERED = (
        "filtered",
        Fault.SENDER,
        Scope.MESSAGE,
        f"The text was filtered out on its way. {_TOLD} {_NO_TEXT}.",
    )
    TRIAL = (
        "trial account",
        Fault.SENDER,
        Scope.MESSAGE,
        f"Our carrier account is on trial and reaches few numbers. {_TOLD}",
    )
    REGION = ("region", Fault.SENDER, Scope.MESSAGE, f"Our carrier account may not reach this country. {_TOLD}")
    NO_ROUTE = ("no route", Fault.RELAY, Scope.MESSAGE, f"Our carrier has no way to this number. {_TOLD} {_NO_TEXT}.")
    FRAUD_GUARD = ("fraud guard", Fault.SENDER, Scope.MESSAGE, f"Our carrier takes the message for fraud. {_TOLD}")
    REQUEST = ("request", Fault.SENDER, Scope.MESSAGE, f"Our carrier does not understand our request. {_TOLD}")

    def __init__(self, word: str, fault: Fault, scope: Scope, advice: str) -> None:
        self.word = word
        self.fault = fault
        self.scope = scope
        self.advice = advice


# A dash is for all between, both ends too.
_CODES: dict[PhoneCause, str] = {
    PhoneCause.NUMBER: "13223-13226 21201 21202 21211 21214 21217 21262 21266 21268 21401 21421 21604 30005",
    PhoneCause.NO_TEXTS: "21265 21407 21614 21635 30006",
    PhoneCause.OPTED_OUT: "21610",
    PhoneCause.BLOCKED: "30004",
    PhoneCause.OUT_OF_REACH: "30003",
    PhoneCause.TOO_LATE: "30036",
    PhoneCause.NETWORK: "30008 30009 30017",
    PhoneCause.CARRIER: "20408 20409 20425 20500 20502 20503 20504 30020 30410 30411 31408 31480 31500 31503",
    PhoneCause.RATE: "10004 14107 20429 21611 30001 30022 30023 30027 86008",
    PhoneCause.ACCOUNT: (
        "401-404 10001 10003 10005 20002-20006 20008 20010 20101-20107 20151 20157 20171 20403 20404 "
        "20426 21472 21609 21701-21715 30002 30037 90010"
    ),
    PhoneCause.SENDER: (
        "13214 13230 21210 21212 21213 21264 21601 21603 21606 21607 21615 21616 21659 21660 21661 21910 30042 30043"
    ),
    PhoneCause.UNREGISTERED: "21267 30018 30021 30024 30028-30035 30040 30041",
    PhoneCause.FILTERED: "30007 30038 30039 30110",
    PhoneCause.TRIAL: "10002 21219 21223 21608 30044",
    PhoneCause.REGION: "13227 21203 21215 21408 21412 60605",
    PhoneCause.NO_ROUTE: "13222 21612",
    PhoneCause.FRAUD_GUARD: "21216 30450-30454 60410",
    PhoneCause.REQUEST: (
        "20001 20007 20009 20011 20400 20405 20422 21205-21209 21218 21220 21221 21602 21605 21617-21621 "
        "21623 30010 30012 30013 30014 30019"
    ),
}


def _numbers(text: str) -> Iterator[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


_BY_CODE = {code: cause for cause, codes in _CODES.items() for code in _numbers(codes)}
# The first digits of what the dictionary keeps together.
_BY_RANGE = (
    (range(10_000, 11_000), PhoneCause.ACCOUNT),
    (range(11_000, 13_000), PhoneCause.REQUEST),  # our TwiML, or where it is fetched
    (range(20_100, 20_200), PhoneCause.ACCOUNT),
    (range(20_500, 20_600), PhoneCause.CARRIER),
    (range(21_700, 21_800), PhoneCause.ACCOUNT),
    (range(30_500, 31_000), PhoneCause.UNREGISTERED),  # registrations of toll-free numbers, brands and campaigns
    (range(572_000, 574_000), PhoneCause.TRIAL),
)
_BY_STATUS = {
    401: PhoneCause.ACCOUNT,
    402: PhoneCause.ACCOUNT,
    403: PhoneCause.ACCOUNT,
    404: PhoneCause.ACCOUNT,  # also the address without its account: the account's id is in it
    407: PhoneCause.NOT_THE_CARRIER,
    408: PhoneCause.CARRIER,
    409: PhoneCause.CARRIER,
    410: PhoneCause.NOT_THE_CARRIER,
    425: PhoneCause.CARRIER,
    429: PhoneCause.RATE,
}
_CALLS = {"busy": PhoneCause.BUSY_LINE, "no-answer": PhoneCause.NO_ANSWER}
MAX_CODE = 999_999


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneJudgment:
    """Whose fault it is that a text or call failed. code: the carrier's, or the HTTP status; None where there is none."""

    cause: PhoneCause
    code: int | None
    sender: str

    @property
    def fault(self) -> Fault:
        """Who has to act."""
        return self.cause.fault

    @property
    def for_log(self) -> str:
        """A word and the code, for a line of the log."""
        return f"{self.cause.word} ({self.code or 'no code'})"

    @property
    def problem(self) -> str:
        """For an administrator: what is wrong, and what can be done."""
        advice = self.cause.advice.format(sender=self.sender or "our number")
        return f"{advice} ({self.code})" if self.code is not None else advice


def of_answer(status: int, code: object = None, *, sender: str = "") -> PhoneJudgment:
    """Whose fault it is that a carrier did not take a message. status: HTTP's. code: of its JSON body, whatever it is.

    sender: our number, which people are told.
    """
    number = _number(code)
    cause = _of_code(number)
    if cause is None and 300 <= status < 400:
        cause = PhoneCause.NOT_THE_CARRIER
    if cause is None:
        cause = PhoneCause.CARRIER if status >= 500 else _BY_STATUS.get(status, PhoneCause.NOT_SAID)
    return PhoneJudgment(cause=cause, code=number if number is not None else status, sender=sender)


def of_callback(status: str, code: object = None, *, sender: str = "") -> PhoneJudgment:
    """Whose fault it is that a message failed which the carrier had taken. status: the carrier's word, such as undelivered or busy."""
    number = _number(code)
    cause = _CALLS.get(status) or _of_code(number) or PhoneCause.NOT_SAID
    return PhoneJudgment(cause=cause, code=number, sender=sender)


def _number(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) <= len(str(MAX_CODE)):
        code = int(code)
    return code if type(code) is int and 0 < code <= MAX_CODE else None


def _of_code(code: int | None) -> PhoneCause | None:
    if code is None:
        return None
    return _BY_CODE.get(code) or next((cause for codes, cause in _BY_RANGE if code in codes), None)
