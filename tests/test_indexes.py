"""Statements that look somebody up find their index: at a size where reading the whole table would be felt."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from domain import database
from tests.conftest import Clock
from tests.statistics import counted
from tests.test_sign_up import FORM
from tests.world import PracticeWorld, World

PEOPLE = 20_000
PRACTICES = 200

PEOPLE_ELSEWHERE = (
    """
    INSERT INTO practices (id, name, specialty, phone, time_zone, created_at)
    SELECT md5('practice' || n)::uuid, 'Practice ' || n, 'Family', '+12025550100', 'UTC', clock_now() FROM generate_series(1, $2::int) n
        WHERE $1::int > 0
    """,
    """
    INSERT INTO subscriptions (practice_id, plan, status, updated_at)
    SELECT md5('practice' || n)::uuid, 'standard', 'ACTIVE', clock_now() FROM generate_series(1, $2::int) n WHERE $1::int > 0
    """,
    # A third each: with an account, invited, and deactivated.
    """
    INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level, status, phone,
        phone_verified_at, password_hash, password_key_id, created_at)
    SELECT md5('user' || n)::uuid, md5('practice' || 1 + n % $2::int)::uuid, 'A', 'B', 'b a' || n, 'u' || n || '@filler.example',
        'u' || n || '@filler.example', n % 3 <> 1, 'PROVIDER', (ARRAY['ACTIVE', 'INVITED', 'INACTIVE'])[1 + n % 3],
        CASE WHEN n % 3 <> 1 THEN '+12025550100' END, CASE WHEN n % 3 <> 1 THEN clock_now() END,
        CASE WHEN n % 3 <> 1 THEN '$argon2id$' END, CASE WHEN n % 3 <> 1 THEN 'key' END, clock_now()
    FROM generate_series(1, $1::int) n
    """,
    """
    INSERT INTO invitations (id, practice_id, user_id, invited_by_id, state, nonce, key_id, delivery_id, sends, last_send_at, expires_at,
        created_at)
    SELECT md5('invitation' || u.id)::uuid, u.practice_id, u.id, u.id, 'PENDING', '\\x00112233445566778899aabbccddeeff', 'key',
        md5('delivery' || u.id)::uuid, 1, clock_now(), clock_now() + interval '7 days', clock_now()
    FROM users u WHERE u.status = 'INVITED' AND $1::int + $2::int > 0
    """,
    """
    INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone, nonce, key_id,
        expires_at, created_at)
    SELECT md5('sign-up' || n)::uuid, 'A', 'B', 's' || n || '@filler.example', 's' || n || '@filler.example', '+12025550100', 'P', 'Family',
        'UTC', '\\x00112233445566778899aabbccddeeff', 'key', clock_now() + interval '1 day', clock_now()
    FROM generate_series(1, $1::int) n WHERE $2::int > 0
    """,
    """
    INSERT INTO bounced_addresses (id, practice_id, email_canonical, delivery_id, is_complaint, reason, bounced_at)
    SELECT md5('bounce' || n)::uuid, md5('practice' || 1 + n % $2::int)::uuid, 'u' || n || '@filler.example', md5('delivery' || n)::uuid,
        false, 'Nobody is there.', clock_now()
    FROM generate_series(1, $1::int) n
    """,
)
# What others did in the tested practice itself. The chain of hashes is left out: it is not what is looked at here.
EVENTS = """
    INSERT INTO audit_events (id, practice_id, occurred_at, action, actor_user_id, actor_name, subject_user_id, details)
    SELECT md5('event' || n)::uuid, p.id, clock_now() - interval '2 days', 'session.started', md5('somebody' || n % 300)::uuid, 'A B',
        md5('somebody' || n % 300)::uuid, '{}'
    FROM generate_series(1, $1::int) n, practices p WHERE p.name = $2
"""
TABLES = ("users", "invitations", "sign_ups", "bounced_addresses", "audit_events")

Act = Callable[[World, PracticeWorld, Clock], Awaitable[object]]


async def rows_read() -> dict[str, int]:
    """How many rows of each table were read so far, in order or by way of an index: an index too can be gone through from end to end."""
    rows = await counted(
        """
        SELECT t.relname AS name, t.seq_tup_read + (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid) AS rows
        FROM pg_stat_user_tables t WHERE t.relname = ANY($1::text[])
        """,
        list(TABLES),
    )
    return {row["name"]: int(row["rows"]) for row in rows}


@asynccontextmanager
async def no_whole_table_read() -> AsyncIterator[None]:
    """Fails where a statement of the block went through all of one of the tables."""
    before = await rows_read()
    yield
    after = await rows_read()
    read = {table: after[table] - before[table] for table in TABLES}
    assert all(number < PEOPLE / 10 for number in read.values()), read


async def _sign_in(world: World, practice: PracticeWorld, clock: Clock) -> None:
    for email in ("nobody@filler.example", practice.administrator.email, "u3@filler.example"):
        await world.api.do("signIn", {"email": email, "password": "not the password"})


async def _forgotten_password(world: World, practice: PracticeWorld, clock: Clock) -> None:
    for email in ("nobody@filler.example", practice.administrator.email, "u4@filler.example"):
        await world.api.do("requestPasswordReset", {"email": email})


async def _sign_up(world: World, practice: PracticeWorld, clock: Clock) -> None:
    await world.practice("Second Practice", FORM["email"])


async def _invite(world: World, practice: PracticeWorld, clock: Clock) -> None:
    rows = [
        {"firstName": "A", "lastName": "B", "email": email, "accessLevel": "BILLING"}
        for email in (*(f"new{n}@clinic.example" for n in range(5)), "u3@filler.example", "u4@filler.example")
    ]
    await world.api.do("invite", {"users": rows}, token=practice.administrator.session)


async def _correct_an_address(world: World, practice: PracticeWorld, clock: Clock) -> None:
    user_id = await world.invite(practice, "typo@clinic.example")
    await clock.forward(seconds=61)
    values = {"userId": user_id, "email": "right@clinic.example"}
    assert (await world.api.do("resend", values, token=practice.administrator.session))["__typename"] == "User"


async def _join(world: World, practice: PracticeWorld, clock: Clock) -> None:
    await world.joined(practice, "joined@clinic.example")


async def _change_ones_address(world: World, practice: PracticeWorld, clock: Clock) -> None:
    admin = practice.administrator
    challenge = (await world.api.do("changeEmail", {"email": "moved@clinic.example"}, token=admin.session))["token"]
    values = {"challengeToken": challenge, "code": await world.code(challenge, admin.phone)}
    await world.api.do("verifyEmailChange", values, token=admin.session)
    token = {"token": await world.link("moved@clinic.example")}
    assert (await world.api.do("confirmEmail", token))["__typename"] == "EmailConfirmed"


async def _block_and_let_back_in(world: World, practice: PracticeWorld, clock: Clock) -> None:
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await world.api.do("deactivate", {"userId": second.id}, token=practice.administrator.session)
    await world.api.do("reactivate", {"userId": second.id}, token=practice.administrator.session)


async def _look_at_the_tile(world: World, practice: PracticeWorld, clock: Clock) -> None:
    tile = "{ usersTile { activeCount users(first: 50) { totalCount nodes { email invitation { state addressBouncedAt } } } } }"
    await world.api.query(tile, token=practice.administrator.session)
    searched = '{ usersTile { users(filter: { search: "gr" }) { totalCount nodes { email } } } }'
    await world.api.query(searched, token=practice.administrator.session)


ACTS: dict[str, Act] = {
    "sign in": _sign_in,
    "forgotten password": _forgotten_password,
    "sign up": _sign_up,
    "invite": _invite,
    "correct an address": _correct_an_address,
    "join": _join,
    "change one's address": _change_ones_address,
    "block and let back in": _block_and_let_back_in,
    "look at the tile": _look_at_the_tile,
}


async def test_no_act_reads_everybody(world: World, clock: Clock) -> None:
    practice = await world.practice()
    for statement in PEOPLE_ELSEWHERE:
        await database.execute(statement, PEOPLE, PRACTICES)
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        await database.execute(EVENTS, PEOPLE, practice.name)
    await database.execute("ANALYZE")
    for name, act in ACTS.items():
        await database.execute(
            "ANALYZE deliveries"
        )  # autovacuum does; without statistics the planner may go through what it joins them with
        try:
            async with no_whole_table_read():
                await act(world, practice, clock)
        except AssertionError as error:
            error.add_note(f"while: {name}")
            raise


async def test_each_index_has_the_collation_of_its_column(db: None) -> None:
    """Where the two differ, `column = $1` is another comparison than the index's, and no plan can use it."""
    different = await database.fetch(
        """
        SELECT i.indexrelid::regclass::text AS index, a.attname AS column
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid CROSS JOIN LATERAL unnest(i.indkey, i.indcollation) AS k (attnum, collation_id)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND k.collation_id <> 0 AND k.collation_id <> a.attcollation
        """
    )
    assert different == []


async def test_an_address_is_compared_by_one_collation_in_every_table(db: None) -> None:
    """Two tables that are joined by it would else use the index of one of them only."""
    rows = await database.fetch(
        "SELECT table_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name = 'email_canonical'"
    )
    assert len(rows) > 4
    assert {row["collation_name"] for row in rows} == {"C"}
