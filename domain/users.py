"""The people of a practice, as its members see them: the users tile and single users."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import database, names
from domain.actors import Actor, Member
from domain.bounced_addresses import IN_FORCE
from domain.budgets import RESENDS_PER_INVITATION
from domain.database import Row
from domain.deliveries import DeliveryRecord
from domain.errors import AlreadySetUp, NotFound, NotSetUpYet, Refusal, UserInactive
from domain.models.columns import AccessLevel, Channel, DeliveryStatus, InvitationEnd, UserStatus
from domain.outbox import Kind
from domain.sessions import SignedIn

MAX_SEARCH_LENGTH = 100
MAX_ENDED = 200  # as many as can be invited, or sent again, at once


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRecord:
    """A user's invitation. state: PENDING, ACCEPTED, EXPIRED or REVOKED, told from the clock. resendable_at: None for now or never.

    end_reason: why it is REVOKED, where no administrator took it back. ended_at: since when it is. address_bounced_at: when mail to the address came back, while that keeps more from being sent.
    """

    id: UUID
    state: str
    end_reason: InvitationEnd | None
    ended_at: datetime | None
    sent_at: datetime | None
    expires_at: datetime
    can_resend: bool
    resendable_at: datetime | None
    address_bounced_at: datetime | None
    delivery: DeliveryRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    """A user with the latest invitation. sort_name and id are the place in the tile's order. is_dormant: see `DORMANT`.

    address_released_at: when the practice let go of the address of somebody deactivated; None while it stands for this user.
    may_know_access_code: could see the practice access code that is the current one, and is no active administrator any more.
    """

    id: UUID
    practice_id: UUID
    first_name: str
    last_name: str
    sort_name: str
    email: str
    access_level: AccessLevel
    status: UserStatus
    phone: str | None
    phone_verified: bool
    may_know_access_code: bool
    last_sign_in_at: datetime | None
    is_dormant: bool
    address_released_at: datetime | None
    created_at: datetime
    invitation: InvitationRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which users. Empty sequences: any. is_dormant: None for any.

    search: the starts of words of the names and of the address, in any order, without regard to case, accents and apostrophes.
    """

    statuses: Sequence[UserStatus] = ()
    access_levels: Sequence[AccessLevel] = ()
    search: str = ""
    is_dormant: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Users in the tile's order, and whether there are more on either side."""

    users: list[UserRecord]
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many users of the practice stand where."""

    active: int
    invited: int
    inactive: int


COOL_DOWN = "interval '60 seconds'"  # between two e-mails of one invitation

# Somebody who can sign in and has not for so long: what an auditor asks for (HIPAA 45 CFR 164.308(a)(3)(ii)).
DORMANT = "(u.status = 'ACTIVE' AND coalesce(u.last_sign_in_at, u.created_at) <= clock_now() - interval '90 days')"

_SELECT = f"""
    SELECT u.id, u.practice_id, u.first_name, u.last_name, u.sort_name, u.email, u.access_level, u.status, u.phone,
        u.phone_verified_at, u.last_sign_in_at, {DORMANT} AS is_dormant, u.address_released_at, u.created_at,
        k.id IS NOT NULL AND NOT (u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR') AS may_know_access_code,
        i.id AS invitation_id, i.expires_at,
        CASE WHEN i.state = 'PENDING' AND i.expires_at <= clock_now() THEN 'EXPIRED' ELSE i.state END AS state,
        CASE WHEN i.state = 'REVOKED' THEN i.end_reason END AS end_reason, i.revoked_at AS ended_at,
        i.state <> 'ACCEPTED' AND u.status = 'INVITED' AS can_resend,
        greatest(
            CASE WHEN i.last_send_at + {COOL_DOWN} > clock_now() THEN i.last_send_at + {COOL_DOWN} END,
            CASE WHEN b.used >= {RESENDS_PER_INVITATION.amount} THEN b.window_ends_at END
        ) AS resendable_at,
        CASE WHEN i.state <> 'ACCEPTED' AND u.status = 'INVITED' THEN x.bounced_at END AS address_bounced_at,
        d.status AS delivery_status, d.attempts, d.queued_at, d.sent_at, d.problem,
        d.id AS delivery_id, d.recipient, d.redelivery_of, CASE WHEN d.status IN ('QUEUED', 'RETRYING') THEN d.due_at END AS next_try_at
    FROM users u
        LEFT JOIN invitations i ON i.user_id = u.id
        LEFT JOIN practice_access_codes k ON k.id = u.known_access_code_id AND k.practice_id = u.practice_id AND k.valid_until IS NULL
        LEFT JOIN deliveries d ON d.id = i.delivery_id
        LEFT JOIN bounced_addresses x ON x.practice_id = u.practice_id AND x.email_canonical = u.email_canonical AND {IN_FORCE}
        LEFT JOIN budgets b ON b.key = 'resend:' || i.id
            AND b.window_starts_at <= clock_now() AND b.window_ends_at > clock_now()
"""  # noqa: S608 -- constants


def record(row: Row) -> UserRecord:
    """A row of the statement above."""
    return UserRecord(
        id=row["id"],
        practice_id=row["practice_id"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        sort_name=row["sort_name"],
        email=row["email"],
        access_level=AccessLevel(row["access_level"]),
        status=UserStatus(row["status"]),
        phone=row["phone"],
        phone_verified=row["phone_verified_at"] is not None,
        may_know_access_code=row["may_know_access_code"],
        last_sign_in_at=row["last_sign_in_at"],
        is_dormant=row["is_dormant"],
        address_released_at=row["address_released_at"],
        created_at=row["created_at"],
        invitation=_invitation(row) if row["invitation_id"] else None,
    )


def _invitation(row: Row) -> InvitationRecord:
    return InvitationRecord(
        id=row["invitation_id"],
        state=row["state"],
        end_reason=InvitationEnd(row["end_reason"]) if row["end_reason"] else None,
        ended_at=row["ended_at"],
        sent_at=row["sent_at"],
        expires_at=row["expires_at"],
        can_resend=row["can_resend"],
        resendable_at=row["resendable_at"] if row["can_resend"] else None,
        address_bounced_at=row["address_bounced_at"],
        delivery=_delivery(row),
    )


def _delivery(row: Row) -> DeliveryRecord:
    return DeliveryRecord(
        id=row["delivery_id"],
        practice_id=row["practice_id"],
        kind=Kind.INVITATION,
        channel=Channel.EMAIL,
        status=DeliveryStatus(row["delivery_status"]),
        attempts=row["attempts"],
        user_id=row["id"],
        user_name=names.full_name(row["first_name"], row["last_name"]),
        recipient=row["recipient"] or row["email"],
        queued_at=row["queued_at"],
        sent_at=row["sent_at"],
        next_try_at=row["next_try_at"],
        problem=row["problem"],
        redelivery_of=row["redelivery_of"],
    )


async def by_ids(practice_id: UUID, ids: Sequence[UUID]) -> dict[UUID, UserRecord]:
    """Users of a practice by id; those of other practices are left out as if they did not exist."""
    rows = await database.fetch(
        _SELECT + "WHERE u.practice_id = $1 AND u.id = ANY($2::uuid[]) AND u.removed_at IS NULL", practice_id, list(ids)
    )
    return {row["id"]: record(row) for row in rows}


async def get(practice_id: UUID, user_id: UUID) -> UserRecord:
    """A user of a practice. Raises NotFound, also when an invitation was taken back meanwhile."""
    found = (await by_ids(practice_id, [user_id])).get(user_id)
    if found is None:
        raise NotFound
    return found


async def why_not_invited(practice_id: UUID, user_id: UUID) -> Refusal:
    """What to tell an administrator who acts on an open invitation where there is none: NotFound only where nobody is there."""
    found = (await by_ids(practice_id, [user_id])).get(user_id)
    if found is None or found.status is UserStatus.INVITED:
        return NotFound()
    return UserInactive(found) if found.status is UserStatus.INACTIVE else AlreadySetUp(found)


async def why_not_active(practice_id: UUID, user_id: UUID) -> Refusal:
    """As `why_not_invited`, for acts on somebody who can sign in."""
    found = (await by_ids(practice_id, [user_id])).get(user_id)
    if found is None or found.status is UserStatus.ACTIVE:
        return NotFound()
    return UserInactive(found) if found.status is UserStatus.INACTIVE else NotSetUpYet(found)


async def find(actor: Actor, user_id: UUID) -> UserRecord | None:
    """A user of the actor's practice, or None. Raises Unauthenticated."""
    member = actor.signed_in()
    return (await by_ids(member.practice_id, [user_id])).get(user_id)


async def find_by_invitation(actor: Actor, invitation_id: UUID) -> UserRecord | None:
    """The user whom an invitation of the actor's practice is for, or None. Raises Unauthenticated, Forbidden."""
    member = actor.administrator()
    row = await database.fetch_one(
        _SELECT + "WHERE u.practice_id = $1 AND i.id = $2 AND u.removed_at IS NULL", member.practice_id, invitation_id
    )
    return record(row) if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Invitations that ended because whoever sent them was deactivated. people: the first ones in the tile's order; total: how many."""

    people: list[UserRecord]
    total: int


async def with_ended_invitations(viewer: Member, inviter_ids: Sequence[UUID]) -> dict[UUID, Ended]:
    """For each of these users, whom they had invited and whose invitations ended with their deactivation, until those are sent again.

    Of other practices, and for whoever is no administrator, nobody. At most 200 people each.
    """
    if not viewer.is_administrator:
        return {inviter_id: Ended(people=[], total=0) for inviter_id in inviter_ids}
    rows = await database.fetch(
        """
        SELECT * FROM (
            SELECT i.invited_by_id, i.user_id, count(*) OVER (PARTITION BY i.invited_by_id) AS total,
                row_number() OVER (PARTITION BY i.invited_by_id ORDER BY u.sort_name, u.id) AS place
            FROM invitations i JOIN users u ON u.id = i.user_id
            WHERE i.invited_by_id = ANY($1::uuid[]) AND i.end_reason = 'INVITER_DEACTIVATED' AND i.state = 'REVOKED'
                AND u.practice_id = $2 AND u.status = 'INVITED' AND u.removed_at IS NULL
        ) e WHERE place <= $3 ORDER BY invited_by_id, place
        """,
        list(inviter_ids),
        viewer.practice_id,
        MAX_ENDED,
    )
    records = await by_ids(viewer.practice_id, [row["user_id"] for row in rows])
    found = {inviter_id: Ended(people=[], total=0) for inviter_id in inviter_ids}
    for row in rows:
        people = found[row["invited_by_id"]].people
        if row["user_id"] in records:
            people.append(records[row["user_id"]])
        found[row["invited_by_id"]] = Ended(people=people, total=row["total"])
    return found


# Counting goes through one practice's people. The first two read an index alone.
COUNTS = """
    SELECT count(*) FILTER (WHERE status = 'ACTIVE') AS active, count(*) FILTER (WHERE status = 'INVITED') AS invited,
        count(*) FILTER (WHERE status = 'INACTIVE') AS inactive
    FROM users WHERE practice_id = $1 AND removed_at IS NULL
"""
TOTAL_BY_STANDING = """
    SELECT count(*) AS total FROM users
    WHERE practice_id = $1 AND removed_at IS NULL
        AND (cardinality($2::text[]) = 0 OR status = ANY($2)) AND (cardinality($3::text[]) = 0 OR access_level = ANY($3))
"""
DORMANT_ONES = f"SELECT count(*) AS total FROM users u WHERE u.practice_id = $1 AND u.removed_at IS NULL AND {DORMANT}"  # noqa: S608 -- a constant


async def counts(viewer: Member) -> Counts:
    """How many users of the viewer's practice stand where."""
    return Counts(**(await database.fetch(COUNTS, viewer.practice_id))[0])


async def dormant(viewer: Member) -> int:
    """How many users of the viewer's practice could sign in and have not for 90 days."""
    return int((await database.fetch(DORMANT_ONES, viewer.practice_id))[0]["total"])


# Patterns for what was typed: each of its words has to begin a word of the names or the address. Made once a statement.
_WORDS = r"""
    ARRAY(SELECT '% ' || regexp_replace(word, '([\\%_])', '\\\1', 'g') || '%' FROM regexp_split_to_table(search_folded($4), ' ') AS word)
"""
_FILTER = f"""
    u.practice_id = $1 AND u.removed_at IS NULL
    AND (cardinality($2::text[]) = 0 OR u.status = ANY($2)) AND (cardinality($3::text[]) = 0 OR u.access_level = ANY($3))
    AND ($4 = '' OR u.search_text LIKE ALL ({_WORDS}))
    AND ($5::bool IS NULL OR {DORMANT} = $5)
"""


def _filter_values(actor: Actor, wanted: Filter) -> tuple[UUID, list[str], list[str], str, bool | None]:
    return (
        actor.signed_in().practice_id,
        [status.value for status in wanted.statuses],
        [level.value for level in wanted.access_levels],
        wanted.search.replace("\x00", "").strip()[:MAX_SEARCH_LENGTH],
        wanted.is_dormant,
    )


TOTAL = f"SELECT count(*) AS total FROM users u WHERE {_FILTER}"  # noqa: S608 -- the constant above


async def total(actor: Actor, wanted: Filter) -> int:
    """How many users of the actor's practice a filter lets through. Raises Unauthenticated."""
    values = _filter_values(actor, wanted)
    *standing, search, is_dormant = values
    if search == "" and is_dormant is None:
        rows = await database.fetch(TOTAL_BY_STANDING, *standing)
    else:
        rows = await database.fetch(TOTAL, *values)
    return int(rows[0]["total"])


async def page(
    actor: Actor,
    wanted: Filter,
    *,
    size: int,
    after: tuple[str, UUID] | None,
    before: tuple[str, UUID] | None,
    backwards: bool,
) -> Page:
    """Users by last and first name, at most `size` of them: from the beginning or after a place, or up to the end or a place.

    after, before: places in the order, as (sort_name, id). Raises Unauthenticated.
    """
    direction = "DESC" if backwards else "ASC"
    rows = await database.fetch(
        f"""
        {_SELECT} WHERE {_FILTER}
            AND ($6::text IS NULL OR (u.sort_name, u.id) > ($6, $7::uuid))
            AND ($8::text IS NULL OR (u.sort_name, u.id) < ($8, $9::uuid))
        ORDER BY u.sort_name {direction}, u.id {direction} LIMIT $10
        """,
        *_filter_values(actor, wanted),
        *(after or (None, None)),
        *(before or (None, None)),
        size + 1,
    )
    users = [record(row) for row in rows[:size]]
    more = len(rows) > size
    if backwards:
        return Page(users=users[::-1], has_previous=more, has_next=before is not None)
    return Page(users=users, has_previous=after is not None, has_next=more)


async def of_session(signed_in: SignedIn) -> UserRecord:
    """The user whose session has just begun."""
    return await get(signed_in.member.practice_id, signed_in.user_id)
