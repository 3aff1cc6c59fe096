"""One id from a request to the delivery of what it asked for.

It stands in each line of the log, beside each message that the request queued, and in the answer's `X-Request-ID`.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from structlog.contextvars import bind_contextvars, reset_contextvars

# UUIDs and what proxies make. Nothing else, so that no token, code, address or number of anybody's gets into a log by this way:
# ours have other letters in them, or are shorter.
_ACCEPTED = re.compile(r"(?=(?:-*[0-9A-Fa-f]){16})[0-9A-Fa-f-]{16,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of the request, the job or the delivery that is at work; None outside of any."""
    return _current.get()


def new() -> str:
    """An id that nobody has yet."""
    return uuid.uuid4().hex


def of_headers(request_id: str, traceparent: str) -> str:
    """The id that came along: hexadecimal digits and dashes, 16 digits or more; else the trace's; else a new one."""
    if _ACCEPTED.fullmatch(request_id):
        return request_id
    found = _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else new()


@contextmanager
def bound(request_id: str | None, **more: str) -> Iterator[None]:
    """Everything in this block belongs to one request: log lines and queued messages have its id. more: for the log lines alone."""
    token = _current.set(request_id)
    said = more if request_id is None else {**more, "request_id": request_id}
    before = bind_contextvars(**said)
    try:
        yield
    finally:
        reset_contextvars(**before)
        _current.reset(token)
