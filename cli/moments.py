"""Days and moments as an operator types them, and windows of time made of two of them."""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

EARLIEST, LATEST = 2000, 2200
DAY_LENGTH = len("2027-01-31")


@dataclass(frozen=True, slots=True)
class Moment:
    """What was typed. at: without a zone where none was said. is_day: no time of day was said."""

    text: str
    at: datetime
    is_day: bool

    def begins(self, zone: tzinfo = UTC) -> datetime:
        """The moment, or the beginning of the day, which is in this zone where none was said."""
        return self.at if self.at.tzinfo else self.at.replace(tzinfo=zone)

    def ends(self, zone: tzinfo = UTC) -> datetime:
        """The moment, or the end of the day."""
        return (self if not self.is_day else Moment(self.text, self.at + timedelta(days=1), is_day=True)).begins(zone)


def moment(text: str) -> Moment:
    """For argparse. Raises ArgumentTypeError with what to write instead."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment; write 2027-01-31 or 2027-01-31T12:00Z") from None
    if not EARLIEST <= at.year < LATEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not between the years {EARLIEST} and {LATEST}")
    return Moment(text, at, is_day=len(text) == DAY_LENGTH)


def since(text: str) -> datetime:
    """For argparse: a day or a moment, in UTC where it does not say. Raises ArgumentTypeError."""
    return moment(text).begins()


def until(text: str) -> datetime:
    """For argparse: a moment, or the end of a day, in UTC where it does not say. Raises ArgumentTypeError."""
    return moment(text).ends()


def window_problem(begins: datetime | None, ends: datetime | None) -> str | None:
    """What is wrong with a window, as a sentence; None where nothing is."""
    if begins is None or ends is None or begins < ends:
        return None
    return f"--until has to be later than --since: they are {begins.isoformat()} and {ends.isoformat()}"
