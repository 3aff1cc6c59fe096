"""Pages of long lists, as in the Relay specification: by places in the order, never by counting."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from graphql import GraphQLError

from graph import json_text
from graph.types import PageInfo

DEFAULT_PAGE = 50
MAX_PAGE = 100

Place = tuple[str, UUID]


def size(first: int | None, last: int | None = None) -> int:
    """How many rows a page is to have. Raises BAD_USER_INPUT."""
    if first is not None and last is not None:
        raise bad_input("Give first or last, not both.")
    wanted = first if first is not None else last if last is not None else DEFAULT_PAGE
    if not 0 <= wanted <= MAX_PAGE:
        raise bad_input(f"A page has 0 to {MAX_PAGE} rows.")
    return wanted


def cursor(place: Place) -> str:
    """A place as a client gets it."""
    text = json.dumps([place[0], place[1].hex], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(cursor: str | None) -> Place | None:
    """The place that a client names. Raises BAD_USER_INPUT."""
    if cursor is None:
        return None
    try:
        key, hexadecimal = json_text.parsed(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
        if not isinstance(key, str) or "\0" in key:
            raise ValueError
        key.encode()  # a lone surrogate is no text that a database keeps
        return key, UUID(hex=hexadecimal)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise bad_input("This is no cursor of this list.") from None


def moment_place(cursor: str | None) -> tuple[datetime, UUID] | None:
    """The place that a client names in a list by time. Raises BAD_USER_INPUT."""
    found = place(cursor)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[0])
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC), found[1]
    except (ValueError, OverflowError):
        raise bad_input("This is no cursor of this list.") from None


def page_info(cursors: Sequence[str], *, has_previous: bool, has_next: bool) -> PageInfo:
    """Where a page stands, told from its edges' cursors."""
    return PageInfo(
        has_next_page=has_next,
        has_previous_page=has_previous,
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
    )


def bad_input(message: str) -> GraphQLError:
    """What a programmer of a client has to put right."""
    return GraphQLError(message, extensions={"code": "BAD_USER_INPUT"})
