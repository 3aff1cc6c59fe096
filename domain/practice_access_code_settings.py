"""What a practice decides about its access code: how often it is replaced, and how long the one before is still taken."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from domain import audit, database
from domain.actors import Actor, still_administrator
from domain.audit import Action
from domain.database import Row
from domain.errors import Problems

MAX_ROTATION_DAYS = 365
MAX_GRACE_HOURS = 168

COLUMNS = "access_code_rotation_days, access_code_grace_hours, rotates_access_code_on_departure"  # of practices


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSettings:
    """The settings in force.

    rotation_days: after how many days the code is replaced by itself, 0 for never. grace_hours: how long the one before is taken
    after a rotation. rotate_on_departure: replace the code at once when somebody stops being an administrator, who could see it.
    """

    rotation_days: int
    grace_hours: int
    rotate_on_departure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """As `CodeSettings`; None leaves a setting as it is."""

    rotation_days: int | None = None
    grace_hours: int | None = None
    rotate_on_departure: bool | None = None


def of_row(row: Row) -> CodeSettings:
    """The settings in a row that has `COLUMNS`."""
    return CodeSettings(
        rotation_days=row["access_code_rotation_days"],
        grace_hours=row["access_code_grace_hours"],
        rotate_on_departure=row["rotates_access_code_on_departure"],
    )


async def change(actor: Actor, wanted: Change) -> CodeSettings:
    """Set what is given for the actor's practice; what holds from now on.

    A code that is older than a new rotation_days is replaced within a minute or two; one that was replaced already keeps the grace
    that it was given. Raises Unauthenticated, Forbidden, SignInAgain, InputInvalid. Writes: practice, audit
    "practice_access_code.settings_changed" when something changed.
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    _check(wanted)
    given: dict[str, Any] = {name: value for name, value in asdict(wanted).items() if value is not None}
    async with database.transaction():
        before = await _held(member.practice_id)
        await still_administrator(actor)
        after = CodeSettings(**asdict(before) | given)
        if after != before:
            await _write(member.practice_id, after)
            details: dict[str, object] = {"before": asdict(before), "after": asdict(after)}
            await audit.record(actor, Action.PAC_SETTINGS_CHANGED, details=details)
    return after


def _check(wanted: Change) -> None:
    problems = Problems()
    if wanted.rotation_days is not None and not 0 <= wanted.rotation_days <= MAX_ROTATION_DAYS:
        problems.add(("rotationDays",), f"Put 1 to {MAX_ROTATION_DAYS} days, or 0 for never.")
    if wanted.grace_hours is not None and not 0 <= wanted.grace_hours <= MAX_GRACE_HOURS:
        problems.add(("graceHours",), f"Put 1 to {MAX_GRACE_HOURS} hours, or 0 for none.")
    problems.raise_any()


async def _held(practice_id: UUID) -> CodeSettings:
    rows = await database.fetch(
        f"SELECT {COLUMNS} FROM practices WHERE id = $1 FOR NO KEY UPDATE",  # noqa: S608 -- a constant
        practice_id,
    )
    return of_row(rows[0])


async def _write(practice_id: UUID, settings: CodeSettings) -> None:
    await database.execute(
        "UPDATE practices SET access_code_rotation_days = $2, access_code_grace_hours = $3, rotates_access_code_on_departure = $4"
        " WHERE id = $1",
        practice_id,
        settings.rotation_days,
        settings.grace_hours,
        settings.rotate_on_departure,
    )
