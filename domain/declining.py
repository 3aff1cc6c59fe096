"""Declining an invitation by its link, without an account; and saying that one does not know the practice at all.

Only a POST does anything: mail gateways open each link, and opening it changes nothing.
"""

import logging
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain import audit, bounced_addresses, database, ended_invitations, link_tokens, metrics, secrets
from domain.actors import Actor
from domain.audit import Action
from domain.database import Row
from domain.errors import LinkInvalid
from domain.models.columns import InvitationEnd, InvitationState

logger = logging.getLogger(__name__)

DECLINED = {InvitationEnd.DECLINED.value, InvitationEnd.UNKNOWN_PRACTICE.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """What stands about an invitation that was declined. unknown_practice: the invited person said that they do not know the practice."""

    practice_name: str
    unknown_practice: bool


async def decline(actor: Actor, token: str, *, unknown_practice: bool) -> Declined:
    """Decline an invitation, also one that has run out; declining it again answers what stands.

    unknown_practice: the person does not know the practice. Then nothing more is mailed from there to this address, and the operator is told:
    by the log, a metric and `practice-access practices reported`. That is taken with any link that was not replaced or accepted, so
    that a practice cannot forestall it by revoking. token: as in `link_tokens.read`. Raises LinkInvalid, TooManyAttempts (a typed code). Writes: invitation, enrollment, deliveries, bounced_addresses,
    audit "invitation.declined" and "practice.unknown_to_invited".
    """
    token = await link_tokens.read(actor, "invitation", token)
    row_id = secrets.link_row_id(token)
    found = row_id and await database.fetch_one("SELECT id, nonce, key_id FROM invitations WHERE id = $1", row_id)
    if not found or not secrets.is_link_token(token, "invitation", found["id"], found["nonce"], found["key_id"]):
        raise LinkInvalid
    async with database.transaction():
        row = await _held(found["id"], found["nonce"])
        if row["state"] == InvitationState.PENDING:
            await _end(actor, row, unknown_practice=unknown_practice)
        elif not unknown_practice and row["end_reason"] not in DECLINED:
            raise LinkInvalid
        if unknown_practice:
            await _report(actor, row)
    return Declined(
        practice_name=row["practice_name"],
        unknown_practice=unknown_practice or row["end_reason"] == InvitationEnd.UNKNOWN_PRACTICE,
    )


async def _held(invitation_id: UUID, nonce: bytes) -> Row:
    """The invitation, locked. Raises LinkInvalid where its link was replaced meanwhile, or the person joined."""
    row = await database.fetch_one(
        """
        SELECT i.id, i.practice_id, i.user_id, i.state, i.end_reason, i.delivery_id, u.email_canonical,
            rtrim(u.first_name || ' ' || u.last_name) AS name, p.name AS practice_name
        FROM invitations i JOIN users u ON u.id = i.user_id JOIN practices p ON p.id = i.practice_id
        WHERE i.id = $1 AND i.nonce = $2 AND i.state <> 'ACCEPTED' FOR UPDATE OF i
        """,
        invitation_id,
        nonce,
    )
    if row is None:
        raise LinkInvalid
    return row


async def _end(actor: Actor, row: Row, *, unknown_practice: bool) -> None:
    reason = InvitationEnd.UNKNOWN_PRACTICE if unknown_practice else InvitationEnd.DECLINED
    await ended_invitations.end([row["id"]], reason)
    await _record(actor, row, Action.INVITATION_DECLINED, {"unknown_practice": unknown_practice})


async def _report(actor: Actor, row: Row) -> None:
    await database.execute(
        "UPDATE invitations SET end_reason = 'UNKNOWN_PRACTICE' WHERE id = $1 AND end_reason = 'DECLINED'", row["id"]
    )
    is_news = await bounced_addresses.note_unknown_practice(
        row["practice_id"], row["email_canonical"], row["delivery_id"]
    )
    if is_news:
        await _record(actor, row, Action.PRACTICE_UNKNOWN, {})
        database.after_commit(partial(_tell_operator, row["practice_id"]))


def _tell_operator(practice_id: UUID) -> None:
    metrics.UNKNOWN_PRACTICES.inc()
    logger.warning("Somebody who was invited says that they do not know practice %s", practice_id)


async def _record(actor: Actor, row: Row, action: Action, details: dict[str, object]) -> None:
    await audit.record(
        actor,
        action,
        practice_id=row["practice_id"],
        as_user=(row["user_id"], row["name"]),
        subject_id=row["user_id"],
        subject_name=row["name"],
        details=details,
    )
