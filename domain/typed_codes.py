"""Reading the codes that people type or paste: security codes from a phone, and practice access codes.

One place for all of them. What is read here is what is counted and compared; what cannot be a code at all is refused before it is
counted, since comparing it could tell nobody anything.
"""

import re
import unicodedata

from domain.errors import InputInvalid, InputProblem
from domain.secrets import CODE_DIGITS, PAC_LENGTH, PAC_LOOK_ALIKES, RECOVERY_CODE_GROUP, RECOVERY_CODE_LENGTH

MAX_TYPED_LENGTH = 1000  # longer than any text message that we send
NO_SECURITY_CODE = f"A security code has {CODE_DIGITS} digits. Take it from the newest message."
NO_PRACTICE_ACCESS_CODE = (
    f"A practice access code has {PAC_LENGTH} letters and digits. Ask your administrator to tell it to you again."
)
# The last line of a text message that browsers fill in (WICG sms-one-time-codes): "@host #123456", perhaps with "@frame" after it.
_WEB_OTP = re.compile(rf"@\S+\s+#([0-9]{{{CODE_DIGITS}}})(?:\s+@\S+)?\s*\Z")
# Nothing but a recovery code: its groups, with or without something between them.
_GROUPS = re.compile(rf"(?:[0-9A-Z]{{{RECOVERY_CODE_GROUP}}}[\W_]*){{{RECOVERY_CODE_LENGTH // RECOVERY_CODE_GROUP}}}")
# How long a recovery code is that somebody mistyped: some characters too few or too many.
_NEARLY_RECOVERY_CODE = range(RECOVERY_CODE_LENGTH - 4, RECOVERY_CODE_LENGTH + 5)
_RUN = re.compile(rf"(?<![0-9])[0-9]{{{CODE_DIGITS}}}(?![0-9])")


def security_code(typed: str) -> str:
    """The six ASCII digits that somebody meant.

    Digits of every script count; spaces, dashes and invisible marks between them do not. Of a whole text message the code is taken from
    its last line, or else from the only run of six digits in it. Raises InputInvalid when there is none, or more than one.
    """
    text = _with_ascii_digits(typed[: MAX_TYPED_LENGTH + 1])
    found: set[str] = set()
    if len(text) <= MAX_TYPED_LENGTH:
        last_line = _WEB_OTP.search(text)
        found = {last_line[1]} if last_line else set(_RUN.findall(text))
        if not any(character.isalpha() for character in text):
            digits = "".join(character for character in text if character.isdecimal())
            found = {digits} if len(digits) == CODE_DIGITS else set()
    if len(found) != 1:
        raise InputInvalid([InputProblem(("code",), NO_SECURITY_CODE)])
    return found.pop()


def practice_access_code(typed: str) -> str:
    """What somebody typed, as it would have been generated: ten characters of the alphabet.

    Case, spaces, dashes and invisible marks do not matter, look-alikes are mapped, and digits of every script and full-width letters
    are read as ASCII. Raises InputInvalid when it cannot be a code.
    """
    code = letters_and_digits(typed)
    if len(code) != PAC_LENGTH or not code.isascii():
        raise InputInvalid([InputProblem(("practiceAccessCode",), NO_PRACTICE_ACCESS_CODE)])
    return code


def recovery_code(typed: str) -> str | None:
    """What somebody typed, read as a recovery code; None when it is not meant as one, such as six digits or a text that holds them.

    A code with a character too few or too many is read as one too, so that it is counted and refused as a wrong one.
    """
    code = letters_and_digits(typed)
    if not code.isascii() or not any(map(str.isalpha, typed)):
        return None
    text = _with_ascii_digits(unicodedata.normalize("NFKC", typed[: MAX_TYPED_LENGTH + 1])).upper().strip()
    is_meant = _GROUPS.fullmatch(text) or (len(code) in _NEARLY_RECOVERY_CODE and not _RUN.search(text))
    return code if is_meant else None


def letters_and_digits(typed: str) -> str:
    """A code of our alphabet as it would have been generated: upper case, without spaces, dashes and marks, look-alikes mapped."""
    text = _with_ascii_digits(unicodedata.normalize("NFKC", typed[: MAX_TYPED_LENGTH + 1]))
    return "".join(filter(str.isalnum, text)).upper().translate(PAC_LOOK_ALIKES)


def _with_ascii_digits(text: str) -> str:
    """The same with digits of other scripts as ASCII digits, and without invisible marks (Unicode category Cf)."""
    return "".join(
        str(unicodedata.decimal(character, character)) for character in text if unicodedata.category(character) != "Cf"
    )
