"""What a refusal leaves behind: counters and the trail, and in the rest of the database nothing."""

from domain import database

# What must survive a refusal is written before it: guesses, allowances, the trail.
KEPT = ("audit_chains", "audit_events", "audit_links", "budgets", "guess_counters", "tortoise_migrations")
# That a session was used is noted when the request arrives, and a guess on the code before it is compared.
COUNTED = ("last_used_at", "attempts")
# A wrong password queues the mail that leads an invited person on, for any address alike; it is withdrawn where nobody is invited.
ROWS = {"deliveries": "kind <> 'invitation_pending'"}


async def everything() -> dict[str, str]:
    """A digest of each other table."""
    tables = await database.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL($1::text[])",
        list(KEPT),
    )
    row = f"(to_jsonb(t) - '{{{','.join(COUNTED)}}}'::text[])::text"
    digest = f"coalesce(md5(string_agg({row}, ' ' ORDER BY {row})), '')"
    found = await database.fetch(
        " UNION ALL ".join(
            f"SELECT '{table['name']}' AS name, {digest} AS digest FROM {table['name']} t WHERE {ROWS.get(table['name'], 'true')}"
            for table in tables
        )
    )
    return {one["name"]: one["digest"] for one in found}
