"""Circuit breakers: what opens one, what a half-open one lets through, and what closes it."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from workers import breakers
from workers.breakers import FAILURES_IN_A_ROW, WINDOW, Breaker, State
from workers.deliveries import CHANNEL_PAUSES, Bounced, ChannelDown, DeliveryError, Faulty, Permanent, Temporary


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def breaker(hand: Hand) -> Breaker:
    return Breaker("a carrier", hand)


def attempt(breaker: Breaker, error: Exception | None = None, message: uuid.UUID | None = None) -> bool:
    """Try a message that ends so; whether the breaker let it be tried."""
    tried = False
    with contextlib.suppress(DeliveryError, OSError), breaker.trying(message or uuid.uuid4()):
        tried = True
        if error is not None:
            raise error
    return tried


def state(breaker: Breaker) -> State:
    return breaker.look().state


def test_a_channel_that_is_down_opens_it_at_once_and_nothing_is_tried_meanwhile(breaker: Breaker, hand: Hand) -> None:
    assert attempt(breaker)
    assert state(breaker) is State.CLOSED
    assert breaker.look().problem is None
    attempt(breaker, ChannelDown("It cannot be reached."))
    seen = breaker.look()
    assert (seen.name, seen.state, seen.problem) == ("a carrier", State.OPEN, "It cannot be reached.")
    assert (breaker.room(20), breaker.opens_in()) == (0, CHANNEL_PAUSES[0])
    with pytest.raises(ChannelDown, match=r"It cannot be reached\."):
        breaker.trying(uuid.uuid4()).__enter__()
    hand.at += CHANNEL_PAUSES[0] - 0.01
    assert not attempt(breaker)


def test_so_many_failures_in_a_row_open_it_and_one_less_does_not(breaker: Breaker) -> None:
    for _ in range(FAILURES_IN_A_ROW - 1):
        attempt(breaker, Faulty("500"))
    attempt(breaker)
    for _ in range(FAILURES_IN_A_ROW - 1):
        attempt(breaker, Faulty("500"))
    assert state(breaker) is State.CLOSED
    attempt(breaker, Faulty("500"))
    assert state(breaker) is State.OPEN


def test_half_of_the_latest_failing_opens_it(breaker: Breaker) -> None:
    for _ in range(WINDOW // 2 - 1):
        attempt(breaker, Faulty("500"))
        attempt(breaker)
    assert state(breaker) is State.CLOSED
    attempt(breaker)
    attempt(breaker, Faulty("500"))
    assert state(breaker) is State.OPEN


def test_one_poison_message_never_opens_it(breaker: Breaker) -> None:
    poison = uuid.uuid4()
    for _ in range(3 * WINDOW):
        attempt(breaker, Faulty("500"), poison)
    assert state(breaker) is State.CLOSED


@pytest.mark.parametrize("error", [Permanent("x"), Bounced("x"), Temporary("x")])
def test_a_refusal_of_one_message_is_an_answer(breaker: Breaker, hand: Hand, error: DeliveryError) -> None:
    for _ in range(3 * WINDOW):
        attempt(breaker, error)
    assert state(breaker) is State.CLOSED
    attempt(breaker, ChannelDown("down"))
    hand.at += CHANNEL_PAUSES[0]
    attempt(breaker, error)
    assert state(breaker) is State.CLOSED


def test_half_open_it_lets_one_through_and_closes_when_that_one_works(breaker: Breaker, hand: Hand) -> None:
    attempt(breaker, ChannelDown("down"))
    hand.at += CHANNEL_PAUSES[0]
    assert state(breaker) is State.HALF_OPEN
    assert breaker.room(20) == 1
    with breaker.trying(uuid.uuid4()):
        assert breaker.room(20) == 0
        assert breaker.opens_in() == breakers.PROBE_SECONDS
        assert not attempt(breaker)
    assert (state(breaker), breaker.room(20), breaker.look().problem) == (State.CLOSED, 20, None)


def test_a_probe_that_fails_makes_the_pause_longer_each_time_up_to_the_longest(breaker: Breaker, hand: Hand) -> None:
    attempt(breaker, ChannelDown("down"))
    for pause, longer in zip(CHANNEL_PAUSES, CHANNEL_PAUSES[1:] + CHANNEL_PAUSES[-1:], strict=True):
        assert breaker.opens_in() == pause
        hand.at += pause
        assert attempt(breaker, Faulty("503"))
        assert (state(breaker), breaker.opens_in()) == (State.OPEN, longer)
    hand.at += CHANNEL_PAUSES[-1]
    assert attempt(breaker)
    attempt(breaker, ChannelDown("down"))
    assert breaker.opens_in() == CHANNEL_PAUSES[0]


def test_a_probe_that_was_broken_off_says_nothing_and_the_next_may_go(breaker: Breaker, hand: Hand) -> None:
    attempt(breaker, ChannelDown("down"))
    hand.at += CHANNEL_PAUSES[0]
    assert attempt(breaker, OSError())
    assert state(breaker) is State.HALF_OPEN
    assert attempt(breaker)
    assert state(breaker) is State.CLOSED


@contextlib.contextmanager
def begun(breaker: Breaker, error: DeliveryError | None = None) -> Iterator[None]:
    """A message that is under way during the block, and ends with it."""
    with contextlib.suppress(DeliveryError), breaker.trying(uuid.uuid4()):
        yield
        if error is not None:
            raise error


def test_what_was_begun_before_it_opened_neither_closes_it_nor_makes_the_pause_longer(
    breaker: Breaker, hand: Hand
) -> None:
    with begun(breaker), begun(breaker, ChannelDown("later")):
        attempt(breaker, ChannelDown("down"))
        hand.at += CHANNEL_PAUSES[0]
    assert state(breaker) is State.HALF_OPEN
    assert attempt(breaker)
    assert state(breaker) is State.CLOSED


def test_a_channel_with_two_carriers_is_open_for_messages_while_one_of_them_is(breaker: Breaker, hand: Hand) -> None:
    other = Breaker("another", hand)
    attempt(breaker, ChannelDown("the first is down"))
    assert breakers.room([breaker, other], 20) == 20
    assert breakers.problem([breaker, other]) == "the first is down"
    attempt(other, ChannelDown("so is the second"))
    assert breakers.room([breaker, other], 20) == 0
    hand.at += CHANNEL_PAUSES[0]
    assert breakers.room([breaker, other], 20) == 1
    assert breakers.room([], 20) == 20
    assert breakers.opens_in([]) == 0.0


def test_since_when_it_is_so_is_told(breaker: Breaker, hand: Hand) -> None:
    hand.at += 3600.0
    closed = breaker.look()
    attempt(breaker, ChannelDown("down"))
    assert (breaker.look().since - closed.since).total_seconds() > 3000
    hand.at += 600.0
    half_open = breaker.look()
    attempt(breaker)
    assert half_open.state is State.HALF_OPEN
    assert (breaker.look().since - half_open.since).total_seconds() > 500
