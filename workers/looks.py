"""From where on a lane looks for due messages, so that draining many of them does not get slower and slower.

Messages are taken in the order in which they became due. What was taken leaves entries in the index that PostgreSQL cannot remove while an
old transaction, such as a backup, is open; each look from the beginning reads all of them once more. So a lane that has taken as much as it
could goes on from there. It looks from the beginning once a second, for messages whose transaction took long to commit and for those of
workers that died. The longer such a look takes, the rarer it is.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from domain.outbox import Claimed

WHOLE_SECONDS = 1.0
WHOLE_SHARE = 20  # looks from the beginning take no more than one part in so many of the time


class Looks:
    """The looks of one lane. now: a clock that only goes forward, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._whole_at = self._began_at = float("-inf")
        self._due_at: datetime | None = None

    def begin(self) -> datetime | None:
        """A look begins; the moment from which on it looks for what is due, None for the beginning."""
        self._began_at = self._now()
        return self._due_at if self._began_at < self._whole_at else None

    def end(self, rows: Sequence[Claimed], *, is_whole: bool, is_full: bool) -> None:
        """It took these rows. is_whole: it looked from the beginning. is_full: it took as many as it might, so more may be due."""
        if is_whole:
            now = self._now()
            self._whole_at = now + max(WHOLE_SECONDS, WHOLE_SHARE * (now - self._began_at))
        due = [row.due_at for row in rows if row.due_at is not None]
        self._due_at = max(due) if is_full and due else None
