"""The short form of a link, which an e-mail shows for people to type: twenty letters and digits, derived like the link's token.

The first 36 bits say which row it is: 28 bits of the time that its id was made at, in steps of 1,024 ms, and the last byte of the id. They
are no secret; the primary key finds the few rows that they fit. The other 60 bits are HMAC-SHA256 with the server's key over the row,
its nonce and the link's purpose, so a code ends with its link and the database holds none. Guesses are counted (`link_tokens`).
"""

import time
import uuid

from domain import database, secrets
from domain.database import Row

LENGTH = 20  # characters of 28 kinds: 96.1 bits
GROUP = 4
SECRET_BITS = 60
_STEP_BITS = 10  # of the 48 bits of milliseconds at the head of an id (RFC 9562 5.7)
_TIME_BITS = 28  # 8.7 years of steps; a link is younger
_RANDOM_BITS = 8
_LEAD_STEPS = 84_375  # one day: clocks of two machines differ by less
# Where the rows of each kind of link are.
TABLES = {
    "verify-email": "sign_ups",
    "invitation": "invitations",
    "password-reset": "password_resets",
    "confirm-email": "email_changes",
    "stop-change": "account_changes",
}


def make(purpose: str, row_id: uuid.UUID, nonce: bytes, key_id: str) -> str:
    """A row's code, without dashes. Raises KeyUnknown."""
    derived = secrets.derive(f"link-code:{purpose}", row_id, nonce, key_id)
    number = _locator(row_id) << SECRET_BITS | int.from_bytes(derived[:8]) >> 64 - SECRET_BITS
    letters = []
    for _ in range(LENGTH):
        number, index = divmod(number, len(secrets.PAC_ALPHABET))
        letters.append(secrets.PAC_ALPHABET[index])
    return "".join(reversed(letters))


def grouped(code: str) -> str:
    """A code as it is shown: "3RK5-V9Y9-2DAC-DEFG-HJKM"."""
    return "-".join(code[place : place + GROUP] for place in range(0, len(code), GROUP))


async def rows(purpose: str, code: str) -> list[Row]:
    """The rows that a code could be of: id, nonce, key_id. code: of the right length and letters."""
    number = 0
    for letter in code:
        number = number * len(secrets.PAC_ALPHABET) + secrets.PAC_ALPHABET.index(letter)
    step, last_byte = divmod(number >> SECRET_BITS, 1 << _RANDOM_BITS)
    first = _latest(step) << _STEP_BITS
    return await database.fetch(
        f"SELECT id, nonce, key_id FROM {TABLES[purpose]} WHERE id >= $1 AND id < $2 AND get_byte(uuid_send(id), 15) = $3",  # noqa: S608 -- a constant
        _at(first),
        _at(first + (1 << _STEP_BITS)),
        last_byte,
    )


def is_of(code: str, purpose: str, row: Row) -> bool:
    """Whether a code is this row's, compared in constant time. Raises KeyUnknown."""
    return secrets.matches(make(purpose, row["id"], row["nonce"], row["key_id"]), code)


def _locator(row_id: uuid.UUID) -> int:
    step = row_id.int >> 80 + _STEP_BITS
    return step % (1 << _TIME_BITS) << _RANDOM_BITS | row_id.int % (1 << _RANDOM_BITS)


def _latest(step: int) -> int:
    """The whole number of the latest step that ends in these bits and is not in the future."""
    newest = (time.time_ns() // 1_000_000 >> _STEP_BITS) + _LEAD_STEPS
    return newest - (newest - step) % (1 << _TIME_BITS)


def _at(milliseconds: int) -> uuid.UUID:
    """The lowest id that was made at a time."""
    return uuid.UUID(int=max(0, milliseconds) << 80)
