"""Allowed hours: is it open, and when does it open next, by the clock on the practice's wall."""

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.allowed_hours import AllowedHours, is_open, is_time, opens_at
from domain.models.columns import Weekday

NEW_YORK = "America/New_York"  # 2026: forward on 8 March at 02:00 (07:00 UTC), back on 1 November at 02:00 (06:00 UTC)
MINUTE = timedelta(minutes=1)


def hours(*texts: str) -> list[AllowedHours]:
    """As in `hours("MONDAY 08:00 18:00")`."""
    parts = [text.split() for text in texts]
    return [AllowedHours(Weekday(day), opens, closes) for day, opens, closes in parts]


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = hours(*(f"{day} 08:00 18:00" for day in ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY")))
NIGHT = hours("SATURDAY 22:00 06:00")

# Which ranges in which zone at which moment (UTC): when they open, which is that very moment when they are open.
CASES: list[tuple[str, list[AllowedHours], str, str, str]] = [
    ("none: any time", [], NEW_YORK, "2026-06-06 03:00", "2026-06-06 03:00"),
    ("in the middle", OFFICE, NEW_YORK, "2026-06-03 16:00", "2026-06-03 16:00"),
    ("the first moment counts", OFFICE, NEW_YORK, "2026-06-03 12:00", "2026-06-03 12:00"),
    ("the moment before does not", OFFICE, NEW_YORK, "2026-06-03 11:59:59.999999", "2026-06-03 12:00"),
    ("the last moment counts", OFFICE, NEW_YORK, "2026-06-03 21:59:59.999999", "2026-06-03 21:59:59.999999"),
    ("the end does not", OFFICE, NEW_YORK, "2026-06-03 22:00", "2026-06-04 12:00"),
    ("over the weekend", OFFICE, NEW_YORK, "2026-06-05 23:00", "2026-06-08 12:00"),
    ("the zone decides which day it is", OFFICE, "Pacific/Auckland", "2026-06-07 20:00", "2026-06-07 20:00"),
    ("a week later", hours("MONDAY 08:00 09:00"), "UTC", "2026-06-01 09:00", "2026-06-08 08:00"),
    ("past midnight, before it", NIGHT, NEW_YORK, "2026-06-07 03:59", "2026-06-07 03:59"),
    ("past midnight, after it", NIGHT, NEW_YORK, "2026-06-07 09:59", "2026-06-07 09:59"),
    ("past midnight, over", NIGHT, NEW_YORK, "2026-06-07 10:00", "2026-06-14 02:00"),
    ("past midnight is not the morning of its own day", NIGHT, NEW_YORK, "2026-06-06 09:00", "2026-06-07 02:00"),
    ("from Sunday into Monday", hours("SUNDAY 22:00 06:00"), "UTC", "2026-06-08 05:59", "2026-06-08 05:59"),
    ("a whole day by 24:00", hours("TUESDAY 00:00 24:00"), "UTC", "2026-06-02 23:59:59", "2026-06-02 23:59:59"),
    ("a whole day by 00:00", hours("TUESDAY 00:00 00:00"), "UTC", "2026-06-02 23:59:59", "2026-06-02 23:59:59"),
    ("a whole day ends at its end", hours("TUESDAY 00:00 24:00"), "UTC", "2026-06-03 00:00", "2026-06-09 00:00"),
    ("a day round from the morning", hours("TUESDAY 08:00 08:00"), "UTC", "2026-06-03 07:59", "2026-06-03 07:59"),
    ("to the end of the day", hours("TUESDAY 22:00 24:00"), "UTC", "2026-06-03 00:00", "2026-06-09 22:00"),
    ("adjacent", hours("MONDAY 08:00 12:00", "MONDAY 12:00 18:00"), "UTC", "2026-06-01 12:00", "2026-06-01 12:00"),
    ("overlapping", hours("MONDAY 08:00 14:00", "MONDAY 12:00 18:00"), "UTC", "2026-06-01 18:00", "2026-06-08 08:00"),
    # Spring: the clock goes from 02:00 to 03:00.
    ("spring: a night of seven hours", NIGHT, NEW_YORK, "2026-03-08 09:59", "2026-03-08 09:59"),
    ("spring: and no more", NIGHT, NEW_YORK, "2026-03-08 10:00", "2026-03-15 02:00"),
    ("spring: opens when the gap ends", hours("SUNDAY 02:30 04:00"), NEW_YORK, "2026-03-08 06:30", "2026-03-08 07:00"),
    ("spring: a skipped range", hours("SUNDAY 02:00 03:00"), NEW_YORK, "2026-03-08 06:30", "2026-03-15 06:00"),
    ("spring: the day after", OFFICE, NEW_YORK, "2026-03-08 12:00", "2026-03-09 12:00"),
    ("spring: the day before", OFFICE, NEW_YORK, "2026-03-06 12:59", "2026-03-06 13:00"),
    # Autumn: the clock goes from 02:00 back to 01:00.
    ("autumn: a night of nine hours", NIGHT, NEW_YORK, "2026-11-01 10:59", "2026-11-01 10:59"),
    ("autumn: and no more", NIGHT, NEW_YORK, "2026-11-01 11:00", "2026-11-08 03:00"),
    ("autumn: closed", hours("SUNDAY 00:00 01:30"), NEW_YORK, "2026-11-01 05:30", "2026-11-01 06:00"),
    ("autumn: open once more", hours("SUNDAY 00:00 01:30"), NEW_YORK, "2026-11-01 06:29", "2026-11-01 06:29"),
    ("autumn: over", hours("SUNDAY 00:00 01:30"), NEW_YORK, "2026-11-01 06:30", "2026-11-08 05:00"),
    ("midnight that is skipped", hours("SUNDAY 00:30 02:00"), "America/Havana", "2026-03-08 04:59", "2026-03-08 05:00"),
    ("half an hour", hours("SUNDAY 01:45 03:00"), "Australia/Lord_Howe", "2026-04-04 15:15", "2026-04-04 15:15"),
]


@pytest.mark.parametrize(
    ("ranges", "zone", "moment", "opening"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_when_it_is_open(ranges: list[AllowedHours], zone: str, moment: str, opening: str) -> None:
    assert opens_at(ranges, ZoneInfo(zone), at(moment)) == at(opening)
    assert is_open(ranges, ZoneInfo(zone), at(moment)) == (moment == opening)


@pytest.mark.parametrize("good", ["00:00", "08:05", "19:59", "23:59"])
def test_a_time_is_hours_and_minutes(good: str) -> None:
    assert is_time(good)
    assert is_time(good, may_be_midnight=True)


@pytest.mark.parametrize(
    "bad", ["", "8:00", "08:60", "24:01", "25:00", "08:00:00", "08.00", "٠٨:٠٠", "08:00\n", " 08:00"]
)
def test_what_is_no_time_is_none(bad: str) -> None:
    assert not is_time(bad)
    assert not is_time(bad, may_be_midnight=True)


def test_only_the_end_of_a_range_can_be_midnight_at_the_end_of_a_day() -> None:
    assert is_time("24:00", may_be_midnight=True)
    assert not is_time("24:00")


# Weeks with a change of the clock in them: by an hour and by half of one, at 02:00, at midnight, and in the south.
WEEKS = [
    (NEW_YORK, "2026-03-05 00:00"),
    (NEW_YORK, "2026-10-29 00:00"),
    ("Europe/London", "2026-03-26 00:00"),
    ("Australia/Lord_Howe", "2026-04-01 00:00"),
    ("America/Havana", "2026-03-05 00:00"),
    ("America/Havana", "2026-10-29 00:00"),
    ("America/Santiago", "2026-04-02 00:00"),
    ("America/Santiago", "2026-09-03 00:00"),
    ("Africa/Casablanca", "2026-02-12 00:00"),
]
TIMES = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
CLOSES = TIMES | st.just("24:00")
RANGES = st.lists(st.builds(AllowedHours, st.sampled_from(Weekday), TIMES, CLOSES), min_size=1, max_size=3)


MINUTES = 15 * 1440  # long enough for a range that the change of the clock swallows the first time
Reading = tuple[Weekday, Weekday, str]


@functools.cache
def week(zone: str, begin: str) -> tuple[list[datetime], list[Reading]]:
    """Each minute of two weeks, and what the clock reads then: the day, the day before, the time."""
    minutes = [at(begin) + n * MINUTE for n in range(MINUTES)]
    locals_ = [minute.astimezone(ZoneInfo(zone)) for minute in minutes]
    days = list(Weekday)
    return minutes, [(days[one.weekday()], days[one.weekday() - 1], f"{one:%H:%M}") for one in locals_]


def is_open_by_brute_force(ranges: list[AllowedHours], reading: Reading) -> bool:
    """The rule in words: today's range has begun and not ended, or yesterday's runs past midnight and has not ended."""
    today, yesterday, reads = reading
    return any(
        (one.day is today and one.opens <= reads and (reads < one.closes or one.closes <= one.opens))
        or (one.day is yesterday and one.closes <= one.opens and reads < one.closes)
        for one in ranges
    )


@settings(max_examples=100, deadline=None)
@given(ranges=RANGES, where=st.sampled_from(WEEKS), begin=st.integers(0, 6 * 1440), sample=st.integers(0, 100))
def test_it_is_as_if_every_minute_was_looked_at(
    ranges: list[AllowedHours], where: tuple[str, str], begin: int, sample: int
) -> None:
    zone = ZoneInfo(where[0])
    minutes, readings = week(*where)
    for n in range(sample, MINUTES, 101):
        assert is_open(ranges, zone, minutes[n]) == is_open_by_brute_force(ranges, readings[n])
    opening = opens_at(ranges, zone, minutes[begin])
    found = next((n for n in range(begin, MINUTES) if is_open_by_brute_force(ranges, readings[n])), None)
    assert opening == minutes[found] if found is not None else opening > minutes[-1]
