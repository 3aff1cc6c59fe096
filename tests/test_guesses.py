"""Guesses at a secret: each is counted once, whoever races, and too many lock the factor."""

import asyncio
from datetime import timedelta

import pytest

from domain import database, guesses, lockouts, retention
from domain.guesses import DAY_SECONDS, Limit, Locked
from tests.conftest import Clock

KEY = "password:grace@clinic.example"
LIMIT = Limit(in_a_row=5, lock_seconds=60, max_lock_seconds=300)
DEADLY = Limit(in_a_row=5, lock_seconds=60, disabled_after=10)


async def guess(times: int, limit: Limit = LIMIT, key: str = KEY) -> list[int]:
    """Guess so many times, one after the other; how many in a row each was."""
    return [await guesses.count(key, limit) for _ in range(times)]


async def seconds_locked(limit: Limit = LIMIT, key: str = KEY) -> float:
    """How much longer no guess is taken."""
    with pytest.raises(Locked) as locked:
        await guesses.count(key, limit)
    assert locked.value.until is not None
    return (locked.value.until - await database.now()).total_seconds()


async def test_of_50_guesses_at_once_as_many_are_taken_as_the_limit_allows(db: None) -> None:
    answers = await asyncio.gather(*(guesses.count(KEY, LIMIT) for _ in range(50)), return_exceptions=True)
    counted = sorted(answer for answer in answers if isinstance(answer, int))
    assert counted == [1, 2, 3, 4, 5]
    assert sum(isinstance(answer, Locked) for answer in answers) == 45
    row = await database.fetch_one("SELECT failures, locks FROM guess_counters WHERE key = $1", KEY)
    assert row == {"failures": 5, "locks": 1}


async def test_each_of_50_guesses_below_the_limit_is_counted(db: None) -> None:
    wide = Limit(in_a_row=100, lock_seconds=60)
    answers = await asyncio.gather(*(guesses.count(KEY, wide) for _ in range(50)))
    assert sorted(answers) == list(range(1, 51))


async def test_counters_do_not_touch_each_other(db: None) -> None:
    await guess(5)
    assert await guess(1, key="password:ada@clinic.example") == [1]
    await guesses.succeed("password:ada@clinic.example")
    assert await seconds_locked() > 0


async def test_a_refused_guess_is_not_counted_and_does_not_prolong_the_lock(db: None, clock: Clock) -> None:
    await guess(5)
    await clock.forward(seconds=50)
    for _ in range(20):
        assert await seconds_locked() < 11
    await clock.forward(seconds=11)
    assert await guess(1) == [6]


async def test_each_lock_is_twice_as_long_as_the_one_before_up_to_the_longest(db: None, clock: Clock) -> None:
    for expected in (60, 120, 240, 300, 300, 300):
        await guess(5)
        locked = await seconds_locked()
        assert expected - 5 < locked <= expected
        await clock.forward(seconds=locked + 1)


async def test_no_lock_is_longer_than_a_day_however_many_there_were(db: None) -> None:
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at) VALUES ($1, 4, 32000, clock_now())", KEY
    )
    await guess(1, Limit(in_a_row=5, lock_seconds=900))
    assert DAY_SECONDS - 5 < await seconds_locked() <= DAY_SECONDS


async def test_a_success_forgets_the_guesses_and_lifts_the_lock(db: None) -> None:
    assert await guess(4) == [1, 2, 3, 4]
    await guesses.succeed(KEY)
    assert await guess(5) == [1, 2, 3, 4, 5]
    await guesses.succeed(KEY)  # the guess that reaches the limit is still compared, and may be right
    assert await guess(1) == [1]
    await guesses.succeed(KEY)
    await guesses.succeed(KEY)


async def test_only_a_success_forgets_not_the_time_that_passes(db: None, clock: Clock) -> None:
    await guess(4)
    await clock.forward(days=30)
    assert await guess(1) == [5]
    assert await seconds_locked() > 0


async def test_a_factor_that_is_disabled_stays_so(db: None, clock: Clock) -> None:
    await guess(5, DEADLY)
    assert await seconds_locked(DEADLY) > 0
    await clock.forward(minutes=10)
    assert await guess(5, DEADLY) == [6, 7, 8, 9, 10]
    await clock.forward(days=400)
    for attempt in (guesses.count, guesses.check):
        with pytest.raises(Locked) as locked:
            await attempt(KEY, DEADLY)
        assert locked.value.until is None
    row = await database.fetch_one("SELECT failures FROM guess_counters WHERE key = $1", KEY)
    assert row == {"failures": 10}
    await guesses.succeed(KEY)
    assert await guess(1, DEADLY) == [1]


async def test_of_50_guesses_at_once_none_gets_past_the_end(db: None) -> None:
    unlocked = Limit(in_a_row=1000, lock_seconds=60, disabled_after=10)
    answers = await asyncio.gather(*(guesses.count(KEY, unlocked) for _ in range(50)), return_exceptions=True)
    assert sorted(answer for answer in answers if isinstance(answer, int)) == list(range(1, 11))
    assert [answer.until for answer in answers if isinstance(answer, Locked)] == [None] * 40


async def test_looking_counts_nothing_and_tells_the_same(db: None, clock: Clock) -> None:
    await guesses.check(KEY, LIMIT)
    await guess(4)
    for _ in range(10):
        await guesses.check(KEY, LIMIT)
    assert await guess(1) == [5]
    with pytest.raises(Locked) as locked:
        await guesses.check(KEY, LIMIT)
    assert locked.value.until is not None
    assert locked.value.until - await database.now() <= timedelta(seconds=60)
    await clock.forward(seconds=61)
    await guesses.check(KEY, LIMIT)
    assert await guess(1) == [6]


async def test_a_success_among_50_guesses_at_once_leaves_no_more_than_the_limit(db: None) -> None:
    for round_ in range(20):
        key = f"{KEY}:{round_}"
        guessed = [asyncio.create_task(guesses.count(key, LIMIT)) for _ in range(25)]
        success = asyncio.create_task(guesses.succeed(key))
        guessed += [asyncio.create_task(guesses.count(key, LIMIT)) for _ in range(25)]
        answers = await asyncio.gather(*guessed, return_exceptions=True)
        await success
        assert 5 <= sum(isinstance(answer, int) for answer in answers) <= 2 * LIMIT.in_a_row
        # Who was turned away may come back: no guess at this factor is refused for ever.
        assert all(answer.until is not None for answer in answers if isinstance(answer, Locked))


@pytest.mark.parametrize(
    "limit",
    [lockouts.PASSWORD_BY_ANYBODY, guesses.PHONE, guesses.PAC_PER_PRACTICE, guesses.PAC_PER_NETWORK],
    ids=repr,
)
def test_the_limits_that_are_in_use_allow_a_hundred_guesses_at_most_before_a_day_passes(limit: Limit) -> None:
    taken, seconds, lock = 0, 0.0, 0
    while seconds < DAY_SECONDS and taken < (limit.disabled_after or 10**6):
        taken += limit.in_a_row
        seconds += min(limit.lock_seconds * 2**lock, limit.max_lock_seconds)
        lock += 1
    assert taken <= 8 * limit.in_a_row
    assert limit.disabled_after is None or limit.disabled_after <= 100


async def test_a_flood_of_other_names_and_the_purge_lift_no_lock(db: None, clock: Clock) -> None:
    await guess(5)
    await database.execute(
        "INSERT INTO guess_counters (key, failures, locks, updated_at)"
        " SELECT 'password:other' || n, 1, 0, clock_now() FROM generate_series(1, 100000) AS n"
    )
    await retention.purge()
    assert await seconds_locked() > 0
    await clock.forward(days=91)
    await retention.purge()
    assert await database.fetch("SELECT key FROM guess_counters LIMIT 1") == []
