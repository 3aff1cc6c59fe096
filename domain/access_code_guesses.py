"""Guesses at a practice's access code: counted where they come from and at the practice, then compared."""

from uuid import UUID

from domain import audit, guesses, networks, practice_access_codes, typed_codes
from domain.actors import Actor
from domain.audit import Action
from domain.errors import KeyUnknown, PracticeAccessCodeIncorrect, TooManyAttempts
from domain.guesses import Limit


async def guess(
    actor: Actor, practice_id: UUID, user: tuple[UUID, str], typed: str, *, own_key: str, own_limit: Limit
) -> None:
    """Take one guess by or for a user, outside every transaction.

    It is counted on the practice, the client's network and its own key (a link, an account) before it is compared. All are looked at
    first: whoever holds a link that is used up, or is in a network that is locked, must not lock the practice with it. user: id and name.
    typed: as somebody typed it; what cannot be a code is not counted. Raises InputInvalid, TooManyAttempts (retry_at None: the link has to be sent anew), PracticeAccessCodeIncorrect. KeyUnknown (no guess
    counts). Writes: counters, and audit "practice_access_code.refused".
    """
    given = typed_codes.practice_access_code(typed)
    shared = {
        f"pac:practice:{practice_id}": guesses.PAC_PER_PRACTICE,
        f"pac:network:{networks.limit_key(actor.ip_address)}": guesses.PAC_PER_NETWORK,
    }
    try:
        # Where one of them is locked nothing is compared, so nothing counts on the others either.
        for key, limit in {own_key: own_limit, **shared}.items():
            await guesses.check(key, limit)
        numbers = {key: await guesses.count(key, limit) for key, limit in shared.items()}
        number = await guesses.count(own_key, own_limit)
    except guesses.Locked as locked:
        await _refuse(actor, practice_id, user, "too many wrong codes")
        raise TooManyAttempts(locked.until) from None
    try:
        is_right = await practice_access_codes.is_right(practice_id, given)
    except KeyUnknown:  # nothing was compared
        await guesses.give_back(own_key, number, own_limit)
        for key, limit in shared.items():
            await guesses.give_back(key, numbers[key], limit)
        raise
    if not is_right:
        await _refuse(actor, practice_id, user, "wrong code")
        raise PracticeAccessCodeIncorrect(-number % own_limit.in_a_row)
    await guesses.succeed(own_key)
    for key, limit in shared.items():  # only this guess was right, not those that others made
        await guesses.give_back(key, numbers[key], limit)


async def _refuse(actor: Actor, practice_id: UUID, user: tuple[UUID, str], reason: str) -> None:
    await audit.record(
        actor,
        Action.PAC_REFUSED,
        practice_id=practice_id,
        as_user=user,
        subject_id=user[0],
        subject_name=user[1],
        details={"reason": reason},
    )
