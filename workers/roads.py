"""The carriers by which texts, or calls, may go: the preferred one, and others for when it is down.

Before a carrier is asked, the row says by whom and that the answer is still out. So a worker that is killed, or a carrier that takes a
message and never says so, leaves a mark behind, and nobody gets the same text more than twice.
"""

import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from domain import outbox
from domain.outbox import Claimed
from workers.breakers import Breaker
from workers.carrier import Carrier
from workers.deliveries import ChannelDown, DeliveryError, Permanent, Temporary, Unanswered, Unroutable

logger = logging.getLogger(__name__)

# The promise of docs/reliability.md: after two tries of which nobody knows the end, there is no third.
MAX_UNANSWERED = 2
PHONE = re.compile(r"\+[1-9][0-9]{4,14}")


class Roads:
    """One resource ("Messages" or "Calls") of several carriers, the preferred first, each behind a breaker of its own."""

    def __init__(self, carriers: Sequence[Carrier], resource: str) -> None:
        what = {"Messages": "texts", "Calls": "calls"}[resource]
        self._resource = resource
        self._roads = [(carrier, Breaker(f"{carrier.name} {what}")) for carrier in carriers]

    @property
    def breakers(self) -> list[Breaker]:
        """One a carrier."""
        return [breaker for _, breaker in self._roads]

    async def send(self, row: Claimed, to: str, **form: str) -> str | None:
        """Hand one over, by the first carrier that can be used; the carrier's id of it. Raises DeliveryError.

        The carrier that was asked last comes last: what it could not do another may. One that cannot send this message, by no fault of its
        number's, is passed over too.
        """
        if not PHONE.fullmatch(to):  # a row may have been tampered with
            raise Permanent("The stored number is not a phone number.")
        down: ChannelDown | None = None
        unroutable: Unroutable | None = None
        for carrier, breaker in sorted(self._roads, key=lambda road: road[0].name == row.carrier):
            try:
                with breaker.trying(row.id):
                    await _begin(carrier, row)
                    return await self._ask(carrier, row, to, form)
            except ChannelDown as error:
                down = down or error
            except Unroutable as error:
                unroutable = unroutable or error
            except _NotAsked as not_asked:
                raise not_asked.error from None
        # One that is down now may send it later.
        raise down or unroutable or ChannelDown("There is no carrier.")

    async def _ask(self, carrier: Carrier, row: Claimed, to: str, form: dict[str, str]) -> str | None:
        try:
            return await carrier.post(self._resource, to, row.id, **form)
        except Unanswered:
            raise
        except DeliveryError:
            with contextlib.suppress(Exception):  # without it a try counts that need not
                await outbox.answered(row)
            raise


@dataclass
class _NotAsked(Exception):
    """The carrier was not asked at all, so there is nothing to be learnt about it; what is to be said of the message."""

    error: DeliveryError


async def _begin(carrier: Carrier, row: Claimed) -> None:
    try:
        unanswered = await outbox.begin(row, carrier.name)
    except Exception as error:  # noqa: BLE001 -- the database may be away for a while
        logger.warning("Delivery %s cannot be begun: %s", row.id, type(error).__name__)
        raise _NotAsked(Temporary("The database was away when it was to be sent.")) from None
    if unanswered is None:
        raise _NotAsked(Temporary("Another worker has it, or it arrived."))
    if unanswered > MAX_UNANSWERED:
        raise _NotAsked(Permanent("The carrier did not say whether it took the message, twice; it may have arrived."))
