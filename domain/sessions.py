"""Being signed in: who a token stands for, how a session begins and ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from domain import audit, database, devices, gate, login_settings, secrets
from domain.actors import Actor, KeptOut, Member
from domain.audit import Action
from domain.errors import SubscriptionLapsed
from domain.models.columns import AccessLevel, SubscriptionStatus, uuid7

MAX_TOKEN_LENGTH = 128
# A session's `last_used_at` is written at most this often, so that reading does not become writing.
TOUCH_SECONDS = 60
# How long ago a sign-in may be for acts that change who may do what.
FRESH = timedelta(minutes=10)
LAPSED = "subscription"  # why a session ended that still says so


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that has just begun. The tokens are handed out this once. device_token: None when the device is not to be remembered.

    recovery_codes: those that were made together with the account; None at every other sign-in.
    """

    session_token: str
    device_token: str | None
    expires_at: datetime
    user_id: UUID
    member: Member
    recovery_codes: tuple[str, ...] | None = None


# What lasts of a session `s` by the settings in force `l`: shorter ones hold for sessions that are open already.
EXPIRES_AT = "least(s.expires_at, s.created_at + l.session_hours * interval '1 hour')"
IS_OPEN = (
    f"s.ended_at IS NULL AND {EXPIRES_AT} > clock_now()"
    " AND s.last_used_at > clock_now() - l.idle_timeout_minutes * interval '1 minute'"
)
_MEMBER = f"u.id AS user_id, u.practice_id, u.first_name, u.last_name, {gate.COLUMNS}"


async def authenticate(token: str, ip_address: str) -> Member | KeptOut | None:
    """Whom a session token stands for right now, at this address; None when it is not, or no longer, good.

    Session, user, practice, subscription and settings are read together by one statement on every request, nothing is kept: whoever is
    deactivated is out with the next request. Outside the allowed hours and networks a session rests, and is not used; a lapsed
    subscription ends it, and its token says why for as long as that lasts. Writes: now and then sessions.last_used_at; once an hour
    audit "session.refused"; session and audit "session.ended" when the subscription has lapsed.
    """
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    row = await database.fetch_one(
        f"""
        SELECT s.id AS session_id, s.device_id, s.ended_at IS NOT NULL AS has_ended,
            s.last_used_at < clock_now() - $2 * interval '1 second' AS is_stale,
            coalesce(s.authenticated_at > clock_now() - $3::interval, false) AS is_fresh, {_MEMBER}
        FROM {gate.TABLES} JOIN sessions s ON s.user_id = u.id
        WHERE s.token_hash = $1 AND u.status = 'ACTIVE' AND (s.end_reason = '{LAPSED}' OR {IS_OPEN})
        """,  # noqa: S608 -- constants
        secrets.token_hash(token),
        float(TOUCH_SECONDS),
        FRESH,
    )
    if row is None or (row["has_ended"] and not gate.is_lapsed(row)):
        return None
    because = gate.closed(row, ip_address)
    if because is not None:
        return await _kept_out(Actor(ip_address=ip_address, member=_member(row)), because)
    if row["is_stale"]:
        await database.execute(
            "UPDATE sessions SET last_used_at = clock_now()"
            " WHERE id = $1 AND ended_at IS NULL AND last_used_at < clock_now() - $2 * interval '1 second'",
            row["session_id"],
            float(TOUCH_SECONDS),
        )
    return _member(row)


async def _kept_out(actor: Actor, because: gate.Closed) -> KeptOut:
    member = actor.signed_in()
    if isinstance(because, SubscriptionLapsed):
        action, change = Action.SIGNED_OUT, f"ended_at = clock_now(), end_reason = '{LAPSED}' WHERE ended_at IS NULL"
    else:
        # Not each time: a client that keeps asking must not fill the trail.
        action, change = (
            Action.SESSION_REFUSED,
            "refused_at = clock_now() WHERE coalesce(refused_at < clock_now() - interval '1 hour', true)",
        )
    async with database.transaction():
        if await database.execute(f"UPDATE sessions SET {change} AND id = $1", member.session_id):  # noqa: S608 -- the text above
            reason = gate.REASONS[type(because)]
            await audit.record(
                actor, action, subject_id=member.user_id, subject_name=member.name, details={"reason": reason}
            )
    return KeptOut(member=member, because=because)


def _member(row: database.Row) -> Member:
    return Member(
        user_id=row["user_id"],
        practice_id=row["practice_id"],
        session_id=row["session_id"],
        device_id=row["device_id"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        access_level=AccessLevel(row["access_level"]),
        subscription_status=SubscriptionStatus(row["subscription_status"]),
        access_allowed=row["access_allowed"],
        is_fresh=row["is_fresh"],
    )


async def start(
    actor: Actor, user_id: UUID, device: devices.Remembered | None, device_name: str, *, is_proved: bool
) -> SignedIn:
    """Begin a session for an active user, in the transaction under way.

    Every way of signing in ends here, so here is the gate. Whoever calls this has locked the user's row, so that a deactivation comes
    either before, and there is nothing to begin, or after, and ends this session too. is_proved: whether a code to the phone was given
    with the password; a known device alone makes no fresh sign-in (ASVS 7.5.1: nothing weaker counts). Raises SubscriptionLapsed, OutsideAllowedHours,
    NetworkNotAllowed; what was done in the transaction is undone then, but for the trail: audit "sign_in.refused".
    Writes: session, users.last_sign_in_at, audit "session.started".
    """
    rows = await database.fetch(f"SELECT {_MEMBER} FROM {gate.TABLES} WHERE u.id = $1", user_id)  # noqa: S608 -- constants
    session = {"session_id": uuid7(), "device_id": device.id if device else None, "is_fresh": is_proved}
    member = _member(rows[0] | session)
    because = gate.closed(rows[0], actor.ip_address)
    if because is not None:
        database.after_rollback(partial(_record_refusal, actor, member, because))
        raise because
    token = secrets.new_token()
    row = (
        await database.fetch(
            """
        WITH seen AS (
            UPDATE users SET last_sign_in_at = clock_now() WHERE id = $2
        )
        INSERT INTO sessions (id, user_id, device_id, token_hash, device_name, ip_address, authenticated_at, last_used_at,
            expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $8 THEN clock_now() END, clock_now(), clock_now() + $7::interval, clock_now()) RETURNING expires_at
        """,
            member.session_id,
            user_id,
            member.device_id,
            secrets.token_hash(token),
            device_name,
            actor.ip_address,
            login_settings.of_row(rows[0]).session_lifetime,
            is_proved,
        )
    )[0]
    signed_in = Actor(ip_address=actor.ip_address, member=member)
    await audit.record(
        signed_in, Action.SIGNED_IN, subject_id=user_id, subject_name=member.name, details={"device": device_name}
    )
    return SignedIn(
        session_token=token,
        device_token=device.token if device else None,
        expires_at=row["expires_at"],
        user_id=user_id,
        member=member,
    )


async def _record_refusal(actor: Actor, member: Member, because: gate.Closed) -> None:
    await audit.record(
        actor,
        Action.SIGN_IN_REFUSED,
        practice_id=member.practice_id,
        subject_id=member.user_id,
        subject_name=member.name,
        details={"reason": gate.REASONS[type(because)]},
    )


async def sign_out(actor: Actor) -> bool:
    """End the session that the request came with, also one that rests; whether there was one. Writes: session, audit "session.ended"."""
    member = actor.kept_out.member if actor.kept_out else actor.member
    if member is None:
        return False
    async with database.transaction():
        ended = await database.execute(
            "UPDATE sessions SET ended_at = clock_now(), end_reason = 'signed out' WHERE id = $1 AND ended_at IS NULL",
            member.session_id,
        )
        if ended:
            as_member = Actor(ip_address=actor.ip_address, member=member)
            await audit.record(as_member, Action.SIGNED_OUT, subject_id=member.user_id, subject_name=member.name)
    return bool(ended)
