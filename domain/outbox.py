"""Messages that have to leave the building: promised in the act's own transaction, claimed and settled by workers.

A row says that a message is due, never what is in it: its secret and its recipient are looked up when it is sent, so what was
revoked, replaced or changed meanwhile is not sent, and nothing here is worth stealing. After the commit a bell is rung; a worker that
hears none finds the row by looking.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from uuid import UUID, uuid4

from domain import bounced_addresses, channel_pauses, database, delivery_log, request_ids, secrets, tracing
from domain.channel_pauses import Refusal
from domain.delivery_faults import Fault
from domain.models.columns import Channel, DeliveryStatus, uuid7

logger = logging.getLogger(__name__)

LANE_CODES = 0
LANE_URGENT = 1
LANE_BULK = 2
LANES = (LANE_CODES, LANE_URGENT, LANE_BULK)

MAX_ATTEMPTS = (
    60  # a mail that is put off for 24 h is tried about 40 times; more means that something is wrong with the row
)
SUSPECTS_TOGETHER = 20
MAX_LOST = 5  # workers that ended with a message in hand, after which nobody takes it any more
MAX_PROBLEM_LENGTH = 300


class Kind(StrEnum):
    """What a message says; each has a folder under `workers/templates/`."""

    VERIFY_EMAIL = "verify_email"
    SIGN_UP_KNOWN = "sign_up_known"
    PRACTICE_ACCESS_CODE = "practice_access_code"
    INVITATION = "invitation"
    SECURITY_CODE = "security_code"
    NOTICE = "notice"
    PASSWORD_RESET = "password_reset"  # noqa: S105 -- the name of a kind
    EMAIL_CHANGE = "email_change"
    EMAIL_CHANGED = "email_changed"
    PHONE_NOTICE = "phone_notice"
    SUBSCRIPTION = "subscription"
    EMERGENCY_ACCESS = "emergency_access"
    INVITATION_REMINDER = "invitation_reminder"
    INVITATIONS_ENDING = "invitations_ending"
    INVITATION_PENDING = "invitation_pending"
    INVITATIONS_ENDED = "invitations_ended"
    ADDRESS_RELEASED = "address_released"
    ACCOUNT_CHANGE = "account_change"
    ACCOUNT_CHANGE_TEXT = "account_change_text"
    ACCOUNT_CHANGE_STOPPED = "account_change_stopped"


class Notice(StrEnum):
    """What a notice says to have happened with its reader's account; each has its own words in the template."""

    NEW_DEVICE = "new_device"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 -- the name of a notice
    PASSWORD_RESET = "password_reset"  # noqa: S105 -- the name of a notice
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_CHANGED = "email_changed"
    PHONE_CHANGED = "phone_changed"
    PHONE_RESET = "phone_reset"
    SIGN_IN_LOCKED = "sign_in_locked"
    DEVICE_ENDED = "device_ended"
    PASSWORD_ENDED = "password_ended"  # noqa: S105 -- the name of a notice
    CODES_LOCKED = "codes_locked"
    CODES_ENDED = "codes_ended"
    ACCESS_LEVEL_CHANGED = "access_level_changed"
    ACCOUNT_CHANGE_STOPPED = "account_change_stopped"
    NAME_CORRECTED = "name_corrected"
    UNLOCKED = "unlocked"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"


_LANES = {
    Kind.VERIFY_EMAIL: LANE_URGENT,
    Kind.SIGN_UP_KNOWN: LANE_URGENT,
    Kind.PRACTICE_ACCESS_CODE: LANE_URGENT,
    Kind.INVITATION: LANE_BULK,
    Kind.SECURITY_CODE: LANE_CODES,
    Kind.NOTICE: LANE_URGENT,
    Kind.PASSWORD_RESET: LANE_URGENT,
    Kind.EMAIL_CHANGE: LANE_URGENT,
    Kind.EMAIL_CHANGED: LANE_URGENT,
    Kind.PHONE_NOTICE: LANE_CODES,  # the lane of texts
    Kind.SUBSCRIPTION: LANE_BULK,
    Kind.EMERGENCY_ACCESS: LANE_URGENT,
    Kind.INVITATION_REMINDER: LANE_BULK,
    Kind.INVITATIONS_ENDING: LANE_BULK,
    Kind.INVITATION_PENDING: LANE_URGENT,
    Kind.INVITATIONS_ENDED: LANE_BULK,
    Kind.ADDRESS_RELEASED: LANE_URGENT,
    Kind.ACCOUNT_CHANGE: LANE_URGENT,
    Kind.ACCOUNT_CHANGE_TEXT: LANE_CODES,  # the lane of texts
    Kind.ACCOUNT_CHANGE_STOPPED: LANE_URGENT,
}

# What somebody who was blocked is told all the same: blocking must not hide what others changed about the account.
TOLD_WHEN_BLOCKED = (Kind.ACCOUNT_CHANGE, Kind.ACCOUNT_CHANGE_TEXT, Kind.EMAIL_CHANGED)

# What there is to count: mails in every lane but that of texts and calls.
COMBINATIONS = [
    (channel, kind)
    for kind, lane in _LANES.items()
    for channel in ((Channel.SMS, Channel.VOICE) if lane == LANE_CODES else (Channel.EMAIL,))
]

# While versions change, a newer one may queue what this one cannot make: that is left for a worker that can.
_KNOWN_KINDS = [kind.value for kind in Kind]

_bell: Callable[[], None] | None = None


def on_commit_ring(bell: Callable[[], None] | None) -> None:
    """Set what is called after each commit that queued something. It must return at once and never raise."""
    global _bell  # noqa: PLW0603 -- one bell a process, set where the process is put together
    _bell = bell


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to queue. subject_id: the row it is about. expires_at: it is not sent after that. notice: for Kind.NOTICE."""

    kind: Kind
    subject_id: UUID
    expires_at: datetime
    channel: Channel = Channel.EMAIL
    practice_id: UUID | None = None
    user_id: UUID | None = None
    notice: Notice | None = None


async def queue(*messages: Message) -> list[UUID]:
    """Promise messages in the transaction under way, one row each; the ids of the deliveries, in order."""
    ids = [uuid7() for _ in messages]
    await database.execute(
        """
        INSERT INTO deliveries (id, practice_id, user_id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at,
            notice, request_id, traceparent)
        SELECT m.id, m.practice_id, m.user_id, m.subject_id, m.kind, m.channel, m.lane, 'QUEUED', 0, clock_now(), clock_now(), m.expires_at,
            m.notice, $10, $11
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::smallint[], $8::timestamptz[],
            $9::text[]) AS m (id, practice_id, user_id, subject_id, kind, channel, lane, expires_at, notice)
        """,
        ids,
        [message.practice_id for message in messages],
        [message.user_id for message in messages],
        [message.subject_id for message in messages],
        [message.kind.value for message in messages],
        [message.channel.value for message in messages],
        [_LANES[message.kind] for message in messages],
        [message.expires_at for message in messages],
        [message.notice.value if message.notice else None for message in messages],
        request_ids.current(),
        tracing.traceparent(),
    )
    database.after_commit(_ring)
    return ids


async def queue_again(delivery_id: UUID) -> UUID:
    """Promise what a dead row promised once more, in the transaction under way, as a row of its own; its id.

    It has as long as the first one had. A unique index lets it happen once.
    """
    new_id = uuid7()
    await database.execute(
        """
        INSERT INTO deliveries (id, practice_id, user_id, subject_id, kind, channel, lane, status, attempts, queued_at, due_at, expires_at,
            notice, redelivery_of, occurred_at)
        SELECT $2, practice_id, user_id, subject_id, kind, channel, lane, 'QUEUED', 0, clock_now(), clock_now(),
            clock_now() + (expires_at - queued_at), notice, id, coalesce(occurred_at, queued_at)
        FROM deliveries WHERE id = $1
        """,
        delivery_id,
        new_id,
    )
    database.after_commit(_ring)
    return new_id


def _ring() -> None:
    if _bell is not None:
        _bell()


_CANCEL = """
    UPDATE deliveries SET status = 'CANCELED', problem = $2
    WHERE status IN ('QUEUED', 'RETRYING') AND kind <> ALL($3::text[]) AND {} = $1
    RETURNING id, channel, kind, attempts, request_id, extract(epoch FROM clock_now() - queued_at)::float8 AS seconds
"""
CANCEL_BY_USER, CANCEL_BY_SUBJECT = _CANCEL.format("user_id"), _CANCEL.format("subject_id")


async def cancel(
    *, user_id: UUID | None = None, subject_id: UUID | None = None, reason: str, keep: Sequence[Kind] = ()
) -> int:
    """Call back what is still waiting for a user, or else about a subject, in the transaction under way; how many rows.

    keep: what goes out all the same. A message that a worker has in hand is not touched here: the worker looks at its subject once more and settles it.
    """
    rows = await database.fetch(
        CANCEL_BY_SUBJECT if user_id is None else CANCEL_BY_USER,
        subject_id if user_id is None else user_id,
        reason,
        [kind.value for kind in keep],
    )
    database.after_commit(partial(_note_canceled, rows))
    return len(rows)


def _note_canceled(rows: Sequence[database.Row]) -> None:
    for row in rows:
        delivery_log.note(
            row["id"],
            channel=Channel(row["channel"]),
            kind=row["kind"],
            attempt=row["attempts"],
            status=DeliveryStatus.CANCELED,
            seconds=row["seconds"],
            request_id=row["request_id"],
        )


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that one worker may send now. attempt: 1 for the first. owner: what settling it asks for.

    lost: how many workers ended with it in hand and wrote nothing down. carrier: the one that was asked last, for texts and calls.
    awaited_key_id: the server key that it has waited for, if it has.
    due_at: since when it was due.
    """

    id: UUID
    kind: Kind
    channel: Channel
    subject_id: UUID
    user_id: UUID | None
    attempt: int
    queued_at: datetime
    expires_at: datetime
    owner: UUID
    lost: int = 0
    carrier: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    awaited_key_id: str | None = None
    due_at: datetime | None = None


def _key_is_here(parameter: str) -> str:
    """The condition that keeps a worker from what another worker of its ring could not make. parameter: of the ring's key ids, text[].

    What has run out meanwhile may be taken by anybody: it is ended without being made.
    """
    return f"(awaited_key_id IS NULL OR awaited_key_id = ANY({parameter}::text[]) OR expires_at <= clock_now())"


def _keys_here() -> list[str]:
    return list(secrets.ring().keys)


# Oldest first among what is due, by channel: an index has each channel's in this order, so it is read no further than it is taken.
_LATE = f"""
    SELECT d.id, d.due_at,
        (SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = d.id AND a.finished_at IS NULL) AS lost
    FROM unnest($7::text[]) AS c (channel) CROSS JOIN LATERAL (
        SELECT id, due_at FROM deliveries
        WHERE lane = $1 AND channel = c.channel AND status = 'SENDING' AND due_at <= clock_now() AND kind = ANY($5::text[])
            AND {_key_is_here("$10")}
        ORDER BY due_at LIMIT least($2, $8::int) FOR UPDATE SKIP LOCKED
    ) d
    WHERE $6 ORDER BY d.due_at LIMIT least($2, $8::int)
"""  # noqa: S608 -- a condition with a parameter
_FRESH = f"""
    SELECT d.id, d.due_at
    FROM unnest($7::text[]) AS c (channel) CROSS JOIN LATERAL (
        SELECT id, due_at FROM deliveries
        WHERE lane = $1 AND channel = c.channel AND status IN ('QUEUED', 'RETRYING') AND due_at <= clock_now()
            AND due_at >= coalesce($9::timestamptz, '-infinity') AND kind = ANY($5::text[])
            AND {_key_is_here("$10")}
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) d
    WHERE NOT EXISTS (SELECT FROM suspect) ORDER BY d.due_at LIMIT $2
"""  # noqa: S608 -- a condition with a parameter
CLAIM = f"""
    WITH late AS ({_LATE}), suspect AS (
        SELECT id, due_at FROM late WHERE lost <= 1 UNION ALL
        (SELECT id, due_at FROM late WHERE NOT EXISTS (SELECT FROM late WHERE lost <= 1) ORDER BY due_at LIMIT 1)
    ), fresh AS ({_FRESH}), taken AS (
        UPDATE deliveries d SET status = 'SENDING', attempts = d.attempts + 1, lease_owner = $3,
            due_at = clock_now() + $4 * interval '1 second'
        FROM (TABLE suspect UNION ALL TABLE fresh) due WHERE d.id = due.id
        RETURNING d.id, d.kind, d.channel, d.subject_id, d.user_id, d.attempts, d.queued_at, d.expires_at, d.carrier,
            d.request_id, d.traceparent, d.awaited_key_id, due.due_at,
            (SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = d.id AND a.finished_at IS NULL) AS lost
    ), noted AS (
        INSERT INTO delivery_attempts (id, delivery_id, number, lease_owner, started_at)
        SELECT gen_random_uuid(), id, attempts, $3, clock_now() FROM taken
    )
    SELECT * FROM taken ORDER BY queued_at
"""  # noqa: S608 -- constants


async def claim(
    lane: int,
    *,
    at_most: int,
    lease_seconds: float,
    channels: Sequence[Channel] = tuple(Channel),
    suspects: bool = True,
    since: datetime | None = None,
) -> list[Claimed]:
    """Take due rows of a lane for the next lease_seconds, oldest first, each with an attempt that is counted from here on.

    Rows whose worker died are due again when its lease is over. What it died of may be among them: they are taken apart from the
    others, a few together, and each alone once a second worker has died with it. suspects: whether they may be taken now; otherwise it
    is up to at_most of the others. What waits for a server key that this process lacks is left alone. since: pass over what was due before
    that, and suspects too, for a caller that has just taken all of it. Time is the database's. One statement: no row goes to two workers.
    """
    owner = uuid4()
    rows = await database.fetch(
        CLAIM,
        lane,
        at_most,
        owner,
        lease_seconds,
        _KNOWN_KINDS,
        suspects and since is None,
        [channel.value for channel in channels],
        SUSPECTS_TOGETHER,
        since,
        _keys_here(),
    )
    return [
        Claimed(
            row["id"],
            Kind(row["kind"]),
            Channel(row["channel"]),
            row["subject_id"],
            row["user_id"],
            row["attempts"],
            row["queued_at"],
            row["expires_at"],
            owner,
            row["lost"],
            row["carrier"],
            request_id=row["request_id"],
            traceparent=row["traceparent"],
            awaited_key_id=row["awaited_key_id"],
            due_at=row["due_at"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one claimed row.

    status: SENT, RETRYING, FAILED, BOUNCED or CANCELED. retry_after_seconds: for RETRYING. attempt_counts: False gives the attempt
    back, for a fault that is not the row's own (the relay's password is wrong, say). problem: short, for an administrator. fault: whose it
    is. cause: for the log, without anything personal. refusal: what counts towards a pause of the channel. awaited_key_id: for RETRYING,
    the server key that this process lacks: the message is left to one that has it.
    """

    row: Claimed
    status: DeliveryStatus
    retry_after_seconds: float = 0.0
    attempt_counts: bool = True
    recipient: str | None = None
    provider_id: str | None = None
    problem: str | None = None
    fault: Fault | None = None
    cause: str | None = None
    refusal: Refusal | None = None
    awaited_key_id: str | None = None


async def settle(outcomes: Sequence[Outcome]) -> int:
    """Write down what became of claimed rows, each only while its claim still holds; how many that was.

    A RETRYING row whose next try would come after its end fails here and now. Writes for what bounced: `bounced_addresses.note`; for what
    was refused or taken: `channel_pauses`.
    """
    if not outcomes:
        return 0
    bounced = {outcome.row.id for outcome in outcomes if outcome.status is DeliveryStatus.BOUNCED}
    if bounced:
        async with database.transaction():
            settled = await _settle(outcomes)
            await bounced_addresses.note([row["id"] for row in settled if row["id"] in bounced])
    else:
        settled = await _settle(outcomes)
    _note_settled(outcomes, settled)
    await _note_channels(outcomes)
    return len(settled)


async def _note_channels(outcomes: Sequence[Outcome]) -> None:
    """Pause a channel or let it go on. Apart from the outcomes, which are written down already: nobody waits for rows that all share."""
    taken = {outcome.row.channel for outcome in outcomes if outcome.status is DeliveryStatus.SENT}
    try:
        paused = await channel_pauses.note_refused([one.refusal for one in outcomes if one.refusal is not None])
        # Texts and calls have breakers of their own: their carriers say plainly what is about the account.
        resumed = await channel_pauses.note_accepted(taken & {Channel.EMAIL})
    except Exception as error:  # noqa: BLE001 -- the next refusal or success tells it again
        logger.warning("What a relay refused or took cannot be noted: %s", type(error).__name__)
        return
    for refusal in paused:
        logger.error(
            "%s is paused: the relay refuses everybody's messages (%s). One a minute is tried",
            refusal.channel.value,
            refusal.code,
        )
    for channel in resumed:
        logger.warning("%s goes on: the relay takes messages again", channel.value)


async def _settle(outcomes: Sequence[Outcome]) -> list[database.Row]:
    settled = await database.fetch(
        """
        WITH o AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::bool[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[])
                AS o (id, owner, status, retry_after, counts, recipient, provider_id, problem, fault, awaited_key_id)
        ), done AS (
            UPDATE deliveries d SET
                status = CASE
                    WHEN d.reported_status = 'DELIVERED' OR d.reported_status = 'BOUNCED' AND d.channel = 'EMAIL' THEN d.reported_status
                    WHEN o.status = 'RETRYING' AND clock_now() + o.retry_after * interval '1 second' >= d.expires_at THEN 'FAILED'
                    WHEN o.status = 'SENT' THEN coalesce(d.reported_status, 'SENT')
                    ELSE o.status
                END,
                unanswered = CASE WHEN o.status = 'RETRYING' THEN d.unanswered ELSE 0 END,
                attempts = d.attempts - CASE WHEN o.counts THEN 0 ELSE 1 END,
                due_at = clock_now() + o.retry_after * interval '1 second',
                sent_at = CASE WHEN o.status = 'SENT' OR d.reported_status = 'DELIVERED' THEN clock_now() ELSE d.sent_at END,
                recipient = coalesce(o.recipient, d.recipient),
                provider_id = coalesce(o.provider_id, d.provider_id),
                problem = CASE
                    WHEN d.reported_status = 'DELIVERED' OR d.reported_status = 'BOUNCED' AND d.channel = 'EMAIL' THEN d.reported_problem
                    WHEN o.status = 'SENT' THEN d.reported_problem
                    ELSE o.problem
                END,
                fault = CASE
                    WHEN d.reported_status = 'DELIVERED' THEN NULL
                    WHEN d.reported_status = 'BOUNCED' AND d.channel = 'EMAIL' THEN d.fault
                    WHEN o.status = 'SENT' THEN CASE WHEN d.reported_status IS NOT NULL THEN d.fault END
                    ELSE o.fault
                END,
                awaited_key_id = o.awaited_key_id,
                lease_owner = NULL
            FROM o WHERE d.id = o.id AND d.lease_owner = o.owner
            RETURNING d.id, o.owner, d.status, o.problem, extract(epoch FROM clock_now() - d.queued_at)::float8 AS seconds
        ), noted AS (
            UPDATE delivery_attempts a SET finished_at = clock_now(), outcome = done.status, detail = done.problem
            FROM done WHERE a.delivery_id = done.id AND a.lease_owner = done.owner
        )
        SELECT id, status, seconds FROM done
        """,
        [outcome.row.id for outcome in outcomes],
        [outcome.row.owner for outcome in outcomes],
        [outcome.status.value for outcome in outcomes],
        [outcome.retry_after_seconds for outcome in outcomes],
        [outcome.attempt_counts for outcome in outcomes],
        [outcome.recipient for outcome in outcomes],
        [outcome.provider_id for outcome in outcomes],
        [outcome.problem[:MAX_PROBLEM_LENGTH] if outcome.problem else None for outcome in outcomes],
        [outcome.fault.value if outcome.fault else None for outcome in outcomes],
        [outcome.awaited_key_id for outcome in outcomes],
    )
    if len(settled) < len(outcomes):
        logger.warning("%d deliveries were settled by another worker first", len(outcomes) - len(settled))
    return settled


def _note_settled(outcomes: Sequence[Outcome], settled: Sequence[database.Row]) -> None:
    by_id = {outcome.row.id: outcome for outcome in outcomes}
    for found in settled:
        outcome = by_id[found["id"]]
        row, status = outcome.row, DeliveryStatus(found["status"])
        if status is DeliveryStatus.RETRYING and outcome.problem is None:
            continue  # given back without having been tried
        delivery_log.note(
            row.id,
            channel=row.channel,
            kind=row.kind.value,
            attempt=row.attempt,
            status=status,
            seconds=found["seconds"],
            request_id=row.request_id,
        )
        delivery_log.note_fault(row.id, channel=row.channel, fault=outcome.fault, cause=outcome.cause)


async def begin(row: Claimed, carrier: str) -> int | None:
    """Write down that a carrier is asked to take a claimed row, before it is; how many tries there are now whose end nobody knows.

    None when the row is not the claim's any more, or has arrived after all. That an earlier try failed is forgotten: it is no news of
    this one.
    """
    begun = await database.fetch_one(
        """
        UPDATE deliveries SET carrier = $3, unanswered = unanswered + 1, reported_status = NULL, reported_problem = NULL
        WHERE id = $1 AND lease_owner = $2 AND status = 'SENDING' AND reported_status IS DISTINCT FROM 'DELIVERED'
        RETURNING unanswered
        """,
        row.id,
        row.owner,
        carrier,
    )
    return begun["unanswered"] if begun else None


async def answered(row: Claimed) -> None:
    """The carrier that was asked said no: that try's end is known."""
    await database.execute(
        "UPDATE deliveries SET unanswered = greatest(unanswered - 1, 0) WHERE id = $1 AND lease_owner = $2",
        row.id,
        row.owner,
    )


# What has not been told yet, and what ran out. Whatever was told is not read again.
_UNTOLD = """
    SELECT d.id FROM unnest($4::text[]) AS k (kind) CROSS JOIN LATERAL (
        SELECT id FROM deliveries
        WHERE channel = $2 AND kind = k.kind AND status = 'QUEUED' AND lane = $1 AND due_at <= clock_now()
        ORDER BY queued_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    ) d LIMIT 1000
"""
_GIVEN_BACK = """
    SELECT id FROM deliveries
    WHERE lane = $1 AND channel = $2 AND status = 'RETRYING' AND problem IS NULL AND due_at <= clock_now() AND kind = ANY($4::text[])
    ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
"""
_RUN_OUT = """
    SELECT id FROM deliveries
    WHERE lane = $1 AND channel = $2 AND status IN ('QUEUED', 'RETRYING') AND expires_at <= clock_now() AND due_at <= clock_now()
        AND kind = ANY($4::text[])
    ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
"""
TELL_WAITING = f"""
    WITH untold AS ({_UNTOLD}), given_back AS ({_GIVEN_BACK}), run_out AS ({_RUN_OUT})
    UPDATE deliveries d SET problem = $3, status = CASE WHEN expires_at <= clock_now() THEN 'FAILED' ELSE 'RETRYING' END
    WHERE d.id = ANY(ARRAY(TABLE untold UNION TABLE given_back UNION TABLE run_out))
    RETURNING d.id, d.kind, d.attempts, d.status, d.request_id, extract(epoch FROM clock_now() - d.queued_at)::float8 AS seconds
"""  # noqa: S608 -- constants


async def tell_waiting(lane: int, channel: Channel, problem: str) -> int:
    """Say of messages whose channel is left alone why they wait, and end those that ran out meanwhile; how many that was.

    They stay due: another process may be able to send them. A few thousand at once at most.
    """
    told = await database.fetch(
        TELL_WAITING,
        lane,
        channel.value,
        problem[:MAX_PROBLEM_LENGTH],
        _KNOWN_KINDS,
    )
    for row in told:
        if row["status"] == DeliveryStatus.FAILED:
            delivery_log.note(
                row["id"],
                channel=channel,
                kind=row["kind"],
                attempt=row["attempts"],
                status=DeliveryStatus.FAILED,
                seconds=row["seconds"],
                request_id=row["request_id"],
            )
    return len(told)


NOBODY_SENT_IT = "No worker could send it while it was good."
KEY_TOO_LATE = "No worker had the server key that it was made with while it was good."
OVERDUE = "interval '1 hour'"  # a worker that is there has called it off long before
END_OVERDUE = f"""
    WITH overdue AS (
        SELECT d.id FROM unnest($2::smallint[]) AS l (lane) CROSS JOIN unnest($3::text[]) AS c (channel) CROSS JOIN LATERAL (
            SELECT id FROM deliveries
            WHERE lane = l.lane AND channel = c.channel AND status IN ('QUEUED', 'RETRYING', 'SENDING')
                AND expires_at < clock_now() - {OVERDUE} AND (status <> 'SENDING' OR due_at < clock_now() - {OVERDUE})
            ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) d
    )
    UPDATE deliveries d SET lease_owner = NULL,
        status = CASE WHEN d.reported_status = 'DELIVERED' THEN 'DELIVERED' ELSE 'FAILED' END,
        sent_at = CASE WHEN d.reported_status = 'DELIVERED' THEN clock_now() ELSE d.sent_at END,
        problem = CASE WHEN d.reported_status = 'DELIVERED' THEN NULL
            ELSE coalesce(d.reported_problem, CASE WHEN d.awaited_key_id IS NULL THEN $1 ELSE $4 END) END
    WHERE d.id = ANY(ARRAY(TABLE overdue))
    RETURNING d.id, d.kind, d.channel, d.attempts, d.status, d.request_id, extract(epoch FROM clock_now() - d.queued_at)::float8 AS seconds
"""  # noqa: S608 -- constants


async def end_overdue() -> int:
    """End what nobody took in all its time, such as a message of a version that is gone again; how many. For the schedule.

    Also where it would be due later only, or its worker died: it is of no use any more.
    """
    ended = await database.fetch(
        END_OVERDUE, NOBODY_SENT_IT, list(LANES), [channel.value for channel in Channel], KEY_TOO_LATE
    )
    for row in ended:
        delivery_log.note(
            row["id"],
            channel=Channel(row["channel"]),
            kind=row["kind"],
            attempt=row["attempts"],
            status=DeliveryStatus(row["status"]),
            seconds=row["seconds"],
            request_id=row["request_id"],
        )
    return len(ended)


SECONDS_UNTIL_DUE = f"""
    SELECT extract(epoch FROM min(d.due_at) - clock_now())::float8 AS seconds
    FROM unnest($1::smallint[]) AS l (lane) CROSS JOIN unnest($3::text[]) AS c (channel) CROSS JOIN LATERAL (
        SELECT due_at FROM deliveries
        WHERE lane = l.lane AND channel = c.channel AND status IN ('QUEUED', 'RETRYING', 'SENDING') AND kind = ANY($2::text[])
            AND {_key_is_here("$4")}
        ORDER BY due_at LIMIT 1
    ) d
"""  # noqa: S608 -- a condition with a parameter


async def seconds_until_due(lanes: Sequence[int], channels: Sequence[Channel] = tuple(Channel)) -> float | None:
    """How long until the next row of these lanes is due that this process may claim, 0 when one is; None when there is none."""
    row = await database.fetch_one(
        SECONDS_UNTIL_DUE, list(lanes), _KNOWN_KINDS, [channel.value for channel in channels], _keys_here()
    )
    seconds = row["seconds"] if row else None
    return None if seconds is None else max(0.0, seconds)


async def renew(owners: Sequence[UUID], *, lease_seconds: float) -> None:
    """Keep the rows of these claims for another lease_seconds from now, as far as they are still theirs."""
    await database.execute(
        "UPDATE deliveries SET due_at = clock_now() + $2 * interval '1 second'"
        " WHERE lease_owner = ANY($1::uuid[]) AND status = 'SENDING' AND due_at > clock_now()",
        list(owners),
        lease_seconds,
    )
