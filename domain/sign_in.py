"""Signing in: the password, and on a device that is not known a fresh code to the verified phone."""

from datetime import datetime
from uuid import UUID

from domain import (
    addresses,
    audit,
    budgets,
    challenges,
    database,
    devices,
    gate,
    guesses,
    invited,
    keys,
    lockouts,
    login_settings,
    names,
    networks,
    notices,
    passwords,
    secrets,
    sessions,
)
from domain.actors import Actor
from domain.audit import Action
from domain.challenges import Carried, Challenged
from domain.database import Row
from domain.errors import AccountInactive, AccountLocked, CredentialsIncorrect, KeyUnknown, LimitReached
from domain.models.columns import ChallengePurpose, SecurityCodePolicy, UserStatus, uuid7
from domain.outbox import Notice


async def sign_in(
    actor: Actor, email: str, password: str, *, device_token: str | None, raw_device_name: str | None
) -> sessions.SignedIn | Challenged:
    """Sign somebody in with address and password.

    Unknown, half-joined and wrong take the same work and get the same answer; the try is counted on the address, known or not, and
    on a known device on that device, so that strangers cannot lock its owner out. An invited person is mailed the way on (`invited`). Raises AccountLocked, CredentialsIncorrect,
    and only after the right password AccountInactive, SubscriptionLapsed, OutsideAllowedHours, NetworkNotAllowed; Busy. Writes: session
    or challenge, audit.
    """
    with passwords.room():
        canonical = _canonical(email)
        row = await _account(canonical)
        device = await _known_device(row["id"] if row else uuid7(), device_token)
        row = await _with_password(actor, row, canonical, password, device)
        await _require_access(actor, row)
        row["password_hash"] = await _renewed_hash(row, password)
    device_name = names.device_name(raw_device_name)
    settings = login_settings.of_row(row)
    is_enough = device is not None and device.is_trusted and settings.security_code is SecurityCodePolicy.NEW_DEVICE
    if device is not None and device_token is not None and is_enough:
        signed_in = await _on_trusted_device(actor, row, device.id, device_token, device_name)
        if signed_in is not None:
            return signed_in
        device = None  # its token was used or forgotten just now
    return await _challenge(actor, row, device_name, device)


async def _known_device(user_id: UUID, token: str | None) -> devices.Known | None:
    """The device by which somebody is known; None also when no more passwords may be tried on it: then it is like any other."""
    device = await devices.find(user_id, token)
    if device is None:
        return None
    for key, limit in _counters_of_device(user_id, device):
        try:
            await guesses.check(key, limit)
        except guesses.Locked as locked:
            if locked.until is None:
                return None
    return device


def _counters_of_device(user_id: UUID, device: devices.Known) -> list[tuple[str, guesses.Limit]]:
    return [
        (lockouts.device_counter(device.id), lockouts.PASSWORD_ON_ONE_DEVICE),
        (lockouts.known_devices_counter(user_id), lockouts.PASSWORD_ON_KNOWN_DEVICES),
    ]


def _canonical(email: str) -> str:
    """The address that an account would have; for what cannot be one, a name that no account has."""
    try:
        return addresses.canonical_email(email)
    except addresses.EmailInvalid:
        return secrets.fingerprint("not-an-email", email)


_ACCOUNT = f"""
    SELECT u.id, u.practice_id, rtrim(u.first_name || ' ' || u.last_name) AS name, u.status, u.phone, u.password_hash, u.password_key_id,
        {gate.COLUMNS}
    FROM {gate.TABLES}
"""  # noqa: S608 -- constants


async def _account(canonical: str) -> Row | None:
    return await database.fetch_one(
        _ACCOUNT + "WHERE u.email_canonical = $1 AND u.holds_email AND u.removed_at IS NULL", canonical
    )


async def _with_password(
    actor: Actor, row: Row | None, canonical: str, password: str, device: devices.Known | None
) -> Row:
    """The account, whose password was given; the try is counted before it is compared.

    Raises AccountLocked, CredentialsIncorrect, KeyUnknown (no try counts).
    """
    counters = [(lockouts.address_counter(canonical), lockouts.PASSWORD_BY_ANYBODY)]
    if device is not None and row is not None:
        counters = _counters_of_device(row["id"], device)
    # Strangers in the same network must not keep a known device out either.
    network = None if device else await _count_on_network(actor, row)
    try:
        numbers = [(await guesses.count(key, limit), limit) for key, limit in counters]
    except guesses.Locked as locked:
        if network is not None:  # nothing was compared
            await budgets.give_back(network)
        await _refuse(actor, row, "locked")
        raise AccountLocked(locked.until or await database.now(), reset_required=locked.until is None) from None
    stored, key_id = (row["password_hash"], row["password_key_id"]) if row else (None, None)
    try:
        is_right = await passwords.is_right(password, stored, key_id)
    except KeyUnknown as unknown:  # nothing was compared
        for (key, _), (number, limit) in zip(counters, numbers, strict=True):
            await guesses.give_back(key, number, limit)
        raise await _not_compared(actor, row, canonical, unknown, network) from None
    if not is_right or row is None:
        await _refuse(actor, row, "wrong password")
        await invited.lead_on(canonical)
        number, limit = numbers[0]
        if number % limit.in_a_row == 0:
            has_ended = number == limit.disabled_after
            by_anybody = Notice.PASSWORD_ENDED if has_ended else Notice.SIGN_IN_LOCKED
            await _tell(row, by_anybody if device is None else Notice.DEVICE_ENDED)
        raise await _not_right(secrets.retry_at()) if device is None else CredentialsIncorrect
    for key, _ in counters:
        await guesses.succeed(key)
    if network is not None:
        await budgets.give_back(network)
    return row


async def _not_compared(
    actor: Actor, row: Row | None, canonical: str, unknown: KeyUnknown, network: budgets.Taken | None
) -> CredentialsIncorrect | KeyUnknown:
    """What is answered where the password's key is not here. network: the budget that the try took; None on a known device.

    Strangers must not learn by it that there is an account: they are told what they would be without one.
    """
    await _refuse(actor, row, "server key missing")
    if network is None:
        return unknown
    await budgets.give_back(network)
    await invited.lead_on(canonical)
    return await _not_right(unknown.retry_at)


async def _not_right(retry_at: datetime) -> CredentialsIncorrect | KeyUnknown:
    """What a stranger is told whose password did not open an account, whatever there is of an account.

    While other processes have a newer key, the password may be right: it may be peppered with that key.
    """
    return KeyUnknown(retry_at) if await keys.is_behind() else CredentialsIncorrect()


async def require_password(actor: Actor, user_id: UUID, password: str) -> None:
    """Compare a password with a user's outside sign-in, counted, limited and on record as a sign-in on an unknown device is.

    For answers that would tell whether it is the right one. Raises AccountLocked, CredentialsIncorrect, Busy.
    """
    with passwords.room():
        row = await database.fetch_one(_ACCOUNT + "WHERE u.id = $1", user_id)
        user = await database.fetch_one("SELECT email_canonical FROM users WHERE id = $1", user_id)
        if row is None or user is None:
            raise CredentialsIncorrect
        await _with_password(actor, row, user["email_canonical"], password, None)


async def _tell(row: Row | None, notice: Notice) -> None:
    """Tell the account's owner what wrong passwords locked or ended. For an unknown address the same work is done for nothing."""
    async with database.transaction():
        await notices.tell(row["practice_id"] if row else None, row["id"] if row else uuid7(), notice)


async def _count_on_network(actor: Actor, row: Row | None) -> budgets.Taken:
    """Count a try on the client's network, against somebody who tries one password on many accounts; what was taken.

    A right password gives it back, so a whole hospital behind one address can sign in. Raises AccountLocked.
    """
    key = f"passwords:network:{networks.limit_key(actor.ip_address)}"
    try:
        return await budgets.take(key, budgets.WRONG_PASSWORDS_PER_NETWORK)
    except LimitReached as refusal:
        await _refuse(actor, row, "too many wrong passwords from this network")
        raise AccountLocked(refusal.retry_at, is_network=True) from None


async def _refuse(actor: Actor, row: Row | None, reason: str) -> None:
    await audit.record(
        actor,
        Action.SIGN_IN_REFUSED,
        practice_id=row["practice_id"] if row else None,
        subject_id=row["id"] if row else None,
        subject_name=row["name"] if row else None,
        details={"reason": reason},
    )


async def _require_access(actor: Actor, row: Row) -> None:
    if row["status"] != UserStatus.ACTIVE:
        await _refuse(actor, row, "inactive")
        raise AccountInactive
    because = gate.closed(row, actor.ip_address)
    if because is not None:
        await _refuse(actor, row, gate.REASONS[type(because)])
        raise because


async def _renewed_hash(row: Row, password: str) -> str:
    """The hash that stands for a right password from now on: made anew where parameters or key have moved on."""
    stored: str = row["password_hash"]
    if not passwords.is_outdated(stored, row["password_key_id"]):
        return stored
    password_hash, key_id = await passwords.hashed(password)
    changed = await database.execute(
        "UPDATE users SET password_hash = $2, password_key_id = $3 WHERE id = $1 AND password_hash = $4",
        row["id"],
        password_hash,
        key_id,
        stored,
    )
    return password_hash if changed else stored


async def _hold_user(row: Row) -> None:
    """Lock the user, in the transaction under way: a deactivation comes before this or ends what comes of it.

    Raises AccountInactive; CredentialsIncorrect when the password was changed after it was compared.
    """
    found = await database.fetch_one(
        "SELECT status, password_hash FROM users WHERE id = $1 FOR NO KEY UPDATE", row["id"]
    )
    if found is None or found["status"] != UserStatus.ACTIVE:
        raise AccountInactive
    if found["password_hash"] != row["password_hash"]:
        raise CredentialsIncorrect


async def _on_trusted_device(
    actor: Actor, row: Row, device_id: UUID, device_token: str, device_name: str
) -> sessions.SignedIn | None:
    """A session on a device that is still trusted; None when its token was used or forgotten meanwhile."""
    async with database.transaction():
        await _hold_user(row)
        device = await devices.renew(device_id, device_token)
        return await sessions.start(actor, row["id"], device, device_name, is_proved=False) if device else None


async def _challenge(actor: Actor, row: Row, device_name: str, device: devices.Known | None) -> Challenged:
    """Ask for a code. device: the known device on which one is asked for each time; None for a new one."""
    async with database.transaction():
        await _hold_user(row)
        carried = Carried(
            device_name=device_name,
            device_id=device.id if device else None,
            is_trusted=device is not None and device.is_trusted,
        )
        challenged = await challenges.make(row["id"], ChallengePurpose.SIGN_IN, carried)
        await audit.record(
            actor,
            Action.SIGN_IN_CHALLENGED,
            practice_id=row["practice_id"],
            as_user=(row["id"], row["name"]),
            subject_id=row["id"],
            subject_name=row["name"],
        )
    return challenged


async def verify_device(
    actor: Actor,
    challenge_token: str,
    code: str,
    *,
    practice_access_code: str | None,
    raw_device_name: str | None,
    trust_device: bool,
) -> sessions.SignedIn:
    """Answer a challenge with the code that came, and be signed in; the device is remembered when trust_device is set.

    Raises ChallengeInvalid, PracticeAccessCodeIncorrect and CodeIncorrect (guess counted), CodeExpired, TooManyAttempts,
    SubscriptionLapsed, OutsideAllowedHours, NetworkNotAllowed (the code stays good). Writes: session, device, audit.
    """
    row = await challenges.find(challenge_token, ChallengePurpose.SIGN_IN)
    hit = await challenges.guess(actor, row, code, practice_access_code)
    device_name = names.device_name(raw_device_name) if raw_device_name else row["device_name"]
    async with database.transaction():
        await challenges.answer(actor, row, hit)
        device = await _device_from_now_on(actor, row, device_name, trust_device=trust_device)
        return await sessions.start(actor, row["id"], device, device_name, is_proved=True)


async def _device_from_now_on(
    actor: Actor, row: Row, device_name: str, *, trust_device: bool
) -> devices.Remembered | None:
    """The device as it is known after the challenge was answered on it; its owner is told of a new one."""
    known: UUID | None = row["device_id"]
    if known is not None and trust_device:
        return await devices.remember_again(known)
    if known is not None:
        await devices.stop_trusting(actor, known, row["id"], row["practice_id"], row["name"])
        return None
    await notices.tell(row["practice_id"], row["id"], Notice.NEW_DEVICE)
    return (
        await devices.remember(actor, row["id"], row["practice_id"], row["name"], device_name) if trust_device else None
    )
