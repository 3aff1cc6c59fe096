"""The trail of what happened: written in the transaction of the act, or before a refusal is raised.

An action is `noun.verb` with the verb in the past; what was refused ends in `refused` and says why in its details. Every name that
can occur stands in `Action`. Details hold what a reader needs to understand the row and never a code, token, password or number.
At commit the database links each row to the one before it in its practice (`audit_chain.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from domain import database
from domain.actors import Actor
from domain.models.columns import uuid7


class Action(StrEnum):
    """Every action there is; docs/audit.md says what each means."""

    ACCESS_REFUSED = "access.refused"
    SIGN_UP_REQUESTED = "sign_up.requested"
    SIGN_UP_REFUSED = "sign_up.refused"
    EMAIL_VERIFIED = "email.verified"
    PRACTICE_CREATED = "practice.created"
    PAC_ISSUED = "practice_access_code.issued"
    PAC_ROTATED = "practice_access_code.rotated"
    PAC_EARLIER_ENDED = "practice_access_code.earlier_ended"
    PAC_SETTINGS_CHANGED = "practice_access_code.settings_changed"
    PAC_VIEWED = "practice_access_code.viewed"
    PAC_REFUSED = "practice_access_code.refused"
    INVITATION_SENT = "invitation.sent"
    INVITATION_REFUSED = "invitation.refused"
    INVITATION_RESENT = "invitation.resent"
    INVITATION_RESEND_REFUSED = "invitation.resend_refused"
    INVITATION_BOUNCED = "invitation.bounced"
    INVITATION_COMPLAINED_OF = "invitation.complained_of"
    BOUNCED_ADDRESS_LIFTED = "bounced_address.lifted"
    INVITATION_REVOKED = "invitation.revoked"
    INVITATION_DECLINED = "invitation.declined"
    INVITATION_ENDED = "invitation.ended"
    PRACTICE_UNKNOWN = "practice.unknown_to_invited"
    INVITATION_OPENED = "invitation.opened"
    INVITATION_OPEN_REFUSED = "invitation.open_refused"
    INVITATION_ACCEPTED = "invitation.accepted"
    CODE_SENT = "security_code.sent"
    CODE_REFUSED = "security_code.refused"
    CODE_BUDGET_USED_UP = "code_budget.used_up"
    MONEY_GUARD_TRIPPED = "money_guard.tripped"
    MONEY_GUARD_LIFTED = "money_guard.lifted"
    PHONE_VERIFIED = "phone.verified"
    PASSWORD_SET = "password.set"  # noqa: S105 -- the name of an action
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 -- the name of an action
    PASSWORD_REFUSED = "password.refused"  # noqa: S105 -- the name of an action
    PASSWORD_RESET_REQUESTED = "password_reset.requested"  # noqa: S105 -- the name of an action
    PASSWORD_RESET_REFUSED = "password_reset.refused"  # noqa: S105 -- the name of an action
    PASSWORD_RESET_SENT = "password_reset.sent"  # noqa: S105 -- the name of an action
    PASSWORD_RESET_STARTED = "password_reset.started"  # noqa: S105 -- the name of an action
    PASSWORD_RESET = "password.reset"  # noqa: S105 -- the name of an action
    EMAIL_CHANGE_REQUESTED = "email_change.requested"
    EMAIL_CHANGE_REFUSED = "email_change.refused"
    EMAIL_CHANGE_BOUNCED = "email_change.bounced"
    EMAIL_CHANGE_COMPLAINED_OF = "email_change.complained_of"
    EMAIL_CHANGED = "email.changed"
    PHONE_CHANGED = "phone.changed"
    PHONE_RESET = "phone.reset"
    PHONE_RESET_REFUSED = "phone.reset_refused"
    PHONE_RESET_PLANNED = "phone.reset_planned"
    EMAIL_CORRECTED = "email.corrected"
    EMAIL_CORRECTION_REFUSED = "email.correction_refused"
    ACCOUNT_CHANGE_STOPPED = "account_change.stopped"
    USER_HISTORY_VIEWED = "user.history_viewed"
    USER_UNLOCKED = "user.unlocked"
    USER_RENAMED = "user.renamed"
    RECOVERY_CODES_RENEWED = "recovery_codes.renewed"
    RECOVERY_CODE_USED = "recovery_code.used"
    RECOVERY_CODE_REFUSED = "recovery_code.refused"
    SESSION_RENEWED = "session.renewed"
    USER_ACTIVATED = "user.activated"
    USER_DEACTIVATED = "user.deactivated"
    USER_REACTIVATED = "user.reactivated"
    USER_REACTIVATION_REFUSED = "user.reactivation_refused"
    ADDRESS_RELEASED = "user.address_released"
    ADDRESS_RELEASE_REFUSED = "user.address_release_refused"
    ACCESS_LEVEL_CHANGED = "user.access_level_changed"
    ACCESS_LEVEL_REFUSED = "user.access_level_refused"
    USER_DEACTIVATION_REFUSED = "user.deactivation_refused"
    SIGN_IN_CHALLENGED = "sign_in.challenged"
    SIGN_IN_REFUSED = "sign_in.refused"
    SIGNED_IN = "session.started"
    SIGNED_OUT = "session.ended"
    ALL_SIGNED_OUT = "sessions.all_ended"
    SESSION_REFUSED = "session.refused"
    DEVICE_TRUSTED = "device.trusted"
    DEVICE_FORGOTTEN = "device.forgotten"
    INVITATION_REMINDED = "invitation.reminded"
    INVITATION_SUMMARY_SENT = "invitation.summary_sent"
    DELIVERY_REDELIVERED = "delivery.redelivered"
    DELIVERY_REDELIVERY_REFUSED = "delivery.redelivery_refused"
    DELIVERY_CANCELED = "delivery.canceled"
    DELIVERIES_CANCELED = "deliveries.canceled"
    SERVER_KEY_FORGOTTEN = "server_key.forgotten"
    AUDIT_LOG_VIEWED = "audit_log.viewed"
    AUDIT_LOG_VERIFIED = "audit_log.verified"
    AUDIT_LOG_EXPORTED = "audit_log.exported"
    AUDIT_LOG_CUT = "audit_log.cut"
    LOGIN_SETTINGS_CHANGED = "login_settings.changed"
    LOGIN_SETTINGS_REFUSED = "login_settings.refused"
    LOGIN_SETTINGS_RESET = "login_settings.reset"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_NOTICE_SENT = "subscription.notice_sent"
    EMERGENCY_ACCESS_GRANTED = "emergency_access.granted"

    @property
    def is_refusal(self) -> bool:
        """Whether it says that something did not happen."""
        return self.value.endswith("refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row to write. subject: whom it was done to. details: see the module."""

    action: Action
    subject_id: UUID | None = None
    subject_name: str | None = None
    details: dict[str, object] = field(default_factory=dict)


async def record(
    actor: Actor,
    action: Action,
    *,
    practice_id: UUID | None = None,
    subject_id: UUID | None = None,
    subject_name: str | None = None,
    as_user: tuple[UUID, str] | None = None,
    details: dict[str, object] | None = None,
) -> None:
    """Write one row, in the transaction under way if there is one; failing to write it fails the act.

    practice_id: the actor's where left out. as_user: id and name of the actor who is not signed in yet, such as somebody who is
    just signing in.
    """
    entry = Entry(action=action, subject_id=subject_id, subject_name=subject_name, details=details or {})
    await record_all(actor, [entry], practice_id=practice_id, as_user=as_user)


def record_after_rollback(actor: Actor, entry: Entry, *, practice_id: UUID | None = None) -> None:
    """Write one row about a refusal that undoes the transaction under way, once it is undone."""

    async def write() -> None:
        await record_all(actor, [entry], practice_id=practice_id)

    database.after_rollback(write)


async def record_all(
    actor: Actor, entries: Sequence[Entry], *, practice_id: UUID | None = None, as_user: tuple[UUID, str] | None = None
) -> None:
    """Write one row for each entry, as `record` does, by one statement."""
    await database.execute(_insert(0), *_values(actor, entries, practice_id, as_user))


async def record_with(
    actor: Actor, entry: Entry, change: str, *values: object, practice_id: UUID | None = None
) -> bool:
    """Make a change, and write one row if it changes anything, by one statement; whether it did.

    For rows that people of different practices share: they are locked for the length of a statement, and never while this process waits
    to send the next one. change: an INSERT, UPDATE or DELETE without RETURNING, with its values as $1, $2, …
    """
    written = await database.execute(
        f"WITH changed AS ({change} RETURNING 1) {_insert(len(values))} WHERE EXISTS (SELECT FROM changed)",
        *values,
        *_values(actor, [entry], practice_id, None),
    )
    return written > 0


def _insert(before: int) -> str:
    """The statement that writes rows. before: how many values come before its own."""
    practice, actor, actor_name, session, device, address, *columns = (f"${before + n}" for n in range(1, 12))
    ids, actions, subjects, subject_names, details = columns
    return f"""
        INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_user_id, actor_name, subject_user_id, subject_name,
            session_id, device_id, ip_address, details)
        SELECT e.id, {practice}, clock_now(), e.action, {actor}, {actor_name}, e.subject_id, e.subject_name, {session}, {device}, {address},
            e.details::jsonb
        FROM unnest({ids}::uuid[], {actions}::text[], {subjects}::uuid[], {subject_names}::text[], {details}::text[])
            AS e (id, action, subject_id, subject_name, details)
        """  # noqa: S608 -- numbers


def _values(
    actor: Actor, entries: Sequence[Entry], practice_id: UUID | None, as_user: tuple[UUID, str] | None
) -> tuple[object, ...]:
    member = actor.member
    actor_id, actor_name = as_user or ((member.user_id, member.name) if member else (None, actor.name))
    # Whoever signs in or joins may hold somebody else's session, even another practice's: that one is not theirs to be told of.
    own = member if member and member.user_id == actor_id else None
    return (
        practice_id or (member.practice_id if member else None),
        actor_id,
        _trimmed(actor_name),
        own.session_id if own else None,
        own.device_id if own else None,
        actor.ip_address or None,  # the operator and the schedule come from no address
        [uuid7() for _ in entries],
        [entry.action.value for entry in entries],
        [entry.subject_id for entry in entries],
        [_trimmed(entry.subject_name) for entry in entries],
        [json.dumps(entry.details) for entry in entries],
    )


def _trimmed(name: str | None) -> str | None:
    """Statements join a first and a last name by a space; of who has one name only, the space would be left."""
    return name.strip() if name else name
