"""What can be wrong with a message, whose fault each of these is, and what an administrator can do about it."""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Fault(StrEnum):
    """Who has to act.

    RECIPIENT: the address or number does not take messages. SENDER: ours; our account, our sender, our reputation, or the message.
    RELAY: the relay, the carrier, or the receiving system. UNKNOWN: nobody's yet; it may pass, or nobody says why.
    """

    RECIPIENT = "RECIPIENT"
    SENDER = "SENDER"
    RELAY = "RELAY"
    UNKNOWN = "UNKNOWN"

    @property
    def is_operators(self) -> bool:
        """Whether the operator has to be told, since nobody else can mend it."""
        return self in (Fault.SENDER, Fault.RELAY)


_TOLD = "The address is not at fault. The operator of this product has been told."


class Cause(Enum):
    """Why an e-mail was refused: a word for the log, the fault, and sentences for an administrator."""

    NO_MAILBOX = (
        "no mailbox",
        Fault.RECIPIENT,
        "There is no such mailbox. Check the address, and send again to the right one.",
    )
    NO_DOMAIN = (
        "no domain",
        Fault.RECIPIENT,
        "There is no such domain, or no server takes its mail. Check the address.",
    )
    MOVED = ("moved", Fault.RECIPIENT, "The person has moved to another address. Ask for it.")
    NO_MAIL = ("takes no mail", Fault.RECIPIENT, "This domain takes no mail. Ask for another address.")
    SUPPRESSED = (
        "suppressed",
        Fault.RECIPIENT,
        "Mail to this address came back before, and the mail provider sends nothing there. Ask for another address.",
    )
    DISABLED = ("mailbox disabled", Fault.RECIPIENT, "The mailbox is switched off. Ask for another address.")

    MAILBOX_FULL = ("mailbox full", Fault.UNKNOWN, "The mailbox is full. Ask the person to make room.")
    MAILING_LIST = (
        "mailing list",
        Fault.UNKNOWN,
        "The address is a mailing list that does not work. Ask for a person's own.",
    )
    NO_ANSWER = ("no answer", Fault.UNKNOWN, "Its server does not answer. Check the address.")
    NOT_SAID = ("not said", Fault.UNKNOWN, "Nobody says why. Check the address.")

    SENDER_ADDRESS = ("sender refused", Fault.SENDER, f"Our sender address is refused. {_TOLD}")
    NOT_AUTHENTICATED = (
        "not authenticated",
        Fault.SENDER,
        f"Our mail fails a check of its sender (SPF, DKIM, DMARC). {_TOLD}",
    )
    BLOCKLISTED = ("blocklisted", Fault.SENDER, f"Our mail server is on a block list. {_TOLD}")
    SENDING_LIMIT = ("sending limit", Fault.SENDER, f"We have sent as much as we may for now. {_TOLD}")
    POLICY = ("policy", Fault.SENDER, f"Mail from us is refused by a rule. {_TOLD}")
    SIGN_IN = ("sign-in", Fault.SENDER, f"Our mail server asks for a user and password that fit. {_TOLD}")
    CONTENT = ("content", Fault.SENDER, f"What the mail says is refused, or taken for spam. {_TOLD}")
    TOO_LARGE = ("too large", Fault.SENDER, f"The mail is larger than is taken there. {_TOLD}")
    FORMAT = ("format", Fault.SENDER, f"The mail has a form that is not taken there. {_TOLD}")

    RELAYING_DENIED = ("relaying denied", Fault.RELAY, f"Our mail server does not pass our mail on. {_TOLD}")
    SYSTEM = ("mail system", Fault.RELAY, f"A mail server on the way has a fault. {_TOLD}")
    ROUTE = ("route", Fault.RELAY, f"The mail did not find its way in time. {_TOLD}")
    PROTOCOL = ("protocol", Fault.RELAY, f"A mail server on the way does not understand ours. {_TOLD}")

    def __init__(self, word: str, fault: Fault, advice: str) -> None:
        self.word = word
        self.fault = fault
        self.advice = advice

    @property
    def is_the_messages(self) -> bool:
        """Whether the same message would be refused each time for what it is, so that there is no use in trying again."""
        return self in (Cause.TOO_LARGE, Cause.FORMAT, Cause.CONTENT)

    @property
    def is_the_mailboxs(self) -> bool:
        """Whether it says something about this one mailbox, which is right and may take mail later."""
        return self in (Cause.MAILBOX_FULL, Cause.MAILING_LIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """Whose fault a refusal of an e-mail is.

    code: as people are told, such as "550 5.1.1" or "5.1.1"; no word of the server; empty where a report has none. is_temporary: the server itself says that it may
    pass (class 4): whoever can try again does, whatever the fault.
    """

    cause: Cause
    code: str
    is_temporary: bool

    @property
    def fault(self) -> Fault:
        """Who has to act."""
        return self.cause.fault

    @property
    def for_log(self) -> str:
        """A word and the code, for a line of the log."""
        return f"{self.cause.word} ({self.code or 'no code'})"

    @property
    def refused(self) -> str:
        """For an administrator: why it was refused for good."""
        if self.fault is Fault.RECIPIENT:
            return f"The receiving server does not take mail for this address{self._shown}. {self.cause.advice}"
        return f"The mail was refused{self._shown}. {self.cause.advice}{self._then}"

    @property
    def put_off(self) -> str:
        """For an administrator: why it was not taken this time. Stays true when it is given up later."""
        return f"The mail was not taken{self._shown}. {self.cause.advice}"

    @property
    def delayed(self) -> str:
        """For an administrator: why it has not arrived yet, while the relay tries."""
        return f"The mail has not arrived yet{self._shown}. {self.cause.advice} It is tried again by itself."

    @property
    def failed(self) -> str:
        """For an administrator: why it will not arrive, after a report that it failed."""
        if not self.is_temporary or self.fault is Fault.RECIPIENT:
            return self.refused
        return f"The mail was tried for a long time and given up{self._shown}. {self.cause.advice}{self._then}"

    @property
    def paused(self) -> str:
        """For an administrator: why messages wait that were not tried, while the relay refuses all."""
        return f"Our mail server refuses all mail{self._shown}. {_TOLD}"

    @property
    def _shown(self) -> str:
        return f" ({self.code})" if self.code else ""

    @property
    def _then(self) -> str:
        return " Then send it again." if self.fault is Fault.UNKNOWN else ""
