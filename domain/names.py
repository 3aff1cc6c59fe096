"""Names of people, practices and devices: hostile text that ends up in other people's mail."""

import re
import unicodedata
from dataclasses import dataclass

import idna

from domain.models.columns import MAX_DEVICE_NAME_LENGTH, MAX_NAME_LENGTH

MAX_PRACTICE_NAME_LENGTH = 120
MAX_SPECIALTY_LENGTH = 80

# Every kind of space, and the ends of lines: spreadsheets and word processors put them between words.
_SPACE = re.compile(r"\s+")
# What shows nothing and means nothing in a name: soft hyphens, spaces without width, marks of direction around pasted text, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202c\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
)
_JOINERS = re.compile("[\u200c\u200d]")
_OVERRIDES = "\u202d\u202e"  # turn the direction of the text around them
_APOSTROPHES = str.maketrans("`\u00b4", "''")  # what people type for one, as in O`Brien
_FORBIDDEN = re.compile(r"[<>{}\[\]|\\^]")
_ADDRESS = re.compile(r"[^\s@]@[^\s@]|://|\bhttps?\b|\bwww\.", re.IGNORECASE)
# Mail programs turn "prize.example" into a link by themselves. A label of a host never begins with a combining mark, but may end in one.
_DOT_IN_WORD = re.compile(r"(?<=[^\s.\u3002\uff0e\uff61])([.\u3002\uff0e\uff61])(?=\w)")
# The same where it could be the last dot of a host: no top-level domain begins with a digit or has one letter only.
_LAST_DOT = re.compile(
    r"(?<=[^\s.\u3002\uff0e\uff61])([.\u3002\uff0e\uff61])(?=[^\W\d_](?![\s!-/:-@\[-`{-~\u3002\uff0e\uff61\u2019]|$))"
)
# Letters by their category that show nothing at all.
_BLANK = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
# What people with one name put where two are asked for.
_NO_NAME = re.compile(r"[-\u2010-\u2015._/ ]*")


@dataclass
class NameInvalid(Exception):
    """A text that cannot be a name here. reason: a clause for a person."""

    reason: str


@dataclass
class NamesInvalid(Exception):
    """A first and a last name of which something cannot be. reasons: a clause for a person, by "firstName" and "lastName"."""

    reasons: dict[str, str]


def person_names(first: str, last: str) -> tuple[str, str]:
    """A first and a last name. Who has one name only has it as the first, and "" as the last, wherever it was typed.

    Raises NamesInvalid with all that is wrong.
    """
    given = {"firstName": first, "lastName": last}
    only = [field for field, raw in given.items() if not _is_placeholder(raw)]
    found, reasons = [], {}
    for field in only or ["firstName"]:
        try:
            found.append(person_name(given[field]))
        except NameInvalid as error:
            reasons[field] = error.reason
    if reasons:
        raise NamesInvalid(reasons)
    return found[0], found[1] if len(found) > 1 else ""


def _is_placeholder(raw: str) -> bool:
    return len(raw) <= MAX_NAME_LENGTH and _NO_NAME.fullmatch(_cleaned(raw)) is not None


def full_name(first: str, last: str) -> str:
    """Both names, or the only one."""
    return f"{first} {last}".strip()


def person_name(raw: str) -> str:
    """A first or last name, composed (NFC), with single spaces and nothing invisible. Raises NameInvalid."""
    return _name(raw, MAX_NAME_LENGTH)


def practice_name(raw: str) -> str:
    """A practice's name. Raises NameInvalid."""
    return _name(raw, MAX_PRACTICE_NAME_LENGTH)


def specialty(raw: str) -> str:
    """A practice's specialty. Raises NameInvalid."""
    return _name(raw, MAX_SPECIALTY_LENGTH)


def device_name(raw: str | None) -> str:
    """What a client calls its device, cut to length and stripped of what does not print; it is shown, never refused."""
    spaced = "".join(
        " " if unicodedata.category(one) == "Zs" else one for one in unicodedata.normalize("NFC", raw or "")
    )
    text = "".join(character for character in spaced if character.isprintable())
    return " ".join(text.split())[:MAX_DEVICE_NAME_LENGTH].strip() or "Unnamed device"


def neutral(name: str) -> str:
    """A name for a mail: no mail program makes a link of it. The dots inside words get an invisible companion (U+2060)."""
    return _DOT_IN_WORD.sub("\\1\u2060", name)


def without_links(name: str) -> str:
    """A name for a subject, which holds no invisible characters: what could be a host falls apart ("prize. example").

    "E.N.T. Associates" and "Smith Pediatrics, P.C." stay as they are.
    """
    return _LAST_DOT.sub("\\1 ", name)


def _cleaned(raw: str) -> str:
    """The one form of a text: NFC, plain single spaces, and of what is invisible only the joiners that a script needs."""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", raw).translate(_APOSTROPHES))
    text = "".join(c for at, c in enumerate(text) if not _JOINERS.match(c) or _is_joiner_needed(text, at))
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def _is_joiner_needed(text: str, at: int) -> bool:
    """Whether a joiner changes how the letters around it are written, as in Sinhala and Persian (RFC 5892 A.1, A.2)."""
    try:
        return idna.core.valid_contextj(text, at)
    except (ValueError, idna.IDNAError):  # beside a character that has no name yet
        return False


def _name(raw: str, max_length: int) -> str:
    if len(raw) > 4 * max_length:
        raise NameInvalid(f"is longer than {max_length} characters")
    text = _cleaned(raw)
    if not text:
        raise NameInvalid("is empty")
    if len(text) > max_length:
        raise NameInvalid(f"is longer than {max_length} characters")
    for character in text:
        if problem := _problem(character):
            raise NameInvalid(problem)
    if _ADDRESS.search(text):
        raise NameInvalid("looks like a link or an address; put only the name")
    if not any(character.isalnum() for character in text):
        raise NameInvalid("has no letters")
    return text


def _problem(character: str) -> str | None:
    """What is wrong with a character, named so that it can be found even when it cannot be seen."""
    code = f"U+{ord(character):04X}"
    if character in _OVERRIDES:
        return f"has a hidden character that turns text around ({code}); type the name anew"
    if _BLANK.match(character) or not (character.isprintable() or _JOINERS.match(character)):
        return f"has a hidden character ({code}); type the name anew"
    if _FORBIDDEN.match(character):
        return f"has a {character}, which names cannot have here"
    return None
