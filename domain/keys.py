"""Which server keys a database is used with, so that a process with other keys is stopped before it does anything.

A key's id and a fingerprint of it are written down by the first process that is started with the key. A ring that has none of the keys
that are known belongs to another database. One that lacks some of them is legal: while keys are replaced, processes differ for a while.
"""

import asyncio
import hmac
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from domain import database, secrets
from domain.database import Row
from domain.secrets import KeyRing
from domain.settings import SettingInvalid

logger = logging.getLogger(__name__)

NAME = "SECRET_KEYS"
REMEDY = (
    "put the keys of this database there, newest first (without SECRET_KEYS, that is the file secret_key in DATA_DIR);"
    " if they are lost for good, run `practice-access keys forget`"
)
PATIENCE_SECONDS = 5.0  # for counting at the start, which nobody should wait for long

# What rows need a key for, as people are told, and where such rows are.
_NEEDS = {
    "passwords": "SELECT password_key_id FROM users WHERE password_key_id IS NOT NULL AND removed_at IS NULL",
    "recovery codes": "SELECT key_id FROM recovery_codes WHERE used_at IS NULL AND superseded_at IS NULL",
    "practice access codes": "SELECT key_id FROM practice_access_codes WHERE valid_until IS NULL OR valid_until > clock_now()",
    "sign-ups": "SELECT key_id FROM sign_ups WHERE completed_at IS NULL AND expires_at > clock_now()",
    "invitations": "SELECT key_id FROM invitations WHERE state = 'PENDING' AND expires_at > clock_now()",
    "accounts being set up": "SELECT key_id FROM enrollments WHERE ended_at IS NULL AND expires_at > clock_now()",
    "links to a new password": (
        "SELECT key_id FROM password_resets WHERE used_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()"
    ),
    "links to a new address": (
        "SELECT key_id FROM email_changes WHERE confirmed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()"
    ),
    "links that stop a change": "SELECT key_id FROM account_changes WHERE stopped_at IS NULL AND expires_at > clock_now()",
    "security codes": (
        "SELECT key_id FROM security_codes WHERE consumed_at IS NULL AND superseded_at IS NULL AND expires_at > clock_now()"
    ),
}
_COUNT = " UNION ALL ".join(
    f"SELECT '{what}' AS what, key_id, count(*) AS count FROM ({rows}) AS r (key_id)"  # noqa: S608 -- constants
    " WHERE ($1::text[] IS NULL OR key_id = ANY($1)) GROUP BY key_id"
    for what, rows in _NEEDS.items()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that the database is used with, or that rows need. is_here: in this process's ring. needed_for: how many of what need it."""

    key_id: str
    is_here: bool
    needed_for: dict[str, int]

    @property
    def needs(self) -> str:
        """What needs it, in words: "3 passwords, 12 invitations"."""
        return ", ".join(f"{count} {what}" for what, count in self.needed_for.items())


async def begin() -> None:
    """Compare this process's keys with the database's, and write down those that are new. Called once, before a process does anything.

    A database that lacks the table is left to `practice-access migrate`. Warns of keys that rows need and this process lacks. Raises
    SettingInvalid when the keys belong to another database; then nothing is written. Writes: server_keys.
    """
    if not await _is_migrated():
        return
    ring, known = secrets.ring(), await _known()
    _require_fit(ring, known)
    if _new(ring, known):
        await _write(ring)
    await _warn()


async def compare() -> bool:
    """As `begin`, without writing and warning; False where the database has no list to compare with."""
    if not await _is_migrated():
        return False
    _require_fit(secrets.ring(), await _known())
    return True


async def _is_migrated() -> bool:
    found = await database.fetch_one("SELECT to_regclass('server_keys') IS NOT NULL AS is_there")
    return bool(found and found["is_there"])


async def _known() -> list[Row]:
    return await database.fetch(
        "SELECT key_id, fingerprint, first_seen_at FROM server_keys ORDER BY first_seen_at, key_id"
    )


def _require_fit(ring: KeyRing, known: Sequence[Row]) -> None:
    """Raises SettingInvalid where the ring is not one of a database that knows these keys."""
    for row in known:
        key = ring.keys.get(row["key_id"])
        if key is not None and row["fingerprint"] is not None and not _is_of(row["fingerprint"], key):
            raise SettingInvalid(
                NAME, f"holds another key under the id {row['key_id']} than this database is used with", REMEDY
            )
    if known and not any(row["key_id"] in ring.keys for row in known):
        ids = ", ".join(row["key_id"] for row in known)
        raise SettingInvalid(NAME, f"has none of the keys that this database is used with (their ids: {ids})", REMEDY)


def _is_of(fingerprint: bytes, key: bytes) -> bool:
    return hmac.compare_digest(fingerprint, secrets.key_fingerprint(key))


def _new(ring: KeyRing, known: Sequence[Row]) -> list[str]:
    """The ids of the ring's keys that are to be written down, the oldest first."""
    complete = {row["key_id"] for row in known if row["fingerprint"] is not None}
    return [key_id for key_id in reversed(ring.keys) if key_id not in complete]


async def _write(ring: KeyRing) -> None:
    """Write down the ring's keys. Of processes with different keys that start on an empty database together, one comes first."""
    async with database.transaction():
        await database.execute("LOCK TABLE server_keys IN SHARE ROW EXCLUSIVE MODE")
        known = await _known()
        _require_fit(ring, known)
        new = _new(ring, known)
        await database.execute(
            """
            INSERT INTO server_keys (key_id, fingerprint, first_seen_at)
            SELECT key_id, fingerprint, clock_now() + place * interval '1 microsecond'
            FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (key_id, fingerprint, place)
            ON CONFLICT (key_id) DO UPDATE SET fingerprint = EXCLUDED.fingerprint
            """,
            new,
            [secrets.key_fingerprint(ring.keys[key_id]) for key_id in new],
        )


async def _warn() -> None:
    lacking = [row["key_id"] for row in await _known() if row["key_id"] not in secrets.ring().keys]
    if not lacking:
        return
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await _counted(lacking)
    except TimeoutError:
        logger.warning(
            "The server keys %s are not in SECRET_KEYS here; what needs them is not counted now", ", ".join(lacking)
        )
        return
    for key_id, needed_for in found.items():
        key = Key(key_id=key_id, is_here=False, needed_for=needed_for)
        logger.warning("The server key %s is not in SECRET_KEYS here, and is needed for %s", key_id, key.needs)


async def _counted(key_ids: Sequence[str] | None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await database.fetch(_COUNT, list(key_ids) if key_ids is not None else None):
        found[row["key_id"]][row["what"]] = row["count"]
    order = list(_NEEDS)
    return {
        key_id: dict(sorted(needs.items(), key=lambda need: order.index(need[0]))) for key_id, needs in found.items()
    }


async def every() -> list[Key]:
    """Every key that is known, here or needed by a row, the newest first; those that are not known last."""
    here, counted = secrets.ring().keys, await _counted(None)
    known = [row["key_id"] for row in reversed(await _known())]
    ids = dict.fromkeys([*known, *here, *sorted(counted)])
    return [Key(key_id=one, is_here=one in here, needed_for=counted.get(one, {})) for one in ids]


async def is_known(key_id: str) -> bool:
    """Whether the database is used with a key, so that another process may have it."""
    return bool(await database.fetch("SELECT 1 FROM server_keys WHERE key_id = $1", key_id))


async def is_behind() -> bool:
    """Whether other processes have a key already that is newer than all of this one's, which has to be started anew with it."""
    row = await database.fetch_one(
        """
        SELECT EXISTS (SELECT FROM server_keys WHERE key_id <> ALL($1::text[]) AND first_seen_at > coalesce(
            (SELECT max(first_seen_at) FROM server_keys WHERE key_id = ANY($1)), 'infinity')) AS is_behind
        """,
        list(secrets.ring().keys),
    )
    return bool(row and row["is_behind"])
