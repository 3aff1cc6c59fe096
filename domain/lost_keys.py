"""Server keys that are gone for good: what an operator does when nobody has a key any more that the database is used with."""

from dataclasses import dataclass

from domain import audit, contents, database, keys, secrets, user_support
from domain.actors import Actor, require_operator
from domain.audit import Action
from domain.errors import InputInvalid, InputProblem, NotFound
from domain.keys import Key


@dataclass(frozen=True, slots=True)
class Forgotten:
    """canceled: messages that waited for the key. key: what else was made with it, and is lost."""

    canceled: int
    key: Key


async def every(actor: Actor) -> list[Key]:
    """As `keys.every`, for an operator. Raises Forbidden."""
    require_operator(actor)
    return await keys.every()


async def forget(actor: Actor, key_id: str, raw_reason: str) -> Forgotten:
    """Give up a key: nothing waits for it any more, and processes start without it.

    Links and codes that were made with it stay dead, and passwords have to be reset. It is known again as soon as a process is started
    with it. reason: for the trail. Raises Forbidden, InputInvalid (the reason; the key is in SECRET_KEYS here), NotFound. Writes:
    server_keys, deliveries, audit "server_key.forgotten".
    """
    require_operator(actor)
    reason = user_support.checked_reason(raw_reason)
    if key_id in secrets.ring().keys:
        raise InputInvalid([InputProblem(("keyId",), "This key is in SECRET_KEYS here, so it is not lost.")])
    found = next((key for key in await keys.every() if key.key_id == key_id), None)
    async with database.transaction():
        was_known = await database.execute("DELETE FROM server_keys WHERE key_id = $1", key_id)
        canceled = await database.execute(
            """
            UPDATE deliveries SET status = 'CANCELED', problem = $2, awaited_key_id = NULL
            WHERE awaited_key_id = $1 AND status IN ('QUEUED', 'RETRYING')
            """,
            key_id,
            contents.KEY_LOST,
        )
        if not was_known and not canceled:
            raise NotFound
        details: dict[str, object] = {"key": key_id, "messages_canceled": canceled, "reason": reason}
        await audit.record(actor, Action.SERVER_KEY_FORGOTTEN, details=details)
    return Forgotten(canceled, found or Key(key_id=key_id, is_here=False, needed_for={}))
