"""E-mail addresses and phone numbers: parsed once on arrival, into the one spelling that is compared and stored."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

import email_validator
import phonenumbers
from phonenumbers import PhoneNumberType

MAX_EMAIL_LENGTH = 254  # RFC 5321 4.5.3.1.3, without the angle brackets
MAX_LOCAL_LENGTH = 64  # RFC 5321 4.5.3.1.1
MAX_PASTED_LENGTH = 1000  # with a name before it
MAX_PHONE_LENGTH = 40  # as typed, with all its spaces and brackets
DEFAULT_REGION = "US"
MAX_E164_LENGTH = 16  # the plus sign and 15 digits
NORTH_AMERICA = 1  # the calling code that 25 countries share
NO_COUNTRY = "001"  # satellites and international services, at several dollars a minute

# Numbers that cost the caller or the carrier's customer extra, or that belong to nobody: never sent to.
UNUSABLE_TYPES = {
    PhoneNumberType.PREMIUM_RATE: "is a premium-rate number",
    PhoneNumberType.SHARED_COST: "is a shared-cost number",
    PhoneNumberType.TOLL_FREE: "is a toll-free number",
    PhoneNumberType.PAGER: "is a pager",
    PhoneNumberType.UAN: "is a company-wide number",
    PhoneNumberType.VOICEMAIL: "is a voicemail number",
    PhoneNumberType.PERSONAL_NUMBER: "is a personal number that forwards elsewhere",
}

# Area codes of the United States (Ohio, Texas, Michigan) that people have and `phonenumbers` does not know yet.
NEW_AREA_CODES = frozenset({"436", "621", "679"})
_area_codes = NEW_AREA_CODES
# A code, and an exchange, that the North American plan gives to subscribers: neither begins with 0 or 1, and neither is 211 to 911.
_NORTH_AMERICAN = re.compile(r"(?![2-9]11)([2-9][0-9]{2})(?![2-9]11)[2-9][0-9]{6}", re.ASCII)

# What a practice may well answer under, and is never texted.
CONTACT_TYPES = {PhoneNumberType.TOLL_FREE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN}


# What shows nothing: soft hyphens, spaces without width, marks of direction. The two joiners mean something in a domain.
_UNSEEN = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202c\u2060\u2066-\u2069\ufeff]")
_IN_BRACKETS = re.compile(r"([^<>]*)<\s*([^<>]*)>")
_SEVERAL = re.compile(r"@[^@]*[\s,;，；<>][^@]*@")


@dataclass
class EmailInvalid(Exception):
    """What was typed is not an address that mail can be sent to. reason: a clause for a person."""

    reason: str


@dataclass
class PhoneInvalid(Exception):
    """What was typed is not a number that can be texted or called. reason: a clause for a person."""

    reason: str


def canonical_email(raw: str) -> str:
    """The one spelling of an address: ASCII only, lower case, the domain as A-labels. raw: as typed or pasted (see `shown_email`).

    Only what an ASCII keyboard types is taken in the local part: full-width and look-alike letters, quoted local parts, lists
    and comments are refused rather than mapped, since mapping is how mail reached strangers elsewhere (CVE-2019-19844).
    Raises EmailInvalid.
    """
    text = shown_email(raw)
    _require_one(text)
    local, _, host = text.rpartition("@")
    if not local.isascii() or any(character in "＠＂，；" for character in host):
        raise EmailInvalid("has a character that e-mail addresses cannot have here")
    if len(local) > MAX_LOCAL_LENGTH:
        raise EmailInvalid(f"has more than {MAX_LOCAL_LENGTH} characters before the @")
    try:
        found = email_validator.validate_email(
            text, check_deliverability=False, allow_smtputf8=False, allow_quoted_local=False
        )
    except email_validator.EmailNotValidError:
        raise EmailInvalid("is not an e-mail address") from None
    canonical = f"{found.local_part}@{found.ascii_domain}".lower()
    if not canonical.isascii() or len(canonical) > MAX_EMAIL_LENGTH:
        raise EmailInvalid("is not an e-mail address")
    return canonical


def shown_email(raw: str) -> str:
    """The address in what was typed or pasted, as its owner writes it: for showing, and for `canonical_email` to judge.

    Address books and mail programs put more around one: a name and angle brackets, "mailto:", a semicolon or a full stop at the end, spaces,
    and characters that do not show. Taken off is only what cannot be a part of an address.
    """
    if len(raw) > MAX_PASTED_LENGTH:
        return raw
    text = _UNSEEN.sub("", raw).strip()
    if found := _IN_BRACKETS.fullmatch(text.rstrip(" ;,.")):
        name, text = found[1], found[2].strip()
        if "@" in name and name.strip(" \"'") != text:  # a name that is another address
            return raw.strip()
    if text[:7].lower() == "mailto:":
        text = text[7:]
    return text.strip().rstrip(";,.").rstrip()


def _require_one(text: str) -> None:
    """Say what is wrong with a text that is not one plain address, as far as that can be told. Raises EmailInvalid."""
    if len(text) > MAX_EMAIL_LENGTH:
        raise EmailInvalid(f"is longer than {MAX_EMAIL_LENGTH} characters")
    if text.count("@") > 1:
        several = _SEVERAL.search(text) is not None
        raise EmailInvalid("has more than one address; put one" if several else "has more than one @")
    if not text.isprintable():
        raise EmailInvalid("has a character that e-mail addresses cannot have here")
    if "@" not in text:
        raise EmailInvalid("is empty" if not text else "has no @, so it is not an e-mail address")
    local, _, host = text.partition("@")
    if any(character.isspace() for character in text):
        raise EmailInvalid("has a space in it")
    if not local or not host:
        raise EmailInvalid(f"has nothing {'after' if local else 'before'} the @")


def e164(raw: str, region: str = DEFAULT_REGION, *, is_contact: bool = False) -> str:
    """The number in E.164, such as +14155550123. region: read into numbers typed without a country.

    is_contact: nothing is ever sent there, so that a toll-free number is as good. Raises PhoneInvalid.
    """
    if len(raw) > MAX_PHONE_LENGTH:
        raise PhoneInvalid("is not a phone number")
    # Address books put marks of direction and spaces that do not break around a number.
    text = "".join(_plain(character) for character in raw).strip(" ")
    text = text.removeprefix("tel:")
    if not text.isprintable() or any(character.isalpha() for character in _EXTENSION.sub("", text)):
        raise PhoneInvalid("is not a phone number")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise PhoneInvalid("is not a phone number") from None
    _require_usable(number, CONTACT_TYPES if is_contact else set())
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len(found) > MAX_E164_LENGTH:  # some countries have longer ones than E.164 allows
        raise PhoneInvalid("is not a number that exists")
    return found


_EXTENSION = re.compile(r"(;ext=|ext\.?|x)\s*\d+$", re.IGNORECASE)


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    return " " if category == "Zs" else "" if category == "Cf" else character


def _require_usable(number: phonenumbers.PhoneNumber, allowed: Collection[int]) -> None:
    if number.extension:
        raise PhoneInvalid("has an extension; codes need a direct line")
    kind = phonenumbers.number_type(number)
    problem = UNUSABLE_TYPES.get(kind)
    if problem is not None and kind not in allowed:
        raise PhoneInvalid(problem)
    if phonenumbers.region_code_for_country_code(number.country_code or 0) == NO_COUNTRY:
        raise PhoneInvalid("belongs to no country")
    if not phonenumbers.is_valid_number(number) and not is_in_new_area(number):
        raise PhoneInvalid("is not a number that exists")


def use_area_codes(codes: Collection[str]) -> None:
    """Add area codes of North America that the operator knows of. Called once at the start."""
    global _area_codes  # noqa: PLW0603 -- one list a process, set where the process is put together
    _area_codes = NEW_AREA_CODES | frozenset(codes)


def is_in_new_area(number: phonenumbers.PhoneNumber, codes: Collection[str] | None = None) -> bool:
    """Whether a number is in an area that the library does not know yet. codes: these; left out, all that are on the list."""
    if number.country_code != NORTH_AMERICA or phonenumbers.region_code_for_number(number) is not None:
        return False
    found = _NORTH_AMERICAN.fullmatch(str(number.national_number))
    return found is not None and found[1] in (_area_codes if codes is None else codes)


def area_code_problem(code: str) -> str | None:
    """Why a code cannot be added to the list; None for one that can, also when the library knows it as a geographic one by now."""
    if not re.fullmatch(r"(?![2-9]11)[2-9][0-9]{2}", code, re.ASCII):
        return "is no area code"
    example = phonenumbers.PhoneNumber(country_code=NORTH_AMERICA, national_number=int(f"{code}2345678"))
    kind, country = phonenumbers.number_type(example), phonenumbers.region_code_for_number(example)
    if kind not in {PhoneNumberType.UNKNOWN, PhoneNumberType.FIXED_LINE_OR_MOBILE}:
        return UNUSABLE_TYPES.get(kind, "is for no phones of people").replace("number", "code")
    return (
        f"belongs to {country}, and is served where that is in PHONE_COUNTRIES" if country not in {None, "US"} else None
    )


def masked_phone(number: str) -> str:
    """Enough of an E.164 number for its owner to know it: "+1 ••• ••• 0143"-like, the last two digits only."""
    return f"••••••{number[-2:]}"


def masked_email(address: str) -> str:
    """Enough of an address for its owner to know it: the first letter and the domain."""
    local, _, host = address.rpartition("@")
    return f"{local[:1]}•••@{host}"
