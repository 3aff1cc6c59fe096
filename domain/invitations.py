"""Inviting people: one or two hundred at once, again, and not after all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import addresses, audit, budgets, database, enrollment, names, outbox, secrets, users
from domain.actors import Actor, require_subscription, still_administrator
from domain.audit import Action, Entry
from domain.database import Row
from domain.errors import (
    EmailInUse,
    InputInvalid,
    InputProblem,
    NotFound,
    Problems,
    Refusal,
    TooSoon,
    UserInactive,
)
from domain.models.columns import AccessLevel, UserStatus, new_nonce, uuid7
from domain.models.users import sort_name
from domain.outbox import Kind, Message
from domain.users import UserRecord

LIFETIME = timedelta(days=7)
# A relay that was down for longer is a matter for the administrator, who sees the message as failed and resends.
MAIL_LIFETIME = timedelta(hours=24)
MAX_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitee:
    """One row as somebody typed it."""

    first_name: str
    last_name: str
    email: str
    access_level: AccessLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    position: int
    id: UUID
    first_name: str
    last_name: str
    email: str
    canonical: str
    access_level: AccessLevel

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the landing page of a link may show. email: masked."""

    practice_name: str
    first_name: str
    email: str
    expires_at: datetime


async def invite(actor: Actor, invitees: Sequence[Invitee]) -> list[UserRecord | Refusal]:
    """Invite people into the actor's practice: for each row, in order, the new user or why not.

    The good rows go out whatever becomes of the others. invitees: 1 to 200. Raises Unauthenticated, Forbidden, SubscriptionLapsed, LimitReached (then nobody was invited), InputInvalid
    (the number of rows). A row's refusal is InputInvalid, EmailInUse or UserInactive. Writes, for each good row: user, invitation,
    delivery, audit "invitation.sent"; for each other audit "invitation.refused".
    """
    member = actor.administrator()
    if not 1 <= len(invitees) <= MAX_ROWS:
        raise InputInvalid([InputProblem(("users",), f"Put 1 to {MAX_ROWS} people here, not {len(invitees)}.")])
    require_subscription(member)
    results: dict[int, Refusal] = {}
    good = _check_all(invitees, results)
    async with database.transaction():
        await still_administrator(actor)
        invited = await _insert(member.practice_id, good)
        await budgets.take(f"invitations:{member.practice_id}", budgets.INVITATIONS_PER_PRACTICE, len(invited))
        await _send_first(member.practice_id, member.user_id, invited)
        left_out = [row for row in good if row not in invited]
        results |= await _why_taken(member.practice_id, left_out)
        await audit.record_all(actor, _entries(invited, results))
    records = await users.by_ids(member.practice_id, [row.id for row in invited])
    by_position = {row.position: records[row.id] for row in invited}
    return [by_position.get(position) or results[position] for position in range(len(invitees))]


def _check_all(invitees: Sequence[Invitee], results: dict[int, Refusal]) -> list[_Checked]:
    good: list[_Checked] = []
    seen: set[str] = set()
    for position, invitee in enumerate(invitees):
        try:
            row = _check(position, invitee)
            if row.canonical in seen:
                raise InputInvalid([InputProblem(_path(position, "email"), "This address stands in the list twice.")])
            seen.add(row.canonical)
            good.append(row)
        except InputInvalid as refusal:
            results[position] = refusal
    return good


def _path(position: int, field: str) -> tuple[str, ...]:
    return ("users", str(position), field)


def _check(position: int, invitee: Invitee) -> _Checked:
    problems = Problems()
    found = {"firstName": "", "lastName": ""}
    for field, raw in (("firstName", invitee.first_name), ("lastName", invitee.last_name)):
        try:
            found[field] = names.person_name(raw)
        except names.NameInvalid as error:
            problems.add(_path(position, field), f"This {error.reason}.")
    canonical = ""
    try:
        canonical = addresses.canonical_email(invitee.email)
    except addresses.EmailInvalid as error:
        problems.add(_path(position, "email"), f"This {error.reason}.")
    problems.raise_any()
    return _Checked(
        position=position,
        id=uuid7(),
        first_name=found["firstName"],
        last_name=found["lastName"],
        email=invitee.email.strip(),
        canonical=canonical,
        access_level=invitee.access_level,
    )


async def _let_go_of_expired(canonical: Sequence[str], practice_id: UUID) -> None:
    """An invitation of another practice that has run out holds its address no longer; resending it takes the address back."""
    await database.execute(
        """
        UPDATE users u SET holds_email = false FROM invitations i
        WHERE u.email_canonical = ANY($1::text[]) AND u.holds_email AND u.status = 'INVITED' AND u.practice_id <> $2
            AND i.user_id = u.id AND i.expires_at <= clock_now()
        """,
        list(canonical),
        practice_id,
    )


async def _insert(practice_id: UUID, good: Sequence[_Checked]) -> list[_Checked]:
    """Make users of the rows whose address is free; a unique index over all practices decides, also in a race."""
    await _let_go_of_expired([row.canonical for row in good], practice_id)
    inserted = await database.fetch(
        """
        INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level, status,
            created_at)
        SELECT r.id, $1, r.first_name, r.last_name, r.sort_name, r.email, r.canonical, true, r.access_level, 'INVITED', clock_now()
        FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
            AS r (id, first_name, last_name, sort_name, email, canonical, access_level)
        WHERE NOT EXISTS (SELECT 1 FROM users o WHERE o.practice_id = $1 AND o.email_canonical = r.canonical AND o.removed_at IS NULL)
        ORDER BY r.canonical
        ON CONFLICT (email_canonical COLLATE "C") WHERE holds_email DO NOTHING RETURNING id
        """,
        practice_id,
        [row.id for row in good],
        [row.first_name for row in good],
        [row.last_name for row in good],
        [sort_name(row.first_name, row.last_name) for row in good],
        [row.email for row in good],
        [row.canonical for row in good],
        [row.access_level.value for row in good],
    )
    ids = {row["id"] for row in inserted}
    return [row for row in good if row.id in ids]


async def _send_first(practice_id: UUID, inviter_id: UUID, invited: Sequence[_Checked]) -> None:
    now = await database.now()
    ids = [uuid7() for _ in invited]
    deliveries = await outbox.queue(
        *(_message(practice_id, row.id, invitation_id, now) for row, invitation_id in zip(invited, ids, strict=True))
    )
    await database.execute(
        """
        INSERT INTO invitations (id, practice_id, user_id, invited_by_id, state, nonce, key_id, delivery_id, sends, last_send_at,
            expires_at, created_at)
        SELECT r.id, $1, r.user_id, $2, 'PENDING', r.nonce, $3, r.delivery_id, 1, $4, $5, $4
        FROM unnest($6::uuid[], $7::uuid[], $8::uuid[], $9::bytea[]) AS r (id, user_id, delivery_id, nonce)
        """,
        practice_id,
        inviter_id,
        secrets.newest_key_id(),
        now,
        now + LIFETIME,
        ids,
        [row.id for row in invited],
        deliveries,
        [new_nonce() for _ in invited],
    )


def _message(practice_id: UUID, user_id: UUID, invitation_id: UUID, now: datetime) -> Message:
    return Message(
        kind=Kind.INVITATION,
        subject_id=invitation_id,
        expires_at=now + MAIL_LIFETIME,
        practice_id=practice_id,
        user_id=user_id,
    )


async def _why_taken(practice_id: UUID, left_out: Sequence[_Checked]) -> dict[int, Refusal]:
    own = await database.fetch(
        "SELECT id, email_canonical FROM users"
        " WHERE practice_id = $1 AND email_canonical = ANY($2::text[]) AND removed_at IS NULL",
        practice_id,
        [row.canonical for row in left_out],
    )
    records = await users.by_ids(practice_id, [row["id"] for row in own])
    by_address = {row["email_canonical"]: records[row["id"]] for row in own}
    return {row.position: _taken(row, by_address.get(row.canonical)) for row in left_out}


def _taken(row: _Checked, own: UserRecord | None) -> Refusal:
    if own is not None and own.status is UserStatus.INACTIVE:
        return UserInactive(own)
    return EmailInUse(row.email, is_own_invitation=own is not None and own.status is UserStatus.INVITED)


def _entries(invited: Sequence[_Checked], refused: dict[int, Refusal]) -> list[Entry]:
    sent = [
        Entry(
            action=Action.INVITATION_SENT,
            subject_id=row.id,
            subject_name=row.name,
            details={"access_level": row.access_level.value},
        )
        for row in invited
    ]
    return sent + [
        Entry(action=Action.INVITATION_REFUSED, details={"row": position, "reason": type(refusal).__name__})
        for position, refusal in sorted(refused.items())
    ]


async def resend(actor: Actor, user_id: UUID, email: str | None) -> UserRecord:
    """Mail a fresh link to somebody who has not finished, whether or not the old one has run out; the old one dies.

    email: puts a mistyped address right first. Raises Unauthenticated, Forbidden, SubscriptionLapsed, NotFound, InputInvalid,
    TooSoon, LimitReached, EmailInUse. Writes: user, invitation, delivery, audit "invitation.resent"; ends an open enrollment.
    """
    member = actor.administrator()
    require_subscription(member)
    canonical = _corrected(email)
    try:
        async with database.transaction():
            await still_administrator(actor)
            row = await _held(member.practice_id, user_id)
            await _require_pause(row["id"])
            await budgets.take(f"resend:{row['id']}", budgets.RESENDS_PER_INVITATION)
            await _take_address(row, email, canonical)
            await _replace_link(row)
            details: dict[str, object] = {
                "address_corrected": canonical is not None and canonical != row["email_canonical"]
            }
            await audit.record(
                actor, Action.INVITATION_RESENT, subject_id=user_id, subject_name=row["name"], details=details
            )
    except IntegrityError as error:
        if database.violated_constraint(error) != "uq_users_email":
            raise
        raise EmailInUse(email or row["email"]) from None
    except (TooSoon, EmailInUse) as refusal:
        await audit.record(
            actor, Action.INVITATION_RESEND_REFUSED, subject_id=user_id, details={"reason": type(refusal).__name__}
        )
        raise
    return (await users.by_ids(member.practice_id, [user_id]))[user_id]


def _corrected(email: str | None) -> str | None:
    if email is None:
        return None
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None


async def _held(practice_id: UUID, user_id: UUID) -> Row:
    """The pending invitation of a user of the practice, locked. Raises NotFound."""
    row = await database.fetch_one(
        """
        SELECT i.*, u.email, u.email_canonical, u.first_name || ' ' || u.last_name AS name
        FROM invitations i JOIN users u ON u.id = i.user_id
        WHERE i.practice_id = $1 AND i.user_id = $2 AND i.state = 'PENDING' AND u.status = 'INVITED' FOR UPDATE OF i
        """,
        practice_id,
        user_id,
    )
    if row is None:
        raise NotFound
    return row


async def _require_pause(invitation_id: UUID) -> None:
    row = await database.fetch_one(
        f"SELECT last_send_at + {users.COOL_DOWN} AS free_at FROM invitations"  # noqa: S608 -- a constant
        f" WHERE id = $1 AND last_send_at + {users.COOL_DOWN} > clock_now()",
        invitation_id,
    )
    if row is not None:
        raise TooSoon(row["free_at"])


async def _take_address(row: Row, email: str | None, canonical: str | None) -> None:
    """Correct the address, and hold it again where an expired invitation had let go of it; a unique index decides."""
    wanted = canonical or row["email_canonical"]
    await _let_go_of_expired([wanted], row["practice_id"])
    typed = email.strip() if email is not None else row["email"]
    own = await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE practice_id = $1 AND email_canonical = $2 AND id <> $3 AND removed_at IS NULL",
        row["practice_id"],
        wanted,
        row["user_id"],
    )
    if own is not None:
        raise EmailInUse(typed)
    await database.execute(
        "UPDATE users SET email = $2, email_canonical = $3, holds_email = true WHERE id = $1",
        row["user_id"],
        typed,
        wanted,
    )


async def _replace_link(row: Row) -> None:
    await enrollment.end_for_invitations([row["id"]])
    await outbox.cancel(subject_id=row["id"], reason="The invitation was sent again.")
    now = await database.now()
    deliveries = await outbox.queue(_message(row["practice_id"], row["user_id"], row["id"], now))
    await database.execute(
        "UPDATE invitations SET nonce = $2, key_id = $3, delivery_id = $4, sends = sends + 1, last_send_at = $5, expires_at = $6"
        " WHERE id = $1",
        row["id"],
        new_nonce(),
        secrets.newest_key_id(),
        deliveries[0],
        now,
        now + LIFETIME,
    )


async def revoke(actor: Actor, user_id: UUID) -> None:
    """Take an invitation back that nobody has finished; the address is free again.

    Raises Unauthenticated, Forbidden, NotFound. Writes: invitation, user, audit "invitation.revoked"; ends an open enrollment.
    """
    member = actor.administrator()
    async with database.transaction():
        await still_administrator(actor)
        row = await _held(member.practice_id, user_id)
        await withdraw([row["id"]], remove_users=[user_id])
        await audit.record(actor, Action.INVITATION_REVOKED, subject_id=user_id, subject_name=row["name"])


async def withdraw(invitation_ids: Sequence[UUID], *, remove_users: Sequence[UUID]) -> None:
    """Revoke pending invitations whose rows the caller holds, in the transaction under way.

    Their links, enrollments, codes and waiting e-mails end with them. remove_users: invited people of whom nothing remains.
    """
    await database.execute(
        "UPDATE invitations SET state = 'REVOKED', revoked_at = clock_now() WHERE id = ANY($1::uuid[]) AND state = 'PENDING'",
        list(invitation_ids),
    )
    await enrollment.end_for_invitations(invitation_ids)
    await database.execute(
        "UPDATE users SET removed_at = clock_now(), holds_email = false WHERE id = ANY($1::uuid[]) AND status = 'INVITED'",
        list(remove_users),
    )
    for invitation_id in invitation_ids:
        await outbox.cancel(subject_id=invitation_id, reason="The invitation was revoked.")


async def preview(token: str) -> Preview | None:
    """Whose a link is, for its landing page; None when it is not, or no longer, good. Writes nothing."""
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        """
        SELECT i.id, i.nonce, i.key_id, i.expires_at, u.first_name, u.email, p.name
        FROM invitations i JOIN users u ON u.id = i.user_id JOIN practices p ON p.id = i.practice_id
        WHERE i.id = $1 AND i.state = 'PENDING' AND i.expires_at > clock_now()
        """,
        row_id,
    )
    if not row or not secrets.is_link_token(token, "invitation", row["id"], row["nonce"], row["key_id"]):
        return None
    return Preview(
        practice_name=row["name"],
        first_name=row["first_name"],
        email=addresses.masked_email(row["email"]),
        expires_at=row["expires_at"],
    )
