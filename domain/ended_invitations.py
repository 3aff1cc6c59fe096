"""How an invitation ends that nobody accepted: taken back by an administrator, or ended for a reason that stays visible on the tile."""

from collections.abc import Sequence
from uuid import UUID

from domain import database, enrollment, outbox
from domain.models.columns import InvitationEnd

REVOKED = "The invitation was revoked."
CANCELED_BECAUSE = {
    InvitationEnd.DECLINED: "The person declined the invitation.",
    InvitationEnd.UNKNOWN_PRACTICE: "The person declined the invitation.",
    InvitationEnd.ADDRESS_IN_USE: "The address belongs to an account now.",
    InvitationEnd.INVITER_DEACTIVATED: "Whoever sent the invitation was deactivated.",
}


async def end(invitation_ids: Sequence[UUID], reason: InvitationEnd) -> None:
    """End pending invitations whose rows the caller holds, in the transaction under way; the people stay on the tile.

    Links, enrollments, codes and waiting e-mails end with them. Administrators have still to be told (`invitation_ends`).
    """
    await database.execute(
        "UPDATE invitations SET state = 'REVOKED', revoked_at = clock_now(), end_reason = $2, summarized_at = NULL"
        " WHERE id = ANY($1::uuid[]) AND state = 'PENDING'",
        list(invitation_ids),
        reason.value,
    )
    await _end_what_hangs_on(invitation_ids, CANCELED_BECAUSE[reason])


async def withdraw(invitation_ids: Sequence[UUID], *, remove_users: Sequence[UUID] = ()) -> None:
    """Take back invitations that nobody accepted and whose rows the caller holds, in the transaction under way.

    Links, enrollments, codes and waiting e-mails end with them. remove_users: invited people of whom nothing remains.
    """
    await database.execute(
        "UPDATE invitations SET state = 'REVOKED', revoked_at = coalesce(revoked_at, clock_now()), end_reason = NULL"
        " WHERE id = ANY($1::uuid[]) AND state <> 'ACCEPTED'",
        list(invitation_ids),
    )
    await database.execute(
        "UPDATE users SET removed_at = clock_now() WHERE id = ANY($1::uuid[]) AND status = 'INVITED'",
        list(remove_users),
    )
    await _end_what_hangs_on(invitation_ids, REVOKED)


async def _end_what_hangs_on(invitation_ids: Sequence[UUID], reason: str) -> None:
    await enrollment.end_for_invitations(invitation_ids)
    for invitation_id in invitation_ids:
        await outbox.cancel(subject_id=invitation_id, reason=reason)
