"""What is written as one value: moments, addresses, numbers."""

from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

# What every field says that takes what somebody brought along of a link (`domain.link_tokens`).
FROM_LINK = (
    "What stands behind #token= in the link; or as somebody typed or pasted it, the whole link or the code that the e-mail shows under it."
    " Send it as it is: what cannot be in a token is taken away here."
)

EmailAddress = NewType("EmailAddress", str)
PhoneNumber = NewType("PhoneNumber", str)


def written(moment: datetime) -> str:
    """A moment as every answer has it: UTC, always with milliseconds, and `Z`. What is finer is cut off."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value).upper())  # RFC 3339 5.6: `t` and `z` may be in lower case
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
        name="DateTime",
        description="RFC 3339. Input has any offset; answers are in UTC, always with milliseconds: 2026-01-31T09:30:00.000Z.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=written,
        parse_value=_moment,
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
