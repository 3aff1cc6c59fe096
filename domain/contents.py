"""What a delivery says and where it goes, looked up at the moment it is sent.

So a mail goes to the address that the row has now, carries the link that is good now, and is withdrawn when there is nothing left
to say. One statement a kind, whatever the number of rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from domain import bounced_addresses, database, invitation_ends, link_codes, outbox, secrets, users
from domain.database import Row
from domain.models.columns import ChallengePurpose, InvitationEnd
from domain.outbox import Claimed, Kind

EXPIRED = "It was no longer good when its turn came."
REPLACED = "A newer message took its place."
NOT_WANTED = "There was no need for it any more."
KEY_LOST = "The server key that it was made with is gone; send it again."
KEY_AWAITED = "It waits for a worker that has the server key that it was made with."

OFTEN_ENOUGH = "The same was mailed often enough already."

MOST_LEADS_A_DAY = 3  # mails that lead an invited person on, whoever asks for them
MOST_PEOPLE = 20  # named in one mail; the users tile has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a template is filled with. recipient: an e-mail address, or a number in E.164.

    link_token: what a link in it carries after `#token=`; link_code: the same for typing (`link_codes`). code: a security code, or a practice access code. purpose: what a
    security code's challenge is for; None for a phone that is proved for the first time. expires_at: of the link or code. Names
    are as people typed them. notice, occurred_at: for a notice, what happened and when; for one about the subscription, expires_at is
    when access ends or did. person_name: whom it is about, or who did it; is_about_reader: it is about whoever gets it. people: whose invitations are
    about to end, or have ended, the first ones by their end; further_people: how many more. end_reasons: for those that have ended, why.
    """

    recipient: str
    first_name: str = ""
    practice_name: str = ""
    inviter_name: str = ""
    time_zone: str = "UTC"
    link_token: str = ""
    link_code: str = ""
    notice: str = ""
    occurred_at: datetime | None = None
    code: str = ""
    purpose: ChallengePurpose | None = None
    expires_at: datetime | None = None
    person_name: str = ""
    is_about_reader: bool = False
    people: tuple[str, ...] = ()
    further_people: int = 0
    end_reasons: tuple[InvitationEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The message is not to be sent. reason: for an administrator."""

    reason: str


@dataclass(frozen=True, slots=True)
class KeyMissing:
    """The message cannot be made in this process, which lacks the server key; another one may be able to."""

    key_id: str


async def load(claimed: Sequence[Claimed]) -> dict[UUID, Content | Withdrawn | KeyMissing]:
    """The contents of claimed deliveries, by delivery id. Every id has an entry."""
    found: dict[UUID, Content | Withdrawn | KeyMissing] = {}
    late = {row.id: Withdrawn(outbox.KEY_TOO_LATE if row.awaited_key_id else EXPIRED) for row in claimed}
    for kind in {row.kind for row in claimed}:
        ids = [row.id for row in claimed if row.kind is kind]
        sql, describe = _KINDS[kind]
        for row in await database.fetch(sql, ids):
            try:
                found[row["delivery_id"]] = late[row["delivery_id"]] if row["is_late"] else describe(row)
            except secrets.KeyUnknown as unknown:
                found[row["delivery_id"]] = KeyMissing(unknown.key_id)
    return {row.id: found.get(row.id, Withdrawn(NOT_WANTED)) for row in claimed}


class _Link(TypedDict):
    link_token: str
    link_code: str


def _link(purpose: str, row: Row) -> _Link:
    """A row's link in both of its forms. Raises KeyUnknown."""
    secret = (purpose, row["id"], row["nonce"], row["key_id"])
    return {"link_token": secrets.link_token(*secret), "link_code": link_codes.make(*secret)}


def _sign_up_link(row: Row) -> Content | Withdrawn:
    if row["completed_at"] is not None:
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        **_link("verify-email", row),
        expires_at=row["expires_at"],
        time_zone=row["time_zone"],
    )


def _sign_up_known(row: Row) -> Content | Withdrawn:
    return Content(recipient=row["email"])


def _invitation(row: Row) -> Content | Withdrawn:
    if row["state"] != "PENDING":
        return Withdrawn(NOT_WANTED)
    if row["latest_delivery_id"] != row["delivery_id"]:
        return Withdrawn(REPLACED)
    return _invitation_content(row)


def _invitation_content(row: Row) -> Content | Withdrawn:
    if row["has_bounced"]:
        return Withdrawn(bounced_addresses.HELD_BACK)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        inviter_name=row["inviter_name"],
        time_zone=row["time_zone"],
        **_link("invitation", row),
        expires_at=row["expires_at"],
    )


def _invitation_reminder(row: Row) -> Content | Withdrawn:
    if row["state"] != "PENDING":
        return Withdrawn(NOT_WANTED)
    if row["reminder_id"] != row["delivery_id"]:
        return Withdrawn(REPLACED)
    return _invitation_content(row)


def _invitation_pending(row: Row) -> Content | Withdrawn:
    if row["state"] != "PENDING" or not row["access_allowed"]:
        return Withdrawn(NOT_WANTED)
    if row["is_too_soon"] or row["earlier"] >= MOST_LEADS_A_DAY:
        return Withdrawn(OFTEN_ENOUGH)
    return _invitation_content(row)


def _invitations_ending(row: Row) -> Content | Withdrawn:
    if not row["is_administrator"] or not row["people"]:
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        people=tuple(row["people"][:MOST_PEOPLE]),
        further_people=max(0, len(row["people"]) - MOST_PEOPLE),
        expires_at=row["first_end"],
    )


def _invitations_ended(row: Row) -> Content | Withdrawn:
    if not row["is_administrator"] or not row["people"]:
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        people=tuple(row["people"][:MOST_PEOPLE]),
        further_people=max(0, len(row["people"]) - MOST_PEOPLE),
        end_reasons=tuple(InvitationEnd(reason) for reason in row["reasons"][:MOST_PEOPLE]),
    )


def _address_released(row: Row) -> Content | Withdrawn:
    if row["address_released_at"] is None:
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        occurred_at=row["address_released_at"],
    )


def _practice_access_code(row: Row) -> Content | Withdrawn:
    if row["valid_until"] is not None:
        return Withdrawn(REPLACED)
    if row["status"] != "ACTIVE" or row["access_level"] != "ADMINISTRATOR":
        return Withdrawn(NOT_WANTED)
    code = secrets.practice_access_code(row["id"], row["nonce"], row["key_id"])
    return Content(recipient=row["email"], first_name=row["first_name"], practice_name=row["practice_name"], code=code)


def _notice(row: Row) -> Content | Withdrawn:
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        notice=row["notice"],
        occurred_at=row["occurred_at"],
    )


def _subscription(row: Row) -> Content | Withdrawn:
    if not row["is_still_so"] or not row["is_administrator"]:
        return Withdrawn(NOT_WANTED)
    if row["has_newer"]:
        return Withdrawn(REPLACED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        notice=row["kind"],
        expires_at=row["about"],
    )


def _emergency_access(row: Row) -> Content | Withdrawn:
    if not row["is_active"]:
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        occurred_at=row["occurred_at"],
        person_name=row["person_name"],
        is_about_reader=row["is_about_reader"],
    )


def _security_code(row: Row) -> Content | Withdrawn:
    if row["consumed_at"] is not None:
        return Withdrawn(NOT_WANTED)
    if row["superseded_at"] is not None:
        return Withdrawn(REPLACED)
    code = secrets.security_code(row["id"], row["nonce"], row["key_id"])
    purpose = ChallengePurpose(row["purpose"]) if row["purpose"] else None
    return Content(recipient=row["phone"], code=code, purpose=purpose, expires_at=row["expires_at"])


def _password_reset(row: Row) -> Content | Withdrawn:
    if row["used_at"] is not None or row["status"] != "ACTIVE":
        return Withdrawn(NOT_WANTED)
    if row["superseded_at"] is not None:
        return Withdrawn(REPLACED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        **_link("password-reset", row),
        expires_at=row["expires_at"],
    )


def _email_change(row: Row) -> Content | Withdrawn:
    if row["confirmed_at"] is not None or row["status"] != "ACTIVE":
        return Withdrawn(NOT_WANTED)
    if row["superseded_at"] is not None:
        return Withdrawn(REPLACED)
    if row["has_bounced"]:
        return Withdrawn(bounced_addresses.HELD_BACK)
    return Content(
        recipient=row["new_email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        **_link("confirm-email", row),
        expires_at=row["expires_at"],
    )


def _email_changed(row: Row) -> Content | Withdrawn:
    return Content(
        recipient=row["old_email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        occurred_at=row["confirmed_at"],
    )


def _phone_notice(row: Row) -> Content | Withdrawn:
    return Content(recipient=row["old_phone"], notice="phone_changed") if row["old_phone"] else Withdrawn(NOT_WANTED)


def _account_change(row: Row) -> Content | Withdrawn:
    # Somebody who was blocked in the meantime is told all the same: blocking must not hide what was changed before.
    if row["stopped_at"] is not None or row["status"] not in ("ACTIVE", "INACTIVE"):
        return Withdrawn(NOT_WANTED)
    what = "email_corrected" if row["kind"] == "EMAIL" else "phone_reset"
    return Content(
        recipient=row["old_email"] or row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        **_link("stop-change", row),
        notice="phone_reset_planned" if row["is_planned"] else what,
        person_name=row["changed_by"],
        occurred_at=row["effective_at"],
        expires_at=row["expires_at"],
    )


def _account_change_text(row: Row) -> Content | Withdrawn:
    """Only where the address changed has the text a link; see `account_changes.note`."""
    found = _account_change(row)
    phone = row["phone"] if row["kind"] == "EMAIL" else row["old_phone"]
    if isinstance(found, Withdrawn) or phone is None:
        return Withdrawn(NOT_WANTED)
    if row["kind"] == "EMAIL":
        return replace(found, recipient=phone)
    return replace(found, recipient=phone, link_token="", link_code="")


def _what_was_stopped(row: Row) -> str:
    if row["kind"] != "EMAIL":
        return "phone_reset"
    return "email_kept" if row["address_was_taken"] else "email_corrected"


def _account_change_stopped(row: Row) -> Content | Withdrawn:
    if row["level"] != "ADMINISTRATOR":
        return Withdrawn(NOT_WANTED)
    return Content(
        recipient=row["email"],
        first_name=row["first_name"],
        practice_name=row["practice_name"],
        time_zone=row["time_zone"],
        notice=_what_was_stopped(row),
        inviter_name=row["changed_by"],
        person_name=row["person_name"],
        occurred_at=row["stopped_at"],
    )


_SIGN_UP_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() OR s.expires_at <= clock_now() AS is_late, s.*
    FROM deliveries d JOIN sign_ups s ON s.id = d.subject_id WHERE d.id = ANY($1::uuid[])
"""
_INVITATION_SQL = f"""
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() OR i.expires_at <= clock_now() AS is_late,
        i.id, i.nonce, i.key_id, i.state, i.expires_at, i.delivery_id AS latest_delivery_id, i.reminder_id, i.last_send_at, i.practice_id,
        d.queued_at,
        u.email, u.first_name, p.name AS practice_name, p.time_zone, rtrim(a.first_name || ' ' || a.last_name) AS inviter_name,
        EXISTS (SELECT 1 FROM bounced_addresses x WHERE x.practice_id = i.practice_id AND x.email_canonical = u.email_canonical
            AND {bounced_addresses.IN_FORCE}) AS has_bounced
    FROM deliveries d JOIN invitations i ON i.id = d.subject_id JOIN users u ON u.id = i.user_id
        JOIN practices p ON p.id = i.practice_id JOIN users a ON a.id = i.invited_by_id
    WHERE d.id = ANY($1::uuid[])
"""  # noqa: S608 -- a constant
# Strangers can cause it: no sooner than a minute after another mail with the same link, and a few times a day. Those before it are told by
# the order in which they were queued, so two workers do not both send the last one.
_INVITATION_PENDING_SQL = f"""
    SELECT v.*, t.access_allowed, o.earlier, coalesce(o.is_too_soon, false) OR v.last_send_at + {users.COOL_DOWN} > v.queued_at AS is_too_soon
    FROM ({_INVITATION_SQL}) v JOIN practice_standings t ON t.practice_id = v.practice_id,
        LATERAL (
            SELECT count(*) AS earlier, bool_or(e.queued_at + {users.COOL_DOWN} > v.queued_at) AS is_too_soon
            FROM deliveries e
            WHERE e.subject_id = v.id AND e.kind = '{Kind.INVITATION_PENDING}' AND e.status NOT IN ('CANCELED', 'FAILED', 'BOUNCED')
                AND e.queued_at > v.queued_at - interval '1 day' AND (e.queued_at, e.id) < (v.queued_at, v.delivery_id)
        ) o
"""  # noqa: S608 -- constants
# Only those that are still about to end when it is sent; where all have joined meanwhile, nothing is.
_INVITATIONS_ENDING_SQL = f"""
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, u.email, u.first_name,
        u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR' AS is_administrator, p.name AS practice_name, p.time_zone,
        e.people, e.first_end
    FROM deliveries d JOIN users u ON u.id = d.user_id JOIN practices p ON p.id = u.practice_id,
        LATERAL (
            SELECT array_agg(rtrim(w.first_name || ' ' || w.last_name) ORDER BY i.expires_at, w.sort_name, w.id) AS people,
                min(i.expires_at) AS first_end
            FROM invitations i JOIN users w ON w.id = i.user_id
            WHERE i.practice_id = p.id AND {invitation_ends.ABOUT_TO_END}
        ) e
    WHERE d.id = ANY($1::uuid[])
"""  # noqa: S608 -- a constant
# Those that were marked as told of with this mail, and were not sent again since.
_INVITATIONS_ENDED_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, u.email, u.first_name,
        u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR' AS is_administrator, p.name AS practice_name, p.time_zone,
        e.people, e.reasons
    FROM deliveries d JOIN users u ON u.id = d.user_id JOIN practices p ON p.id = u.practice_id,
        LATERAL (
            SELECT array_agg(rtrim(w.first_name || ' ' || w.last_name) ORDER BY i.revoked_at, w.sort_name, w.id) AS people,
                array_agg(i.end_reason ORDER BY i.revoked_at, w.sort_name, w.id) AS reasons
            FROM invitations i JOIN users w ON w.id = i.user_id
            WHERE i.practice_id = p.id AND i.state = 'REVOKED' AND i.end_reason IS NOT NULL AND w.status = 'INVITED'
                AND w.removed_at IS NULL AND i.summarized_at >= coalesce(d.occurred_at, d.queued_at)
        ) e
    WHERE d.id = ANY($1::uuid[])
"""
_ADDRESS_RELEASED_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, u.email, u.first_name, u.address_released_at,
        p.name AS practice_name, p.time_zone
    FROM deliveries d JOIN users u ON u.id = d.subject_id JOIN practices p ON p.id = u.practice_id WHERE d.id = ANY($1::uuid[])
"""
_PRACTICE_ACCESS_CODE_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late,
        c.id, c.nonce, c.key_id, c.valid_until, u.email, u.first_name, u.status, u.access_level, p.name AS practice_name
    FROM deliveries d JOIN practice_access_codes c ON c.id = d.subject_id JOIN users u ON u.id = d.user_id
        JOIN practices p ON p.id = c.practice_id
    WHERE d.id = ANY($1::uuid[])
"""
_NOTICE_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, d.notice,
        coalesce(d.occurred_at, d.queued_at) AS occurred_at, u.email, u.first_name, p.name AS practice_name, p.time_zone
    FROM deliveries d JOIN users u ON u.id = d.user_id JOIN practices p ON p.id = u.practice_id WHERE d.id = ANY($1::uuid[])
"""
# A notice is as good as the day it is sent: nothing is said that was paid, put off or overtaken meanwhile.
_SUBSCRIPTION_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, n.kind, n.about, u.email, u.first_name,
        u.status = 'ACTIVE' AND u.access_level = 'ADMINISTRATOR' AS is_administrator, p.name AS practice_name, p.time_zone,
        coalesce(t.access_ends_at, s.updated_at) = n.about AND CASE n.kind
            WHEN 'LAPSED' THEN NOT t.access_allowed
            WHEN 'PAST_DUE' THEN t.status = 'PAST_DUE'
            ELSE t.status = 'TRIALING' END AS is_still_so,
        EXISTS (SELECT 1 FROM practice_notices o WHERE o.practice_id = n.practice_id AND o.about = n.about AND o.id > n.id) AS has_newer
    FROM deliveries d JOIN practice_notices n ON n.id = d.subject_id JOIN users u ON u.id = d.user_id
        JOIN practices p ON p.id = n.practice_id JOIN practice_standings t ON t.practice_id = p.id
        JOIN subscriptions s ON s.practice_id = p.id
    WHERE d.id = ANY($1::uuid[])
"""
_EMERGENCY_ACCESS_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late,
        coalesce(d.occurred_at, d.queued_at) AS occurred_at, u.email, u.first_name, u.status = 'ACTIVE' AS is_active, p.name AS practice_name, p.time_zone,
        rtrim(w.first_name || ' ' || w.last_name) AS person_name, w.id = u.id AS is_about_reader
    FROM deliveries d JOIN users w ON w.id = d.subject_id JOIN users u ON u.id = d.user_id JOIN practices p ON p.id = u.practice_id
    WHERE d.id = ANY($1::uuid[])
"""
_SECURITY_CODE_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() OR c.expires_at <= clock_now() AS is_late, c.*, h.purpose
    FROM deliveries d JOIN security_codes c ON c.id = d.subject_id LEFT JOIN challenges h ON h.id = c.challenge_id WHERE d.id = ANY($1::uuid[])
"""

_RESET_LINK_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() OR r.expires_at <= clock_now() AS is_late, r.*, u.email, u.first_name, u.status,
        p.name AS practice_name, p.time_zone
    FROM deliveries d JOIN password_resets r ON r.id = d.subject_id JOIN users u ON u.id = r.user_id
        JOIN practices p ON p.id = u.practice_id
    WHERE d.id = ANY($1::uuid[])
"""
_EMAIL_CHANGE_SQL = f"""
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, e.id, e.nonce, e.key_id, e.expires_at, e.email AS new_email,
        e.old_email, e.confirmed_at, e.superseded_at, u.first_name, u.status, p.name AS practice_name, p.time_zone,
        EXISTS (SELECT 1 FROM bounced_addresses x WHERE x.practice_id = u.practice_id AND x.email_canonical = e.email_canonical
            AND {bounced_addresses.IN_FORCE}) AS has_bounced
    FROM deliveries d JOIN email_changes e ON e.id = d.subject_id JOIN users u ON u.id = e.user_id
        JOIN practices p ON p.id = u.practice_id
    WHERE d.id = ANY($1::uuid[])
"""  # noqa: S608 -- a constant
_PHONE_NOTICE_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, c.old_phone
    FROM deliveries d JOIN challenges c ON c.id = d.subject_id WHERE d.id = ANY($1::uuid[])
"""

_ACCOUNT_CHANGE_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() OR c.expires_at <= clock_now() AS is_late, c.*,
        c.carried_out_at IS NULL OR c.effective_at > c.created_at AS is_planned, u.email, u.phone, u.first_name, u.status,
        p.name AS practice_name, p.time_zone
    FROM deliveries d JOIN account_changes c ON c.id = d.subject_id JOIN users u ON u.id = c.user_id
        JOIN practices p ON p.id = u.practice_id
    WHERE d.id = ANY($1::uuid[])
"""
_ACCOUNT_CHANGE_STOPPED_SQL = """
    SELECT d.id AS delivery_id, d.expires_at <= clock_now() AS is_late, c.kind, c.changed_by, c.address_was_taken,
        coalesce(c.stopped_at, d.queued_at) AS stopped_at,
        u.email, u.first_name, CASE WHEN u.status = 'ACTIVE' THEN u.access_level END AS level, p.name AS practice_name, p.time_zone,
        rtrim(w.first_name || ' ' || w.last_name) AS person_name
    FROM deliveries d JOIN account_changes c ON c.id = d.subject_id JOIN users w ON w.id = c.user_id JOIN users u ON u.id = d.user_id
        JOIN practices p ON p.id = u.practice_id
    WHERE d.id = ANY($1::uuid[])
"""

_KINDS: dict[Kind, tuple[str, Callable[[Row], Content | Withdrawn]]] = {
    Kind.VERIFY_EMAIL: (_SIGN_UP_SQL, _sign_up_link),
    Kind.SIGN_UP_KNOWN: (_SIGN_UP_SQL, _sign_up_known),
    Kind.INVITATION: (_INVITATION_SQL, _invitation),
    Kind.INVITATION_REMINDER: (_INVITATION_SQL, _invitation_reminder),
    Kind.INVITATION_PENDING: (_INVITATION_PENDING_SQL, _invitation_pending),
    Kind.INVITATIONS_ENDING: (_INVITATIONS_ENDING_SQL, _invitations_ending),
    Kind.INVITATIONS_ENDED: (_INVITATIONS_ENDED_SQL, _invitations_ended),
    Kind.ADDRESS_RELEASED: (_ADDRESS_RELEASED_SQL, _address_released),
    Kind.PRACTICE_ACCESS_CODE: (_PRACTICE_ACCESS_CODE_SQL, _practice_access_code),
    Kind.NOTICE: (_NOTICE_SQL, _notice),
    Kind.PASSWORD_RESET: (_RESET_LINK_SQL, _password_reset),
    Kind.EMAIL_CHANGE: (_EMAIL_CHANGE_SQL, _email_change),
    Kind.EMAIL_CHANGED: (_EMAIL_CHANGE_SQL, _email_changed),
    Kind.PHONE_NOTICE: (_PHONE_NOTICE_SQL, _phone_notice),
    Kind.SUBSCRIPTION: (_SUBSCRIPTION_SQL, _subscription),
    Kind.EMERGENCY_ACCESS: (_EMERGENCY_ACCESS_SQL, _emergency_access),
    Kind.SECURITY_CODE: (_SECURITY_CODE_SQL, _security_code),
    Kind.ACCOUNT_CHANGE: (_ACCOUNT_CHANGE_SQL, _account_change),
    Kind.ACCOUNT_CHANGE_TEXT: (_ACCOUNT_CHANGE_SQL, _account_change_text),
    Kind.ACCOUNT_CHANGE_STOPPED: (_ACCOUNT_CHANGE_STOPPED_SQL, _account_change_stopped),
}
