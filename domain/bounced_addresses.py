"""Addresses that a practice's invitations do not go to for now: mail to them came back, or its receiver called it spam.

Sending to them again and again is what makes receiving servers distrust all our mail. A bounce stands for a week, since mailboxes are
repaired, and an administrator who knows that one is may say so and send at once. A complaint is a person's wish and stands until that
person is invited by another address; no administrator can set it aside, the operator can at that person's own wish. So does the word of
somebody invited that they do not know the practice.

Kept by practice: what one practice mailed is not told to another. Invitations and links to a new address are held back. A notice to somebody
who has an account is tried each time, since it may be what warns of a thief.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import addresses, audit, database
from domain.actors import MAIL_SYSTEM, Actor, require_operator
from domain.audit import Action
from domain.database import Row
from domain.errors import AddressBounced, InputInvalid, InputProblem, NotFound

COMPLAINT = "The person who got it marked it as spam. Nothing more is mailed to this address; ask them for another one."
UNKNOWN_PRACTICE = "The person who got it says that they do not know your practice. Nothing more is mailed to this address; ask them for another one."
HELD_BACK = "Mail to this address came back before. Put another address, or say that it takes mail again."
# An invitation lives as long, so nobody waits for one that cannot come.
STANDS_FOR = "interval '7 days'"
# By whether it was an invitation, and whether it was a complaint.
_ACTIONS = {
    (True, False): Action.INVITATION_BOUNCED,
    (True, True): Action.INVITATION_COMPLAINED_OF,
    (False, False): Action.EMAIL_CHANGE_BOUNCED,
    (False, True): Action.EMAIL_CHANGE_COMPLAINED_OF,
}
IN_FORCE = f"(x.is_complaint OR x.bounced_at + {STANDS_FOR} > clock_now())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """Why an address is not mailed to. stands_until: None for a complaint."""

    reason: str
    is_complaint: bool
    bounced_at: datetime
    stands_until: datetime | None

    def holds(self, *, is_repaired: bool) -> bool:
        """Whether it keeps an invitation from going out. is_repaired: an administrator says that the address works again."""
        return self.is_complaint or not is_repaired

    def refusal(self, email: str) -> AddressBounced:
        """What an administrator is told who wants to mail to it. email: as typed."""
        return AddressBounced(
            email=email,
            reason=self.reason,
            is_complaint=self.is_complaint,
            bounced_at=self.bounced_at,
            stands_until=self.stands_until,
        )


async def among(practice_id: UUID, canonical: Sequence[str]) -> dict[str, Bounce]:
    """Which of these addresses the practice's invitations do not go to now, and why."""
    rows = await database.fetch(
        f"""
        SELECT x.email_canonical, x.reason, x.is_complaint, x.bounced_at,
            CASE WHEN NOT x.is_complaint THEN x.bounced_at + {STANDS_FOR} END AS stands_until
        FROM bounced_addresses x WHERE x.practice_id = $1 AND x.email_canonical = ANY($2::text[]) AND {IN_FORCE}
        """,  # noqa: S608 -- constants
        practice_id,
        list(canonical),
    )
    return {row.pop("email_canonical"): Bounce(**row) for row in rows}


async def require_none(practice_id: UUID, email: str, canonical: str, *, is_repaired: bool) -> None:
    """Raises AddressBounced when mail of the practice must not go to an address. email: as typed. is_repaired: as for `Bounce.holds`."""
    bounce = (await among(practice_id, [canonical])).get(canonical)
    if bounce is not None and bounce.holds(is_repaired=is_repaired):
        raise bounce.refusal(email)


async def forgive(practice_id: UUID, canonical: Sequence[str]) -> None:
    """Forget the bounces of addresses that an administrator knows to work again, in the transaction under way. Complaints stay.

    Comes after what touches deliveries: whoever notes a bounce holds the delivery first.
    """
    await database.execute(
        """
        DELETE FROM bounced_addresses WHERE id IN (
            SELECT id FROM bounced_addresses WHERE practice_id = $1 AND email_canonical = ANY($2::text[]) AND NOT is_complaint
            ORDER BY email_canonical FOR UPDATE
        )
        """,
        practice_id,
        list(canonical),
    )


async def lift(actor: Actor, practice_id: UUID, email: str) -> None:
    """Let a practice's invitations go to an address again, also after a complaint.

    Raises Forbidden, InputInvalid, NotFound (nothing keeps them from it). Writes: bounced_addresses, audit "bounced_address.lifted".
    """
    require_operator(actor)
    try:
        canonical = addresses.canonical_email(email)
    except addresses.EmailInvalid as error:
        raise InputInvalid([InputProblem(("email",), f"This {error.reason}.")]) from None
    async with database.transaction():
        row = await database.fetch_one(
            f"DELETE FROM bounced_addresses x WHERE practice_id = $1 AND email_canonical = $2 AND {IN_FORCE} RETURNING is_complaint, reason",  # noqa: S608 -- a constant
            practice_id,
            canonical,
        )
        if row is None:
            raise NotFound
        details = {"email": addresses.masked_email(canonical), **row}
        await audit.record(actor, Action.BOUNCED_ADDRESS_LIFTED, practice_id=practice_id, details=details)


async def note(delivery_ids: Sequence[UUID], *, is_complaint: bool = False) -> None:
    """Keep the addresses of invitations and of links to a new address that bounced, in the transaction under way.

    Noting the same delivery again changes nothing. Other deliveries, and those that did not bounce, are passed over. Writes:
    bounced_addresses, audit "invitation.bounced", "invitation.complained_of", "email_change.bounced" or "email_change.complained_of".
    """
    rows = await _invitations(delivery_ids, is_complaint) + await _email_changes(delivery_ids, is_complaint)
    found = [(row["practice_id"], _canonical(row["email"]), row) for row in rows]
    for _, canonical, row in sorted(found, key=lambda one: one[:2]):  # in one order, so that no two wait for each other
        reason = COMPLAINT if is_complaint else row["problem"]
        if canonical and await _keep(row, canonical, reason, is_complaint):
            await audit.record(
                MAIL_SYSTEM,
                _ACTIONS[row["is_invitation"], is_complaint],
                practice_id=row["practice_id"],
                subject_id=row["user_id"],
                subject_name=row["name"],
                details={"reason": reason},
            )


async def note_unknown_practice(practice_id: UUID, canonical: str, delivery_id: UUID) -> bool:
    """Let nothing more go from a practice to an address whose owner does not know it, in the transaction under way; whether that was news.

    delivery_id: the latest mail that went there.
    """
    changed = await database.execute(
        """
        INSERT INTO bounced_addresses AS b (id, practice_id, email_canonical, delivery_id, is_complaint, is_unknown_practice, reason, bounced_at)
        VALUES (gen_random_uuid(), $1, $2, $3, true, true, $4, clock_now())
        ON CONFLICT (practice_id, email_canonical) DO UPDATE SET delivery_id = excluded.delivery_id, bounced_at = excluded.bounced_at,
            is_complaint = true, is_unknown_practice = true, reason = excluded.reason
        WHERE NOT b.is_unknown_practice
        """,
        practice_id,
        canonical,
        delivery_id,
        UNKNOWN_PRACTICE,
    )
    return bool(changed)


def _canonical(email: str) -> str:
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid:  # the row was tampered with, and no mail went there
        return ""


async def _invitations(delivery_ids: Sequence[UUID], is_complaint: bool) -> list[Row]:
    # A report may be faster than the worker that writes down where the mail went: then it went where the invitation goes.
    return await database.fetch(
        """
        SELECT d.id, i.practice_id, i.user_id, coalesce(d.recipient, u.email) AS email, rtrim(u.first_name || ' ' || u.last_name) AS name,
            coalesce(CASE WHEN d.reported_status = 'BOUNCED' THEN d.reported_problem END, d.problem, 'The mail came back.') AS problem,
            true AS is_invitation
        FROM deliveries d JOIN invitations i ON i.id = d.subject_id JOIN users u ON u.id = i.user_id
        WHERE d.id = ANY($1::uuid[]) AND d.channel = 'EMAIL' AND d.attempts > 0 AND (d.recipient IS NOT NULL OR i.delivery_id = d.id)
            AND ($2 OR d.status = 'BOUNCED' OR d.reported_status = 'BOUNCED')
        """,
        list(delivery_ids),
        is_complaint,
    )


async def _email_changes(delivery_ids: Sequence[UUID], is_complaint: bool) -> list[Row]:
    # A complaint may come after the change's own row was deleted: then the delivery knows where the mail went.
    return await database.fetch(
        """
        SELECT d.id, u.practice_id, d.user_id, coalesce(d.recipient, e.email, '') AS email, rtrim(u.first_name || ' ' || u.last_name) AS name,
            coalesce(CASE WHEN d.reported_status = 'BOUNCED' THEN d.reported_problem END, d.problem, 'The mail came back.') AS problem,
            false AS is_invitation
        FROM deliveries d JOIN users u ON u.id = d.user_id LEFT JOIN email_changes e ON e.id = d.subject_id
        WHERE d.id = ANY($1::uuid[]) AND d.kind = 'email_change' AND d.attempts > 0
            AND ($2 OR d.status = 'BOUNCED' OR d.reported_status = 'BOUNCED')
        """,
        list(delivery_ids),
        is_complaint,
    )


async def _keep(row: Row, canonical: str, reason: str, is_complaint: bool) -> bool:
    """Whether it was news."""
    changed = await database.execute(
        """
        INSERT INTO bounced_addresses AS b (id, practice_id, email_canonical, delivery_id, is_complaint, reason, bounced_at)
        VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, clock_now())
        ON CONFLICT (practice_id, email_canonical) DO UPDATE SET delivery_id = excluded.delivery_id, bounced_at = excluded.bounced_at,
            is_complaint = b.is_complaint OR excluded.is_complaint,
            reason = CASE WHEN b.is_complaint THEN b.reason ELSE excluded.reason END
        WHERE b.delivery_id <> excluded.delivery_id OR excluded.is_complaint AND NOT b.is_complaint
        """,
        row["practice_id"],
        canonical,
        row["id"],
        is_complaint,
        reason,
    )
    return bool(changed)
