"""Inviting people, one or two hundred at once: the good rows go out whatever becomes of the others."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from domain import addresses, audit, bounced_addresses, budgets, database, invitations, names, outbox, secrets, users
from domain.actors import Actor, require_subscription, still_administrator
from domain.audit import Action, Entry
from domain.errors import (
    EmailInUse,
    InputInvalid,
    InputProblem,
    LimitReached,
    NotFound,
    Problems,
    Refusal,
    UserInactive,
)
from domain.models.columns import AccessLevel, UserStatus, new_nonce, uuid7
from domain.models.users import sort_name
from domain.users import UserRecord

MAX_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitee:
    """One row as somebody typed it. address_repaired: mail arrives there again, though it came back before."""

    first_name: str
    last_name: str
    email: str
    access_level: AccessLevel
    address_repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    position: int
    id: UUID
    first_name: str
    last_name: str
    email: str
    canonical: str
    access_level: AccessLevel
    address_repaired: bool

    @property
    def name(self) -> str:
        return names.full_name(self.first_name, self.last_name)


async def invite(actor: Actor, invitees: Sequence[Invitee]) -> list[UserRecord | Refusal]:
    """Invite people into the actor's practice: for each row, in order, the new user or why not.

    The good rows go out whatever becomes of the others. invitees: 1 to 200. Raises, and then nobody was invited: Unauthenticated,
    Forbidden, SubscriptionLapsed, LimitReached, SignInAgain (an administrator is among them), InputInvalid (the number of rows).
    A row's refusal is InputInvalid, EmailInUse, AddressBounced, UserInactive or LimitReached (mails to this address). Writes, for each
    good row: user, invitation,
    delivery, audit "invitation.sent"; for each other audit "invitation.refused".
    """
    member = actor.administrator()
    if not 1 <= len(invitees) <= MAX_ROWS:
        raise InputInvalid([InputProblem(("users",), f"Put 1 to {MAX_ROWS} people here, not {len(invitees)}.")])
    require_subscription(member)
    if any(invitee.access_level is AccessLevel.ADMINISTRATOR for invitee in invitees):
        actor.freshly_signed_in()
    results: dict[int, Refusal] = {}
    good = _check_all(invitees, results)
    # Rows whose address turns out to be taken cost as much: asking who has an account is not for free.
    async with _spending(actor, member.practice_id, len(good)), database.transaction():
        await still_administrator(actor)
        good = await _without_bounces(member.practice_id, good, results)
        good = await _within_budget(member.practice_id, good, results)
        invited = await _insert(member.practice_id, good)
        await _send_first(member.practice_id, member.user_id, invited)
        if repaired := [row.canonical for row in invited if row.address_repaired]:
            await bounced_addresses.forgive(member.practice_id, repaired)
        left_out = [row for row in good if row not in invited]
        results |= await _why_taken(member.practice_id, left_out)
        await audit.record_all(actor, _entries(invited, results))
    records = await users.by_ids(member.practice_id, [row.id for row in invited])
    by_position = {row.position: records.get(row.id) or NotFound() for row in invited}  # some may be taken back already
    return [by_position.get(position) or results[position] for position in range(len(invitees))]


@asynccontextmanager
async def _spending(actor: Actor, practice_id: UUID, rows: int) -> AsyncIterator[None]:
    """Take so many of the practice's invitations for the act in the block. Raises LimitReached."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(
                budgets.spending(f"invitations:{practice_id}", budgets.INVITATIONS_PER_PRACTICE, rows)
            )
        except LimitReached:
            details: dict[str, object] = {"reason": "LimitReached", "rows": rows}
            await audit.record(actor, Action.INVITATION_REFUSED, details=details)
            raise
        yield


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
    first_name = last_name = ""
    try:
        first_name, last_name = names.person_names(invitee.first_name, invitee.last_name)
    except names.NamesInvalid as error:
        for field, reason in error.reasons.items():
            problems.add(_path(position, field), f"This {reason}.")
    canonical = ""
    try:
        canonical = addresses.canonical_email(invitee.email)
    except addresses.EmailInvalid as error:
        problems.add(_path(position, "email"), f"This {error.reason}.")
    problems.raise_any()
    return _Checked(
        position=position,
        id=uuid7(),
        first_name=first_name,
        last_name=last_name,
        email=addresses.shown_email(invitee.email),
        canonical=canonical,
        access_level=invitee.access_level,
        address_repaired=invitee.address_repaired,
    )


async def _without_bounces(practice_id: UUID, good: Sequence[_Checked], results: dict[int, Refusal]) -> list[_Checked]:
    """The rows to whose address the practice's mail did not come back. Of somebody who is here already, more is told elsewhere."""
    held = await bounced_addresses.among(practice_id, [row.canonical for row in good])
    if not held:
        return list(good)
    here = await database.fetch(
        "SELECT email_canonical FROM users WHERE practice_id = $1 AND email_canonical = ANY($2::text[])"
        " AND removed_at IS NULL AND address_released_at IS NULL",
        practice_id,
        list(held),
    )
    for row in here:
        del held[row["email_canonical"]]
    refused = [
        row for row in good if row.canonical in held and held[row.canonical].holds(is_repaired=row.address_repaired)
    ]
    results |= {row.position: held[row.canonical].refusal(row.email) for row in refused}
    return [row for row in good if row not in refused]


async def _within_budget(practice_id: UUID, good: Sequence[_Checked], results: dict[int, Refusal]) -> list[_Checked]:
    """The rows whose address did not get as much mail from this practice already as it may in a day."""
    keys = {invitations.mail_key(practice_id, row.canonical): row for row in good}
    used_up = await budgets.take_each(list(keys), budgets.INVITATION_MAILS_PER_ADDRESS)
    results |= {keys[key].position: refusal for key, refusal in used_up.items()}
    return [row for key, row in keys.items() if key not in used_up]


async def _insert(practice_id: UUID, good: Sequence[_Checked]) -> list[_Checked]:
    """Make users of the rows whose address is nobody's account and not invited here; a unique index keeps an address once in a practice."""
    inserted = await database.fetch(
        """
        INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level, status,
            created_at)
        SELECT r.id, $1, r.first_name, r.last_name, r.sort_name, r.email, r.canonical, false, r.access_level, 'INVITED', clock_now()
        FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
            AS r (id, first_name, last_name, sort_name, email, canonical, access_level)
        WHERE NOT EXISTS (SELECT 1 FROM users o WHERE o.email_canonical = r.canonical AND o.holds_email)
        ORDER BY r.canonical
        ON CONFLICT (practice_id, email_canonical) WHERE removed_at IS NULL AND address_released_at IS NULL DO NOTHING RETURNING id
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
        *(
            invitations.message(practice_id, row.id, invitation_id, now)
            for row, invitation_id in zip(invited, ids, strict=True)
        )
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
        now + invitations.LIFETIME,
        ids,
        [row.id for row in invited],
        deliveries,
        [new_nonce() for _ in invited],
    )


async def _why_taken(practice_id: UUID, left_out: Sequence[_Checked]) -> dict[int, Refusal]:
    own = await database.fetch(
        "SELECT id, email_canonical FROM users"
        " WHERE practice_id = $1 AND email_canonical = ANY($2::text[]) AND removed_at IS NULL AND address_released_at IS NULL",
        practice_id,
        [row.canonical for row in left_out],
    )
    records = await users.by_ids(practice_id, [row["id"] for row in own])
    by_address = {row["email_canonical"]: records[row["id"]] for row in own if row["id"] in records}
    return {row.position: _taken(row, by_address.get(row.canonical)) for row in left_out}


def _taken(row: _Checked, own: UserRecord | None) -> Refusal:
    if own is not None and own.status is UserStatus.INACTIVE:
        return UserInactive(own)
    return EmailInUse(
        row.email,
        is_own_invitation=own is not None and own.status is UserStatus.INVITED,
        is_own_user=own is not None and own.status is UserStatus.ACTIVE,
    )


def _entries(invited: Sequence[_Checked], refused: dict[int, Refusal]) -> list[Entry]:
    sent = [
        Entry(
            action=Action.INVITATION_SENT,
            subject_id=row.id,
            subject_name=row.name,
            details={"access_level": row.access_level.value}
            | ({"address_repaired": True} if row.address_repaired else {}),
        )
        for row in invited
    ]
    return sent + [
        Entry(action=Action.INVITATION_REFUSED, details={"row": position, "reason": type(refusal).__name__})
        for position, refusal in sorted(refused.items())
    ]
