"""What people bring along of a link, read in one place.

That is the token as a gateway, a mail program or a keyboard left it, the whole link, or the code that the e-mail shows for typing. What
cannot be in a token is taken away before the token is judged; judging it is left to whoever asks.
"""

import hashlib
import html
import re
import unicodedata
from urllib.parse import unquote

from domain import budgets, guesses, link_codes, networks, secrets, typed_codes
from domain.actors import Actor
from domain.database import Row
from domain.errors import LimitReached, TooManyAttempts

MAX_LENGTH = 4096  # of what somebody pastes; a link has about a hundred characters
# As with practice access codes: wrong ones in a row for one link. The link itself goes on to work.
PER_LINK = guesses.Limit(in_a_row=10, lock_seconds=3600)

_ENCODED_TIMES = 3  # "#" as "%23", "%2523", "%252523"
_TOKEN = f"[A-Za-z0-9_-]{{{secrets.LINK_TOKEN_LENGTH}}}"
_NO_MORE = "(?![A-Za-z0-9_-])"
# "=3D" is how quoted-printable writes "=".
_BEHIND_NAME = re.compile(rf"token=(?:3D)?({_TOKEN}){_NO_MORE}", re.IGNORECASE)
_ALONE = re.compile(rf"(?<![A-Za-z0-9_-])({_TOKEN}){_NO_MORE}")
_NAME = re.compile(r"token=(?:3D)?", re.IGNORECASE)
_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9_-]")
_SOFT_BREAK = re.compile(r"=[ \t]*\r?\n")  # of quoted-printable
_DASHES = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-", "\u2014": "--"})
_GROUPS = re.compile(
    rf"(?<![0-9A-Z])[0-9A-Z]{{{link_codes.GROUP}}}(?:-[0-9A-Z]{{{link_codes.GROUP}}}){{4}}(?![0-9A-Z])"
)


async def read(actor: Actor, purpose: str, raw: str) -> str:
    """The token of a link, of whatever somebody's client sent; what is no token comes back as "" and is refused like a wrong one.

    purpose: as in `secrets.link_token`; a code is looked for among its rows only. A code is counted on the rows that it could be of and on
    the client's network before it is compared, so this is called outside every transaction. Raises TooManyAttempts, KeyUnknown (a code only).
    Writes: counters.
    """
    text = _readable(raw)
    token = _token(text)
    if token:
        return token
    code = _code(text)
    return await _token_of_code(actor, purpose, code) if code else ""


def _readable(raw: str) -> str:
    """The text without what does not show, and without the ways in which mail programs and gateways write characters."""
    text = html.unescape(_SOFT_BREAK.sub("", raw[:MAX_LENGTH]))
    for _ in range(_ENCODED_TIMES):
        text = unquote(text)
    text = unicodedata.normalize("NFKC", text).translate(_DASHES)
    return "".join(one if one.isspace() else _digit(one) for one in text if one.isspace() or not _is_hidden(one))


def _is_hidden(character: str) -> bool:
    """Controls, zero-width characters, soft hyphens, marks of direction."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _digit(character: str) -> str:
    """A digit of any script as an ASCII one."""
    return str(unicodedata.decimal(character, character))


def _token(text: str) -> str:
    joined = "".join(text.split())  # a link that was broken over two lines
    for found in (_BEHIND_NAME.search(text), _ALONE.search(text), _BEHIND_NAME.search(joined), _ALONE.search(joined)):
        if found:
            return found[1]
    # Something stands in the middle of it.
    behind = _NAME.split(joined)[-1]
    kept = _NOT_IN_TOKEN.sub("", behind)
    is_named = behind != joined
    fits = len(kept) >= secrets.LINK_TOKEN_LENGTH if is_named else len(kept) == secrets.LINK_TOKEN_LENGTH
    return kept[: secrets.LINK_TOKEN_LENGTH] if fits else ""


def _code(text: str) -> str:
    """The code in a text, or "": five groups with dashes between them, or nothing else but the code."""
    upper = text.upper()
    groups = _GROUPS.search(upper)
    code = typed_codes.letters_and_digits(groups[0] if groups else upper)
    return code if len(code) == link_codes.LENGTH and set(code) <= set(secrets.PAC_ALPHABET) else ""


async def _token_of_code(actor: Actor, purpose: str, code: str) -> str:
    rows = await link_codes.rows(purpose, code)
    network = f"link-codes:network:{networks.limit_key(actor.ip_address)}"
    link = _counter(purpose, code, rows)
    try:
        taken = await budgets.take(network, budgets.LINK_CODES_PER_NETWORK)
    except LimitReached as refusal:
        raise TooManyAttempts(refusal.retry_at) from None
    try:
        number = await guesses.count(link, PER_LINK)
    except guesses.Locked as locked:  # nothing was compared
        await budgets.give_back(taken)
        raise TooManyAttempts(locked.until) from None
    try:
        found = secrets.first_that(rows, lambda row: link_codes.is_of(code, purpose, row))
    except secrets.KeyUnknown:  # nothing was compared
        await guesses.give_back(link, number, PER_LINK)
        await budgets.give_back(taken)
        raise
    if found is None:
        return ""
    await guesses.succeed(link)
    await budgets.give_back(taken)
    return secrets.link_token(purpose, found["id"], found["nonce"], found["key_id"])


def _counter(purpose: str, code: str, rows: list[Row]) -> str:
    """What wrong codes count under: the rows they could be of, each with its present link; where there is none, what the code claims.

    So a fresh link begins to count anew, and a code of nobody takes the same work as one of somebody.
    """
    spoken_of = [row["id"].bytes + row["nonce"] for row in rows] or [code[:8].encode()]
    return f"link-code:{purpose}:{hashlib.sha256(b''.join(sorted(spoken_of))).hexdigest()[:32]}"
