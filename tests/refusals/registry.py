"""Which refusal is driven by what."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

DRIVERS: dict[tuple[str, str], Any] = {}


def refusal(mutation: str, *kinds: str) -> Callable[[Any], Any]:
    """Drives a mutation into a refusal. Of several kinds, the function is told which."""

    def register(driver: Any) -> Any:
        for kind in kinds:
            key = (mutation, kind)
            assert key not in DRIVERS, key
            takes_kind = "kind" in inspect.signature(driver).parameters
            DRIVERS[key] = partial(driver, kind=kind) if takes_kind else driver
        return driver

    return register
