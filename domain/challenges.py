"""What somebody has to answer with a code from their phone before an act goes on, such as signing in on a new device.

A challenge is good for its own purpose only, and for as long as its user may sign in. Its token is random and kept as SHA-256.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from domain import (
    access_code_guesses,
    addresses,
    audit,
    code_budgets,
    code_refusals,
    database,
    guesses,
    lockouts,
    login_settings,
    notices,
    phone_countries,
    recovery_codes,
    secrets,
    security_codes,
    typed_codes,
)
from domain.actors import Actor
from domain.audit import Action
from domain.database import Row
from domain.errors import (
    ChallengeInvalid,
    ChallengeProblem,
    CodeExpired,
    PhoneNumberUnusable,
    PracticeAccessCodeIncorrect,
    TooManyAttempts,
)
from domain.login_settings import LoginSettings
from domain.models.columns import ChallengePurpose, PhoneChannel, PracticeAccessCodePolicy, uuid7
from domain.outbox import Notice

LIFETIME = timedelta(minutes=15)  # longer than a code, so that a second code can be asked for
MAX_TOKEN_LENGTH = 128

# What an administrator took the phone from has to be proved anew, by any of these.
PROVES_NEW_PHONE = (ChallengePurpose.SIGN_IN, ChallengePurpose.PASSWORD_RESET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """A challenge to be answered. phone: masked; empty where the person has to say which one. phone_required: whether they have."""

    token: str
    phone: str
    phone_required: bool
    channels: tuple[PhoneChannel, ...]
    practice_access_code_required: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a challenge keeps for its answer. phone: a number that is to be proved. email: as typed and canonical.

    device_id: the known device that it is about, and whether that is trusted. session_id: only that session may answer.
    """

    device_name: str = ""
    device_id: UUID | None = None
    is_trusted: bool = False
    session_id: UUID | None = None
    reset_id: UUID | None = None
    phone: str | None = None
    email: tuple[str, str] | None = None


async def make(user_id: UUID, purpose: ChallengePurpose, carried: Carried) -> Challenged:
    """Make a challenge for an active user whose row the caller has locked, in the transaction under way."""
    user = (await database.fetch("SELECT practice_id, phone FROM users WHERE id = $1", user_id))[0]
    settings = await login_settings.of_user(user["practice_id"], user_id)
    token = secrets.new_token()
    email, canonical = carried.email or (None, None)
    made = await database.fetch(
        """
        INSERT INTO challenges (id, user_id, purpose, token_hash, device_name, device_id, session_id, reset_id, phone, email,
            email_canonical, expires_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_now() + $12::interval, clock_now()) RETURNING expires_at
        """,
        uuid7(),
        user_id,
        purpose.value,
        secrets.token_hash(token),
        carried.device_name,
        carried.device_id,
        carried.session_id,
        carried.reset_id,
        carried.phone,
        email,
        canonical,
        LIFETIME,
    )
    phone = carried.phone or user["phone"]
    return Challenged(
        token=token,
        phone=addresses.masked_phone(phone) if phone else "",
        phone_required=phone is None,
        channels=settings.phone_channels,
        practice_access_code_required=_asks_for_access_code(
            settings, purpose, carried.device_id if carried.is_trusted else None, user["phone"]
        ),
        expires_at=made[0]["expires_at"],
    )


def _asks_for_access_code(
    settings: LoginSettings, purpose: ChallengePurpose, trusted_device_id: UUID | None, own_phone: str | None
) -> bool:
    """Whoever proves another phone after an administrator's reset gives the access code too, as on joining."""
    if purpose not in PROVES_NEW_PHONE:
        return False
    is_new_device = trusted_device_id is None
    return own_phone is None or (is_new_device and settings.practice_access_code is PracticeAccessCodePolicy.NEW_DEVICE)


async def find(token: str, *purposes: ChallengePurpose) -> Row:
    """The account behind a challenge that is still to be answered, and what it carries. Raises ChallengeInvalid.

    phone: where its codes go; None while nobody has said. own_phone: the user's.
    """
    row = await database.fetch_one(
        """
        SELECT c.id AS challenge_id, c.token_hash, c.purpose, c.device_name, d.id AS device_id, c.created_at AS challenged_at,
            d.trusted_until AS device_trusted_until, coalesce(d.trusted_at, d.created_at) AS device_trusted_at, c.session_id, c.reset_id, c.email AS new_email,
            c.email_canonical AS new_email_canonical, c.phone AS new_phone, coalesce(c.phone, u.phone) AS phone, u.phone AS own_phone,
            u.id, u.practice_id, u.first_name, u.last_name, rtrim(u.first_name || ' ' || u.last_name) AS name, u.email, u.email_canonical,
            u.password_hash, u.password_key_id, p.name AS practice_name
        FROM challenges c JOIN users u ON u.id = c.user_id JOIN practices p ON p.id = u.practice_id
            LEFT JOIN devices d ON d.id = c.device_id AND d.forgotten_at IS NULL
        WHERE c.token_hash = $1 AND c.answered_at IS NULL AND c.ended_at IS NULL AND c.expires_at > clock_now() AND u.status = 'ACTIVE'
            AND c.purpose = ANY($2::text[])
        """,
        secrets.token_hash(token[:MAX_TOKEN_LENGTH]),
        [purpose.value for purpose in purposes],
    )
    if row is None:
        raise await _why_not(secrets.token_hash(token[:MAX_TOKEN_LENGTH]), *purposes)
    return row


async def _why_not(token_hash: bytes, *purposes: ChallengePurpose) -> ChallengeInvalid:
    """Why a challenge cannot be answered, for whoever holds its token, which nobody can guess; of other kinds nothing is told."""
    row = await database.fetch_one(
        "SELECT purpose, answered_at IS NOT NULL AS is_used, ended_at IS NULL AND expires_at <= clock_now() AS is_expired FROM challenges"
        " WHERE token_hash = $1 AND purpose = ANY($2::text[])",
        token_hash,
        [purpose.value for purpose in purposes],
    )
    if row is None:
        return ChallengeInvalid()
    ended = ChallengeProblem.EXPIRED if row["is_expired"] else ChallengeProblem.ENDED
    return ChallengeInvalid(ChallengeProblem.USED if row["is_used"] else ended, ChallengePurpose(row["purpose"]))


async def find_own(actor: Actor, token: str, purpose: ChallengePurpose) -> Row:
    """As `find`, for the session that the challenge was made in. Raises Unauthenticated, ChallengeInvalid."""
    member = actor.signed_in()
    row = await find(token, purpose)
    if row["id"] != member.user_id or row["session_id"] != member.session_id:
        raise ChallengeInvalid
    return row


async def find_answered(actor: Actor, token: str, purpose: ChallengePurpose) -> Row | None:
    """A challenge that the actor's session has answered, while it could have been answered; for what a second answer is told.

    answered_at, new_email, new_email_canonical, new_phone. Raises Unauthenticated.
    """
    member = actor.signed_in()
    return await database.fetch_one(
        "SELECT answered_at, email AS new_email, email_canonical AS new_email_canonical, phone AS new_phone FROM challenges"
        " WHERE token_hash = $1 AND purpose = $2 AND user_id = $3 AND session_id = $4 AND answered_at IS NOT NULL AND expires_at > clock_now()",
        secrets.token_hash(token[:MAX_TOKEN_LENGTH]),
        purpose.value,
        member.user_id,
        member.session_id,
    )


async def hold(row: Row) -> None:
    """Lock the user and the challenge, in the transaction under way, and look once more that both are good. Raises ChallengeInvalid."""
    user = await database.fetch_one(
        "SELECT 1 AS found FROM users WHERE id = $1 AND status = 'ACTIVE' FOR NO KEY UPDATE", row["id"]
    )
    challenge = await database.fetch_one(
        "SELECT 1 AS found FROM challenges c WHERE id = $1 AND answered_at IS NULL AND ended_at IS NULL AND expires_at > clock_now()"
        " AND (session_id IS NULL OR EXISTS (SELECT FROM sessions s WHERE s.id = c.session_id AND s.ended_at IS NULL)) FOR UPDATE",
        row["challenge_id"],
    )
    if user is None or challenge is None:
        raise await _why_not(row["token_hash"], ChallengePurpose(row["purpose"]))


async def answer(actor: Actor, row: Row, hit: Row) -> None:
    """Use up the challenge and the code that answers it, in the transaction under way; if that is rolled back, nothing is used up.

    hit: from `guess`. Raises ChallengeInvalid, CodeExpired. Writes: where a lost phone was replaced, user, delivery, audit
    "phone.verified"; with a recovery code, what `recovery_codes.consume` writes.
    """
    database.after_rollback(partial(not_used, hit, row))
    await hold(row)
    if recovery_codes.is_hit(hit):
        await recovery_codes.consume(actor, hit, row)
    else:
        await security_codes.consume(hit, holder(row))
    await database.execute("UPDATE challenges SET answered_at = clock_now() WHERE id = $1", row["challenge_id"])
    if row["own_phone"] is None and row["purpose"] in PROVES_NEW_PHONE and hit["phone"] is not None:
        await database.execute(
            "UPDATE users SET phone = $2, phone_verified_at = clock_now(), phone_reset_at = NULL WHERE id = $1 AND phone IS NULL",
            row["id"],
            hit["phone"],
        )
        # Codes for the others may have gone to any phone, and now that there is one nobody would ask them for the access code.
        await security_codes.end_challenges(row["id"])
        await notices.tell(row["practice_id"], row["id"], Notice.PHONE_CHANGED)
        await audit.record(
            actor,
            Action.PHONE_VERIFIED,
            practice_id=row["practice_id"],
            as_user=(row["id"], row["name"]),
            subject_id=row["id"],
            subject_name=row["name"],
        )


async def not_used(hit: Row, row: Row) -> None:
    """Take back a right guess after which the act was refused for another reason: the code stays as good as it was."""
    if recovery_codes.is_hit(hit):
        await recovery_codes.not_used(row)
    else:
        await security_codes.not_used(hit, holder(row))


async def send_code(actor: Actor, token: str, channel: PhoneChannel, raw_phone: str | None) -> security_codes.CodeSent:
    """Send a code to the verified phone of whoever has a challenge to answer, or to the one that it is to prove.

    raw_phone: which one, where the challenge asks for it; of no account otherwise. Raises ChallengeInvalid, PhoneNumberUnusable,
    ChannelNotAllowed, TooSoon, LimitReached. Writes: security_code, delivery, audit "security_code.sent" or "security_code.refused".
    """
    row = await find(token, *ChallengePurpose)
    async with code_refusals.on_record(actor, holder(row), channel):
        return await _send_code(actor, row, channel, raw_phone)


async def _send_code(actor: Actor, row: Row, channel: PhoneChannel, raw_phone: str | None) -> security_codes.CodeSent:
    asks_for_phone = row["own_phone"] is None and row["purpose"] in PROVES_NEW_PHONE
    phone: str | None = phone_countries.number_for_codes(raw_phone) if asks_for_phone else row["phone"]
    if phone is None:  # taken away while something else than a new phone was to be proved
        raise PhoneNumberUnusable("has to be said")
    own = holder(row)
    await security_codes.require_channel(channel, own)
    await security_codes.require_unlocked(own)
    sending = await security_codes.prepare(
        actor, phone=phone, channel=channel, holder=own, is_proved=phone == row["own_phone"]
    )
    async with (
        security_codes.spending(actor, "challenge_id", row["challenge_id"], sending),
        database.transaction(),
    ):
        await hold(row)
        return await security_codes.send(actor, "challenge_id", row["challenge_id"], sending, own)


async def guess(actor: Actor, row: Row, code: str, practice_access_code: str | None = None) -> Row:
    """Count and compare the answer, outside every transaction; the row of the code that it hit.

    code: from the phone, or one of the user's recovery codes where the purpose allows for one.
    Where the practice access code is asked for, it comes first: while it is wrong, the code that came stays untouched.
    Raises InputInvalid (cannot be a code: nothing counted), PracticeAccessCodeIncorrect and CodeIncorrect (guess counted), CodeExpired,
    TooManyAttempts, ChallengeInvalid (answered meanwhile).
    """
    if not recovery_codes.is_meant(ChallengePurpose(row["purpose"]), code):
        typed_codes.security_code(code)
    settings = await login_settings.of_user(row["practice_id"], row["id"])
    purpose = ChallengePurpose(row["purpose"])
    if _asks_for_access_code(settings, purpose, _trusted_device(row, settings), row["own_phone"]):
        await _guess_access_code(actor, row, practice_access_code)
    is_recovery_code = recovery_codes.is_meant(purpose, code)
    try:
        if is_recovery_code:
            return await recovery_codes.guess(actor, row, code)
        return await security_codes.guess(actor, "challenge_id", row["challenge_id"], code, holder(row))
    except (CodeExpired, TooManyAttempts) as refusal:
        # A copy of this request may have answered the challenge after it was found here.
        why_not = await _why_not(row["token_hash"], purpose)
        if why_not.problem is not ChallengeProblem.USED:
            if is_recovery_code:  # it is on record already
                raise
            async with code_refusals.on_record(actor, holder(row)):
                raise
        if is_recovery_code and isinstance(refusal, CodeExpired):  # the right code, which the copy has used up
            await recovery_codes.not_used(row)
        raise why_not from None


def _trusted_device(row: Row, settings: LoginSettings) -> UUID | None:
    """The device of a challenge, if it was trusted when the challenge was made."""
    if row["device_id"] is None:
        return None
    until = min(row["device_trusted_until"], row["device_trusted_at"] + settings.device_lifetime)
    device_id: UUID = row["device_id"]
    return device_id if until > row["challenged_at"] else None


async def _guess_access_code(actor: Actor, row: Row, typed: str | None) -> None:
    """One that is left out is not right, and no guess."""
    own_key = lockouts.access_code_counter(row["id"])
    if not typed or not typed.strip():
        raise PracticeAccessCodeIncorrect(await guesses.left(own_key, guesses.PAC_PER_USER))
    user = (row["id"], row["name"])
    await access_code_guesses.guess(
        actor, row["practice_id"], user, typed, own_key=own_key, own_limit=guesses.PAC_PER_USER
    )


def holder(row: Row) -> security_codes.Holder:
    """Whose phone is asked about. row: purpose of the challenge; id, practice_id and name of the user.

    A new phone is a new authenticator: what was guessed at the old one does not keep it from being proved. After a reset link, guesses
    and the allowances for codes are counted apart: whoever has only the password can use up nothing there.
    """
    user_id = row["id"]
    counted_on, limit, account_key = None, guesses.PHONE, f"user:{user_id}"
    if row["purpose"] == ChallengePurpose.PHONE_CHANGE:
        counted_on = lockouts.new_phone_counter(user_id)
    elif row["purpose"] == ChallengePurpose.PASSWORD_RESET:
        counted_on, limit = lockouts.phone_counter_after_reset_link(user_id), lockouts.PHONE_AFTER_RESET_LINK
        account_key = f"{code_budgets.AFTER_RESET_LINK}{user_id}"
    return security_codes.Holder(
        account_key=account_key,
        practice_id=row["practice_id"],
        user_id=user_id,
        name=row["name"],
        counted_on=counted_on,
        limit=limit,
    )
