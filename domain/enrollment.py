"""Setting up an account, step by step, by way of an invitation or of a sign-up.

The order of the steps is a column that only conditional updates move, and whatever the enrollment rests on is read again at each
step: an invitation that was revoked, resent or has run out ends it there and then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain import access_code_guesses, audit, database, finished_enrollments, guesses, link_tokens, secrets
from domain.actors import Actor
from domain.addresses import masked_phone
from domain.audit import Action
from domain.database import Row
from domain.errors import (
    EmailInUse,
    EnrollmentInvalid,
    LinkExpired,
    LinkInvalid,
    SignedInAlready,
    StepOutOfOrder,
    SubscriptionLapsed,
)
from domain.models.columns import EnrollmentStep, SubscriptionStatus, new_nonce, uuid7

LIFETIME = timedelta(hours=1)
# Ten wrong codes end a link; a new one has to be asked for, which the administrator notices.
PAC_PER_LINK = guesses.Limit(in_a_row=10, lock_seconds=guesses.DAY_SECONDS, disabled_after=10)

_OPEN = """
    e.ended_at IS NULL AND e.expires_at > clock_now()
    AND (i.id IS NULL OR (i.state = 'PENDING' AND i.expires_at > clock_now()))
    AND (s.id IS NULL OR s.completed_at IS NULL)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where somebody stands. token: stands for the person until the password is set. phone: masked."""

    token: str
    next_step: EnrollmentStep
    phone: str | None
    expires_at: datetime


async def find(token: str) -> Progress | None:
    """Where an enrollment stands, DONE for an hour after its end; None when the token is not, or no longer, good. Writes nothing."""
    row = await find_row(token) or await finished_enrollments.find(token)
    return progress(row) if row is not None else None


async def find_row(token: str) -> Row | None:
    """The open enrollment of a token with what it rests on: names, practice, address, and `account_key` for counters."""
    row_id = secrets.link_row_id(token)
    if row_id is None:
        return None
    row = await database.fetch_one(
        f"""
        SELECT e.*, i.practice_id, i.user_id, coalesce(u.first_name, s.first_name) AS first_name,
            coalesce(u.last_name, s.last_name) AS last_name, coalesce(u.email, s.email) AS email,
            coalesce(u.email_canonical, s.email_canonical) AS email_canonical,
            coalesce(p.name, s.practice_name) AS practice_name,
            CASE WHEN i.id IS NULL THEN 'sign-up:' || s.id ELSE 'user:' || i.user_id END AS account_key
        FROM enrollments e LEFT JOIN invitations i ON i.id = e.invitation_id LEFT JOIN users u ON u.id = i.user_id
            LEFT JOIN practices p ON p.id = i.practice_id LEFT JOIN sign_ups s ON s.id = e.sign_up_id
        WHERE e.id = $1 AND {_OPEN}
        """,  # noqa: S608 -- the inserted text is the constant above
        row_id,
    )
    if row is None or not secrets.is_link_token(
        token, finished_enrollments.PURPOSE, row["id"], row["nonce"], row["key_id"]
    ):
        return None
    return row


async def require(token: str, *steps: EnrollmentStep) -> Row:
    """The open enrollment of a token, standing at one of these steps.

    Raises EnrollmentInvalid, StepOutOfOrder (DONE for an hour after the account was set up).
    """
    row = await find_row(token)
    if row is None and await finished_enrollments.find(token) is not None:
        raise StepOutOfOrder(EnrollmentStep.DONE)
    if row is None:
        raise EnrollmentInvalid
    if row["next_step"] not in steps:
        raise StepOutOfOrder(EnrollmentStep(row["next_step"]))
    return row


async def refuse_where_address_was_lost(token: str) -> None:
    """Raises EmailInUse for an enrollment that ended because somebody else set up an account with its address."""
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        """
        SELECT e.id, e.nonce, e.key_id, coalesce(u.email, s.email) AS email
        FROM enrollments e LEFT JOIN invitations i ON i.id = e.invitation_id LEFT JOIN users u ON u.id = i.user_id
            LEFT JOIN sign_ups s ON s.id = e.sign_up_id
        WHERE e.id = $1 AND e.next_step <> 'DONE'
            AND (s.completed_at IS NOT NULL OR i.state = 'REVOKED' AND i.end_reason = 'ADDRESS_IN_USE')
        """,
        row_id,
    )
    if row and secrets.is_link_token(token, finished_enrollments.PURPOSE, row["id"], row["nonce"], row["key_id"]):
        raise EmailInUse(row["email"], is_own_address=True)


async def hold(row: Row) -> None:
    """Lock an enrollment and what it rests on, in the transaction under way, and look once more that it is open.

    The invitation comes first, as everywhere: resending, revoking and deactivating lock it before its enrollment.
    Raises EnrollmentInvalid.
    """
    if row["invitation_id"] is not None:
        await database.fetch("SELECT 1 FROM invitations WHERE id = $1 FOR UPDATE", row["invitation_id"])
    found = await database.fetch_one(
        f"""
        SELECT e.id FROM enrollments e LEFT JOIN invitations i ON i.id = e.invitation_id LEFT JOIN sign_ups s ON s.id = e.sign_up_id
        WHERE e.id = $1 AND {_OPEN} FOR UPDATE OF e
        """,  # noqa: S608 -- the inserted text is the constant above
        row["id"],
    )
    if found is None:
        raise EnrollmentInvalid


async def accept(actor: Actor, token: str, practice_access_code: str) -> Progress:
    """Take up an invitation with its link (`link_tokens.read`) and the practice access code, as somebody typed it.

    Taking it up again before the account is set up leads to the same enrollment, and for an hour after that to the finished one. Every
    guess is counted before it is compared, on the link, the practice and the client's network. Raises LinkInvalid, LinkExpired,
    EmailInUse, SubscriptionLapsed, SignedInAlready, InputInvalid (cannot be a code: not counted), TooManyAttempts (retry_at None: the link has to be
    sent anew), PracticeAccessCodeIncorrect. Writes: enrollment, audit "invitation.opened".
    """
    token = await link_tokens.read(actor, "invitation", token)
    try:
        return await _accept(actor, token, practice_access_code)
    except LinkInvalid:
        finished = await _finished(token)
        if finished is None:
            raise
        return finished


async def _finished(token: str) -> Progress | None:
    """The finished enrollment that the link of an invitation led to. The access code is asked for no more: there is nothing to open."""
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one("SELECT id, nonce, key_id FROM invitations WHERE id = $1", row_id)
    if not row or not secrets.is_link_token(token, "invitation", row["id"], row["nonce"], row["key_id"]):
        return None
    found = await finished_enrollments.of_invitation(row["id"])
    return progress(found) if found is not None else None


async def _accept(actor: Actor, token: str, practice_access_code: str) -> Progress:
    row = await _invitation(token)
    user = (row["user_id"], row["name"])
    if actor.member is not None or actor.kept_out is not None:
        await _refuse(actor, row, "signed in as somebody else")
        raise SignedInAlready
    await access_code_guesses.guess(
        actor, row["practice_id"], user, practice_access_code, own_key=_link_key(row), own_limit=PAC_PER_LINK
    )
    async with database.transaction():
        held = await database.fetch_one(
            "SELECT id FROM invitations WHERE id = $1 AND nonce = $2 AND state = 'PENDING' AND expires_at > clock_now() FOR UPDATE",
            row["id"],
            row["nonce"],
        )
        if held is None:
            raise LinkInvalid
        result, is_new = await open_for(invitation_id=row["id"], until=row["expires_at"])
        if is_new:
            await audit.record(
                actor,
                Action.INVITATION_OPENED,
                practice_id=row["practice_id"],
                as_user=user,
                subject_id=row["user_id"],
                subject_name=row["name"],
            )
    return result


async def _invitation(token: str) -> Row:
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        """
        SELECT i.*, i.expires_at <= clock_now() AS is_expired, rtrim(u.first_name || ' ' || u.last_name) AS name, u.email, t.status,
            t.access_allowed, i.state = 'REVOKED' AND i.end_reason = 'ADDRESS_IN_USE'
                OR i.state = 'PENDING' AND EXISTS (SELECT FROM users o WHERE o.email_canonical = u.email_canonical AND o.holds_email) AS is_taken
        FROM invitations i JOIN users u ON u.id = i.user_id JOIN practice_standings t ON t.practice_id = i.practice_id
        WHERE i.id = $1
        """,
        row_id,
    )
    if not row or not secrets.is_link_token(token, "invitation", row["id"], row["nonce"], row["key_id"]):
        raise LinkInvalid
    if row["is_taken"]:
        raise EmailInUse(row["email"], is_own_address=True)
    if row["state"] != "PENDING":
        raise LinkInvalid
    if row["is_expired"]:
        raise LinkExpired
    if not row["access_allowed"]:
        raise SubscriptionLapsed(SubscriptionStatus(row["status"]))
    return row


def _link_key(row: Row) -> str:
    """A resend is a new link and an act of the administrator's, so it begins to count anew; the practice's count goes on."""
    return f"pac:link:{row['id']}:{row['nonce'].hex()[:16]}"


async def _refuse(actor: Actor, row: Row, reason: str) -> None:
    await audit.record(
        actor,
        Action.INVITATION_OPEN_REFUSED,
        practice_id=row["practice_id"],
        as_user=(row["user_id"], row["name"]),
        subject_id=row["user_id"],
        subject_name=row["name"],
        details={"reason": reason},
    )


async def open_for(
    *, invitation_id: UUID | None = None, sign_up_id: UUID | None = None, until: datetime | None = None
) -> tuple[Progress, bool]:
    """The one open enrollment of an invitation or a sign-up, and whether it was made just now; in the transaction under way.

    until: it ends then at the latest. A unique index keeps it the only one; whoever comes second gets the first one's.
    Raises LinkInvalid.
    """
    await database.execute(
        "UPDATE enrollments SET ended_at = clock_now()"
        " WHERE (invitation_id = $1 OR sign_up_id = $2) AND ended_at IS NULL AND expires_at <= clock_now()",
        invitation_id,
        sign_up_id,
    )
    made = await database.execute(
        """
        INSERT INTO enrollments (id, invitation_id, sign_up_id, next_step, nonce, key_id, expires_at, created_at)
        VALUES ($1, $2, $3, 'SEND_PHONE_CODE', $4, $5, least(clock_now() + $6::interval, $7), clock_now()) ON CONFLICT DO NOTHING
        """,
        uuid7(),
        invitation_id,
        sign_up_id,
        new_nonce(),
        secrets.newest_key_id(),
        LIFETIME,
        until,
    )
    rows = await database.fetch(
        "SELECT * FROM enrollments WHERE (invitation_id = $1 OR sign_up_id = $2) AND ended_at IS NULL",
        invitation_id,
        sign_up_id,
    )
    if not rows:  # the one that stood in the way was finished this very moment
        raise LinkInvalid
    return progress(rows[0]), bool(made)


async def end_for_invitations(invitation_ids: Sequence[UUID]) -> None:
    """End what is open on the way of these invitations, and the codes in it, in the transaction under way."""
    await database.execute(
        """
        WITH ended AS (
            UPDATE enrollments SET ended_at = clock_now() WHERE invitation_id = ANY($1::uuid[]) AND ended_at IS NULL RETURNING id
        )
        UPDATE security_codes SET superseded_at = clock_now()
        WHERE enrollment_id IN (SELECT id FROM ended) AND consumed_at IS NULL AND superseded_at IS NULL
        """,
        list(invitation_ids),
    )


def progress(row: Row) -> Progress:
    """What a client may see of an enrollment's row. Of a finished one not the phone: a link alone leads to it."""
    is_done = row["next_step"] == EnrollmentStep.DONE
    return Progress(
        token=secrets.link_token(finished_enrollments.PURPOSE, row["id"], row["nonce"], row["key_id"]),
        next_step=EnrollmentStep(row["next_step"]),
        phone=masked_phone(row["phone"]) if row["phone"] and not is_done else None,
        expires_at=row["expires_at"],
    )
