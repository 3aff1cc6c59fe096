"""No statement reads more rows because others have joined: at a size where reading a whole table would be felt.

Every statement of a request, of the worker's loop, of the schedule and of a scrape runs in a database with 20,000 people in 1,000 practices,
and PostgreSQL tells how many rows it read. Whoever adds a statement adds something to `tests/growing.py` that runs it; or, where it grows
with one practice, or is no such statement, a line to one of the two tables here.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable

import pytest

from domain import audit_chain, audit_findings, database, queue_health
from domain.settings import Settings
from tests import filler, growing, plans
from tests.conftest import Clock
from tests.plans import Run
from tests.world import Api, PracticeWorld, World

PEOPLE = 20_000
PRACTICES = PEOPLE // filler.PEOPLE_A_PRACTICE
# As many as one statement may read: less than there are practices, and more than any batch has.
FLAT = 500

# What reads more: how much of what, and why that is right.
GROWING: dict[str, tuple[float, str]] = {
    "users.counts": (2 * filler.MEMBERS_OF_ONE, "one practice's people, from the index alone"),
    "users.total 1": (2 * filler.MEMBERS_OF_ONE, "one practice's people, from the index alone"),
    "users.total 2": (2 * filler.MEMBERS_OF_ONE, "one practice's people: a search, or who is dormant"),
    "users.dormant": (2 * filler.MEMBERS_OF_ONE, "one practice's people"),
    "users.page": (2 * filler.MEMBERS_OF_ONE, "one practice's people, where few of them fit the search"),
    "outbox.tell_waiting": (2_500, "a thousand messages at once, each of them once"),
    "practice_access_codes.rotate_due": (4 * PRACTICES, "practices, once a minute"),
    "invitation_ends.summarize_due": (4 * PRACTICES, "practices, once a minute"),
    "subscription_notices.send_due": (4 * PRACTICES, "practices, once a minute"),
    "audit_chain.cut": (4 * PRACTICES, "practices, once a day"),
    "audit_chain._chains": (8 * PRACTICES, "practices, every ten minutes"),
    "audit_findings.enroll": (4 * PRACTICES, "practices, every ten minutes"),
}

# What nothing here runs, by the reason.
NOT_RUN: dict[str, tuple[str, ...]] = {
    "an operator's command, or an event of the payment provider's": (
        "deliveries.newest 1",
        "deliveries.newest 2",
        "deliveries.show",
        "deliveries.tries_of",
        "keys._counted",
        "lost_keys.forget 1",
        "lost_keys.forget 2",
        "lost_phones._is_planned",
        "lost_phones.plan_reset",
        "restored._cancel_of",
        "restored._sign_out 1",
        "restored._sign_out 2",
        "restored._sign_out 3",
        "restored.cancel_open 1",
        "restored.cancel_open 2",
        "restored.sign_everybody_out",
        "user_history._events",
        "user_history._gather",
        "user_history._messages_where",
        "user_support.find_exactly",
        "user_support.get",
        "user_support.practice_of",
        "audit_chain.require_chain",
        "audit_log.export",
        "bounced_addresses.lift",
        "emergency_access._held",
        "emergency_access.grant 1",
        "emergency_access.grant 2",
        "money_guard.lift",
        "money_guard.stops",
        "practices.find",
        "practices.reported",
        "redelivery.cancel",
        "redelivery.dead_since",
        "subscriptions._change",
        "subscriptions._is_new",
        "subscriptions.change",
        "user_support.find",
        "user_support.unlock",
    ),
    "at a start, or by a health check: the server keys or the migrations, of which there are few": (
        "database_start.is_current",
        "keys._is_migrated",
        "keys._known",
        "keys._write 1",
        "keys._write 2",
        "keys.is_known",
        "readiness.Database._answer",
    ),
    "an operator's command about login settings": (
        "login_settings_changes._name",
        "login_settings_changes.reset 1",
        "login_settings_changes.reset 2",
        "login_settings_changes.reset 3",
    ),
    "one practice's chain of events, once a month, or where it is broken": (
        "audit_chain._cut 3",
        "audit_chain._cut 4",
        "audit_chain._cut 5",
        "audit_chain._gone",
        "audit_chain._holds",
    ),
    "one row by its key, or by that of its invitation or code, in a case that is rare": (
        "audit.record_with",
        "change_texts._pay",
        "corrections._refuse",
        "deactivation._row",
        "lost_phones._drop",
        "lost_phones._reset 1",
        "lost_phones._reset 2",
        "lost_phones._reset 3",
        "practice_access_codes.mail_to",
        "stopped_changes._put_phone_back",
        "voice_fallback._release",
        "devices.remember_again",
        "devices.stop_trusting",
        "enrollment._finished",
        "enrollment.refuse_where_address_was_lost",
        "finished_enrollments.of_invitation",
        "invitations._let_run_out",
        "inviting._without_bounces",
        "lost_phones._put_off",
        "redelivery._point_invitation_at 2",
        "security_codes.not_used",
        "sign_in._renewed_hash",
    ),
}

Act = Callable[[World, PracticeWorld, Clock], Awaitable[object]]


async def _sign_in(world: World, practice: PracticeWorld, clock: Clock) -> None:
    for email in ("nobody@filler.example", practice.administrator.email, "u3@filler.example"):
        await world.api.do("signIn", {"email": email, "password": "not the password"})


async def _forgotten_password(world: World, practice: PracticeWorld, clock: Clock) -> None:
    for email in ("nobody@filler.example", practice.administrator.email, "u4@filler.example"):
        await world.api.do("requestPasswordReset", {"email": email})


async def _correct_an_address(world: World, practice: PracticeWorld, clock: Clock) -> None:
    user_id = await world.invite(practice, "typo@clinic.example")
    await clock.forward(seconds=61)
    values = {"userId": user_id, "email": "right@clinic.example"}
    assert (await world.api.do("resend", values, token=practice.administrator.session))["__typename"] == "User"


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


ACTS: dict[str, Act] = {
    "sign in": _sign_in,
    "forgotten password": _forgotten_password,
    "correct an address": _correct_an_address,
    "change one's address": _change_ones_address,
    "block and let back in": _block_and_let_back_in,
}


async def test_no_statement_reads_more_because_there_are_more_people_and_messages(
    world: World, clock: Clock, app_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_health, "COUNTED_UP_TO", FLAT // 5)
    practice = await world.practice()
    await filler.fill(0, PEOPLE - 1)
    await filler.write(
        (filler.WAITING, 0, PEOPLE - 1, 20 * 86_400.0),
        (filler.EVENTS_OF_ONE, 1, PEOPLE, practice.administrator.row_id),
        *((statement,) for statement in filler.EXPIRED),
    )
    await audit_findings.enroll(await audit_chain._chains())
    await database.execute("ANALYZE")
    async with plans.recording() as recorder:
        for name, act in ACTS.items():
            await act(world, practice, clock)
            check(recorder.take(), name)
        for name, everything in growing.ACTS.items():
            await everything(world, clock)
            check(recorder.take(), name)
        await growing.scrape()
        check(recorder.take(), "a scrape")
        await growing.keep_the_schedule(app_settings)
        check(recorder.take(), "the schedule")
        await growing.work(world, clock)
        check(recorder.take(), "the worker's loop")
    known = {site for group in NOT_RUN.values() for site in group}
    missing = set(plans.sites().values()) - recorder.seen - known
    assert not missing, f"nothing here runs these statements: {', '.join(sorted(missing))}"
    assert not known & recorder.seen, f"these do run: {', '.join(sorted(known & recorder.seen))}"
    gone = (known | set(GROWING)) - set(plans.sites().values())
    assert not gone, f"there are no such statements: {', '.join(sorted(gone))}"


def check(runs: list[Run], name: str) -> None:
    """Each statement has read no more than it may."""
    assert runs, name
    worst: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.rows > GROWING.get(run.site or "", (FLAT, ""))[0]:
            worst[run.site or run.sql].append(run)
    told = {
        site: sorted(
            ((read.rows, read.how, read.table) for read in max(some, key=lambda run: run.rows).reads), reverse=True
        )[:5]
        for site, some in worst.items()
    }
    assert told == {}, f"while: {name}"


async def test_people_are_counted_only_when_somebody_asks(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice = await world.practice()
    await world.invite(practice, "grace@clinic.example")

    async def counting(query: str) -> set[str]:
        recorder = plans.Recorder()
        with monkeypatch.context() as patch:
            patch.setattr("domain.tracing.statement", recorder.statement)
            await api.query(query, token=practice.administrator.session)
        return {
            site
            for site in recorder.seen
            if site in {"users.counts", "users.dormant", "users.total 1", "users.total 2"}
        }

    assert await counting("{ usersTile { users { nodes { email } } } }") == set()
    assert await counting("{ usersTile { activeCount invitedCount inactiveCount } }") == {"users.counts"}
    assert await counting("{ usersTile { dormantCount } }") == {"users.dormant"}
    # A page that has everybody tells how many there are.
    assert await counting("{ usersTile { users { totalCount nodes { email } } } }") == set()
    assert await counting("{ usersTile { users(first: 1) { totalCount nodes { email } } } }") == {"users.total 1"}
    assert await counting('{ usersTile { users(first: 0, filter: { search: "gr" }) { totalCount } } }') == {
        "users.total 2"
    }
    shown = "{ usersTile { all: users(first: 1) { totalCount } some: users(first: 0, filter: { status: [INVITED] }) { totalCount } } }"
    tile = (await api.query(shown, token=practice.administrator.session))["usersTile"]
    assert (tile["all"]["totalCount"], tile["some"]["totalCount"]) == (2, 1)


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
