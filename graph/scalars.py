"""What is written as one value: moments, addresses, numbers."""

from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

EmailAddress = NewType("EmailAddress", str)
PhoneNumber = NewType("PhoneNumber", str)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise GraphQLError("A DateTime is written in ISO 8601, such as 2026-01-31T09:30:00Z.") from None
    if moment.tzinfo is None:
        raise GraphQLError("A DateTime needs an offset, such as Z or -05:00.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise GraphQLError("A DateTime lies in the years 1 to 9999 of UTC.") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise GraphQLError("A string is needed here.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime", description="ISO 8601 with an offset.", serialize=datetime.isoformat, parse_value=_moment
    ),
    EmailAddress: strawberry.scalar(
        name="EmailAddress",
        description="As typed; at most 254 characters. Compared without regard to case.",
        serialize=str,
        parse_value=_text,
    ),
    PhoneNumber: strawberry.scalar(
        name="PhoneNumber",
        description="E.164, for example +14155550123. Input may be typed with spaces and brackets, numbers of the United States without +1.",
        serialize=str,
        parse_value=_text,
    ),
}

# How a security code may be typed, wherever one is.
TYPED_CODE = (
    "Six digits of any script; spaces and dashes are ignored, and of a whole text message the code in it is taken."
)
