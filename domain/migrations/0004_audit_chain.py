"""The audit trail cannot be changed unseen: the database refuses it, and a chain of hashes shows it.

At commit each event is linked to the one before it in its chain: hash = SHA-256(the hash before, every column of the event). A chain is
a practice's; what belongs to no practice has the chain of the nil UUID. The trigger waits for the commit, so that the lock on the
chain's head is held for no longer than the commit takes, and it takes the head's latest state, so that no two events follow the same.
"""

from tortoise import migrations
from tortoise.migrations import operations as ops

TABLES = (
    """
CREATE TABLE audit_chains (
    id uuid PRIMARY KEY,
    position bigint NOT NULL,
    hash bytea NOT NULL
)
""",
    """
CREATE TABLE audit_links (
    chain_id uuid NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL UNIQUE,
    hash bytea NOT NULL,
    PRIMARY KEY (chain_id, position)
)
""",
    """
CREATE TABLE audit_checkpoints (
    chain_id uuid NOT NULL,
    position bigint NOT NULL,
    hash bytea NOT NULL,
    cut_at timestamptz NOT NULL,
    PRIMARY KEY (chain_id, position)
)
""",
)

# Each value with its length in bytes before it, so that no two events have the same text.
FIELD = """
CREATE FUNCTION audit_field(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(octet_length(value)::text || ':' || value, '-') $$
"""
CONTENT = """
CREATE FUNCTION audit_content(e audit_events) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT convert_to(
    audit_field(e.id::text) || audit_field(e.practice_id::text)
    || audit_field(trunc(extract(epoch FROM e.occurred_at) * 1000000)::text)
    || audit_field(e.action) || audit_field(e.actor_user_id::text) || audit_field(e.actor_name)
    || audit_field(e.subject_user_id::text) || audit_field(e.subject_name)
    || audit_field(e.session_id::text) || audit_field(e.device_id::text) || audit_field(e.ip_address)
    || audit_field(e.details::text), 'UTF8') $$
"""
LINK = """
CREATE FUNCTION audit_link(e audit_events) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    chain uuid := coalesce(e.practice_id, '00000000-0000-0000-0000-000000000000');
    content bytea := audit_content(e);
    head audit_chains;
BEGIN
    INSERT INTO audit_chains AS c (id, position, hash) VALUES (chain, 1, sha256(convert_to(chain::text, 'UTF8') || content))
    ON CONFLICT (id) DO UPDATE SET position = c.position + 1, hash = sha256(c.hash || content)
    RETURNING * INTO head;
    INSERT INTO audit_links (chain_id, position, event_id, hash) VALUES (head.id, head.position, e.id, head.hash);
END $$
"""
# A transaction with events of several chains takes their heads in one order, so that two of them never wait for each other. Which
# chains it has is known only from its statements: each notes them until the commit.
NOTE = """
CREATE FUNCTION audit_note_chains() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    noted text[] := string_to_array(current_setting('practice_access.audit_chains', true), ',');
    new_ones text[];
BEGIN
    SELECT array_agg(DISTINCT coalesce(practice_id, '00000000-0000-0000-0000-000000000000')::text) INTO new_ones FROM added;
    IF NOT coalesce(noted, '{}') @> coalesce(new_ones, '{}') THEN
        PERFORM set_config('practice_access.audit_chains', array_to_string(noted || new_ones, ','), true);
    END IF;
    RETURN NULL;
END $$
"""
LINK_TRIGGER = """
CREATE FUNCTION audit_link_new() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    noted text[] := string_to_array(current_setting('practice_access.audit_chains', true), ',');
    chain uuid;
BEGIN
    IF cardinality(noted) > 1 THEN
        FOR chain IN SELECT DISTINCT one::uuid FROM unnest(noted) AS one ORDER BY 1 LOOP
            INSERT INTO audit_chains (id, position, hash) VALUES (chain, 0, convert_to(chain::text, 'UTF8')) ON CONFLICT DO NOTHING;
            PERFORM FROM audit_chains WHERE id = chain FOR UPDATE;
        END LOOP;
        PERFORM set_config('practice_access.audit_chains', '', true);
    END IF;
    PERFORM audit_link(NEW);
    RETURN NULL;
END $$
"""
# A checkpoint stands where a link stands, behind the one before it, and nothing up to it is younger than a year.
CHECKPOINT = """
CREATE FUNCTION audit_check_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_links l WHERE (l.chain_id, l.position, l.hash) = (NEW.chain_id, NEW.position, NEW.hash))
        OR EXISTS (SELECT FROM audit_checkpoints c WHERE c.chain_id = NEW.chain_id AND c.position >= NEW.position)
        OR EXISTS (
            SELECT FROM audit_links l LEFT JOIN audit_events e ON e.id = l.event_id
            WHERE l.chain_id = NEW.chain_id AND l.position <= NEW.position
                AND coalesce(e.occurred_at >= clock_now() - interval '1 year', true)
        )
    THEN
        RAISE EXCEPTION 'the audit trail is not cut here' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$
"""
# Whoever calls them, the functions see the tables of the schema that they are made in: not temporary ones, nor another schema's.
FUNCTIONS = ("audit_note_chains", "audit_link_new", "audit_check_checkpoint", "audit_guard")
PIN = """
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION {name}() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$
"""
# Rows may go only where a checkpoint says that the chain is cut there, and never before they are a year old.
GUARD = """
CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_events' THEN
        IF OLD.occurred_at < clock_now() - interval '1 year' AND EXISTS (
            SELECT FROM audit_links l JOIN audit_checkpoints c ON c.chain_id = l.chain_id AND c.position >= l.position
            WHERE l.event_id = OLD.id
        ) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_links' THEN
        IF NOT EXISTS (SELECT FROM audit_events e WHERE e.id = OLD.event_id)
            AND EXISTS (SELECT FROM audit_checkpoints c WHERE c.chain_id = OLD.chain_id AND c.position >= OLD.position)
        THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
EXISTING = """
DO $$
DECLARE
    e audit_events;
    chain uuid;
    head audit_chains;
BEGIN
    -- The head is written once a chain: each new version of a row costs more than the one before it until the commit.
    FOR e IN SELECT * FROM audit_events ORDER BY coalesce(practice_id, '00000000-0000-0000-0000-000000000000'), occurred_at, id LOOP
        chain := coalesce(e.practice_id, '00000000-0000-0000-0000-000000000000');
        IF head.id IS DISTINCT FROM chain THEN
            IF head.id IS NOT NULL THEN
                INSERT INTO audit_chains SELECT head.*;
            END IF;
            head := (chain, 0, convert_to(chain::text, 'UTF8'));
        END IF;
        head.position := head.position + 1;
        head.hash := sha256(head.hash || audit_content(e));
        INSERT INTO audit_links (chain_id, position, event_id, hash) VALUES (chain, head.position, e.id, head.hash);
    END LOOP;
    IF head.id IS NOT NULL THEN
        INSERT INTO audit_chains SELECT head.*;
    END IF;
END $$
"""

GUARDED = ("audit_events", "audit_links", "audit_checkpoints")
TRIGGERS = {
    **{
        f"{table}_append_only": f"TRIGGER {{}} BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_guard()"
        for table in GUARDED
    },
    **{
        f"{table}_no_truncate": f"TRIGGER {{}} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_guard()"
        for table in (*GUARDED, "audit_chains")
    },
    "audit_chains_no_delete": "TRIGGER {} BEFORE DELETE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_guard()",
    # Heads and links are written by the trigger below, and by nobody else.
    **{
        f"{table}_by_trigger": f"TRIGGER {{}} BEFORE {acts} ON {table} FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)"
        " EXECUTE FUNCTION audit_guard()"
        for table, acts in (("audit_chains", "INSERT OR UPDATE"), ("audit_links", "INSERT"))
    },
    "audit_checkpoints_place": (
        "TRIGGER {} BEFORE INSERT ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION audit_check_checkpoint()"
    ),
    "audit_events_note": (
        "TRIGGER {} AFTER INSERT ON audit_events REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_note_chains()"
    ),
    "audit_events_link": (
        "CONSTRAINT TRIGGER {} AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION audit_link_new()"
    ),
}
INDEXES = {
    "ix_audit_events_actor": "INDEX {} ON audit_events (practice_id, actor_user_id, occurred_at, id)",
    "ix_audit_events_subject": "INDEX {} ON audit_events (practice_id, subject_user_id, occurred_at, id)",
}


def _table(trigger: str) -> str:
    for table in ("audit_events", "audit_links", "audit_checkpoints", "audit_chains"):
        if trigger.startswith(f"{table}_"):
            return table
    raise ValueError(trigger)


class Migration(migrations.Migration):
    """Link what is there, and guard it."""

    dependencies = [("domain", "0003_notices")]

    operations = [
        *(ops.RunSQL(sql, f"DROP TABLE {sql.split()[2]}") for sql in TABLES),
        *(ops.RunSQL("CREATE " + what.format(name), f"DROP INDEX {name}") for name, what in INDEXES.items()),
        ops.RunSQL(FIELD, "DROP FUNCTION audit_field(text)"),
        ops.RunSQL(CONTENT, "DROP FUNCTION audit_content(audit_events)"),
        ops.RunSQL(LINK, "DROP FUNCTION audit_link(audit_events)"),
        ops.RunSQL(NOTE, "DROP FUNCTION audit_note_chains()"),
        ops.RunSQL(LINK_TRIGGER, "DROP FUNCTION audit_link_new()"),
        ops.RunSQL(CHECKPOINT, "DROP FUNCTION audit_check_checkpoint()"),
        ops.RunSQL(GUARD, "DROP FUNCTION audit_guard()"),
        *(ops.RunSQL(PIN.format(name=name), "SELECT 1") for name in FUNCTIONS),
        ops.RunSQL(EXISTING, "SELECT 1"),
        *(
            ops.RunSQL("CREATE " + what.format(name), f"DROP TRIGGER {name} ON {_table(name)}")
            for name, what in TRIGGERS.items()
        ),
    ]
