"""Who has an e-mail address: the one account that set its password with it, and nobody by an invitation.

Several rows of `users` may carry one address: an account, people invited by other practices, and people whose practice let go of it. A
unique index over accounts decides who finishes first (`uq_users_email`); the others' open invitations end in the same transaction. A second
one keeps an address from standing twice in one practice (`uq_users_practice_email`).
"""

from uuid import UUID

from tortoise.exceptions import IntegrityError

from domain import audit, database, ended_invitations
from domain.actors import ADDRESS_HOLDER
from domain.audit import Action, Entry
from domain.models.columns import InvitationEnd

INDEXES = ("uq_users_email", "uq_users_practice_email")
LOCKS = 0x4D41_494C  # "MAIL": the first half of the keys of the advisory locks below, which nothing else uses


def is_conflict(error: IntegrityError) -> bool:
    """Whether a statement was refused because the address is somebody else's."""
    return database.violated_constraint(error) in INDEXES


async def lock(canonical: str) -> None:
    """Let one transaction at a time finish with an address, until the end of the one under way.

    Comes before any row lock. Without it, two people who finish at once would each wait for the other: the second for the index entry
    of the first, and the first for the invitation of the second, which it has to end.
    """
    await database.fetch("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCKS, canonical)


async def has_active_account(canonical: str) -> bool:
    """Whether somebody can sign in with an address. Only for whoever proved to own it: it is an oracle for everybody else."""
    row = await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE email_canonical = $1 AND holds_email AND status = 'ACTIVE'", canonical
    )
    return row is not None


async def is_taken(canonical: str, practice_id: UUID, *, but: UUID) -> bool:
    """Whether a user of a practice cannot have an address: an account has it, or somebody else in the practice.

    but: that user.
    """
    row = await database.fetch_one(
        """
        SELECT EXISTS (SELECT FROM users WHERE email_canonical = $1 AND holds_email AND id <> $3)
            OR EXISTS (SELECT FROM users WHERE practice_id = $2 AND email_canonical = $1 AND id <> $3
                AND removed_at IS NULL AND address_released_at IS NULL) AS taken
        """,
        canonical,
        practice_id,
        but,
    )
    return row is not None and bool(row["taken"])


async def end_other_invitations(canonical: str, *, holder: UUID | None) -> None:
    """End the open invitations of everybody else to an address that belongs to an account from now on, in the transaction under way.

    holder: whose account it is; None where that is not known. The caller has called `lock`. Writes: invitations, enrollments, deliveries, and in each practice
    that loses one audit "invitation.ended".
    """
    rows = await database.fetch(
        """
        SELECT i.id, i.practice_id, i.user_id, rtrim(u.first_name || ' ' || u.last_name) AS name
        FROM users u JOIN invitations i ON i.user_id = u.id
        WHERE u.email_canonical = $1 AND u.status = 'INVITED' AND u.removed_at IS NULL AND i.state = 'PENDING'
            AND u.id IS DISTINCT FROM $2
        ORDER BY i.id FOR UPDATE OF i
        """,
        canonical,
        holder,
    )
    if not rows:
        return
    await ended_invitations.end([row["id"] for row in rows], InvitationEnd.ADDRESS_IN_USE)
    for row in rows:
        await audit.record_all(
            ADDRESS_HOLDER,
            [ended_entry(row["user_id"], row["name"], InvitationEnd.ADDRESS_IN_USE)],
            practice_id=row["practice_id"],
        )


def ended_entry(user_id: UUID, name: str, reason: InvitationEnd) -> Entry:
    """What the audit log says of an invitation that ended without anybody's taking it back."""
    return Entry(
        action=Action.INVITATION_ENDED, subject_id=user_id, subject_name=name, details={"reason": reason.value}
    )
