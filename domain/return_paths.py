"""The envelope sender of an e-mail: an address of its own for each, so that what comes back says what it is about.

A bounce is a mail like any other, and anybody can write one. So the address carries a tag over the delivery's id that only the holder of
a server key can make: `bounces+<id>.<tag>@example.com`. Who knows one is who got that mail, or carried it, and can say no more with it
than that this one mail came back. Mail systems may fold the local part's case, so both are in base32, which has one.
"""

import base64
import binascii
import re
from uuid import UUID

from domain import secrets

PURPOSE = "return-path"
TAG_BYTES = 10  # 80 bits, guessed at by sending mails
_ID_LENGTH, _TAG_LENGTH = 26, 16
LENGTH = 1 + _ID_LENGTH + 1 + _TAG_LENGTH
MAX_LOCAL_LENGTH = 64  # RFC 5321 4.5.3.1.1
_OWN = re.compile(rf"\+([a-z2-7]{{{_ID_LENGTH}}})\.([a-z2-7]{{{_TAG_LENGTH}}})@")


def make(bounce_address: str, delivery_id: UUID) -> str:
    """Where the mail of a delivery comes back to. bounce_address: the operator's, such as bounces@example.com."""
    local, _, host = bounce_address.partition("@")
    return f"{local}+{_text(delivery_id.bytes)}.{_tag(delivery_id, secrets.newest_key_id())}@{host}"


def delivery_of(bounce_address: str, address: str) -> UUID | None:
    """Which delivery an address is the return path of; None for every address that was not made here.

    Every key of the ring still counts: mail may come back days after the newest one was added.
    """
    found = _parts(bounce_address, address)
    if found is None:
        return None
    delivery_id, tag = found
    is_ours = any(secrets.matches(_tag(delivery_id, key_id), tag) for key_id in secrets.ring().keys)
    return delivery_id if is_ours else None


def has_form(bounce_address: str, address: str) -> bool:
    """Whether an address looks like a return path of ours, whoever made it: perhaps a process with a key that this one lacks."""
    return _parts(bounce_address, address) is not None


def _parts(bounce_address: str, address: str) -> tuple[UUID, str] | None:
    """The delivery that an address names, still unproven, and the tag."""
    local, _, host = bounce_address.lower().partition("@")
    folded = address.strip().strip("<>").lower()
    if not folded.startswith(local + "+") or not folded.endswith("@" + host) or not folded.isascii():
        return None
    match = _OWN.fullmatch(folded[len(local) : len(folded) - len(host)])
    if match is None:
        return None
    delivery_id = _id(match.group(1))
    return (delivery_id, match.group(2)) if delivery_id is not None else None


def _tag(delivery_id: UUID, key_id: str) -> str:
    return _text(secrets.derive(PURPOSE, delivery_id, b"", key_id)[:TAG_BYTES])


def _text(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _id(text: str) -> UUID | None:
    try:
        raw = base64.b32decode(text.upper() + "=" * 6)
    except binascii.Error:
        return None
    return UUID(bytes=raw)
