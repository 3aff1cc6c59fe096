"""Being signed in: who a token stands for, how a session begins and ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain import audit, database, devices, secrets
from domain.actors import Actor, Member
from domain.audit import Action
from domain.login_settings import DEFAULTS
from domain.models.columns import AccessLevel, SubscriptionStatus, uuid7

MAX_TOKEN_LENGTH = 128
# A session's `last_used_at` is written at most this often, so that reading does not become writing.
TOUCH_SECONDS = 60
# How long ago a sign-in may be for acts that change who may do what.
FRESH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that has just begun. The tokens are handed out this once. device_token: None when the device is not trusted."""

    session_token: str
    device_token: str | None
    expires_at: datetime
    user_id: UUID
    member: Member


async def authenticate(token: str) -> Member | None:
    """Whom a session token stands for right now; None when it is not, or no longer, good.

    Session, user, practice and subscription are read together by one statement on every request, nothing is kept: whoever is
    deactivated is out with the next request. Writes: sessions.last_used_at, now and then.
    """
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    row = await database.fetch_one(
        """
        WITH found AS (
            SELECT s.id AS session_id, s.device_id, s.last_used_at, s.authenticated_at > clock_now() - $4::interval AS is_fresh, u.id AS user_id, u.practice_id, u.first_name, u.last_name,
                u.access_level, t.status, t.access_allowed
            FROM sessions s JOIN users u ON u.id = s.user_id JOIN practice_standings t ON t.practice_id = u.practice_id
            WHERE s.token_hash = $1 AND s.ended_at IS NULL AND s.expires_at > clock_now()
                AND s.last_used_at > clock_now() - $2 * interval '1 minute' AND u.status = 'ACTIVE'
        ), touched AS (
            UPDATE sessions s SET last_used_at = clock_now() FROM found
            WHERE s.id = found.session_id AND s.ended_at IS NULL AND found.last_used_at < clock_now() - $3 * interval '1 second'
        )
        SELECT * FROM found
        """,
        secrets.token_hash(token),
        float(DEFAULTS.idle_timeout_minutes),
        float(TOUCH_SECONDS),
        FRESH,
    )
    return _member(row) if row is not None else None


def _member(row: database.Row) -> Member:
    return Member(
        user_id=row["user_id"],
        practice_id=row["practice_id"],
        session_id=row["session_id"],
        device_id=row["device_id"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        access_level=AccessLevel(row["access_level"]),
        subscription_status=SubscriptionStatus(row["status"]),
        access_allowed=row["access_allowed"],
        is_fresh=row["is_fresh"],
    )


async def start(actor: Actor, user_id: UUID, device: devices.Trusted | None, device_name: str) -> SignedIn:
    """Begin a session for an active user, in the transaction under way.

    Whoever calls this has locked the user's row, so that a deactivation comes either before, and there is nothing to begin, or
    after, and ends this session too. Writes: session, users.last_sign_in_at, audit "session.started".
    """
    token = secrets.new_token()
    session_id = uuid7()
    device_id = device.id if device else None
    row = (
        await database.fetch(
            """
        WITH made AS (
            INSERT INTO sessions (id, user_id, device_id, token_hash, device_name, ip_address, authenticated_at, last_used_at,
                expires_at, created_at)
            SELECT $1, id, $3, $4, $5, $6, clock_now(), clock_now(), clock_now() + $7::interval, clock_now() FROM users WHERE id = $2
            RETURNING expires_at
        ), seen AS (
            UPDATE users SET last_sign_in_at = clock_now() WHERE id = $2
        )
        SELECT made.expires_at, true AS is_fresh, $1::uuid AS session_id, $3::uuid AS device_id, u.id AS user_id, u.practice_id, u.first_name, u.last_name,
            u.access_level, t.status, t.access_allowed
        FROM made, users u JOIN practice_standings t ON t.practice_id = u.practice_id WHERE u.id = $2
        """,
            session_id,
            user_id,
            device_id,
            secrets.token_hash(token),
            device_name,
            actor.ip_address,
            DEFAULTS.session_lifetime,
        )
    )[0]
    member = _member(row)
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


async def sign_out(actor: Actor) -> bool:
    """End the session that the request came with; whether there was one. Writes: session, audit "session.ended"."""
    if actor.member is None:
        return False
    async with database.transaction():
        ended = await database.execute(
            "UPDATE sessions SET ended_at = clock_now(), end_reason = 'signed out' WHERE id = $1 AND ended_at IS NULL",
            actor.member.session_id,
        )
        if ended:
            await audit.record(
                actor, Action.SIGNED_OUT, subject_id=actor.member.user_id, subject_name=actor.member.name
            )
    return bool(ended)
