"""Sending a dead message again, and calling one back that is still waiting.

A dead message stays what it is, with its tries; a new one goes out in its place, once. It says what the old one would say now, so
it carries the same link, and under a Message-ID of its own: a mail server drops what comes twice under one, and a late bounce of the
old one is not taken for the new one's. What the message would say is looked up as a worker looks it up: what would be withdrawn is
refused here.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from domain import (
    addresses,
    audit,
    bounced_addresses,
    budgets,
    contents,
    database,
    deliveries,
    email_changes,
    invitations,
    keys,
    outbox,
)
from domain.actors import Actor, require_operator, require_subscription, still_administrator
from domain.audit import Action, Entry
from domain.contents import KeyMissing, Withdrawn
from domain.database import Row
from domain.deliveries import DeliveryRecord
from domain.errors import AddressBounced, NotFound, NotRedeliverable, RedeliveryProblem, Refusal, TooSoon
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Kind

COOL_DOWN = "interval '60 seconds'"  # as between two e-mails of one invitation
# What became of one of many, beside the values of RedeliveryProblem.
SENT = "SENT"
ADDRESS_BOUNCED = "ADDRESS_BOUNCED"
CANCELED_BY_OPERATOR = "The operator called it back."
WITHDRAWN = {contents.REPLACED: RedeliveryProblem.REPLACED}
OF_INVITATIONS = (Kind.INVITATION, Kind.INVITATION_REMINDER, Kind.INVITATION_PENDING)


async def redeliver(actor: Actor, delivery_id: UUID, *, address_repaired: bool = False) -> DeliveryRecord:
    """Send a dead message again; the one that is sent in its place. For administrators, and for operators, whom no budget binds.

    address_repaired: an operator knows that mail arrives again where it bounced; complaints stay. It costs what asking for the message anew
    would cost. Raises Unauthenticated, Forbidden, NotFound, NotRedeliverable, AddressBounced, TooSoon, LimitReached, SubscriptionLapsed (an
    invitation, or a link to a new address). Writes: delivery, invitation, audit "delivery.redelivered".
    """
    practice_id = None if actor.is_operator else actor.administrator().practice_id
    async with database.transaction():
        if not actor.is_operator:
            await still_administrator(actor)
        row = await _held(delivery_id, practice_id)
        try:
            new_id = await _send_again(actor, row, address_repaired=actor.is_operator and address_repaired)
        except Refusal as refusal:
            _note_refusal(actor, row, refusal)
            raise
        await audit.record(
            actor,
            Action.DELIVERY_REDELIVERED,
            practice_id=row["practice_id"],
            subject_id=row["user_id"],
            subject_name=row["user_name"],
            details={
                "kind": row["kind"],
                "delivery": str(delivery_id),
                "sent_as": str(new_id),
                "address_repaired": actor.is_operator and address_repaired,
            },
        )
    found = await database.fetch_one(deliveries.SELECT + " WHERE d.id = $1", new_id)
    if found is None:
        raise NotFound
    return deliveries.record(found)


async def _held(delivery_id: UUID, practice_id: UUID | None) -> Row:
    """A message, with what hangs on it locked first, and in the order that everybody keeps. Raises NotFound."""
    row = await database.fetch_one(
        "SELECT kind, subject_id, user_id FROM deliveries WHERE id = $1 AND ($2::uuid IS NULL OR practice_id = $2)",
        delivery_id,
        practice_id,
    )
    if row is None:
        raise NotFound
    if row["kind"] in OF_INVITATIONS:
        await database.fetch("SELECT 1 FROM invitations WHERE id = $1 FOR UPDATE", row["subject_id"])
    if row["user_id"] is not None:
        await database.fetch("SELECT 1 FROM users WHERE id = $1 FOR SHARE", row["user_id"])
    await database.fetch("SELECT 1 FROM deliveries WHERE id = $1 FOR UPDATE", delivery_id)
    held = await database.fetch_one(
        f"""
        SELECT d.*, rtrim(u.first_name || ' ' || u.last_name) AS user_name, coalesce(e.email, u.email) AS email,
            coalesce(e.email_canonical, u.email_canonical) AS email_canonical,
            coalesce(u.status = 'INACTIVE' OR u.removed_at IS NOT NULL, false) AS is_shut_out,
            EXISTS (SELECT 1 FROM deliveries n WHERE n.redelivery_of = d.id) AS is_sent_again,
            CASE WHEN d.queued_at + {COOL_DOWN} > clock_now() THEN d.queued_at + {COOL_DOWN} END AS free_at
        FROM deliveries d LEFT JOIN users u ON u.id = d.user_id
            LEFT JOIN email_changes e ON e.id = d.subject_id AND d.kind = '{Kind.EMAIL_CHANGE}'
        WHERE d.id = $1
        """,  # noqa: S608 -- a constant
        delivery_id,
    )
    if held is None:
        raise NotFound
    return held


def _note_refusal(actor: Actor, row: Row, refusal: Refusal) -> None:
    reason = refusal.problem.value if isinstance(refusal, NotRedeliverable) else type(refusal).__name__
    details: dict[str, object] = {"kind": row["kind"], "delivery": str(row["id"]), "reason": reason}
    entry = Entry(
        action=Action.DELIVERY_REDELIVERY_REFUSED,
        subject_id=row["user_id"],
        subject_name=row["user_name"],
        details=details,
    )
    audit.record_after_rollback(actor, entry, practice_id=row["practice_id"])


async def _send_again(actor: Actor, row: Row, *, address_repaired: bool) -> UUID:
    kind = _sendable(row)
    if not actor.is_operator:
        await _afford(actor, row, kind)
    new_id = await outbox.queue_again(row["id"])
    await _point_invitation_at(kind, row, new_id)
    if address_repaired and row["email_canonical"] is not None:
        await bounced_addresses.forgive(row["practice_id"], [row["email_canonical"]])
    await _require_contents(kind, row, new_id)
    return new_id


def _sendable(row: Row) -> Kind:
    """The kind of a message that may be sent again, as far as its own row tells. Raises NotRedeliverable."""
    if DeliveryStatus(row["status"]) not in deliveries.DEAD:
        raise NotRedeliverable(row["kind"], RedeliveryProblem.NOT_DEAD)
    if row["is_sent_again"]:
        raise NotRedeliverable(row["kind"], RedeliveryProblem.SENT_AGAIN)
    if row["kind"] == Kind.SECURITY_CODE:  # costs money, and is worth something only to whoever is waiting for it
        raise NotRedeliverable(row["kind"], RedeliveryProblem.SECURITY_CODE)
    if row["kind"] not in set(Kind):
        raise NotRedeliverable(row["kind"], RedeliveryProblem.ENDED)
    kind = Kind(row["kind"])
    if row["is_shut_out"] and kind not in outbox.TOLD_WHEN_BLOCKED:
        raise NotRedeliverable(kind, RedeliveryProblem.ENDED)
    return kind


async def _afford(actor: Actor, row: Row, kind: Kind) -> None:
    """Take what sending it costs: no way around what a resend or a fresh link would cost. Raises TooSoon, LimitReached, SubscriptionLapsed."""
    if row["free_at"] is not None:
        raise TooSoon(row["free_at"])
    await budgets.take(f"redeliver:{row['practice_id']}:{row['user_id']}", budgets.REDELIVERIES_PER_USER)
    if kind in OF_INVITATIONS:
        require_subscription(actor.administrator())
        await budgets.take(f"resend:{row['subject_id']}", budgets.RESENDS_PER_INVITATION)
        key = invitations.mail_key(row["practice_id"], row["email_canonical"])
        await budgets.take(key, budgets.INVITATION_MAILS_PER_ADDRESS)
    elif kind is Kind.PASSWORD_RESET:
        await budgets.take(f"password-reset:user:{row['user_id']}", budgets.RESETS_BY_ADMINISTRATORS)
    elif kind is Kind.EMAIL_CHANGE:  # never the user's own allowance, which an administrator could use up
        require_subscription(actor.administrator())
        await budgets.take(f"email-change-again:{row['user_id']}", budgets.EMAIL_CHANGES_PER_USER)
        await email_changes.take_mail(row["practice_id"], row["email_canonical"])


async def _point_invitation_at(kind: Kind, row: Row, new_id: UUID) -> None:
    """The invitation's latest e-mail, or its reminder, is the new one from now on; unless another one took its place before."""
    if kind is Kind.INVITATION:
        await database.execute(
            "UPDATE invitations SET delivery_id = $2, sends = sends + 1, last_send_at = clock_now() WHERE delivery_id = $1 AND id = $3",
            row["id"],
            new_id,
            row["subject_id"],
        )
    elif kind is Kind.INVITATION_REMINDER:
        await database.execute(
            "UPDATE invitations SET reminder_id = $2 WHERE reminder_id = $1 AND id = $3",
            row["id"],
            new_id,
            row["subject_id"],
        )


async def _require_contents(kind: Kind, row: Row, new_id: UUID) -> None:
    """Raises NotRedeliverable, or AddressBounced, where a worker would withdraw it, or none could ever make it."""
    now = await database.now()
    claimed = Claimed(
        new_id, kind, Channel(row["channel"]), row["subject_id"], row["user_id"], 1, now, row["expires_at"], uuid4()
    )
    found = (await contents.load([claimed]))[new_id]
    if isinstance(found, KeyMissing) and not await keys.is_known(found.key_id):
        raise NotRedeliverable(kind, RedeliveryProblem.KEY_LOST)
    if isinstance(found, Withdrawn):
        if found.reason == bounced_addresses.HELD_BACK:
            held_back = await bounced_addresses.among(row["practice_id"], [row["email_canonical"]])
            # An address that somebody only wants is theirs alone until it is proved (`deliveries`).
            shown = addresses.masked_email(row["email"]) if kind is Kind.EMAIL_CHANGE else row["email"]
            for bounce in held_back.values():
                raise bounce.refusal(shown)
        raise NotRedeliverable(kind, WITHDRAWN.get(found.reason, RedeliveryProblem.ENDED))


# -- for the operator ------------------------------------------------------------------------------------------------------


async def dead_since(actor: Actor, since: datetime, *, practice_id: UUID | None = None) -> list[UUID]:
    """What bounced or failed at that moment or later and was not sent again yet, oldest first, for an operator. Raises Forbidden.

    What was called back is left alone: it was not wanted. So are codes, which nobody waits for any more.
    """
    require_operator(actor)
    rows = await database.fetch(
        """
        SELECT d.id FROM deliveries d
        WHERE d.status IN ('BOUNCED', 'FAILED') AND d.kind <> 'security_code' AND ($2::uuid IS NULL OR d.practice_id = $2)
            AND d.queued_at >= $1::timestamptz - interval '8 days' -- nothing is tried for longer
            AND (d.queued_at >= $1 OR EXISTS (SELECT 1 FROM delivery_attempts a WHERE a.delivery_id = d.id AND a.finished_at >= $1))
            AND NOT EXISTS (SELECT 1 FROM deliveries n WHERE n.redelivery_of = d.id)
        ORDER BY d.queued_at, d.id
        """,
        since,
        practice_id,
    )
    return [row["id"] for row in rows]


async def redeliver_all(actor: Actor, delivery_ids: Sequence[UUID], *, address_repaired: bool = False) -> Counter[str]:
    """Send each again that makes sense, each on its own, for an operator.

    How many were SENT, how many were not for which RedeliveryProblem, and how many since ADDRESS_BOUNCED. Raises Forbidden. Writes: as `redeliver`.
    """
    require_operator(actor)
    became: Counter[str] = Counter()
    for delivery_id in delivery_ids:
        try:
            await redeliver(actor, delivery_id, address_repaired=address_repaired)
            became[SENT] += 1
        except AddressBounced:
            became[ADDRESS_BOUNCED] += 1
        except NotRedeliverable as refusal:
            became[refusal.problem.value] += 1
    return became


async def cancel(actor: Actor, delivery_id: UUID) -> None:
    """Call back a message that is still waiting, for an operator. Raises Forbidden, NotFound: also for one that is under way or over.

    Writes: delivery, audit "delivery.canceled".
    """
    require_operator(actor)
    async with database.transaction():
        row = await database.fetch_one(
            "UPDATE deliveries SET status = 'CANCELED', problem = $2 WHERE id = $1 AND status IN ('QUEUED', 'RETRYING')"
            " RETURNING practice_id, kind, user_id",
            delivery_id,
            CANCELED_BY_OPERATOR,
        )
        if row is None:
            raise NotFound
        details: dict[str, object] = {"kind": row["kind"], "delivery": str(delivery_id)}
        await audit.record(
            actor,
            Action.DELIVERY_CANCELED,
            practice_id=row["practice_id"],
            subject_id=row["user_id"],
            details=details,
        )
