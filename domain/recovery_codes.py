"""Recovery codes: ten for each user, each of which stands in for the phone once.

They are shown when they are made and never again; only an HMAC of each is stored. A recovery code is typed where a security code is
asked for, so it works at every challenge that the verified phone could answer. It never proves a new phone.
"""

import hmac
from uuid import UUID

from domain import audit, budgets, database, guesses, lockouts, notices, secrets, typed_codes
from domain.actors import Actor, still_signed_in
from domain.audit import Action
from domain.database import Row
from domain.errors import CodeExpired, CodeIncorrect, KeyUnknown, TooManyAttempts
from domain.models.columns import ChallengePurpose, uuid7
from domain.outbox import Notice

CODES = 10
MOST_COMPARED = 20 * CODES  # two days of renewals at most; whoever types an older code is told that it is wrong
# What a recovery code can answer. A PHONE_CHANGE proves that somebody holds the new phone, which no other code can.
ANSWERS = (
    ChallengePurpose.SIGN_IN,
    ChallengePurpose.PASSWORD_RESET,
    ChallengePurpose.RENEWAL,
    ChallengePurpose.EMAIL_CHANGE,
)


async def issue(user_id: UUID) -> tuple[str, ...]:
    """Make ten new codes for a user and end the earlier ones, in the transaction under way; the codes, to be shown once.

    The caller has locked the user's row, so that of two sets made at once one is left.
    """
    await end(user_id)
    codes = tuple(secrets.new_recovery_code() for _ in range(CODES))
    key_id = secrets.newest_key_id()
    await database.execute(
        "INSERT INTO recovery_codes (id, user_id, mac, key_id, created_at)"
        " SELECT c.id, $1, c.mac, $2, clock_now() FROM unnest($3::uuid[], $4::bytea[]) AS c (id, mac)",
        user_id,
        key_id,
        [uuid7() for _ in codes],
        [secrets.recovery_code_mac(code.replace("-", ""), user_id, key_id) for code in codes],
    )
    return codes


async def end(user_id: UUID) -> None:
    """End the codes of a user, in the transaction under way."""
    await database.execute(
        "UPDATE recovery_codes SET superseded_at = clock_now() WHERE user_id = $1 AND used_at IS NULL AND superseded_at IS NULL",
        user_id,
    )


async def renew(actor: Actor) -> tuple[str, ...]:
    """Make ten new codes for the actor; the codes, to be shown once. Those from before end, and the owner is told by mail.

    Raises Unauthenticated, SignInAgain, LimitReached: then the earlier ones stay good. Writes: recovery_codes, delivery, audit
    "recovery_codes.renewed".
    """
    member = actor.freshly_signed_in()
    async with database.transaction():
        # The exclusive lock first: two acts that begin with the shared one would wait for each other.
        await database.fetch("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE", member.user_id)
        await still_signed_in(actor)
        await budgets.take(f"recovery-codes:{member.user_id}", budgets.RECOVERY_CODES_PER_USER)
        codes = await issue(member.user_id)
        await notices.tell(member.practice_id, member.user_id, Notice.RECOVERY_CODES_RENEWED)
        await audit.record(actor, Action.RECOVERY_CODES_RENEWED, subject_id=member.user_id, subject_name=member.name)
    return codes


async def left(user_id: UUID) -> int:
    """How many codes of a user are still good; 0 for whoever never had any."""
    rows = await database.fetch(
        "SELECT count(*) AS n FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL AND superseded_at IS NULL",
        user_id,
    )
    return int(rows[0]["n"])


def is_meant(purpose: ChallengePurpose, typed: str) -> bool:
    """Whether what somebody typed as the answer to a challenge is to be read as a recovery code."""
    return purpose in ANSWERS and typed_codes.recovery_code(typed) is not None


async def guess(actor: Actor, row: Row, typed: str) -> Row:
    """Count a guess, then compare it; the row of the code that it hit, still to be consumed. Outside every transaction.

    row: the challenge's, from `challenges.find`. Raises CodeIncorrect, CodeExpired (used or replaced), TooManyAttempts, KeyUnknown (no guess
    counts).
    Writes: when refused, audit "recovery_code.refused".
    """
    key = _counter(row)
    try:
        number = await guesses.count(key, guesses.RECOVERY_CODE)
    except guesses.Locked as locked:
        await _record(actor, Action.RECOVERY_CODE_REFUSED, row, {"reason": "too many wrong codes"})
        raise TooManyAttempts(locked.until) from None
    try:
        hit = await _hit(row["id"], typed_codes.recovery_code(typed) or "")
    except KeyUnknown:  # not all of them were compared
        await guesses.give_back(key, number, guesses.RECOVERY_CODE)
        raise
    if hit is None:
        await _record(actor, Action.RECOVERY_CODE_REFUSED, row, {"reason": "wrong code"})
        raise CodeIncorrect(await guesses.left(key, guesses.RECOVERY_CODE))
    if hit["is_over"]:
        await _record(actor, Action.RECOVERY_CODE_REFUSED, row, {"reason": "used or replaced"})
        raise CodeExpired
    return hit


def _counter(row: Row) -> str:
    """Counted apart where a link from the mailbox came first: whoever has only the password cannot lock that way."""
    if row["purpose"] == ChallengePurpose.PASSWORD_RESET:
        return lockouts.recovery_code_counter_after_reset_link(row["id"])
    return lockouts.recovery_code_counter(row["id"])


async def _hit(user_id: UUID, code: str) -> Row | None:
    """The user's row that a code belongs to: of those that are good, then of those that ended last. Each is compared in constant time.

    Raises KeyUnknown.
    """
    rows = await database.fetch(
        "SELECT id AS recovery_code_id, mac, key_id, used_at IS NOT NULL OR superseded_at IS NOT NULL AS is_over"
        " FROM recovery_codes WHERE user_id = $1"
        " ORDER BY coalesce(used_at, superseded_at) DESC NULLS FIRST, id LIMIT $2",
        user_id,
        MOST_COMPARED,
    )
    here = secrets.ring().keys
    # What was used or replaced is only told of, and not worth a refusal where its key is gone.
    compared = [row for row in rows if row["key_id"] in here or not row["is_over"]]
    hit = secrets.first_that(
        compared,
        lambda row: hmac.compare_digest(row["mac"], secrets.recovery_code_mac(code, user_id, row["key_id"])),
    )
    return hit | {"phone": None} if hit else None


def is_hit(hit: Row) -> bool:
    """Whether a challenge was answered with a recovery code, and not with a code from the phone."""
    return "recovery_code_id" in hit


async def consume(actor: Actor, hit: Row, row: Row) -> None:
    """Use up a code that was guessed right, in the transaction under way, and tell its owner by mail.

    Raises CodeExpired when another request used it, or replaced all of them, first. Writes: recovery_code, delivery, audit
    "recovery_code.used".
    """
    used = await database.execute(
        "UPDATE recovery_codes SET used_at = clock_now() WHERE id = $1 AND used_at IS NULL AND superseded_at IS NULL",
        hit["recovery_code_id"],
    )
    if not used:
        raise CodeExpired
    await guesses.succeed(_counter(row))
    await notices.tell(row["practice_id"], row["id"], Notice.RECOVERY_CODE_USED)
    await _record(actor, Action.RECOVERY_CODE_USED, row, {"purpose": row["purpose"], "left": await left(row["id"])})


async def not_used(row: Row) -> None:
    """Take back a right guess after which the act was refused for another reason: the code stays good."""
    await guesses.succeed(_counter(row))


async def _record(actor: Actor, action: Action, row: Row, details: dict[str, object]) -> None:
    await audit.record(
        actor,
        action,
        practice_id=row["practice_id"],
        as_user=(row["id"], row["name"]),
        subject_id=row["id"],
        subject_name=row["name"],
        details=details,
    )
