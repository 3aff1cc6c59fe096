"""Which counters of wrong guesses an account has, who can fill which, and what lifts a lock.

No authenticator takes more than 100 wrong guesses in a row (NIST SP 800-63B-4 3.2.2), so somebody who guesses can always end one. What must not
happen is that a stranger ends the owner's. Each authenticator therefore has several counters, with 100 guesses between them, and each
counter can be filled only by somebody who has given another proof first:

password   60  on the address: anybody
           20  on all known devices, of which 10 on each: whoever holds a device on which the phone was proved
           20  in a session: whoever is signed in
phone      80  at sign-in: whoever has the password
           20  after a reset link: whoever reads the mailbox

So whoever has mailbox and phone can always get in by a reset, and a reset lifts all of it (docs/decisions/0027-who-can-lock-whom-out.md).
"""

from uuid import UUID

from domain import database, guesses, secrets
from domain.guesses import Limit

IN_A_ROW = 100
PASSWORD_BY_ANYBODY = Limit(in_a_row=10, lock_seconds=900, slow_after=5, disabled_after=60)
PASSWORD_ON_KNOWN_DEVICES = Limit(in_a_row=20, lock_seconds=900, disabled_after=20)
PASSWORD_ON_ONE_DEVICE = Limit(in_a_row=10, lock_seconds=900, slow_after=5, disabled_after=10)
PASSWORD_IN_SESSION = Limit(in_a_row=10, lock_seconds=900, slow_after=5, disabled_after=20)
PHONE_AFTER_RESET_LINK = Limit(in_a_row=10, lock_seconds=900, disabled_after=20)


def address_counter(email_canonical: str) -> str:
    """Wrong passwords by anybody, for an address that is known or not."""
    return f"password:address:{secrets.fingerprint('email', email_canonical)}"


def known_devices_counter(user_id: UUID) -> str:
    """Wrong passwords on all known devices of a user together."""
    return f"password:known:{user_id}"


def device_counter(device_id: UUID) -> str:
    """Wrong passwords on one known device."""
    return f"password:device:{device_id}"


def session_counter(user_id: UUID) -> str:
    """Wrong passwords by somebody who is signed in."""
    return f"password:user:{user_id}"


def phone_counter(user_id: UUID) -> str:
    """Wrong codes from the verified phone, at sign-in and in a session."""
    return f"phone:user:{user_id}"


def phone_counter_after_reset_link(user_id: UUID) -> str:
    """Wrong codes from the verified phone by somebody who followed a reset link."""
    return f"phone:reset:{user_id}"


def new_phone_counter(user_id: UUID) -> str:
    """Wrong codes from a phone that somebody who is signed in wants to have: another authenticator."""
    return f"phone:new:{user_id}"


def recovery_code_counter(user_id: UUID) -> str:
    """Wrong recovery codes by somebody who has the password."""
    return f"recovery:user:{user_id}"


def recovery_code_counter_after_reset_link(user_id: UUID) -> str:
    """Wrong recovery codes by somebody who followed a reset link."""
    return f"recovery:reset:{user_id}"


def access_code_counter(user_id: UUID) -> str:
    """Wrong practice access codes at a user's sign-in."""
    return f"pac:user:{user_id}"


async def lift_password(user_id: UUID, email_canonical: str) -> None:
    """Forget the wrong passwords: another password was set, or somebody vouches for the owner.

    Counters of devices stay; they end with their devices. A device that has used up its guesses needs a code once more.
    """
    for key in (address_counter(email_canonical), known_devices_counter(user_id), session_counter(user_id)):
        await guesses.succeed(key)


async def lift_address(email_canonical: str) -> None:
    """Forget the wrong passwords that were tried at an address before it became somebody's."""
    await guesses.succeed(address_counter(email_canonical))


async def lift_phone(user_id: UUID) -> None:
    """Forget the wrong codes: a phone was proved, or is to be."""
    for key in (phone_counter(user_id), phone_counter_after_reset_link(user_id), new_phone_counter(user_id)):
        await guesses.succeed(key)


async def has_wrong_codes(user_id: UUID) -> bool:
    """Whether wrong codes from a user's phone are counted."""
    keys = [phone_counter(user_id), phone_counter_after_reset_link(user_id)]
    return bool(await database.fetch("SELECT 1 FROM guess_counters WHERE key = ANY($1::text[])", keys))


async def lift_codes(user_id: UUID) -> None:
    """Forget the wrong recovery codes and practice access codes of a user: somebody vouches for the owner."""
    for key in (
        recovery_code_counter(user_id),
        recovery_code_counter_after_reset_link(user_id),
        access_code_counter(user_id),
    ):
        await guesses.succeed(key)
