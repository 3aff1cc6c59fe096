"""What an operator sees of people, and how an operator lets somebody try again who was locked out by wrong guesses."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import addresses, audit, database, guesses, lockouts, notices
from domain.actors import Actor, require_operator
from domain.audit import Action
from domain.database import Row
from domain.errors import InputInvalid, InputProblem, NotFound
from domain.models.columns import UserStatus
from domain.outbox import Notice
from domain.searching import contains, id_in

MAX_REASON_LENGTH = 500
MAX_FOUND = 100
ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Somebody, and what stands between them and their account. password, phone: "" where guesses are taken, "ended", or until when locked.

    time_zone: the practice's. has_phone: False after it was taken away. phone_reset_at: when it is to be taken away, where that is planned.
    """

    id: UUID
    practice_id: UUID
    practice_name: str
    time_zone: str
    name: str
    email: str
    status: str
    access_level: str
    password: str
    phone: str
    has_phone: bool
    recovery_codes: int
    phone_reset_at: datetime | None


_SELECT = """
    SELECT u.id, u.practice_id, p.name AS practice_name, p.time_zone, rtrim(u.first_name || ' ' || u.last_name) AS name, u.email, u.email_canonical, u.status,
        u.access_level, u.phone IS NOT NULL AS has_phone,
        (SELECT count(*) FROM recovery_codes r WHERE r.user_id = u.id AND r.used_at IS NULL AND r.superseded_at IS NULL) AS recovery_codes,
        (SELECT min(c.effective_at) FROM account_changes c WHERE c.user_id = u.id AND c.carried_out_at IS NULL AND c.stopped_at IS NULL)
            AS phone_reset_at
    FROM users u JOIN practices p ON p.id = u.practice_id WHERE u.removed_at IS NULL
"""


async def find(actor: Actor, text: str) -> list[Found]:
    """People by a part of their name or address, without case and accents, over all practices, at most 100, for an operator.

    Raises Forbidden.
    """
    require_operator(actor)
    rows = await database.fetch(
        _SELECT + f" AND {contains('u.search_text', '$1')}" + " ORDER BY p.name, u.sort_name, u.id LIMIT $2",
        "".join(filter(str.isprintable, text)).strip(),
        MAX_FOUND,
    )
    return [await _described(row) for row in rows]


async def find_exactly(actor: Actor, who: str) -> list[Found]:
    """The people with an id, or with an address, for an operator: one may have been in several practices. Raises Forbidden."""
    require_operator(actor)
    rows = await database.fetch(
        _SELECT + " AND (u.id = $1 OR u.email_canonical = $2) ORDER BY u.created_at DESC, u.id LIMIT $3",
        id_in(who),
        _canonical(who),
        MAX_FOUND,
    )
    return [await _described(row) for row in rows]


def _canonical(address: str) -> str | None:
    try:
        return addresses.canonical_email(address)
    except addresses.EmailInvalid:
        return None


async def get(actor: Actor, user_id: UUID) -> Found:
    """One of them. Raises Forbidden, NotFound."""
    require_operator(actor)
    row = await database.fetch_one(_SELECT + " AND u.id = $1", user_id)
    if row is None:
        raise NotFound
    return await _described(row)


async def practice_of(user_id: UUID) -> UUID:
    """The practice of a user. Raises NotFound."""
    row = await database.fetch_one("SELECT practice_id FROM users WHERE id = $1 AND removed_at IS NULL", user_id)
    if row is None:
        raise NotFound
    practice_id: UUID = row["practice_id"]
    return practice_id


async def _described(row: Row) -> Found:
    password = {
        lockouts.address_counter(row["email_canonical"]): lockouts.PASSWORD_BY_ANYBODY,
        lockouts.known_devices_counter(row["id"]): lockouts.PASSWORD_ON_KNOWN_DEVICES,
        lockouts.session_counter(row["id"]): lockouts.PASSWORD_IN_SESSION,
    }
    phone = {
        lockouts.phone_counter(row["id"]): guesses.PHONE,
        lockouts.phone_counter_after_reset_link(row["id"]): lockouts.PHONE_AFTER_RESET_LINK,
    }
    return Found(
        id=row["id"],
        practice_id=row["practice_id"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        name=row["name"],
        email=row["email"],
        status=row["status"],
        access_level=row["access_level"],
        password=await _lock(password),
        phone=await _lock(phone),
        has_phone=row["has_phone"],
        recovery_codes=row["recovery_codes"],
        phone_reset_at=row["phone_reset_at"],
    )


async def _lock(counters: dict[str, guesses.Limit]) -> str:
    """The worst of some counters."""
    found = ""
    for key, limit in counters.items():
        try:
            await guesses.check(key, limit)
        except guesses.Locked as locked:
            if locked.until is None:
                return ENDED
            found = max(found, f"locked until {locked.until:%Y-%m-%d %H:%M}Z")
    return found


async def unlock(actor: Actor, user_id: UUID, raw_reason: str) -> Found:
    """Forget every wrong guess at a user's password, codes and access code, for an operator; the user as they stand.

    It opens nothing by itself: password and code are asked for as before. The owner is told by mail. Raises Forbidden, NotFound, InputInvalid
    (the reason; not active). Writes: counters, delivery, audit "user.unlocked".
    """
    require_operator(actor)
    reason = checked_reason(raw_reason)
    practice_id = await practice_of(user_id)
    async with database.transaction():
        user = await database.fetch_one(
            "SELECT status, email_canonical, rtrim(first_name || ' ' || last_name) AS name FROM users WHERE id = $1 FOR NO KEY UPDATE",
            user_id,
        )
        if user is None or user["status"] != UserStatus.ACTIVE:
            raise InputInvalid([InputProblem(("userId",), "Only somebody who is ACTIVE can be unlocked.")])
        await lockouts.lift_password(user_id, user["email_canonical"])
        await lockouts.lift_phone(user_id)
        await lockouts.lift_codes(user_id)
        await notices.tell(practice_id, user_id, Notice.UNLOCKED)
        await audit.record(
            actor,
            Action.USER_UNLOCKED,
            practice_id=practice_id,
            subject_id=user_id,
            subject_name=user["name"],
            details={"reason": reason},
        )
    return await get(actor, user_id)


def checked_reason(raw: str) -> str:
    """Why an operator does something, for the audit log: 1 to 500 characters on one line. Raises InputInvalid."""
    reason = " ".join("".join(character if character.isprintable() else " " for character in raw).split())
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        raise InputInvalid([InputProblem(("reason",), f"Say why, in 1 to {MAX_REASON_LENGTH} characters.")])
    return reason
