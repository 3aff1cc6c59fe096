"""Changing how and when staff may sign in, without shutting every administrator out; and the operator's way back in."""

import json
from typing import Any
from uuid import UUID

from domain import administrators, audit, database, login_settings, login_settings_input
from domain.actors import Actor, Member, require_operator, still_administrator
from domain.audit import Action
from domain.errors import InputInvalid, InputProblem, NotFound
from domain.login_settings import FIELDS, LoginSettings
from domain.login_settings_input import CLIENT_NAMES, Changes, Stored
from domain.models.columns import uuid7

JSON_FIELDS = {"allowed_hours", "allowed_networks", "phone_channels"}
GATES = ("allowed_hours", "allowed_networks")


async def update(actor: Actor, user_id: UUID | None, changes: Changes) -> LoginSettings:
    """Change the settings of the actor's practice, or of one of its users; what is in force there afterwards.

    user_id: None for the practice. They hold from everybody's next request on. Raises Unauthenticated, Forbidden, SignInAgain,
    NotFound, InputInvalid, which is also how a change is refused after which no administrator could come in. Writes: login_settings,
    audit "login_settings.changed", or "login_settings.refused" for that last case.
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    given = login_settings_input.read(changes)
    async with database.transaction():
        # One change at a time in a practice: two administrators who shut each other out take turns, and the second is refused.
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        name = await _name(member.practice_id, user_id)
        before = await _stored(member.practice_id, user_id)
        changed = {field: value for field, value in given.items() if before[field] != value}
        if changed:
            await _store(member.practice_id, user_id, before | changed)
            await _require_way_in(actor, member, changed, user_id, name)
            details: dict[str, object] = {
                field: {"from": before[field], "to": value} for field, value in changed.items()
            }
            await audit.record(
                actor, Action.LOGIN_SETTINGS_CHANGED, subject_id=user_id, subject_name=name, details=details
            )
    if user_id is None:
        return await login_settings.of_practice(member.practice_id)
    return await login_settings.of_user(member.practice_id, user_id)


async def _name(practice_id: UUID, user_id: UUID | None) -> str | None:
    """Whose settings they are; None for the practice's. Raises NotFound."""
    if user_id is None:
        return None
    row = await database.fetch_one(
        "SELECT rtrim(first_name || ' ' || last_name) AS name FROM users WHERE id = $1 AND practice_id = $2 AND removed_at IS NULL",
        user_id,
        practice_id,
    )
    if row is None:
        raise NotFound
    return str(row["name"])


async def _stored(practice_id: UUID, user_id: UUID | None) -> Stored:
    row = await database.fetch_one(
        f"SELECT {login_settings.COLUMNS} FROM login_settings l WHERE l.practice_id = $1 AND l.user_id IS NOT DISTINCT FROM $2",  # noqa: S608 -- constants
        practice_id,
        user_id,
    )
    return {field: _from_column(field, row[field]) if row else None for field in FIELDS}


def _from_column(field: str, value: Any) -> Any:
    return json.loads(value) if field in JSON_FIELDS and value is not None else value


async def _store(practice_id: UUID, user_id: UUID | None, stored: Stored) -> None:
    """Write all settings of one level; the caller holds the practice, so nobody else writes them."""
    values = [
        json.dumps(stored[field]) if field in JSON_FIELDS and stored[field] is not None else stored[field]
        for field in FIELDS
    ]
    assignments = ", ".join(f"{field} = ${place}" for place, field in enumerate(FIELDS, 3))
    updated = await database.execute(
        f"UPDATE login_settings SET updated_at = clock_now(), {assignments}"  # noqa: S608 -- constants
        " WHERE practice_id = $1 AND user_id IS NOT DISTINCT FROM $2",
        practice_id,
        user_id,
        *values,
    )
    if not updated:
        places = ", ".join(f"${place}" for place in range(4, 4 + len(FIELDS)))
        await database.execute(
            f"INSERT INTO login_settings (id, practice_id, user_id, updated_at, {', '.join(FIELDS)})"  # noqa: S608 -- constants
            f" VALUES ($3, $1, $2, clock_now(), {places})",
            practice_id,
            user_id,
            uuid7(),
            *values,
        )


async def _require_way_in(
    actor: Actor, member: Member, changed: Stored, user_id: UUID | None, name: str | None
) -> None:
    """Raises InputInvalid when no administrator could come in any more, in the transaction under way."""
    touched = [field for field in GATES if field in changed]
    if not touched:
        return
    for row in await administrators.active(member.practice_id):
        here = [actor.ip_address] if row["user_id"] == member.user_id else []
        if administrators.has_way_in(row, here):
            return
    details: dict[str, object] = {"reason": "no administrator could sign in"}
    entry = audit.Entry(action=Action.LOGIN_SETTINGS_REFUSED, subject_id=user_id, subject_name=name, details=details)
    audit.record_after_rollback(actor, entry)
    raise InputInvalid([InputProblem((CLIENT_NAMES[field],), _why_not(field, actor)) for field in touched])


def _why_not(field: str, actor: Actor) -> str:
    if field == "allowed_hours":
        return (
            "This would lock every administrator out. Leave at least one hour at a time to one who may sign in from where you are, or"
            " from anywhere."
        )
    return (
        f"This would lock every administrator out: no network has the address that you are at ({actor.ip_address}). Add one that does, or"
        " first let an administrator in from anywhere by settings of their own."
    )


async def reset(actor: Actor, practice_id: UUID) -> int:
    """Take allowed hours and networks away from a practice and all of its users, so that whoever is locked out can sign in again.

    For the operator; the other settings stay. How many had some. Raises Forbidden, NotFound. Writes: login_settings, audit
    "login_settings.reset".
    """
    require_operator(actor)
    async with database.transaction():
        practice = await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", practice_id)
        if not practice:
            raise NotFound
        opened = await database.fetch(
            "SELECT l.user_id, rtrim(u.first_name || ' ' || u.last_name) AS name, l.allowed_hours, l.allowed_networks"
            " FROM login_settings l LEFT JOIN users u ON u.id = l.user_id"
            " WHERE l.practice_id = $1 AND num_nonnulls(l.allowed_hours, l.allowed_networks) > 0",
            practice_id,
        )
        await database.execute(
            "UPDATE login_settings SET allowed_hours = NULL, allowed_networks = NULL, updated_at = clock_now() WHERE practice_id = $1",
            practice_id,
        )
        entries = [
            audit.Entry(
                action=Action.LOGIN_SETTINGS_RESET,
                subject_id=row["user_id"],
                subject_name=row["name"],
                details={field: {"from": _from_column(field, row[field]), "to": None} for field in GATES},
            )
            for row in opened
        ]
        # Also when there was nothing to take away: that the operator came by is worth a row.
        await audit.record_all(
            actor, entries or [audit.Entry(action=Action.LOGIN_SETTINGS_RESET)], practice_id=practice_id
        )
    return len(opened)
