"""Header fields that hold text from people: folded, quoted or encoded so that a mail program reads what was meant (RFC 5322, RFC 2047).

Made by hand, since `email.header` takes many times as long. Whatever the text is, the field holds printable ASCII and no line end of the
text's own.
"""

import binascii
import re
from collections.abc import Iterator

MAX_LINE = 78  # RFC 5322 2.1.1, without the line end
MAX_ENCODED_LINE = 76  # RFC 2047 2: a line that holds an encoded word
_PREFIX, _SUFFIX = "=?utf-8?b?", "?="
_FRAME = len(_PREFIX) + len(_SUFFIX)
_FOLD = "\r\n "
# What a display name may hold without quotes: atoms with spaces between them (RFC 5322 3.2.3).
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_JOINERS = {0x200C: None, 0x200D: None}  # names in Persian, Sinhala and other scripts need them (`domain.names`)
_QUOTED_PAIR = re.compile(r'(["\\])')


def unstructured(name: str, text: str) -> str:
    """A whole field such as Subject. Raises ValueError when the text holds what does not print, such as a line end."""
    if not _is_printable(text):
        raise ValueError(name)
    if _is_plain(text):
        folded = _folded(f"{name}:", text)
        if folded is not None:
            return folded
    return _encoded(f"{name}: ", text)


def mailbox(name: str, display_name: str, address: str) -> str:
    """A whole field with one mailbox, such as From. address: canonical, so that it needs no quoting. Raises ValueError as `unstructured`."""
    if not _is_printable(display_name) or not (address.isascii() and address.isprintable()):
        raise ValueError(name)
    shown = f"{name}: {_phrase(display_name)}"
    if not _is_plain(display_name) or len(shown) > MAX_LINE:
        shown = _encoded(f"{name}: ", display_name)
    last_line = shown.rpartition("\r\n")[2]
    is_short = len(last_line) + len(address) + 3 <= MAX_ENCODED_LINE
    return f"{shown}{' ' if is_short else _FOLD}<{address}>"


def _is_printable(text: str) -> bool:
    return text.translate(_JOINERS).isprintable()


def _is_plain(text: str) -> bool:
    """Whether a text can stand as it is: it is ASCII, is not taken for an encoded word, and loses no space when it is unfolded."""
    return text.isascii() and "=?" not in text and "  " not in text and text == text.strip(" ")


def _phrase(display_name: str) -> str:
    if _ATOMS.fullmatch(display_name):
        return display_name
    return '"' + _QUOTED_PAIR.sub(r"\\\1", display_name) + '"'


def _folded(start: str, text: str) -> str | None:
    """The field in lines that break at spaces; None when a word does not fit, since a first line without a word is not read everywhere."""
    lines = [start]
    for place, word in enumerate(text.split(" ")):
        if len(lines[-1]) + 1 + len(word) <= MAX_LINE:
            lines[-1] += f" {word}"
        elif place > 0 and len(word) < MAX_LINE:
            lines.append(f" {word}")
        else:
            return None
    return "\r\n".join(lines)


def _encoded(start: str, text: str) -> str:
    return start + _FOLD.join(_words(text.encode(), len(start)))


def _words(raw: bytes, used: int) -> Iterator[str]:
    """Encoded words, one a line, each of whole characters (RFC 2047 5). used: what of the first line is taken already."""
    at = 0
    while True:
        room = (MAX_ENCODED_LINE - used - _FRAME) // 4 * 3
        end = min(at + room, len(raw))
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        yield f"{_PREFIX}{binascii.b2a_base64(raw[at:end], newline=False).decode()}{_SUFFIX}"
        at, used = end, 1
        if at >= len(raw):
            return
