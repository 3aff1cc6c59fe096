"""Names of people, practices and devices: hostile text that ends up in other people's mail."""

import re
import unicodedata
from dataclasses import dataclass

from domain.models.columns import MAX_DEVICE_NAME_LENGTH, MAX_NAME_LENGTH

MAX_PRACTICE_NAME_LENGTH = 120
MAX_SPECIALTY_LENGTH = 80

_MARKUP = re.compile(r"[<>@{}\[\]|\\^`]|://|\bhttps?\b|\bwww\.", re.IGNORECASE)
# Mail programs turn "prize.example" into a link by themselves. A label of a host never begins with a combining mark, but may end in one.
_DOT_IN_WORD = re.compile(r"(?<=[^\s.\u3002\uff0e\uff61])([.\u3002\uff0e\uff61])(?=\w)")
# The same where it could be the last dot of a host: no top-level domain begins with a digit or has one letter only.
_LAST_DOT = re.compile(
    r"(?<=[^\s.\u3002\uff0e\uff61])([.\u3002\uff0e\uff61])(?=[^\W\d_](?![\s!-/:-@\[-`{-~\u3002\uff0e\uff61\u2019]|$))"
)
# Letters by their category that show nothing at all.
_BLANK = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")


@dataclass
class NameInvalid(Exception):
    """A text that cannot be a name here. reason: a clause for a person."""

    reason: str


def person_name(raw: str) -> str:
    """A first or last name, composed (NFC), with single spaces. Raises NameInvalid."""
    return _name(raw, MAX_NAME_LENGTH)


def practice_name(raw: str) -> str:
    """A practice's name. Raises NameInvalid."""
    return _name(raw, MAX_PRACTICE_NAME_LENGTH)


def specialty(raw: str) -> str:
    """A practice's specialty. Raises NameInvalid."""
    return _name(raw, MAX_SPECIALTY_LENGTH)


def device_name(raw: str | None) -> str:
    """What a client calls its device, cut to length and stripped of what does not print; it is shown, never refused."""
    text = "".join(character for character in unicodedata.normalize("NFC", raw or "") if character.isprintable())
    return " ".join(text.split())[:MAX_DEVICE_NAME_LENGTH].strip() or "Unnamed device"


def neutral(name: str) -> str:
    """A name for a mail: no mail program makes a link of it. The dots inside words get an invisible companion (U+2060)."""
    return _DOT_IN_WORD.sub("\\1\u2060", name)


def without_links(name: str) -> str:
    """A name for a subject, which holds no invisible characters: what could be a host falls apart ("prize. example").

    "E.N.T. Associates" and "Smith Pediatrics, P.C." stay as they are.
    """
    return _LAST_DOT.sub("\\1 ", name)


def _name(raw: str, max_length: int) -> str:
    if len(raw) > 4 * max_length:
        raise NameInvalid(f"is longer than {max_length} characters")
    text = " ".join(unicodedata.normalize("NFC", raw).split(" ")).strip()
    text = re.sub(r" {2,}", " ", text)
    if not text:
        raise NameInvalid("is empty")
    if len(text) > max_length:
        raise NameInvalid(f"is longer than {max_length} characters")
    if not text.isprintable() or _BLANK.search(
        text
    ):  # control characters, line ends, and the marks that turn the direction of text around
        raise NameInvalid("has a character that does not print")
    if _MARKUP.search(text):
        raise NameInvalid("looks like a link or an address; put only the name")
    if not any(character.isalnum() for character in text):
        raise NameInvalid("has no letters")
    return text
