"""Breaks guards of the product, one at a time in a copy of it, and shows that the machine finds each.

`.venv/bin/python -m tests.stateful.break_guards` prints a line for each guard and exits 1 when one that was broken was not found. It takes
some minutes, so it is not part of `make test`; what it printed stands in docs/testing.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = os.environ.get("STATEFUL_EXAMPLES", "300")

# Name, file, what stands there, what is put in its place.
GUARDS = [
    (
        "a fresh link ends the old one",
        "domain/invitations.py",
        "UPDATE invitations SET nonce = $2, key_id = $3",
        "UPDATE invitations SET nonce = CASE WHEN $2::bytea IS NULL THEN $2 ELSE nonce END, key_id = $3",
    ),
    (
        "a former access code is good for a day",
        "domain/practice_access_codes.py",
        "AND (valid_until IS NULL OR valid_until > clock_now())",
        "",
    ),
    (
        "blocking somebody forgets their devices",
        "domain/signed_in_places.py",
        "UPDATE devices SET forgotten_at = clock_now() WHERE user_id = $1 AND forgotten_at IS NULL",
        "UPDATE devices SET forgotten_at = clock_now() WHERE user_id = $1 AND false",
    ),
    (
        "who finishes with an address ends the invitations of others to it",
        "domain/accounts.py",
        'await address_holders.end_other_invitations(row["email_canonical"], holder=user_id)',
        "pass",
    ),
    (
        "an address that was let go of is taken again only while nobody has it",
        "domain/access_levels.py",
        'if await address_holders.is_taken(user["email_canonical"], user["practice_id"], but=user["id"]):\n        raise EmailInUse(user["email"])',
        "pass",
    ),
    (
        "an invitation is nobody's account",
        "domain/migrations/0016_addresses.py",
        "NEW.holds_email := NEW.password_hash IS NOT NULL AND NEW.address_released_at IS NULL;",
        "NEW.holds_email := NEW.address_released_at IS NULL AND NEW.removed_at IS NULL;",
    ),
    (
        "the last administrator cannot be demoted",
        "domain/access_levels.py",
        "await administrators.require_other(actor, member.practice_id, user_id)",
        "pass",
    ),
    (
        "a session ends without use",
        "domain/sessions.py",
        " AND s.last_used_at > clock_now() - l.idle_timeout_minutes * interval '1 minute'",
        " AND l.idle_timeout_minutes > 0",
    ),
    (
        "a new password ends the sessions of the old one",
        "domain/password_resets.py",
        'await signed_in_places.end_all(row["id"], "password reset")',
        "pass",
    ),
]


def broken_copy(folder: Path, path: str, there: str, instead: str) -> None:
    """A copy of the product in which one guard is broken."""
    ignored = shutil.ignore_patterns(".git", ".venv", "*cache*", "__pycache__", "node_modules", ".hypothesis", "data")
    shutil.copytree(ROOT, folder, ignore=ignored)
    file = folder / path
    text = file.read_text()
    if text.count(there) != 1:
        raise RuntimeError(f"{path} has {text.count(there)} times: {there}")
    file.write_text(text.replace(there, instead))


def is_found(folder: Path) -> bool:
    """Whether the machine fails in a copy by a difference from the model."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "tests/stateful"]
    environment = os.environ | {"PYTHONPATH": str(folder), "STATEFUL_EXAMPLES": EXAMPLES, "STATEFUL_SHRINK": "no"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode != 0 and "AssertionError" in done.stdout and "Failing test case" in done.stdout


def main() -> int:
    """Break them all."""
    missed = 0
    for name, path, there, instead in GUARDS:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            broken_copy(copy, path, there, instead)
            began = time.monotonic()
            found = is_found(copy)
        missed += not found
        print(f"{'found' if found else 'NOT FOUND'} after {time.monotonic() - began:4.0f} s: {name}", flush=True)  # noqa: T201 -- this is what it is for
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
