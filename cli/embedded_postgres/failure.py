"""The one refusal of this package."""


class PostgresFailed(Exception):
    """The embedded server cannot be had. `str()` is the one line for the person who started it."""
