"""Rows that tests arrange again and again, made through the API once and put back in one statement from then on.

`World` calls its steps ("a practice signs up", "somebody joins") through `Scenes.step`. When the same steps were taken from an empty
database before, and nothing was written in between, the rows that they left are put back instead of taking the steps again. All moments
in them are moved by as much time as has passed since.

Everything is kept in the worker's own database, in the schema `scenes`: a copy of each table that has rows, and the statements that put
them back. Triggers on every table count what is written, so a step is only skipped when the database is exactly as it was when the step
was taken before. Two tables are special: the audit trail's events are linked anew, since their hashes cover the moments, and the windows
of `budgets` stay aligned to the clock. A new table whose moments are aligned, or hashed, has to be added here.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from domain import database

T = TypeVar("T")

_is_in_step: ContextVar[bool] = ContextVar("is_in_step", default=False)

INSTALL = (
    "CREATE SCHEMA scenes",
    "CREATE SEQUENCE scenes.writes",
    # How often the clock was moved, and whether it stands still.
    "CREATE TABLE scenes.clock (moves int NOT NULL, stands_still bool NOT NULL)",
    "INSERT INTO scenes.clock VALUES (0, false)",
    "CREATE TABLE scenes.statements (scene int NOT NULL, number int NOT NULL, made_at timestamptz NOT NULL, sql text NOT NULL)",
    """
    CREATE FUNCTION scenes.count_write() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM nextval('scenes.writes'); RETURN NULL; END $$
    """,
    """
    CREATE VIEW scenes.tables AS
    SELECT c.oid, c.relname::text AS name FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'tortoise_migrations'
    """,
    """
    DO $$
    DECLARE
        name text;
    BEGIN
        FOR name IN SELECT t.name FROM scenes.tables t LOOP
            EXECUTE format('CREATE TRIGGER scenes_count AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.%I'
                ' FOR EACH STATEMENT EXECUTE FUNCTION scenes.count_write()', name);
            EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER scenes_count', name);
        END LOOP;
    END $$
    """,
    # As a replica, so that no key and no guard of the audit trail stands in the way. Not TRUNCATE: it makes new files for each table.
    """
    CREATE FUNCTION scenes.empty() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        name text;
        gone bigint;
    BEGIN
        PERFORM set_config('session_replication_role', 'replica', true);
        FOR name IN SELECT t.name FROM scenes.tables t LOOP
            EXECUTE format('DELETE FROM public.%I', name);
            GET DIAGNOSTICS gone = ROW_COUNT;
            IF gone > 1000 THEN
                EXECUTE format('TRUNCATE public.%I CASCADE', name);
            END IF;
        END LOOP;
        PERFORM set_config('session_replication_role', 'origin', true);
    END $$
    """,
    # How far a row of `budgets` is moved: by as many whole windows as have begun since.
    """
    CREATE FUNCTION scenes.windows_since(made_at timestamptz, length interval) RETURNS interval LANGUAGE sql STABLE AS $$
        SELECT (floor(extract(epoch FROM clock_now()) / extract(epoch FROM length))
            - floor(extract(epoch FROM made_at) / extract(epoch FROM length)))::float8 * length
    $$
    """,
    # The audit trail's events come last, in the order of their chains, and are linked by its own trigger.
    """
    CREATE FUNCTION scenes.keep(scene int) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        one record;
        columns text;
        moved text;
        has_rows bool;
        number int := 0;
    BEGIN
        FOR one IN
            SELECT * FROM scenes.tables t WHERE t.name NOT IN ('audit_chains', 'audit_links', 'audit_checkpoints')
            ORDER BY t.name = 'audit_events', t.name
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one.name) INTO has_rows;
            CONTINUE WHEN NOT has_rows;
            SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
                string_agg(format(CASE WHEN a.atttypid <> 'timestamptz'::regtype THEN 's.%I'
                    WHEN one.name = 'budgets' THEN 's.%I + scenes.windows_since($2, s.window_ends_at - s.window_starts_at)'
                    ELSE 's.%I + $1' END, a.attname), ', ' ORDER BY a.attnum)
            INTO columns, moved FROM pg_attribute a
            WHERE a.attrelid = one.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
            IF one.name = 'audit_events' THEN
                EXECUTE format('CREATE UNLOGGED TABLE scenes.%I AS SELECT row_number() OVER (ORDER BY e.occurred_at, l.position) AS scenes_turn,'
                    ' e.* FROM public.audit_events e LEFT JOIN public.audit_links l ON l.event_id = e.id', scene || ' ' || one.name);
            ELSE
                EXECUTE format('CREATE UNLOGGED TABLE scenes.%I AS SELECT 0 AS scenes_turn, t.* FROM public.%I t',
                    scene || ' ' || one.name, one.name);
            END IF;
            number := number + 1;
            INSERT INTO scenes.statements VALUES (scene, number, clock_now(),
                format('INSERT INTO public.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM scenes.%I s ORDER BY s.scenes_turn',
                    one.name, columns, moved, scene || ' ' || one.name));
        END LOOP;
    END $$
    """,
    """
    CREATE FUNCTION scenes.put_back(wanted int) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
    DECLARE
        one record;
    BEGIN
        PERFORM scenes.empty();
        PERFORM set_config('session_replication_role', 'replica', true);
        FOR one IN SELECT * FROM scenes.statements s WHERE s.scene = wanted ORDER BY s.number LOOP
            IF one.sql LIKE 'INSERT INTO public.audit_events %' THEN
                PERFORM set_config('session_replication_role', 'origin', true);
            END IF;
            EXECUTE one.sql USING clock_now() - one.made_at, one.made_at;
        END LOOP;
        PERFORM set_config('session_replication_role', 'origin', true);
    END $$
    """,
)
LOOK = "SELECT w.last_value + w.is_called::int AS writes, c.moves, c.stands_still FROM scenes.writes w, scenes.clock c"


async def note_clock(*, stands_still: bool) -> None:
    """The clock was moved, or stopped, or let go on."""
    await database.execute("UPDATE scenes.clock SET moves = moves + 1, stands_still = $1", stands_still)


@dataclass(frozen=True, slots=True)
class _Kept:
    number: int
    answer: Any
    extra: Any


class Scenes:
    """The scenes of one worker's database. There is one for the session; `begin` is called at the start of each test."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Hashable, ...], _Kept] = {}
        self._seen: Counter[tuple[Hashable, ...]] = Counter()
        self._path: tuple[Hashable, ...] | None = ()
        self._at: tuple[int, int] = (0, 0)
        self._one_at_a_time = asyncio.Lock()
        self.skipped = 0  # steps that were not taken but put back, for whoever wants to know what this is good for

    async def install(self) -> None:
        """Prepare a database that was just made."""
        for statement in INSTALL:
            await database.execute(statement)
        await self.begin()

    async def begin(self) -> None:
        """The database is empty now."""
        found = await self._look()
        self._path, self._at = (), (found["writes"], found["moves"])

    async def empty(self) -> None:
        """Remove every row."""
        await database.fetch("SELECT scenes.empty()")
        await self.begin()

    async def step(self, key: Hashable, take: Callable[[], Awaitable[T]], extra: "Extra") -> T:
        """What `take` answers; where the same was done before from where we are, its rows and its answer are put back instead.

        key: tells this step from all others; everything that the step depends on and that is not in the database. extra: what else
        the step changes. A step within another is a part of it.
        """
        if _is_in_step.get():
            return await take()
        async with self._one_at_a_time:
            token = _is_in_step.set(True)
            try:
                return await self._step(key, take, extra)
            finally:
                _is_in_step.reset(token)

    async def _step(self, key: Hashable, take: Callable[[], Awaitable[T]], extra: "Extra") -> T:
        found = await self._look()
        if self._path is None or found["writes"] != self._at[0] or (self._path and found["moves"] != self._at[1]):
            self._path = None
            return await take()
        path = (*self._path, key) if self._path else (found["stands_still"], key)
        if path in self._kept:
            answer: T = await self._put_back(self._kept[path], extra)
        else:
            answer = await self._take(path, take, extra)
        found = await self._look()
        self._path, self._at = path, (found["writes"], found["moves"])
        return answer

    async def _take(self, path: tuple[Hashable, ...], take: Callable[[], Awaitable[T]], extra: "Extra") -> T:
        before = extra.mark()
        answer = await take()
        self._seen[path] += 1
        if self._seen[path] == 2:  # most are taken once only
            number = len(self._kept)
            await database.fetch("SELECT scenes.keep($1)", number)
            self._kept[path] = _Kept(number, copy.deepcopy(answer), copy.deepcopy(extra.since(before)))
        return answer

    async def _put_back(self, kept: _Kept, extra: "Extra") -> Any:
        await database.fetch("SELECT scenes.put_back($1)", kept.number)
        extra.add(copy.deepcopy(kept.extra))
        self.skipped += 1
        return copy.deepcopy(kept.answer)

    async def _look(self) -> database.Row:
        return (await database.fetch(LOOK))[0]


class Extra:
    """What a step changes outside of the database: nothing, unless a class of its own says what."""

    def mark(self) -> Any:
        """Where we are before a step."""

    def since(self, before: Any) -> Any:
        """What the step added."""

    def add(self, more: Any) -> None:
        """Add it once more."""
