"""Passwords: which are taken, and how they are kept.

Argon2id over an HMAC of the password with a server key (a pepper: a copy of the database alone verifies nothing). Hashing runs in
as many threads as there are processors for it, at a low priority, so that all other requests are answered as if nobody signed in. Only so
many may wait for it; more are turned away before anything is read or counted (docs/decisions/0035-overload.md).
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeVar

import argon2
import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from domain import processors, secrets
from domain.errors import Busy, PasswordProblem, PasswordRejected

T = TypeVar("T")

# On a known device the password is the only thing that is asked for, and NIST SP 800-63B-4 3.1.1.2 wants 15 characters of a password
# that may stand alone (docs/decisions/0002-password-length.md). Counted in Unicode code points.
MIN_LENGTH = 15
MAX_LENGTH = 128
MIN_OWN_WORD_LENGTH = 4
MIN_LENGTH_BESIDE_OWN_WORDS = 8
MIN_GUESSES = 10**6  # zxcvbn's "very guessable" ends here
ZXCVBN_MAX_LENGTH = 72  # its own limit; what is longer is judged by its beginning and its end
# zxcvbn tries every choice among the signs that may stand for a letter, which takes seconds. One sign for each letter is enough.
ONE_SIGN_A_LETTER = str.maketrans("@{[<!|$+", "4(((1157")
PRODUCT_WORDS = ("practice", "access", "practiceaccess")

# OWASP Password Storage Cheat Sheet: the least for Argon2id. One lane, since there are as many threads as processors already.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
MAX_WAITING = 64
_hashing = ThreadPoolExecutor(processors.usable(), thread_name_prefix="argon2", initializer=processors.give_way)
# Judging a new password holds the interpreter's lock throughout. At a low priority it would hold it for longer, and the loop up with it.
_judging = ThreadPoolExecutor(1, thread_name_prefix="zxcvbn")
_under_way = 0
_has_room: ContextVar[bool] = ContextVar("has_room", default=False)


def normalized(password: str) -> str:
    """The one spelling of a password (NFKC), the same when it is set and when it is checked."""
    return unicodedata.normalize("NFKC", password)


async def reject_weak(password: str, own_words: Iterable[str]) -> None:
    """Check a new password. own_words: names, practice and address of the person. Raises PasswordRejected with all that is wrong."""
    text = normalized(password)
    problems = []
    if len(text) < MIN_LENGTH:
        problems.append(PasswordProblem.TOO_SHORT)
    if len(text) > MAX_LENGTH:
        problems.append(PasswordProblem.TOO_LONG)
    elif await _in_thread(lambda: _is_common(text), _judging):
        problems.append(PasswordProblem.TOO_COMMON)
    if _is_made_of(text.casefold(), own_words):
        problems.append(PasswordProblem.CONTAINS_OWN_NAME)
    if problems:
        raise PasswordRejected(problems, MIN_LENGTH, MAX_LENGTH)


async def hashed(password: str) -> tuple[str, str]:
    """The hash in PHC format and the id of the key that peppers it. Raises Busy."""
    key_id = secrets.newest_key_id()
    peppered = secrets.peppered(normalized(password), key_id)
    return await _in_thread(lambda: _hasher.hash(peppered)), key_id


async def is_right(password: str, stored: str | None, key_id: str | None) -> bool:
    """Whether a password is the stored one. stored: None does the same work for nothing, so that timing tells no account from none.

    Raises Busy; KeyUnknown, after the same work, when the key that peppers it is not here.
    """
    text = normalized(password[: 4 * MAX_LENGTH])
    if stored is None or key_id is None:
        return await _in_thread(lambda: _verify(_dummy_hash(), b"no such password")) and False
    try:
        peppered = secrets.peppered(text, key_id)
    except secrets.KeyUnknown:
        await _in_thread(lambda: _verify(_dummy_hash(), b"no such password"))
        raise
    return await _in_thread(lambda: _verify(stored, peppered))


def is_outdated(stored: str, key_id: str) -> bool:
    """Whether a right password should be hashed anew: weaker parameters than now, or an older key."""
    return key_id != secrets.newest_key_id() or _hasher.check_needs_rehash(stored)


async def prepare() -> None:
    """Make the hash that unknown accounts are checked against, so that the first sign-in does not take longer than the rest."""
    await _in_thread(_dummy_hash)


@cache
def _dummy_hash() -> str:
    return _hasher.hash(os.urandom(32))


def _verify(stored: str, peppered: bytes) -> bool:
    try:
        return _hasher.verify(stored, peppered)
    except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
        return False


@cache
def _common() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def _is_common(text: str) -> bool:
    folded = text.casefold()
    if folded in _common():
        return True
    plain = folded.translate(ONE_SIGN_A_LETTER)
    parts = {plain[:ZXCVBN_MAX_LENGTH], plain[-ZXCVBN_MAX_LENGTH:]} - {""}
    return bool(parts) and all(zxcvbn.zxcvbn(part)["guesses"] < MIN_GUESSES for part in parts)


def _is_made_of(folded: str, own_words: Iterable[str]) -> bool:
    """Whether little is left of a password without the person's own words and the product's."""
    words = {part for text in own_words for part in (text.casefold(), *text.casefold().replace("@", " ").split())}
    rest = folded
    for word in sorted(words | set(PRODUCT_WORDS), key=len, reverse=True):
        if len(word) >= MIN_OWN_WORD_LENGTH:
            rest = rest.replace(word, "")
    return rest != folded and len(rest) < MIN_LENGTH_BESIDE_OWN_WORDS


@contextmanager
def room() -> Iterator[None]:
    """Take a place among those who may hash, for the length of a block in which hashing never raises Busy. Raises Busy itself.

    Enter it before the account is read and a guess is counted: a server with too much to do says so at once, in the same time whether
    or not there is such an account, and a guess that could not be compared must not count.
    """
    global _under_way  # noqa: PLW0603 -- counts what is under way in this process; touched on the loop's thread only
    if _has_room.get():
        yield
        return
    if _under_way >= MAX_WAITING:
        raise Busy(datetime.now(UTC) + timedelta(seconds=1))
    _under_way += 1
    token = _has_room.set(True)
    try:
        yield
    finally:
        _has_room.reset(token)
        _under_way -= 1


async def _in_thread(work: Callable[[], T], threads: ThreadPoolExecutor = _hashing) -> T:
    with room():
        return await asyncio.get_running_loop().run_in_executor(threads, work)
