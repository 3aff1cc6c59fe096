"""Hours of the week in which somebody may use the system, told by the clock on the practice's wall.

A range is about what that clock reads, so both daylight-saving changes need no rule of their own: a reading that the clock skips
never comes, one that it shows twice counts both times, and a night shift has seven hours in spring and nine in autumn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.models.columns import Weekday

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# Changes of a zone's offset are looked for in steps of this; two of them within one step, which no zone has, would be missed.
STEP = timedelta(hours=1)
RESOLUTION = timedelta(microseconds=1)

_WEEKDAYS = list(Weekday)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)


@dataclass(frozen=True, slots=True)
class AllowedHours:
    """One range of the week. opens, closes: "HH:MM"; when closes is at or before opens, the range runs past midnight."""

    day: Weekday
    opens: str
    closes: str

    @property
    def start(self) -> timedelta:
        """When it opens, from the beginning of Monday."""
        return _WEEKDAYS.index(self.day) * DAY + _length(self.opens)

    @property
    def length(self) -> timedelta:
        """How long it lasts on the clock: more than nothing, one day at most."""
        return (_length(self.closes) - _length(self.opens)) % DAY or DAY


def is_time(text: str, *, may_be_midnight: bool = False) -> bool:
    """Whether a text is "HH:MM", from 00:00 to 23:59. may_be_midnight: 24:00, the end of a day, is good too."""
    return _TIME.fullmatch(text) is not None and (may_be_midnight or text != "24:00")


def _length(time: str) -> timedelta:
    hours, _, minutes = time.partition(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


def is_open(ranges: Sequence[AllowedHours], zone: ZoneInfo, moment: datetime) -> bool:
    """Whether a moment is in one of the ranges, by the clock of a zone; always when there are none. moment: aware."""
    reading = _reading(zone, moment)
    return not ranges or any((reading - one.start) % WEEK < one.length for one in ranges)


def opens_at(ranges: Sequence[AllowedHours], zone: ZoneInfo, moment: datetime) -> datetime:
    """The first moment from a given one on at which it is open, aware UTC; that moment itself when it is open then."""
    begin = moment.astimezone(UTC)
    while not is_open(ranges, zone, begin):
        reading = _reading(zone, begin)
        opening = begin + min((one.start - reading) % WEEK for one in ranges)
        # The reading runs on evenly until the clock is changed; from there the question is asked anew.
        begin = _next_change(zone, begin, opening) or opening
    return begin


def _reading(zone: ZoneInfo, moment: datetime) -> timedelta:
    """What the clock on the wall reads, from the beginning of Monday."""
    local = moment.astimezone(zone).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return local.weekday() * DAY + (local - midnight)


def _next_change(zone: ZoneInfo, begin: datetime, until: datetime) -> datetime | None:
    """The first moment after begin, until included, at which the zone's offset is another one."""
    before = begin
    while before < until:
        after = min(before + STEP, until)
        if _offset(zone, after) != _offset(zone, before):
            return _bisected(zone, before, after)
        before = after
    return None


def _bisected(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    offset = _offset(zone, before)
    while after - before > RESOLUTION:
        middle = before + (after - before) // 2
        before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
    return after


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
