"""One lane of the outbox: a few hands, each with a message at a time, over rows that are claimed together.

What a message says is looked up just before it is sent, so what was revoked while it waited is not sent.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from domain import change_texts, contents, database, outbox
from domain.contents import Content, KeyMissing, Withdrawn
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Outcome
from workers import breakers, deliveries
from workers.deliveries import ChannelDown, DeliveryError, Permanent, Refused, Temporary
from workers.gates import Gate
from workers.looks import Looks
from workers.observing import sending
from workers.settler import Settler

logger = logging.getLogger(__name__)

Send = Callable[[Claimed, Content], Awaitable[str | None]]

LEASE_SECONDS = 30.0
SEND_SECONDS = 700.0  # the longest that one message may take: more than all waits of a mail together
FRESH_SECONDS = 1.0  # contents that were looked up longer ago are looked up again
LOOKED_UP_TOGETHER = 20
LONGEST_FAULT_PAUSE_SECONDS = 30.0
SHUFFLE_SECONDS = 0.25


@dataclass(eq=False)
class Claim:
    """Rows that were claimed together. good_until: on the loop's clock; nothing is begun after that. left: not settled yet."""

    owner: UUID
    good_until: float
    left: int


@dataclass(frozen=True, slots=True)
class _Ready:
    row: Claimed
    claim: Claim
    content: Content | Withdrawn | KeyMissing
    looked_up_at: float


class Lane:
    """Sends what is due in one lane by one channel. hands: messages under way at most. look_seconds: the longest wait between two looks.

    gate: what messages go through; nothing is claimed while it is closed.
    """

    def __init__(
        self,
        number: int,
        channel: Channel,
        send: Send,
        settler: Settler,
        gate: Gate,
        *,
        hands: int,
        at_once: int,
        look_seconds: float,
    ) -> None:
        self.number = number
        self.claims: dict[UUID, Claim] = {}
        self._channel = channel
        self._send = send
        self._settler = settler
        self._gate = gate
        self._hands = hands
        self._at_once = at_once
        self._look_seconds = look_seconds
        self._claimed: deque[tuple[Claimed, Claim]] = deque()
        self._ready: deque[_Ready] = deque()
        self._looks = Looks()
        self._taking = asyncio.Lock()
        self._bell = asyncio.Event()
        self._stopping = asyncio.Event()
        self._suspect: Claim | None = None
        self._faults = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. Called on the loop."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._hands)]

    @property
    def name(self) -> str:
        """For the operator."""
        return f"lane {self.number} {self._channel.value}"

    @property
    def has_ended(self) -> bool:
        """Whether one of its hands has ended, which none does before the lane is stopped."""
        return any(task.done() for task in self._tasks)

    def ring(self) -> None:
        """Look at once. Called on the loop."""
        self._bell.set()

    async def stop(self, seconds: float) -> None:
        """Begin nothing more, let what is under way end within these seconds, and give the rest back."""
        self._stopping.set()
        self._bell.set()
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:  # its message's lease runs out, and it is sent again with the same Message-ID
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._give_up_all(deliveries.given_back)

    async def _work(self) -> None:
        while (ready := await self._next()) is not None:
            with sending(ready.row):
                outcome = await self._outcome(ready)
            self._settle(ready.claim, outcome)

    # -- taking ------------------------------------------------------------------------------------------------------------

    async def _next(self) -> _Ready | None:
        """The next message to send, as soon as there is one; None when the lane stops."""
        async with self._taking:
            while not self._stopping.is_set():
                now = asyncio.get_running_loop().time()
                if self._ready and now - self._ready[0].looked_up_at > FRESH_SECONDS:
                    self._claimed.extendleft((ready.row, ready.claim) for ready in reversed(self._ready))
                    self._ready.clear()
                elif self._ready:
                    ready = self._ready.popleft()
                    if now < ready.claim.good_until:
                        return ready
                    self._let_go(ready.claim)  # this process was frozen, and the row is somebody else's by now
                else:
                    await self._refill()
        return None

    async def _refill(self) -> None:
        try:
            if self._claimed:
                await self._look_up(LOOKED_UP_TOGETHER)
            elif self._settler.is_behind or not await self._claim():
                await self._wait()
            self._faults = 0
        except Exception as error:  # noqa: BLE001 -- the database may be away for a while; the lane outlives that
            self._faults += 1
            logger.warning("Lane %d cannot look at the outbox: %s", self.number, type(error).__name__)
            await self._sleep(min(0.25 * 2.0 ** min(self._faults, 10), LONGEST_FAULT_PAUSE_SECONDS))

    async def _claim(self) -> bool:
        """Claim what is due, one row where the channel is to be probed and none where it is down; whether anything was."""
        self._bell.clear()
        at_most = await self._gate.room(self._at_once)
        if not at_most:
            await outbox.tell_waiting(self.number, self._channel, self._gate.problem)
            return False
        asked_at = asyncio.get_running_loop().time()
        rows = await self._look(at_most)
        if not rows:
            return False
        claim = Claim(rows[0].owner, asked_at + LEASE_SECONDS, len(rows))
        self.claims[claim.owner] = claim
        self._claimed.extend((row, claim) for row in rows)
        if rows[0].lost:
            self._suspect = claim
        return True

    async def _look(self, at_most: int) -> list[Claimed]:
        """Rows that are due now; none only after a look from the beginning."""
        while True:
            since = self._looks.begin()
            rows = await outbox.claim(
                self.number,
                at_most=at_most,
                lease_seconds=LEASE_SECONDS,
                channels=[self._channel],
                suspects=not self._has_suspect,
                since=since,
            )
            self._looks.end(rows, is_whole=since is None, is_full=len(rows) == at_most)
            if rows or since is None:
                return rows

    @property
    def _has_suspect(self) -> bool:
        """Whether messages are in hand here that another worker may have died of: others of that sort wait, so that they do not drag each other down."""
        return self._suspect is not None and self._suspect.left > 0

    async def _look_up(self, at_most: int) -> None:
        """Look up what the first of the claimed rows say; one by one where something is wrong with one of them."""
        some = [self._claimed[index] for index in range(min(at_most, len(self._claimed)))]
        try:
            found = await contents.load([row for row, _ in some])
        except Exception as error:  # noqa: BLE001 -- see the next line
            await database.now()  # raises when it is the database that is away, and not a row that is wrong
            if len(some) > 1:
                for _ in some:
                    await self._look_up(1)
                return
            row, claim = self._claimed.popleft()
            logger.error("Delivery %s (%s) cannot be looked up: %s", row.id, row.kind.value, type(error).__name__)  # noqa: TRY400
            self._settle(claim, deliveries.not_sent(row, Temporary("The message could not be made."), None, 0.0))
            return
        now = asyncio.get_running_loop().time()
        for row, claim in some:
            self._claimed.popleft()
            self._ready.append(_Ready(row, claim, found[row.id], now))

    async def _wait(self) -> None:
        """Until the bell rings, or something may be due by then."""
        wait = self._look_seconds * random.uniform(0.8, 1.0)
        if self._settler.is_behind:
            await self._sleep(0.5)
            return
        due: float | None = self._gate.opens_in()
        if not due:
            due = await outbox.seconds_until_due([self.number], [self._channel])
        if due is not None:
            # A row that somebody holds a lock on is due, and cannot be had; nor can a second suspect.
            wait = min(wait, max(due, 0.1 if self._has_suspect else 0.02))
        if self._stopping.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._bell.wait()

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until the lane stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # -- sending -----------------------------------------------------------------------------------------------------------

    async def _outcome(self, ready: _Ready) -> Outcome:
        row, content = ready.row, ready.content
        if not isinstance(content, Content):
            return _without_content(row, content)
        if (ended := await _ended(row, content)) is not None:
            return ended
        is_probe = False
        try:
            is_probe = await self._gate.enter()
            async with asyncio.timeout(SEND_SECONDS):
                provider_id = await self._send(row, content)
        except ChannelDown as error:  # nothing more of this channel is claimed until its breaker lets a message through
            left = breakers.opens_in(self._gate.breakers)
            # In another order each time: the one that goes first then is the probe, and it should not always be the same.
            return deliveries.not_sent(row, error, None, left + random.uniform(0.0, SHUFFLE_SECONDS))
        except DeliveryError as error:
            if isinstance(error, Refused):
                self._gate.refused()
            return deliveries.not_sent(row, error, content.recipient, 0.0, is_probe=is_probe)
        except Exception as error:  # noqa: BLE001 -- one row that cannot be made must not stop the others
            return _unexpected(row, error)
        return deliveries.sent(row, content.recipient, provider_id)

    # -- letting go --------------------------------------------------------------------------------------------------------

    def _give_up_all(self, outcome: Callable[[Claimed], Outcome]) -> None:
        rows = [(ready.row, ready.claim) for ready in self._ready] + list(self._claimed)
        self._ready.clear()
        self._claimed.clear()
        for row, claim in rows:
            self._settle(claim, outcome(row))

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
        self._settler.add(outcome, lambda: self._let_go(claim))

    def _let_go(self, claim: Claim) -> None:
        claim.left -= 1
        if claim.left == 0:
            self.claims.pop(claim.owner, None)


def _without_content(row: Claimed, found: Withdrawn | KeyMissing) -> Outcome:
    if isinstance(found, KeyMissing):
        return deliveries.without_key(row, found.key_id)
    return deliveries.ended(row, DeliveryStatus.CANCELED, found.reason)


def _unexpected(row: Claimed, error: Exception) -> Outcome:
    """Without the exception's text, which may hold what the message says. A full disk passes, a template's fault does not."""
    logger.error("Delivery %s (%s) cannot be made: %s", row.id, row.kind.value, type(error).__name__)
    kind = Temporary if isinstance(error, OSError | TimeoutError) else Permanent
    return deliveries.not_sent(row, kind("The message could not be made or sent."), None, 0.0)


async def _ended(row: Claimed, content: Content) -> Outcome | None:
    """What becomes of a message that is not to be sent after all; None when it is."""
    if (problem := _given_up(row)) is not None:
        return deliveries.ended(row, DeliveryStatus.FAILED, problem)
    if not await change_texts.may_go(row, content.recipient):
        return deliveries.ended(row, DeliveryStatus.CANCELED, change_texts.HELD_BACK)
    return None


def _given_up(row: Claimed) -> str | None:
    """Why a message is tried no more, if it is not."""
    if row.attempt > outbox.MAX_ATTEMPTS:
        return "It was tried too often without an end."
    if row.lost >= outbox.MAX_LOST:
        return f"{row.lost} workers ended while they had this message in hand."
    return None
