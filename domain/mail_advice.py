"""What an administrator can do about an address that does not take mail, by its server's status code (RFC 3463)."""

import re

ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
_OTHER = "Check the address, and send again to the right one."
# By the middle and the end of the code: what is wrong is the same whether it passes (4) or not (5).
_ADVICE = {
    "1.1": "There is no such mailbox. Check the address, and send again to the right one.",
    "1.2": "There is no such domain. Check the address.",
    "1.10": "This domain takes no mail. Ask for another address.",
    "2.1": "The mailbox is switched off.",
    "2.2": "The mailbox is full.",
    "2.3": "The mailbox does not take a mail of this size.",
    "4.1": "Its server does not answer, or does not know the address. Check it.",
    "4.4": "No server takes mail for this domain. Check the address.",
    "4.7": "Its server could not be reached for too long. Check the address.",
}


def found(text: str) -> str | None:
    """The enhanced status code in a server's answer, such as 5.1.1."""
    match = ENHANCED.search(text)
    return match.group() if match else None


def refused(status: str, shown: str) -> str:
    """Why a server refuses an address, in a sentence or two. status: an enhanced code, or empty. shown: the code as it is told."""
    if status[1:].startswith(".7."):
        return f"The receiving server refuses mail to this address by its rules ({shown})."
    return f"The receiving server refuses this address ({shown}). {_ADVICE.get(status[2:], _OTHER)}"


def put_off(status: str) -> str:
    """Why a mail is still on its way."""
    return f"The receiving server has not taken it yet ({status}). {_passing(status)} It is tried again by itself."


def given_up(status: str) -> str:
    """Why a mail was given up though the address may be right."""
    return f"It was tried for a long time and given up ({status}). {_passing(status)} Send it again later."


def _passing(status: str) -> str:
    return _ADVICE.get(status[2:], "The fault may pass.")
