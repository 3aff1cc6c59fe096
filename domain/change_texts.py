"""What the texts may cost that tell somebody of a change to the account, which an administrator can cause at will.

They count with the texts to new phones of the same practice, since nobody holds the phone in hand who asked for them. The number's and the
account's own allowances stay untouched: they are for the owner's codes. It is decided when a worker is about to send one, because a change
that is refused sends none. The e-mail that tells the same goes out in any case.
"""

import logging
from uuid import UUID

from domain import budgets, code_budgets, database
from domain.actors import SCHEDULE
from domain.budgets import DAY_SECONDS, Budget
from domain.errors import Allowance
from domain.outbox import Claimed, Kind

logger = logging.getLogger(__name__)

HELD_BACK = "Too many texts were sent today. The e-mail says the same."
# Never told: it marks that a text has been paid for, whatever becomes of its tries.
_ONCE = Budget(allowance=Allowance.NEW_PHONES, amount=1, window_seconds=DAY_SECONDS)


async def may_go(row: Claimed, phone: str) -> bool:
    """Whether a claimed message may be sent: any that is not such a text, one that was paid for before, and one that can be paid for now.

    Outside every transaction. A fault of the database lets it go: it may be the only warning that reaches the owner.
    """
    if row.kind is not Kind.ACCOUNT_CHANGE_TEXT:
        return True
    try:
        return await _pay(row.id, phone)
    except Exception as error:  # noqa: BLE001 -- see above
        logger.warning("Delivery %s goes without having been counted: %s", row.id, type(error).__name__)
        return True


async def _pay(delivery_id: UUID, phone: str) -> bool:
    if await budgets.take_each([f"change-text:{delivery_id}"], _ONCE):
        return True
    found = await database.fetch_one("SELECT practice_id FROM deliveries WHERE id = $1", delivery_id)
    return await code_budgets.may_text(SCHEDULE, phone, found["practice_id"] if found else None)
