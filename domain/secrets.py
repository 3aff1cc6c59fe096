"""Secrets that are derived instead of stored, and tokens that are random and stored as a hash.

A link token, a security code or a practice access code is HMAC-SHA256(server key, purpose, row id, row's nonce). So the database,
the outbox, the queue and the logs never hold one, a retry makes the same one again, and a copy of the database alone opens nothing.
The nonce is 128 random bits; a new nonce is a new secret and the end of the old one. Keys form a ring: rows name the key they were
made with, new rows take the newest, so a key can be replaced without breaking what is under way.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from domain import metrics
from domain.errors import KeyUnknown

__all__ = ["KeyRing", "KeyUnknown"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

TAG_BYTES = (
    18  # of a link token: 144 bits, and no base64 padding together with the 16-byte row id and 2 more characters
)
LINK_TOKEN_LENGTH = ((16 + TAG_BYTES) * 4 + 2) // 3
CODE_DIGITS = 6  # NIST SP 800-63B-4 3.1.3.2: at least six decimal digits
PAC_LENGTH = 10
# Digits and letters of which no two are taken for each other: B (8), I and L (1), O and Q (0), S (5), Z (2) and U (V) are left out.
PAC_ALPHABET = "0123456789ACDEFGHJKMNPRTVWXY"
PAC_LOOK_ALIKES = str.maketrans("BILOQSUZ", "811005V2")
# 16 of 28 signs: 76 bits. From 64 bits on, NIST SP 800-63B-4 3.1.2.2 asks for no limit on guesses; there is one all the same.
RECOVERY_CODE_LENGTH = 16
RECOVERY_CODE_GROUP = 4


RETRY = timedelta(seconds=10)  # soon enough to meet another process that has the key
QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Server keys by id. newest: the id that new rows take."""

    keys: dict[str, bytes]
    newest: str

    def key(self, key_id: str) -> bytes:
        """The key with this id. Raises KeyUnknown, which is counted, and told in the log once a minute."""
        try:
            return self.keys[key_id]
        except KeyError:
            _note_missing(key_id)
            raise KeyUnknown(retry_at(), key_id=key_id) from None


_ring: KeyRing | None = None
_told_at: dict[str, float] = {}


def retry_at() -> datetime:
    """When to try again what this process has no key for."""
    return datetime.now(UTC) + RETRY


def _note_missing(key_id: str) -> None:
    metrics.MISSING_KEYS.inc()
    now = time.monotonic()
    if now - _told_at.get(key_id, float("-inf")) < QUIET_SECONDS:
        return
    _told_at[key_id] = now
    logger.warning(
        "The server key %s is not in SECRET_KEYS here. What was made with it is left to processes that have it. Give this process the keys"
        " that the others have",
        key_id,
    )


def use_keys(keys: tuple[bytes, ...]) -> None:
    """Set the process's ring, newest first. Called once at the start."""
    global _ring  # noqa: PLW0603 -- one ring a process, set where the process is put together
    by_id = {key_id(key): key for key in keys}
    _ring = KeyRing(keys=by_id, newest=key_id(keys[0]))


def ring() -> KeyRing:
    """The process's ring."""
    if _ring is None:
        raise RuntimeError("secrets.use_keys was not called")
    return _ring


def newest_key_id() -> str:
    """Which key a new row takes."""
    return ring().newest


def derive(purpose: str, row_id: uuid.UUID, nonce: bytes, key_id: str) -> bytes:
    """32 bytes that only the holder of the key can make, different for each purpose, row and nonce. Raises KeyUnknown."""
    message = b"\0".join((b"practice-access/v1", purpose.encode(), row_id.bytes)) + nonce
    return hmac.digest(ring().key(key_id), message, "sha256")


def link_token(purpose: str, row_id: uuid.UUID, nonce: bytes, key_id: str) -> str:
    """What stands behind `#token=` of a link: the row's id and a tag over it, 46 URL-safe characters."""
    tag = derive(purpose, row_id, nonce, key_id)[:TAG_BYTES]
    return base64.urlsafe_b64encode(row_id.bytes + tag).rstrip(b"=").decode()


def link_row_id(token: str) -> uuid.UUID | None:
    """The row that a link token speaks of, still unproven; None when it cannot be a token at all."""
    raw = _decoded(token)
    return uuid.UUID(bytes=raw[:16]) if raw is not None else None


def is_link_token(token: str, purpose: str, row_id: uuid.UUID, nonce: bytes, key_id: str) -> bool:
    """Whether this is the row's token, compared in constant time. Raises KeyUnknown."""
    expected = link_token(purpose, row_id, nonce, key_id)
    return hmac.compare_digest(expected.encode(), token.encode())


def _decoded(token: str) -> bytes | None:
    size = 16 + TAG_BYTES
    if len(token) != LINK_TOKEN_LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == size else None


def security_code(row_id: uuid.UUID, nonce: bytes, key_id: str) -> str:
    """The digits of a security code, leading zeros kept. The bias of the modulus is below 2^-230."""
    number = int.from_bytes(derive("security-code", row_id, nonce, key_id)) % 10**CODE_DIGITS
    return f"{number:0{CODE_DIGITS}d}"


def practice_access_code(row_id: uuid.UUID, nonce: bytes, key_id: str) -> str:
    """The ten letters and digits of one issue of a practice access code: 48 bits."""
    number = int.from_bytes(derive("practice-access-code", row_id, nonce, key_id))
    code = ""
    for _ in range(PAC_LENGTH):
        number, index = divmod(number, len(PAC_ALPHABET))
        code += PAC_ALPHABET[index]
    return code


def new_recovery_code() -> str:
    """A random recovery code as it is shown, such as "K7WD-04NP-T9HX-2CEM". It has a letter, so nobody takes it for a security code."""
    while True:
        code = "".join(secrets.choice(PAC_ALPHABET) for _ in range(RECOVERY_CODE_LENGTH))
        if not code.isdigit():
            groups = range(0, RECOVERY_CODE_LENGTH, RECOVERY_CODE_GROUP)
            return "-".join(code[start : start + RECOVERY_CODE_GROUP] for start in groups)


def recovery_code_mac(code: str, user_id: uuid.UUID, key_id: str) -> bytes:
    """What is stored of a user's recovery code, as `typed_codes.recovery_code` reads it. Raises KeyUnknown."""
    message = b"practice-access/v1/recovery-code\0" + user_id.bytes + code.encode()
    return hmac.digest(ring().key(key_id), message, "sha256")


def matches(expected: str, given: str) -> bool:
    """Whether two short secrets are the same, compared in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode())


def first_that(rows: Iterable[T], is_right: Callable[[T], bool]) -> T | None:
    """The first row that a comparison holds for, or None. All rows are compared.

    Raises KeyUnknown when it holds for none, and one of them could not be compared.
    """
    hits: list[T] = []
    unknown: KeyUnknown | None = None
    for row in rows:
        try:
            if is_right(row):
                hits.append(row)
        except KeyUnknown as error:
            unknown = error
    if not hits and unknown is not None:
        raise unknown
    return hits[0] if hits else None


def new_token() -> str:
    """A session, device or challenge token: 256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is stored of a token. It has 256 random bits, so a plain SHA-256 gives nothing to guess at."""
    return hashlib.sha256(token.encode()).digest()


def fingerprint(purpose: str, text: str) -> str:
    """A stable name for a text that is not to be stored itself, such as an unknown address that somebody tries passwords on.

    Made with the oldest key, so that adding a key does not empty the counters kept under such names.
    """
    oldest = list(ring().keys.values())[-1]
    return hmac.digest(oldest, f"{purpose}\0{text}".encode(), "sha256").hex()[:32]


def peppered(password: str, key_id: str) -> bytes:
    """What is hashed of a password: useless to whoever has only the database. Raises KeyUnknown."""
    return hmac.digest(ring().key(key_id), b"practice-access/v1/password\0" + password.encode(), "sha256")


def key_fingerprint(key: bytes) -> bytes:
    """What the database keeps of a key to know it again. It tells nothing of what the key makes."""
    return hmac.digest(key, b"practice-access/v1/key-fingerprint", "sha256")[:16]


def key_id(key: bytes) -> str:
    """The name of a key in the rows that were made with it."""
    return hashlib.sha256(b"practice-access/v1/key-id\0" + key).hexdigest()[:8]
