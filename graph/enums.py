"""Publishing the domain's enums."""

import enum

import strawberry


def describe(kind: type[enum.Enum], description: str, **values: str) -> None:
    """Publish an enum of the domain with a description on it and on each value; before any type has a field of it."""
    strawberry.enum(kind, description=description)
    definition = kind.__strawberry_definition__  # type: ignore[attr-defined]  # put there by strawberry.enum
    for value in definition.values:
        value.description = values[value.name]
