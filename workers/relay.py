"""The part of a worker that sends: it waits for the bell or looks by itself, claims what is due, sends it, and writes it down.

The schedule runs beside it.

Each lane runs on its own, with connections of its own: ten thousand invitations never hold up a code. While rows are under way their
lease is renewed, so a lease can be short and a killed worker's rows come back soon; a worker that was frozen past its lease neither
begins a send nor settles one.
"""

import asyncio
import contextlib
import logging

from domain import outbox, scraping
from domain.models.columns import Channel
from domain.settings import Settings
from workers import housekeeping, send_email
from workers.breakers import Breaker, BreakerState
from workers.carrier import Carrier
from workers.gates import Gate, PauseWatch
from workers.lane import LEASE_SECONDS, Lane, Send
from workers.messages import Messages
from workers.roads import Roads
from workers.send_email import EmailSender
from workers.send_sms import TextSender
from workers.send_voice import CallSender
from workers.settler import Settler

logger = logging.getLogger(__name__)

RESOURCES = ("Messages", "Calls")
TEXTS, CALLS = 20, 10  # under way at most
RENEW_SECONDS = 8.0
STOP_SECONDS = 15.0
CLOSE_SECONDS = 3.0


class Relay:
    """Sends what is due, for one process, on the event loop that it was started on. With SENDING=off it does nothing at all."""

    def __init__(self, settings: Settings) -> None:
        self._is_sending = settings.is_sending
        messages = Messages(settings.client_url)
        self._carriers = [
            Carrier(name, one, settings.callback_url, connections=TEXTS + CALLS)
            for name, one in settings.carriers.items()
        ]
        # Texts and calls fail apart, as a carrier's resources do.
        texts_by, calls_by = ((Roads(self._carriers, what) if self._carriers else None) for what in RESOURCES)
        mail = Breaker("mail relay")
        self._gates: dict[Channel, list[Breaker]] = {
            Channel.EMAIL: [mail],
            Channel.SMS: texts_by.breakers if texts_by else [],
            Channel.VOICE: calls_by.breakers if calls_by else [],
        }
        # Both lanes of mail share the relay's connections: how many it allows is learnt once.
        self._pool = send_email.pool(settings)
        urgent, bulk = (
            EmailSender(settings, messages, mail, self._pool, is_urgent=is_urgent) for is_urgent in (True, False)
        )
        texts = TextSender(texts_by, messages, settings.mailbox_dir)
        calls = CallSender(calls_by, messages, settings.mailbox_dir)
        self._mail_pause = PauseWatch(Channel.EMAIL)
        self._settler = Settler()
        self._jobs = housekeeping.jobs(settings)
        hands = settings.smtp_connections
        self._lanes = [
            self._phone_lane(Channel.SMS, texts.send, hands=TEXTS),
            self._phone_lane(Channel.VOICE, calls.send, hands=CALLS),
            self._mail_lane(outbox.LANE_URGENT, urgent, hands=hands, look_seconds=2.0),
            self._mail_lane(outbox.LANE_BULK, bulk, hands=(hands + 1) // 2, look_seconds=5.0),
        ]
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def _phone_lane(self, channel: Channel, send: Send, *, hands: int) -> Lane:
        """With hands of its own: texts that hang must not hold up calls, which may be the way out."""
        gate = Gate(self._gates[channel])
        return Lane(outbox.LANE_CODES, channel, send, self._settler, gate, hands=hands, at_once=hands, look_seconds=1.0)

    def _mail_lane(self, number: int, sender: EmailSender, *, hands: int, look_seconds: float) -> Lane:
        channel, gate = Channel.EMAIL, Gate(self._gates[Channel.EMAIL], self._mail_pause)
        return Lane(
            number,
            channel,
            sender.send,
            self._settler,
            gate,
            hands=hands,
            at_once=100,
            look_seconds=look_seconds,
        )

    def breakers(self) -> list[BreakerState]:
        """What the breakers of this process stand at."""
        return [breaker.look() for breakers in self._gates.values() for breaker in breakers]

    def breaker_states(self) -> dict[str, str]:
        """What is left alone just now, because it is down: the states by name, as `domain.scraping` shows them."""
        return {breaker.name: breaker.state.value for breaker in self.breakers()}

    def start(self) -> None:
        """Begin. Called on the loop."""
        scraping.note_sending(self._is_sending)
        if not self._is_sending:
            logger.warning("SENDING is off: nothing is sent, and the schedule stands still")
            return
        scraping.watch_breakers(self.breaker_states)
        for lane in self._lanes:
            lane.start()
        keepers = {
            "settler": self._settler.run(),
            "leases": self._renew_always(),
            "schedule": housekeeping.run(self._jobs),
        }
        self._keepers = {name: asyncio.create_task(work) for name, work in keepers.items()}

    def ended(self) -> list[str]:
        """The names of the loops that have ended though nobody stopped them: a fault, after which less is done than should be."""
        lanes = [lane.name for lane in self._lanes if lane.has_ended]
        return [*lanes, *(name for name, keeper in self._keepers.items() if keeper.done())]

    def ring(self) -> None:
        """Look at once. Called on the loop."""
        for lane in self._lanes:
            lane.ring()

    async def stop(self) -> None:
        """Claim nothing more, finish what was begun, give the rest back, and close the connections, within 30 seconds."""
        scraping.note_sending(None)
        if self._is_sending:
            await self._finish()
        with contextlib.suppress(Exception):  # a relay that does not answer a goodbye is left without one
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._pool is not None:
                    await self._pool.close()
        for carrier in self._carriers:
            await carrier.close()

    async def _finish(self) -> None:
        if self._pool is not None:
            self._pool.limit.end()  # who waits for a connection gives its message back
        await asyncio.gather(*(lane.stop(STOP_SECONDS) for lane in self._lanes))
        scraping.watch_breakers(None)
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        with contextlib.suppress(Exception):  # what cannot be written down now comes back with its lease
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._settler.flush()

    async def _renew_always(self) -> None:
        """Keep the leases of what is under way, or sent and not written down yet."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            asked_at = loop.time()
            claims = [claim for lane in self._lanes for claim in lane.claims.values() if asked_at < claim.good_until]
            if not claims:
                continue
            try:
                await outbox.renew([claim.owner for claim in claims], lease_seconds=LEASE_SECONDS)
            except Exception as error:  # noqa: BLE001 -- then the leases run out, and nothing more is begun under them
                logger.warning("Leases cannot be renewed: %s", type(error).__name__)
                continue
            for claim in claims:
                claim.good_until = asked_at + LEASE_SECONDS
