"""What verifying each chain of the audit log showed last: one row a chain, whoever verified it.

The schedule finds here which chains are due, and the metrics how many are broken and how long ago the one that waits longest was verified.
"""

from dataclasses import dataclass
from uuid import UUID

from domain import database

# At least once a day, and not all of them at the same time of day: each time some hours earlier or later.
LEAST_HOURS, MOST_HOURS = 18, 22
# A process that ends in the middle of a chain leaves it to another after this time; one that fails is tried again then.
LEASE = "1 hour"
MAX_PROBLEM_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Standing:
    """How the chains stand. broken: how many did not hold when they were last verified.

    oldest_seconds: since the one that waits longest was verified, or first seen where it never was; 0 when there is no chain.
    """

    broken: int
    oldest_seconds: float


async def enroll(chain_ids: list[UUID]) -> None:
    """Have new chains verified too: soon, since nobody has looked at them yet."""
    await database.execute(
        "INSERT INTO audit_findings (chain_id, checked_at, due_at) SELECT id, clock_now(), clock_now() FROM unnest($1::uuid[]) AS id"
        " WHERE NOT EXISTS (SELECT FROM audit_findings f WHERE f.chain_id = id) ON CONFLICT (chain_id) DO NOTHING",
        chain_ids,
    )


async def take_due() -> UUID | None:
    """A chain that is due, for one process alone; None when none is. It stays with that process until `note`, or for an hour."""
    row = await database.fetch_one(
        f"""
        UPDATE audit_findings SET due_at = clock_now() + interval '{LEASE}' WHERE chain_id = (
            SELECT chain_id FROM audit_findings WHERE due_at <= clock_now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) RETURNING chain_id
        """  # noqa: S608 -- a constant
    )
    return row["chain_id"] if row is not None else None


async def note(chain_id: UUID, problem: str | None) -> bool:
    """Note what verifying a chain showed; whether it is news that it does not hold. problem: a sentence, None where it holds."""
    row = await database.fetch_one(
        """
        WITH before AS (SELECT problem FROM audit_findings WHERE chain_id = $1),
        noted AS (
            INSERT INTO audit_findings (chain_id, checked_at, due_at, problem)
            VALUES ($1, clock_now(), clock_now() + ($3::float8 + random() * ($4::float8 - $3::float8)) * interval '1 hour', $2::text)
            ON CONFLICT (chain_id) DO UPDATE
                SET checked_at = excluded.checked_at, due_at = excluded.due_at, problem = excluded.problem
        )
        SELECT $2::text IS NOT NULL AND NOT EXISTS (SELECT FROM before WHERE problem IS NOT NULL) AS is_news
        """,
        chain_id,
        problem[:MAX_PROBLEM_LENGTH] if problem is not None else None,
        float(LEAST_HOURS),
        float(MOST_HOURS),
    )
    return row is not None and bool(row["is_news"])


async def standing() -> Standing:
    """How all chains stand, by one statement."""
    row = await database.fetch_one(
        "SELECT (SELECT count(*) FROM audit_findings WHERE problem IS NOT NULL) AS broken, coalesce(extract(epoch FROM clock_now()"
        " - (SELECT checked_at FROM audit_findings ORDER BY checked_at LIMIT 1)), 0)::float8 AS oldest_seconds"
    )
    return Standing(row["broken"], row["oldest_seconds"]) if row is not None else Standing(0, 0.0)
