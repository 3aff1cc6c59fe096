"""Opaque ids that are unique over all types."""

import base64
import binascii
from uuid import UUID

import strawberry

from domain.errors import NotFound


def global_id(type_name: str, row_id: UUID) -> strawberry.ID:
    """An opaque id that is unique over all types."""
    return strawberry.ID(base64.urlsafe_b64encode(f"{type_name}:{row_id.hex}".encode()).decode().rstrip("="))


def split_id(value: str) -> tuple[str, UUID] | None:
    """The type and row that an id names; None when it is no id of ours."""
    try:
        name, _, row = (
            base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).decode().partition(":")
        )
        return name, UUID(hex=row)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def row_id(type_name: str, value: str) -> UUID:
    """The row that an id of this type names. Raises NotFound for every other id."""
    found = split_id(value)
    if found is None or found[0] != type_name:
        raise NotFound
    return found[1]
