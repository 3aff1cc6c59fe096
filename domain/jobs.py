"""Work of the schedule that is made of many small parts, none of which holds up another."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def each(parts: Iterable[T], work: Callable[[T], Awaitable[bool]]) -> int:
    """Do each part; how many had something to do. Raises ExceptionGroup with what went wrong, once all the others are done."""
    done = 0
    errors: list[Exception] = []
    for part in parts:
        try:
            done += await work(part)
        except Exception as error:  # noqa: BLE001 -- told below, with all the others
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} parts failed", errors)
    return done
