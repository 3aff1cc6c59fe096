"""The part of a worker that sends: it waits for the bell or looks by itself, claims what is due, sends it, and writes it down.

Each lane runs on its own, with connections of its own: ten thousand invitations never hold up a code. While rows are under way their
lease is renewed, so a lease can be short and a killed worker's rows come back soon; a worker that was frozen past its lease neither
begins a send nor settles one.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from domain import contents, outbox, retention
from domain.contents import Content, Withdrawn
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Outcome
from domain.settings import Settings
from workers import deliveries
from workers.carrier import Carrier
from workers.deliveries import ChannelDown, DeliveryError, Permanent
from workers.messages import Messages
from workers.send_email import EmailSender
from workers.send_sms import TextSender
from workers.send_voice import CallSender

logger = logging.getLogger(__name__)

Send = Callable[[Claimed, Content], Awaitable[str | None]]

LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
STOP_SECONDS = 20.0
HOUSEKEEPING_SECONDS = 3600.0
LONGEST_FAULT_PAUSE = 30.0


@dataclass(eq=False)
class Lane:
    """One lane's runner. capacity: rows under way at most. look_seconds: the longest wait between two looks at the outbox."""

    number: int
    capacity: int
    look_seconds: float
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    channel_faults: int = 0
    paused_until: float = 0.0


@dataclass(eq=False)
class Claim:
    """Rows that were claimed together. good_until: on the loop's clock; nothing is begun after that."""

    owner: UUID
    good_until: float
    left: int


class Relay:
    """Sends what is due, for one process, on the event loop that it was started on."""

    def __init__(self, settings: Settings) -> None:
        messages = Messages(settings.client_url)
        self._carrier = Carrier(settings.twilio) if settings.twilio else None
        # A relay's connections are not shared between lanes.
        self._emails = {lane: EmailSender(settings, messages) for lane in (outbox.LANE_URGENT, outbox.LANE_BULK)}
        self._texts = TextSender(self._carrier, messages, settings.mailbox_dir)
        self._calls = CallSender(self._carrier, messages, settings.mailbox_dir)
        self._lanes = [
            Lane(outbox.LANE_CODES, capacity=40, look_seconds=2.0),
            Lane(outbox.LANE_URGENT, capacity=40, look_seconds=5.0),
            Lane(outbox.LANE_BULK, capacity=100, look_seconds=10.0),
        ]
        self._claims: dict[UUID, Claim] = {}
        self._outcomes: list[Outcome] = []
        self._settle_bell = asyncio.Event()
        self._stopping = False
        self._runners: list[asyncio.Task[None]] = []
        self._keepers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. Called on the loop."""
        self._runners = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        self._keepers = [
            asyncio.create_task(work()) for work in (self._settle_always, self._renew_always, self._keep_house)
        ]

    def ring(self) -> None:
        """Look at once. Called on the loop."""
        for lane in self._lanes:
            lane.bell.set()

    async def stop(self) -> None:
        """Claim nothing more, finish what was begun, give the rest back, and close the connections, within 30 seconds."""
        self._stopping = True
        self.ring()
        await asyncio.gather(*self._runners, return_exceptions=True)
        under_way = [task for lane in self._lanes for task in lane.under_way]
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=STOP_SECONDS)
            for task in late:  # their lease runs out, and they are sent again with the same Message-ID
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        with contextlib.suppress(Exception):  # what cannot be written down now comes back with its lease
            await self._settle()
        for sender in self._emails.values():
            await sender.close()
        if self._carrier is not None:
            await self._carrier.close()

    # -- claiming ----------------------------------------------------------------------------------------------------------

    async def _run(self, lane: Lane) -> None:
        faults = 0
        while not self._stopping:
            try:
                lane.bell.clear()
                has_more = await self._claim(lane)
                faults = 0
                if not has_more:
                    await self._wait(lane)
            except Exception as error:  # noqa: BLE001 -- the database may be away for a while; the lane outlives that
                faults += 1
                logger.warning("Lane %d cannot look at the outbox: %s", lane.number, type(error).__name__)
                await asyncio.sleep(min(0.5 * 2.0 ** min(faults, 10), LONGEST_FAULT_PAUSE))

    async def _claim(self, lane: Lane) -> bool:
        """Claim and begin what there is room for; whether there may be more to claim at once."""
        room = lane.capacity - len(lane.under_way)
        loop = asyncio.get_running_loop()
        if room < lane.capacity / 2 or loop.time() < lane.paused_until:
            return False
        asked_at = loop.time()
        rows = await outbox.claim(lane.number, at_most=room, lease_seconds=LEASE_SECONDS)
        if not rows:
            return False
        claim = Claim(rows[0].owner, asked_at + LEASE_SECONDS, len(rows))
        self._claims[claim.owner] = claim
        found = await contents.load(rows)
        for row in rows:
            task = asyncio.create_task(self._handle(lane, claim, row, found[row.id]))
            lane.under_way.add(task)
            task.add_done_callback(lambda done: self._done(lane, claim, done))
        return len(rows) == room

    def _done(self, lane: Lane, claim: Claim, task: asyncio.Task[None]) -> None:
        lane.under_way.discard(task)
        claim.left -= 1
        if claim.left == 0:
            self._claims.pop(claim.owner, None)
        if len(lane.under_way) <= lane.capacity / 2:
            lane.bell.set()

    async def _wait(self, lane: Lane) -> None:
        """Until the bell rings, or something may be due by then."""
        wait = lane.look_seconds * random.uniform(0.8, 1.0)
        now = asyncio.get_running_loop().time()
        if now < lane.paused_until:
            wait = lane.paused_until - now
            await asyncio.sleep(wait)  # the bell does not mend a channel that is down
            return
        if len(lane.under_way) < lane.capacity / 2:
            due = await outbox.seconds_until_due([lane.number])
            if due is not None:
                wait = min(wait, due)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait, 0.01)):
                await lane.bell.wait()

    # -- sending -----------------------------------------------------------------------------------------------------------

    async def _handle(self, lane: Lane, claim: Claim, row: Claimed, content: Content | Withdrawn) -> None:
        outcome = await self._outcome(lane, claim, row, content)
        if outcome is not None:
            self._outcomes.append(outcome)
            self._settle_bell.set()

    async def _outcome(self, lane: Lane, claim: Claim, row: Claimed, content: Content | Withdrawn) -> Outcome | None:
        """Send one row; None when its lease ran out before that, and it is somebody else's by now."""
        if isinstance(content, Withdrawn):
            return deliveries.ended(row, DeliveryStatus.CANCELED, content.reason)
        if row.attempt > outbox.MAX_ATTEMPTS:
            return deliveries.ended(row, DeliveryStatus.FAILED, "It was tried too often without an end.")
        now = asyncio.get_running_loop().time()
        if self._stopping:
            return deliveries.given_back(row)
        if now < lane.paused_until:
            return self._put_off(lane, row)
        return await self._try(lane, row, content) if now < claim.good_until else None

    async def _try(self, lane: Lane, row: Claimed, content: Content) -> Outcome:
        try:
            provider_id = await self._sender(lane, row)(row, content)
        except ChannelDown as error:
            self._pause(lane, error)
            return deliveries.not_sent(row, error, None, deliveries.channel_pause(lane.channel_faults))
        except DeliveryError as error:
            return deliveries.not_sent(row, error, content.recipient, 0.0)
        except Exception as error:  # noqa: BLE001 -- one row that cannot be made must not stop the others
            # Without the exception's text: it may hold what the message says.
            kind = type(error).__name__
            logger.error("Delivery %s (%s) cannot be made: %s", row.id, row.kind.value, kind)  # noqa: TRY400
            return deliveries.not_sent(row, Permanent("The message could not be made."), None, 0.0)
        lane.channel_faults = 0
        return deliveries.sent(row, content.recipient, provider_id)

    def _sender(self, lane: Lane, row: Claimed) -> Send:
        if row.channel is Channel.EMAIL:
            return self._emails[lane.number].send
        return self._texts.send if row.channel is Channel.SMS else self._calls.send

    def _pause(self, lane: Lane, error: ChannelDown) -> None:
        """Leave a channel alone that is down, longer each time; one fault counts once, however many rows met it."""
        now = asyncio.get_running_loop().time()
        if now < lane.paused_until:
            return
        lane.channel_faults += 1
        lane.paused_until = now + deliveries.channel_pause(lane.channel_faults)
        logger.warning("Lane %d pauses: %s", lane.number, error.problem)

    def _put_off(self, lane: Lane, row: Claimed) -> Outcome:
        fault = ChannelDown("The mail relay or carrier cannot be used just now.")
        return deliveries.not_sent(row, fault, None, deliveries.channel_pause(lane.channel_faults))

    # -- writing down ------------------------------------------------------------------------------------------------------

    async def _settle_always(self) -> None:
        """Write outcomes down as they come; what comes meanwhile goes along with the next statement."""
        while True:
            await self._settle_bell.wait()
            self._settle_bell.clear()
            try:
                await self._settle()
            except Exception as error:  # noqa: BLE001 -- the database may be away; the outcomes are kept
                logger.warning("Outcomes cannot be written down: %s", type(error).__name__)
                self._settle_bell.set()
                await asyncio.sleep(1.0)

    async def _settle(self) -> None:
        outcomes = self._outcomes[:500]
        if outcomes:
            await outbox.settle(outcomes)
            del self._outcomes[: len(outcomes)]
            if self._outcomes:
                self._settle_bell.set()

    async def _renew_always(self) -> None:
        """Keep the leases of what is under way."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            claims = [claim for claim in self._claims.values() if loop.time() < claim.good_until]
            if not claims:
                continue
            asked_at = loop.time()
            try:
                await outbox.renew([claim.owner for claim in claims], lease_seconds=LEASE_SECONDS)
            except Exception as error:  # noqa: BLE001 -- then the leases run out, and nothing more is begun under them
                logger.warning("Leases cannot be renewed: %s", type(error).__name__)
                continue
            for claim in claims:
                claim.good_until = asked_at + LEASE_SECONDS

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS * random.uniform(0.5, 1.0))
            try:
                await retention.purge()
            except Exception as error:  # noqa: BLE001 -- it comes round again
                logger.warning("Housekeeping failed: %s", type(error).__name__)
