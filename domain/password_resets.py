"""A forgotten password: a link by mail and a code to the phone, both, make a new one. Nobody but its owner ever chooses it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import UUID

from domain import (
    addresses,
    audit,
    budgets,
    challenges,
    database,
    devices,
    invited,
    link_tokens,
    lockouts,
    names,
    networks,
    notices,
    outbox,
    passwords,
    recovery_codes,
    secrets,
    security_codes,
    sessions,
    signed_in_places,
    users,
)
from domain.actors import Actor, Member, still_administrator
from domain.audit import Action
from domain.challenges import Carried, Challenged
from domain.database import Row
from domain.errors import (
    ChallengeInvalid,
    ChallengeProblem,
    KeyUnknown,
    LimitReached,
    LinkExpired,
    LinkInvalid,
    NotSetUpYet,
    PasswordProblem,
    PasswordRejected,
    TooSoon,
    UserInactive,
)
from domain.models.columns import ChallengePurpose, UserStatus, new_nonce, uuid7
from domain.outbox import Kind, Message, Notice
from domain.users import UserRecord

LIFETIME = timedelta(hours=1)
COOL_DOWN = timedelta(seconds=60)
PURPOSE = "password-reset"

_USER = "SELECT id, practice_id, rtrim(first_name || ' ' || last_name) AS name, email_canonical FROM users WHERE status = 'ACTIVE'"
_HOLDER = f"{_USER} AND email_canonical = $1 AND holds_email"


async def request(actor: Actor, email: str, *, device_token: str | None = None) -> str:
    """Mail a link to the address with which a new password can be set; the address as typed.

    The answer and the work are the same whoever the address belongs to, if to anybody: a message that nobody is to get is withdrawn when
    its turn comes. Somebody who is invited and has no account yet is mailed the way on (`invited`). A stranger who asks changes nothing for
    the owner: links that were sent before stay good, one link an hour is mailed whoever asks and however often, and on a device that is
    known there is an allowance apart. Raises LimitReached: then a link to this address was mailed within the hour and is still good, or 300
    links were asked for from this network. Writes: password_reset, delivery, audit "password_reset.requested".
    """
    canonical = _canonical(email)
    try:
        found = await database.fetch_one(_HOLDER, canonical)
        device = await devices.find(found["id"] if found else uuid7(), device_token)
        async with _spending(actor, canonical, device), database.transaction():
            user = await database.fetch_one(f"{_HOLDER} FOR NO KEY UPDATE", canonical)
            invitation = await invited.find(canonical)
            await _send_link(user, invitation=None if user else invitation)
            await _record(actor, Action.PASSWORD_RESET_REQUESTED, user or _invited_user(invitation))
    except LimitReached:
        await audit.record(actor, Action.PASSWORD_RESET_REFUSED, details={"reason": "limit"})
        raise
    return email


@asynccontextmanager
async def _spending(actor: Actor, canonical: str, device: devices.Known | None) -> AsyncIterator[None]:
    """Take what a link costs for the act in the block, before its transaction. Raises LimitReached."""
    network = networks.limit_key(actor.ip_address)
    address = secrets.fingerprint("email", canonical)
    async with AsyncExitStack() as stack:

        async def spend(key: str, budget: budgets.Budget) -> None:
            await stack.enter_async_context(budgets.spending(f"password-reset:{key}", budget))

        if device is None:
            await spend(f"requests:{network}", budgets.RESET_REQUESTS_PER_NETWORK)
        try:
            await spend(f"hour:{address}", budgets.RESET_OF_THE_HOUR)
        except LimitReached as of_the_hour:
            try:
                if device is not None:
                    await spend(f"device:{device.id}", budgets.RESETS_PER_DEVICE)
                else:
                    await spend(f"network:{network}", budgets.RESETS_PER_NETWORK)
                    await spend(f"address:{address}", budgets.RESETS_PER_ADDRESS)
            except LimitReached as refusal:
                raise LimitReached(refusal.allowance, min(refusal.retry_at, of_the_hour.retry_at)) from None
        yield


def _canonical(email: str) -> str:
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid:
        return secrets.fingerprint("not-an-email", email)


def _invited_user(invitation: Row | None) -> Row | None:
    return {**invitation, "id": invitation["user_id"]} if invitation else None


async def _send_link(user: Row | None, *, invitation: Row | None = None, sent_by_id: UUID | None = None) -> None:
    """A fresh link, in the transaction under way; for an invited person the way to set the account up, by the same work.

    sent_by_id: the administrator who sends it, where one does.
    """
    user_id = user["id"] if user else None
    reset_id, expires_at = uuid7(), await database.now() + LIFETIME
    await database.execute(
        "INSERT INTO password_resets (id, user_id, sent_by_id, nonce, key_id, expires_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, clock_now())",
        reset_id,
        user_id,
        sent_by_id,
        new_nonce(),
        secrets.newest_key_id(),
        expires_at,
    )
    reset = Message(
        kind=Kind.PASSWORD_RESET,
        subject_id=reset_id,
        expires_at=expires_at,
        practice_id=user["practice_id"] if user else None,
        user_id=user_id,
    )
    await outbox.queue(invited.message(invitation, expires_at) if invitation else reset)


async def send(actor: Actor, user_id: UUID) -> UserRecord:
    """Mail a user of the actor's practice a link to reset their password with. The administrator sees neither link nor password.

    The links before it are dead. Raises Unauthenticated, Forbidden, NotFound, NotSetUpYet, UserInactive, TooSoon, LimitReached. Writes:
    password_reset, delivery, audit "password_reset.sent".
    """
    member = actor.administrator()
    try:
        await _send(actor, member, user_id)
    except (TooSoon, LimitReached, NotSetUpYet, UserInactive) as refusal:
        reason: dict[str, object] = {"reason": type(refusal).__name__}
        await audit.record(actor, Action.PASSWORD_RESET_REFUSED, subject_id=user_id, details=reason)
        raise
    return await users.get(member.practice_id, user_id)


async def _send(actor: Actor, member: Member, user_id: UUID) -> None:
    async with database.transaction():
        # One at a time in a practice: two administrators who act on each other at once would each hold what the other waits for.
        await database.fetch("SELECT 1 FROM practices WHERE id = $1 FOR NO KEY UPDATE", member.practice_id)
        await still_administrator(actor)
        user = await database.fetch_one(
            _USER + " AND id = $1 AND practice_id = $2 FOR NO KEY UPDATE", user_id, member.practice_id
        )
        if user is None:
            raise await users.why_not_active(member.practice_id, user_id)
        latest = await database.fetch_one(
            "SELECT max(created_at) + $2::interval AS free_at FROM password_resets WHERE user_id = $1 AND sent_by_id IS NOT NULL"
            " HAVING max(created_at) + $2::interval > clock_now()",
            user_id,
            COOL_DOWN,
        )
        if latest is not None:
            raise TooSoon(latest["free_at"])
        # On a counter of its own, as is the pause: strangers who ask for this address must not keep the administrator from helping.
        await budgets.take(f"password-reset:user:{user_id}", budgets.RESETS_BY_ADMINISTRATORS)
        await signed_in_places.end_reset_links(user_id)
        await _send_link(user, sent_by_id=member.user_id)
        await audit.record(actor, Action.PASSWORD_RESET_SENT, subject_id=user_id, subject_name=user["name"])


async def start(actor: Actor, token: str) -> Challenged:
    """Follow the link of a reset's mail: a code to the phone comes next. The link itself is used up by the new password only.

    token: as in `link_tokens.read`. Raises LinkInvalid, LinkExpired, TooManyAttempts (a typed code). Writes: challenge (an earlier one of the kind ends), audit "password_reset.started".
    """
    row = await _link(await link_tokens.read(actor, PURPOSE, token))
    if row["is_expired"]:
        raise LinkExpired
    async with database.transaction():
        held = await database.fetch_one("SELECT status FROM users WHERE id = $1 FOR NO KEY UPDATE", row["user_id"])
        if held is None or held["status"] != UserStatus.ACTIVE:
            raise LinkInvalid
        await security_codes.end_challenges(row["user_id"], ChallengePurpose.PASSWORD_RESET)
        challenged = await challenges.make(row["user_id"], ChallengePurpose.PASSWORD_RESET, Carried(reset_id=row["id"]))
        await _record(actor, Action.PASSWORD_RESET_STARTED, {"id": row["user_id"]} | row)
    return challenged


async def _link(token: str) -> Row:
    row_id = secrets.link_row_id(token)
    row = row_id and await database.fetch_one(
        "SELECT r.*, r.expires_at <= clock_now() AS is_expired, u.practice_id, rtrim(u.first_name || ' ' || u.last_name) AS name"
        " FROM password_resets r JOIN users u ON u.id = r.user_id"
        " WHERE r.id = $1 AND r.used_at IS NULL AND r.superseded_at IS NULL AND u.status = 'ACTIVE'",
        row_id,
    )
    if not row or not secrets.is_link_token(token, PURPOSE, row["id"], row["nonce"], row["key_id"]):
        raise LinkInvalid
    return row


async def reset(
    actor: Actor,
    challenge_token: str,
    code: str,
    new_password: str,
    *,
    practice_access_code: str | None,
    raw_device_name: str | None,
) -> sessions.SignedIn:
    """Set a new password with the link that was followed and the code that came, and be signed in on this device.

    A password that is too weak is told before the code is looked at, and costs none. Every session and device ends, and every lock on
    the old password. Raises ChallengeInvalid, PasswordRejected, InputInvalid (cannot be a code: not counted), PracticeAccessCodeIncorrect
    and CodeIncorrect (guess counted), CodeExpired, TooManyAttempts, SubscriptionLapsed, OutsideAllowedHours, NetworkNotAllowed, Busy.
    Writes: user, password_reset, session, device, delivery, audit "password.reset".
    """
    with passwords.room():
        row = await challenges.find(challenge_token, ChallengePurpose.PASSWORD_RESET)
        try:
            hit, (password_hash, key_id) = await _proved(actor, row, code, new_password, practice_access_code)
        except PasswordRejected as refusal:
            await _record(actor, Action.PASSWORD_REFUSED, row, {"problems": [one.value for one in refusal.problems]})
            raise
    device_name = names.device_name(raw_device_name)
    async with database.transaction():
        await challenges.answer(actor, row, hit)
        await _use_link(row)
        await database.execute(
            "UPDATE users SET password_hash = $2, password_key_id = $3, password_changed_at = clock_now() WHERE id = $1",
            row["id"],
            password_hash,
            key_id,
        )
        await signed_in_places.end_all(row["id"], "password reset")
        await lockouts.lift_password(row["id"], row["email_canonical"])
        if not recovery_codes.is_hit(hit):
            await lockouts.lift_phone(row["id"])
        await notices.tell(row["practice_id"], row["id"], Notice.PASSWORD_RESET)
        await _record(actor, Action.PASSWORD_RESET, row)
        device = await devices.remember(actor, row["id"], row["practice_id"], row["name"], device_name)
        return await sessions.start(actor, row["id"], device, device_name, is_proved=True)


async def _proved(
    actor: Actor, row: Row, code: str, new_password: str, practice_access_code: str | None
) -> tuple[Row, tuple[str, str]]:
    """The guess that was right, and the new password's hash with its key's id. Raises as `reset`."""
    own_words = (row["first_name"], row["last_name"], row["practice_name"], row["email"].rpartition("@")[0])
    await passwords.reject_weak(new_password, own_words)
    hit = await challenges.guess(actor, row, code, practice_access_code)
    if await _is_present_one(row, new_password):
        await challenges.not_used(hit, row)
        raise PasswordRejected([PasswordProblem.SAME_AS_BEFORE], passwords.MIN_LENGTH, passwords.MAX_LENGTH)
    return hit, await passwords.hashed(new_password)


async def _is_present_one(row: Row, password: str) -> bool:
    """Whether it is the password that the user has. One that cannot be compared, since its key is gone, is replaced by any other."""
    try:
        return await passwords.is_right(password, row["password_hash"], row["password_key_id"])
    except KeyUnknown:
        return False


async def _use_link(row: Row) -> None:
    used = await database.execute(
        "UPDATE password_resets SET used_at = clock_now()"
        " WHERE id = $1 AND used_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()",
        row["reset_id"],
    )
    if not used:
        raise ChallengeInvalid(ChallengeProblem.ENDED, ChallengePurpose.PASSWORD_RESET)


async def _record(actor: Actor, action: Action, user: Row | None, details: dict[str, object] | None = None) -> None:
    await audit.record(
        actor,
        action,
        practice_id=user["practice_id"] if user else None,
        as_user=(user["id"], user["name"]) if user and action is Action.PASSWORD_RESET else None,
        subject_id=user["id"] if user else None,
        subject_name=user["name"] if user else None,
        details=details,
    )
