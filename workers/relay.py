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
from workers import housekeeping
from workers.carrier import MAX_CONNECTIONS, Carrier
from workers.lane import LEASE_SECONDS, Lane
from workers.messages import Messages
from workers.send_email import CONNECTIONS, EmailSender
from workers.send_sms import TextSender
from workers.send_voice import CallSender
from workers.settler import Settler

logger = logging.getLogger(__name__)

RENEW_SECONDS = 8.0
STOP_SECONDS = 15.0
CLOSE_SECONDS = 3.0


class Relay:
    """Sends what is due, for one process, on the event loop that it was started on."""

    def __init__(self, settings: Settings) -> None:
        messages = Messages(settings.client_url)
        self._carrier = Carrier(settings.twilio, settings.callback_url) if settings.twilio else None
        # A mail relay's connections are not shared between lanes.
        self._urgent, self._bulk = (EmailSender(settings, messages) for _ in range(2))
        texts = TextSender(self._carrier, messages, settings.mailbox_dir)
        calls = CallSender(self._carrier, messages, settings.mailbox_dir)
        phones = {Channel.SMS: texts.send, Channel.VOICE: calls.send}
        self._settler = Settler()
        self._jobs = housekeeping.jobs(settings)
        self._lanes = [
            Lane(outbox.LANE_CODES, phones, self._settler, hands=MAX_CONNECTIONS, at_once=20, look_seconds=1.0),
            self._mail_lane(outbox.LANE_URGENT, self._urgent, look_seconds=2.0),
            self._mail_lane(outbox.LANE_BULK, self._bulk, look_seconds=5.0),
        ]
        self._keepers: list[asyncio.Task[None]] = []

    def _mail_lane(self, number: int, sender: EmailSender, *, look_seconds: float) -> Lane:
        senders = {Channel.EMAIL: sender.send}
        return Lane(number, senders, self._settler, hands=CONNECTIONS, at_once=100, look_seconds=look_seconds)

    def breaker_states(self) -> dict[str, str]:
        """What is left alone just now, because it is down: "closed" or "open" by name, as `domain.scraping` shows it."""
        return {f"lane {lane.number}": "open" if lane.is_paused else "closed" for lane in self._lanes}

    def start(self) -> None:
        """Begin. Called on the loop."""
        scraping.watch_breakers(self.breaker_states)
        for lane in self._lanes:
            lane.start()
        self._keepers = [
            asyncio.create_task(work)
            for work in (self._settler.run(), self._renew_always(), housekeeping.run(self._jobs))
        ]

    def ring(self) -> None:
        """Look at once. Called on the loop."""
        for lane in self._lanes:
            lane.ring()

    async def stop(self) -> None:
        """Claim nothing more, finish what was begun, give the rest back, and close the connections, within 30 seconds."""
        await asyncio.gather(*(lane.stop(STOP_SECONDS) for lane in self._lanes))
        scraping.watch_breakers(None)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        with contextlib.suppress(Exception):  # what cannot be written down now comes back with its lease
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._settler.flush()
        with contextlib.suppress(Exception):  # a relay that does not answer a goodbye is left without one
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(self._urgent.close(), self._bulk.close())
        if self._carrier is not None:
            await self._carrier.close()

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
