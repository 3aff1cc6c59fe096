"""The practice access code: ten letters and digits that an administrator tells new staff by voice."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain import administrators, audit, database, jobs, outbox, practice_access_code_settings, secrets
from domain.actors import SCHEDULE, Actor, Member, still_administrator
from domain.audit import Action
from domain.models.columns import new_nonce, uuid7
from domain.outbox import Kind, Message
from domain.practice_access_code_settings import CodeSettings

MAIL_LIFETIME = timedelta(hours=24)
# For how long a session that had the code replaced is answered the same code, instead of another one.
SECOND_CLICK = "interval '60 seconds'"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCode:
    """What an administrator sees.

    rotates_at: None when nothing rotates it. previous_valid_until: until when an earlier code
    is taken at the latest; None when none is any more.
    open_invitations: people who have not finished, and who will be asked for a code. rotation_advised: somebody knows the code who
    could see it as an administrator, and is none any more.
    """

    code: str
    issued_at: datetime
    rotates_at: datetime | None
    previous_valid_until: datetime | None
    open_invitations: int
    rotation_advised: bool
    settings: CodeSettings


class How(StrEnum):
    """Why a code was replaced: somebody asked, its days were over, or somebody left who could see it."""

    ASKED = "asked"
    SCHEDULED = "scheduled"
    DEPARTURE = "departure"


async def current(actor: Actor) -> CurrentCode:
    """The code of the actor's practice. Raises Unauthenticated, Forbidden. Writes: audit "practice_access_code.viewed", each time.

    The actor is held while the code is read: whoever loses the right meanwhile sees the code before that, which then counts as
    known to them, or none; never the one that was made because they left.
    """
    member = actor.administrator()
    async with database.transaction():
        await still_administrator(actor)
        rows = await database.fetch(_CURRENT, member.practice_id)
        await audit.record(actor, Action.PAC_VIEWED)
    row = rows[0]
    return CurrentCode(
        code=secrets.practice_access_code(row["id"], row["nonce"], row["key_id"]),
        issued_at=row["issued_at"],
        rotates_at=row["rotates_at"],
        previous_valid_until=row["previous_valid_until"],
        open_invitations=row["open_invitations"],
        rotation_advised=row["rotation_advised"],
        settings=practice_access_code_settings.of_row(row),
    )


_DUE_AT = "c.issued_at + p.access_code_rotation_days * interval '24 hours'"
_IS_KNOWN_OUTSIDE = """EXISTS (SELECT 1 FROM users u WHERE u.known_access_code_id = c.id AND u.removed_at IS NULL
    AND NOT (u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR'))"""
_CURRENT = f"""
    SELECT c.id, c.nonce, c.key_id, c.issued_at, {practice_access_code_settings.COLUMNS},
        CASE WHEN p.access_code_rotation_days > 0 THEN greatest({_DUE_AT}, clock_now()) END AS rotates_at,
        (SELECT max(o.valid_until) FROM practice_access_codes o
            WHERE o.practice_id = c.practice_id AND o.valid_until > clock_now()) AS previous_valid_until,
        (SELECT count(*) FROM invitations i WHERE i.practice_id = c.practice_id AND i.state = 'PENDING'
            AND i.expires_at > clock_now()) AS open_invitations,
        {_IS_KNOWN_OUTSIDE} AS rotation_advised
    FROM practice_access_codes c JOIN practices p ON p.id = c.practice_id WHERE c.practice_id = $1 AND c.valid_until IS NULL
"""  # noqa: S608 -- constants


async def rotate(actor: Actor, *, end_previous: bool = False) -> CurrentCode:
    """Replace the code of the actor's practice at once, and mail the new one to every active administrator.

    The codes before it are taken for as long as they were promised to be, so that people in the middle of joining are not cut off; not at
    all with end_previous, or where somebody knows the code who is no administrator any more. Asked for again within a minute in the same
    session, as by a second click, it answers the present code and replaces nothing; end_previous holds all the same. Raises
    Unauthenticated, Forbidden, SignInAgain. Writes: practice_access_code, deliveries, audit "practice_access_code.rotated", or
    "practice_access_code.earlier_ended" where only that was left to do.
    """
    member = actor.administrator()
    actor.freshly_signed_in()
    async with database.transaction():
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        if not await _was_just_asked(member):
            await _replace(
                actor, member.practice_id, How.ASKED, session_id=member.session_id, end_previous=end_previous
            )
        elif end_previous and await _end_earlier(member.practice_id):
            await audit.record(actor, Action.PAC_EARLIER_ENDED)
    return await current(actor)


async def _was_just_asked(member: Member) -> bool:
    """Whether the member's session had the code replaced within the last minute, and there is no reason to replace it again."""
    found = await database.fetch(
        f"""
        SELECT 1 FROM practice_access_codes c WHERE c.practice_id = $1 AND c.valid_until IS NULL AND c.session_id = $2
            AND c.issued_at > clock_now() - {SECOND_CLICK} AND NOT {_IS_KNOWN_OUTSIDE}
        """,  # noqa: S608 -- constants
        member.practice_id,
        member.session_id,
    )
    return bool(found)


async def _end_earlier(practice_id: UUID) -> int:
    """End every earlier code that is still taken, in the transaction under way; how many there were."""
    return await database.execute(
        "UPDATE practice_access_codes SET valid_until = greatest(clock_now(), issued_at)"
        " WHERE practice_id = $1 AND valid_until > clock_now()",
        practice_id,
    )


async def rotate_due() -> int:
    """Replace every code whose days are over, as `rotate` does; how many that were. For the schedule, in any number of workers.

    A practice whose staff is shut out is left alone, since nobody can join it; its code is replaced once it is renewed.
    """
    rows = await database.fetch(
        f"SELECT c.practice_id {_DUE} ORDER BY c.issued_at",
        None,
    )
    return await jobs.each([row["practice_id"] for row in rows], _rotate_if_due)


_DUE = f"""
    FROM practice_access_codes c JOIN practices p ON p.id = c.practice_id JOIN practice_standings t ON t.practice_id = p.id
    WHERE c.valid_until IS NULL AND p.access_code_rotation_days > 0 AND {_DUE_AT} <= clock_now() AND t.access_allowed
        AND ($1::uuid IS NULL OR p.id = $1)
"""


async def _rotate_if_due(practice_id: UUID) -> bool:
    async with database.transaction():
        # Another worker has it in hand, or somebody rotates at this moment: the next look will tell.
        held = await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED", practice_id)
        if not held or not await database.fetch(f"SELECT 1 {_DUE}", practice_id):
            return False
        await _replace(SCHEDULE, practice_id, How.SCHEDULED)
    return True


async def note_departure(actor: Actor, practice_id: UUID, user_id: UUID, user_name: str) -> None:
    """Somebody has just stopped being an active administrator: remember which code they know, or replace it where the practice wants that.

    No code before it is taken any longer then, since whoever left knows them. In the transaction under way,
    which holds the practice. Writes: user, perhaps practice_access_code, deliveries and audit "practice_access_code.rotated".
    """
    row = await database.fetch_one(
        """
        UPDATE users u SET known_access_code_id = c.id FROM practice_access_codes c JOIN practices p ON p.id = c.practice_id
        WHERE u.id = $1 AND c.practice_id = $2 AND c.valid_until IS NULL RETURNING p.rotates_access_code_on_departure AS rotates
        """,
        user_id,
        practice_id,
    )
    if row is not None and row["rotates"]:
        await _replace(actor, practice_id, How.DEPARTURE, departed=(user_id, user_name))


async def _replace(
    actor: Actor,
    practice_id: UUID,
    how: How,
    departed: tuple[UUID, str] | tuple[None, None] = (None, None),
    *,
    session_id: UUID | None = None,
    end_previous: bool = False,
) -> None:
    """A new code, mailed to every active administrator; in the transaction under way, which holds the practice.

    Earlier codes keep the grace that they were promised, unless somebody left who knew the code: who was an administrator while it was
    the current one was perhaps one before.
    """
    replaced = await database.fetch(
        f"""
        UPDATE practice_access_codes c SET valid_until = greatest(c.issued_at,
            clock_now() + CASE WHEN $2 OR {_IS_KNOWN_OUTSIDE} THEN interval '0' ELSE p.access_code_grace_hours * interval '1 hour' END)
        FROM practices p WHERE p.id = c.practice_id AND c.practice_id = $1 AND c.valid_until IS NULL
        RETURNING c.id, {_IS_KNOWN_OUTSIDE} AS is_known_outside
        """,  # noqa: S608 -- constants
        practice_id,
        end_previous or how is How.DEPARTURE,
    )
    ends_all = end_previous or how is How.DEPARTURE or any(row["is_known_outside"] for row in replaced)
    if ends_all:
        await _end_earlier(practice_id)
    for row in replaced:
        await outbox.cancel(subject_id=row["id"], reason="A newer code took its place.")
    await _issue(practice_id, session_id)
    subject_id, subject_name = departed
    await audit.record(
        actor,
        Action.PAC_ROTATED,
        practice_id=practice_id,
        subject_id=subject_id,
        subject_name=subject_name,
        details={"how": how.value, "earlier_ended": ends_all},
    )


async def issue_first(actor: Actor, practice_id: UUID, administrator_id: UUID, administrator_name: str) -> None:
    """Give a new practice its code and mail it to its administrator, in the transaction under way."""
    await _issue(practice_id)
    await audit.record(
        actor, Action.PAC_ISSUED, practice_id=practice_id, as_user=(administrator_id, administrator_name)
    )


async def _issue(practice_id: UUID, session_id: UUID | None = None) -> None:
    code_id = uuid7()
    await database.execute(
        "INSERT INTO practice_access_codes (id, practice_id, nonce, key_id, issued_at, session_id)"
        " VALUES ($1, $2, $3, $4, clock_now(), $5)",
        code_id,
        practice_id,
        new_nonce(),
        secrets.newest_key_id(),
        session_id,
    )
    await administrators.mail(practice_id, Kind.PRACTICE_ACCESS_CODE, code_id, MAIL_LIFETIME)


async def mail_to(practice_id: UUID, user_id: UUID) -> None:
    """Mail the current code once more to one administrator who has to give it, in the transaction under way."""
    rows = await database.fetch(
        "SELECT id, clock_now() AS now FROM practice_access_codes WHERE practice_id = $1 AND valid_until IS NULL",
        practice_id,
    )
    await outbox.queue(
        *(
            Message(
                kind=Kind.PRACTICE_ACCESS_CODE,
                subject_id=row["id"],
                expires_at=row["now"] + MAIL_LIFETIME,
                practice_id=practice_id,
                user_id=user_id,
            )
            for row in rows
        )
    )


async def is_right(practice_id: UUID, given: str) -> bool:
    """Whether a code is the practice's, or an earlier one that is still taken.

    given: from `typed_codes`. The practice comes from the invitation, never from the code. The caller has counted the guess. Raises
    KeyUnknown when one that could be it cannot be compared here.
    """
    rows = await database.fetch(
        "SELECT id, nonce, key_id FROM practice_access_codes"
        " WHERE practice_id = $1 AND (valid_until IS NULL OR valid_until > clock_now())",
        practice_id,
    )
    hit = secrets.first_that(
        rows,
        lambda row: secrets.matches(secrets.practice_access_code(row["id"], row["nonce"], row["key_id"]), given),
    )
    return hit is not None
