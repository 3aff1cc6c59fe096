"""What codes may cost: budgets that many share, and the breaker that holds codes to new phones back when few are proved."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import budgets, code_budgets, database, money_guard, networks, phone_countries, retention, secrets
from domain.actors import Actor, operator
from domain.budgets import Budget
from domain.code_budgets import Sending
from domain.errors import Allowance, Forbidden, LimitReached, NotFound
from domain.models.columns import Crowd, PhoneChannel
from domain.settings import DEFAULT_COUNTRIES, Settings, load
from tests.conftest import CLIENT_ADDRESS, Clock, database_url
from tests.refusals.scene import away_from_the_end_of_a_window
from tests.test_code_rotation import paying
from tests.test_operator_commands import Server
from tests.test_schema_guards import ROWS, code, insert
from tests.test_subscriptions import id_of
from tests.world import Api, Json, Mail, PracticeWorld, World, keep_sessions_open

STRANGER = Actor(ip_address="203.0.113.9")
OPERATOR = operator("ada")
ALERTS = """
    SELECT action, practice_id, actor_name, details FROM audit_events
    WHERE action IN ('code_budget.used_up', 'money_guard.tripped', 'money_guard.lifted') ORDER BY id
"""


@pytest.fixture(autouse=True)
async def _quiet_moment(clock: Clock) -> None:
    await away_from_the_end_of_a_window(clock)


@pytest.fixture
def limits(app_settings: Settings) -> Any:
    """Set what the operator sets; as it was afterwards."""

    def use(**changes: str) -> None:
        code_budgets.use_settings(
            load(
                {"DATA_DIR": str(app_settings.data_dir), "SECRET_KEYS": "k" * 12 + "0123456789abcdefghijklm"} | changes
            )
        )

    yield use
    use()


def number(prefix: str, n: int) -> str:
    """A number in a range of 10,000."""
    return f"{prefix}{n:04d}"


async def alerts(action: str | None = None) -> Sequence[Json]:
    """What the guard wrote into the trail, oldest first."""
    rows = await database.fetch(ALERTS)
    return [row for row in rows if action in (None, row["action"])]


async def texts() -> int:
    """How many texts and calls were queued."""
    row = await database.fetch("SELECT count(*) AS n FROM deliveries WHERE channel <> 'EMAIL'")
    return int(row[0]["n"])


async def ask(api: Api, enrollment: str, phone: str, channel: str = "SMS") -> str:
    """Somebody who sets up an account says that a phone is theirs; what it is answered with."""
    result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": phone, "channel": channel})
    return str(result["__typename"])


async def sending(
    phone: str,
    *,
    crowd: Crowd = Crowd.STRANGERS,
    channel: PhoneChannel = PhoneChannel.SMS,
    account: str = "",
    practice: UUID | None = None,
) -> Sending:
    """A code that is about to be sent, to an account of its own."""
    return Sending(
        phone=phone, channel=channel, account_key=account or f"sign-up:{phone}", practice_id=practice, crowd=crowd
    )


async def take(phone: str, actor: Actor = STRANGER, **what: Any) -> str | None:
    """Take what one code costs; the refusal's allowance, or None."""
    one = await sending(phone, **what)
    try:
        async with code_budgets.spending(actor, one):
            pass
    except LimitReached as refusal:
        return refusal.allowance.value
    return None


async def used(key: str) -> int:
    """What is used of budgets whose key begins like this."""
    rows = await database.fetch("SELECT coalesce(sum(used), 0)::int AS n FROM budgets WHERE key LIKE $1 || '%'", key)
    return int(rows[0]["n"])


async def test_a_thousand_numbers_of_one_range_are_cut_off_with_one_alert(
    world: World, api: Api, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    before = await texts()
    await clock.stop()  # however slow the machine is, the breaker has no say: no grace passes
    answers = []
    for first in range(0, 1000, 25):
        phones = [number("+1415555", n) for n in range(first, first + 25)]
        answers += await asyncio.gather(*(take(phone, Actor(ip_address=f"203.0.{first % 250}.9")) for phone in phones))
    assert answers.count(None) == 60
    assert answers.count("NEW_PHONES") == 940
    assert await used("codes:strangers:prefix:+1415555") == 60
    assert await used("codes:strangers:day:SMS") == 60  # what was refused was given back everywhere
    (alert,) = await alerts()
    assert alert["action"] == "code_budget.used_up"
    assert '"strangers:prefix:+1415555:SMS"' in alert["details"]
    assert [record.levelno for record in caplog.records if "used up" in record.message] == [logging.ERROR]
    assert await take("+12125550100") is None  # another range
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    assert await ask(api, enrollment, "+14155559999") == "LimitReached"
    assert await ask(api, enrollment, "+12125550101") == "SecurityCodeSent"
    assert await texts() == before + 2  # the administrator's, and that one


async def test_who_is_refused_is_told_what_holds_them_up(world: World, api: Api) -> None:
    practice = await world.practice()
    enrollment = await world.enrolled(practice, "grace@clinic.example")
    for n in range(60):
        _ = await take(number("+1415555", n))
    result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": "+14155559999", "channel": "SMS"})
    assert result["__typename"] == "LimitReached"
    assert "held back" in result["message"]
    waits = datetime.fromisoformat(result["retryAt"]) - await database.now()
    assert 0 < waits.total_seconds() <= 86_400


@pytest.mark.parametrize(
    ("what", "same"),
    [
        ("network", lambda n: (f"+1{212 + n % 100}555{n:04d}", f"203.0.113.{n % 250}")),
        ("practice", lambda n: (f"+1{212 + n % 100}555{n:04d}", f"203.{n % 200}.{n // 200}.9")),
    ],
)
async def test_parallel_codes_never_cost_more_than_a_budget(db: None, what: str, same: Any) -> None:
    practice = UUID(int=7)
    channel = PhoneChannel.VOICE
    amount = {"network": code_budgets.PER_NETWORK, "practice": code_budgets.PER_PRACTICE}[what][channel].amount
    wanted = [same(n) for n in range(amount + 40)]
    answers = await asyncio.gather(
        *(take(phone, Actor(ip_address=address), channel=channel, practice=practice) for phone, address in wanted)
    )
    assert answers.count(None) == amount
    assert await used(f"codes:{'strangers:network' if what == 'network' else 'prove:practice'}") == amount
    assert len(await alerts("code_budget.used_up")) == 1


async def test_parallel_codes_with_budgets_in_common_do_not_wait_in_a_circle(db: None) -> None:
    """Numbers, accounts and networks crosswise: each lock is another one's next."""
    jobs = [
        take(
            f"+1212555010{n % 3}",
            Actor(ip_address=f"203.0.{n % 2}.9"),
            account=f"user:{n % 4}",
            practice=UUID(int=n % 3),
        )
        for n in range(60)
    ]
    answers = await asyncio.wait_for(asyncio.gather(*jobs), 60)
    assert answers.count(None) == 15  # three numbers, five codes each
    assert await used("codes:strangers:day:SMS") == 15


async def test_a_number_is_texted_five_times_by_parallel_requests(world: World, api: Api) -> None:
    practice = await world.practice()
    tokens = [await world.enrolled(practice, f"user{n}@clinic.example") for n in range(8)]
    before = await texts()
    kinds = await asyncio.gather(*(ask(api, token, "+14155550123") for token in tokens))
    assert (kinds.count("SecurityCodeSent"), kinds.count("LimitReached")) == (5, 3)
    assert await texts() == before + 5


async def test_however_it_is_spelt_a_number_has_one_budget(world: World, api: Api) -> None:
    practice = await world.practice()
    spellings = (
        "+14155550123",
        "(415) 555-0123",
        "1 415 555 0123",
        "tel:+1-415-555-0123",
        "415.555.0123",
        "4155550123",
    )
    tokens = [await world.enrolled(practice, f"user{n}@clinic.example") for n in range(6)]
    kinds = [await ask(api, token, phone) for token, phone in zip(tokens, spellings, strict=True)]
    assert kinds == ["SecurityCodeSent"] * 5 + ["LimitReached"]


async def test_calls_are_counted_apart_and_fewer(db: None) -> None:
    voice = PhoneChannel.VOICE
    answers = [await take(number("+1415555", n), channel=voice) for n in range(21)]
    assert answers == [None] * 20 + ["NEW_PHONES"]
    assert await take("+14155559999") is None  # a text to the same range
    (alert,) = await alerts()
    assert "VOICE" in alert["details"]
    for n in range(15):
        assert await take(f"+1212555{n:04d}", channel=voice, account="user:1") is None
    assert await take("+12125559999", channel=voice, account="user:1") == "CODES"
    assert await take("+12125559999", account="user:1") is None
    assert (
        await take("+12125559999", account="user:1", channel=voice, crowd=Crowd.STAFF) is None
    )  # signing in by calls alone


async def test_strangers_use_up_nothing_that_staff_or_customers_need(world: World, api: Api, limits: Any) -> None:
    practice = await paying(world)
    grace = await world.joined(practice, "grace@clinic.example")
    invited = await world.enrolled(practice, "mary@clinic.example")
    limits(CODES_PER_DAY="30")
    here = Actor(ip_address=CLIENT_ADDRESS)
    for n in itertools.count(5000):
        if await take(number("+1202555", n), here) is not None:
            break
    trial = await world.enrolled(await _trial(world), "joan@oak.example")
    assert await ask(api, trial, "+12025557000") == "LimitReached"
    # Of the same range, network, country and day:
    assert await ask(api, invited, "+12025557001") == "SecurityCodeSent"
    sent = await api.do("sendSecurityCode", {"challengeToken": await world.challenged(grace), "channel": "SMS"})
    assert sent["__typename"] == "SecurityCodeSent"


async def _trial(world: World) -> PracticeWorld:
    """A practice on trial, made while strangers get no codes: its administrator's own phone counts with the customers'."""
    await database.execute("UPDATE budgets SET used = used - 1 WHERE key LIKE 'codes:strangers:day:%'")
    return await world.practice("Oak Street Practice")


async def test_a_country_other_than_home_gets_a_tenth_of_the_day(db: None, limits: Any) -> None:
    limits(CODES_PER_DAY="50")
    assert [await take(f"+1787{n:03d}0123") for n in range(200, 206)] == [None] * 5 + ["NEW_PHONES"]
    assert await take("+12125550100") is None
    assert await take("+13402030123") is None  # the Virgin Islands have their own


async def test_a_day_ends_and_the_budgets_are_there_again_whatever_became_of_redis(
    db: None, clock: Clock, limits: Any
) -> None:
    limits(CODES_PER_DAY="2")
    assert [await take(f"+1212555010{n}") for n in range(3)] == [None, None, "NEW_PHONES"]
    await clock.forward(days=1)
    assert await take("+12125550105") is None


async def test_of_budgets_taken_together_none_is_taken_when_one_is_used_up(db: None) -> None:
    for _ in range(5):
        assert await take("+12125550100") is None
    before = await database.fetch("SELECT key, used FROM budgets ORDER BY key")
    assert await take("+12125550100") == "CODES"
    assert await database.fetch("SELECT key, used FROM budgets ORDER BY key") == before
    assert await alerts() == []  # one person's own budget is no news


async def test_the_wait_that_is_told_is_the_longest(db: None, limits: Any) -> None:
    limits(CODES_PER_DAY="5")
    for _ in range(5):
        assert await take("+12125550100") is None
    with pytest.raises(LimitReached) as refused:
        async with code_budgets.spending(STRANGER, await sending("+12125550100")):
            pass
    assert refused.value.allowance.value == "NEW_PHONES"  # ten minutes are not enough


async def test_no_budget_holds_a_phone_number(world: World, api: Api) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await ask(api, enrollment, "+14155550123", "VOICE")
    keys = [row["key"] for row in await database.fetch("SELECT key FROM budgets")]
    assert len([key for key in keys if ":number" in key]) >= 3
    assert [key for key in keys if "4155550123" in key] == []
    assert f"codes:prove:number:{secrets.fingerprint('phone', '+14155550123')}" in keys


async def test_what_is_used_of_the_whole_products_budgets_can_be_read(db: None, limits: Any) -> None:
    limits(CODES_PER_DAY="100", PHONE_COUNTRIES="US,CA")
    assert await take("+14165550123") is None
    assert await take("+12125550123", crowd=Crowd.STAFF) is None
    found = {one.name: one for one in await code_budgets.in_use()}
    assert set(found) == {f"{crowd.lower()}:day:{channel}" for crowd in Crowd for channel in PhoneChannel} | {
        f"{crowd}:country:CA:{channel}" for crowd in ("strangers", "customers") for channel in PhoneChannel
    }
    assert (found["strangers:day:SMS"].used, found["strangers:day:SMS"].amount) == (1, 100)
    assert (found["strangers:country:CA:SMS"].used, found["strangers:country:CA:SMS"].amount) == (1, 10)
    assert (found["staff:day:SMS"].used, found["staff:day:SMS"].amount) == (1, 500)
    ends_at = found["staff:day:SMS"].ends_at
    assert ends_at is not None
    assert ends_at > await database.now()
    assert (found["staff:day:VOICE"].used, found["staff:day:VOICE"].ends_at) == (0, None)


@pytest.mark.parametrize(
    ("phone", "answer"),
    [
        ("+14155550123", "SecurityCodeSent"),
        ("787 234 5678", "SecurityCodeSent"),  # Puerto Rico
        ("+1 340 642 5678", "SecurityCodeSent"),  # the Virgin Islands
        ("+1 416 555 0123", "PhoneNumberUnusable"),  # Canada shares the +1
        ("+1 876 210 1234", "PhoneNumberUnusable"),  # so does Jamaica
        ("+44 7400 123456", "PhoneNumberUnusable"),
        ("+371 20 123 456", "PhoneNumberUnusable"),
    ],
)
async def test_codes_go_to_the_united_states_and_territories(world: World, api: Api, phone: str, answer: str) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    before = await texts()
    assert await ask(api, enrollment, phone) == answer
    assert await texts() == before + (answer == "SecurityCodeSent")


async def test_the_operator_says_which_countries(world: World, api: Api, limits: Any) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    limits(PHONE_COUNTRIES="GB,CA")
    refused = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": "+12125550100", "channel": "SMS"})
    assert refused["__typename"] == "PhoneNumberUnusable"
    assert "(US)" in refused["message"]
    assert "GB, CA" in refused["message"]
    assert await ask(api, enrollment, "07400 123456") == "SecurityCodeSent"  # read as one of home
    assert phone_countries.served() == ("GB", "CA")


async def test_a_phone_proved_in_a_country_that_is_served_no_more_is_told_so(
    world: World, api: Api, limits: Any
) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    limits(PHONE_COUNTRIES="CA")
    before = await texts()
    ask_for = {"challengeToken": await world.challenged(grace), "channel": "SMS"}
    refused = await api.do("sendSecurityCode", ask_for)
    assert refused["__typename"] == "PhoneNumberUnusable"
    assert "administrator" in refused["message"]
    assert await texts() == before
    row = await database.fetch_one(
        "SELECT practice_id, details FROM audit_events WHERE action = 'security_code.refused'"
    )
    assert row is not None
    assert (row["practice_id"], '"US"' in row["details"]) == (await id_of(practice), True)
    limits(PHONE_COUNTRIES="CA,US")
    assert (await api.do("sendSecurityCode", ask_for))["__typename"] == "SecurityCodeSent"


async def test_a_practice_may_answer_under_a_toll_free_number_and_nobody_proves_one(world: World, api: Api) -> None:
    form = {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@elm.example", "phone": "1-800-234-5678"}
    form |= {"practiceName": "Elm", "specialty": "Family medicine"}
    assert (await api.do("signUp", form))["__typename"] == "CheckYourEmail"
    assert (await api.do("signUp", form | {"phone": "1-900-234-5678"}))["__typename"] == "InputInvalid"
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    assert await ask(api, enrollment, "1-800-234-5678") == "PhoneNumberUnusable"


async def test_nobody_gets_a_text_sent_who_only_asks(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    await world.invite(practice, "mary@clinic.example")
    link = await world.link("mary@clinic.example")
    before = await texts()
    garbage = "A" * 46
    phone = {"phone": "+14155550123", "channel": "SMS"}
    await world.sign_up("Oak", "joan@oak.example")
    for mutation, values in (
        ("requestPasswordReset", {"email": grace.email}),
        ("signIn", {"email": grace.email, "password": "wrong horse battery"}),
        ("acceptInvitation", {"token": link, "practiceAccessCode": "AAAAAAAAAA"}),
        ("sendPhoneCode", {"enrollmentToken": garbage} | phone),
        ("sendPhoneCode", {"enrollmentToken": link} | phone),  # the link without the access code
        ("sendSecurityCode", {"challengeToken": garbage} | phone),
    ):
        await api.do(mutation, values)
    assert await texts() == before
    await mail.run()
    assert [sent for sent in mail.sent if sent.content.recipient == "+14155550123"] == []
    assert await ask(api, await _accepted(api, practice, link), "+14155550123") == "SecurityCodeSent"


async def _accepted(api: Api, practice: PracticeWorld, link: str) -> str:
    values = {"token": link, "practiceAccessCode": practice.practice_access_code}
    return str((await api.do("acceptInvitation", values))["token"])


# The breaker


async def codes(
    numbers: Sequence[str],
    *,
    verified: int = 0,
    crowd: Crowd = Crowd.STRANGERS,
    practice: UUID | None = None,
    per_flow: int = 1,
) -> None:
    """Codes that went to new phones just now, as rows; the first so many of the numbers were proved. per_flow: of one person."""
    sign_up, flows = uuid4(), [uuid4() for _ in numbers[::per_flow]]
    await insert("sign_ups", ROWS["sign_ups"], sign_up)
    now = await database.now()
    for flow in flows:
        over = {"sign_up_id": sign_up, "invitation_id": None, "ended_at": now}
        await insert("enrollments", ROWS["enrollments"] | over, flow)
    for n, phone in enumerate(numbers):
        moments = {"created_at": now, "expires_at": now + timedelta(minutes=10)}
        moments["consumed_at" if n < verified else "superseded_at"] = now
        whose = {"enrollment_id": flows[n // per_flow], "crowd": crowd.value, "practice_id": practice}
        await insert("security_codes", code(phone=phone, **moments, **whose))


def many(amount: int, prefix: str = "+1415555") -> list[str]:
    """So many numbers of a range."""
    return [number(prefix, n) for n in range(amount)]


def scattered(amount: int) -> list[str]:
    """So many numbers of which no two are of a range."""
    return [f"+1{212 + n % 400}{200 + n % 700}0123" for n in range(amount)]


async def test_a_range_in_which_few_are_proved_gets_no_more_codes_for_an_hour(
    world: World, api: Api, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await codes(many(20), verified=4)
    assert await ask(api, enrollment, "+14155559001") == "SecurityCodeSent"  # they may be typing the code this minute
    await clock.forward(minutes=6)
    result = await api.do("sendPhoneCode", {"enrollmentToken": enrollment, "phone": "+14155559002", "channel": "SMS"})
    assert result["__typename"] == "LimitReached"
    (alert,) = await alerts()
    assert (alert["action"], alert["practice_id"], alert["actor_name"]) == (
        "money_guard.tripped",
        None,
        "the money guard",
    )
    assert '"+1415555"' in alert["details"]
    assert [record.levelno for record in caplog.records if "held back" in record.message] == [logging.ERROR]
    assert await ask(api, enrollment, "+12125550123") == "SecurityCodeSent"
    await clock.forward(minutes=29)
    other = await world.enrolled(await world.practice("Oak Street Practice"), "joan@oak.example")
    assert await ask(api, other, "+14155559003") == "LimitReached"
    await clock.forward(minutes=32)
    third = await world.enrolled(await world.practice("Ash Street Practice"), "mary@ash.example")
    assert await ask(api, third, "+14155559004") == "SecurityCodeSent"  # counted anew from here
    assert len(await alerts()) == 1


async def test_a_practice_whose_numbers_are_not_proved_is_stopped_alone_also_one_that_pays(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await paying(world)
    grace = await world.joined(practice, "grace@clinic.example")
    elm = await id_of(practice)
    enrollment = await world.enrolled(practice, "mary@clinic.example")
    other = await world.enrolled(await paying(world, "Oak Street Practice"), "joan@oak.example")
    await codes(scattered(40), crowd=Crowd.CUSTOMERS, practice=elm)
    await clock.forward(minutes=6)
    assert await ask(api, enrollment, "+14155550123") == "LimitReached"
    assert await ask(api, other, "+14155550123") == "SecurityCodeSent"
    (alert,) = await alerts()
    assert (alert["action"], alert["practice_id"]) == ("money_guard.tripped", elm)
    # Staff whose phone is proved sign in as ever, and the administrator reads why the others cannot.
    sent = await api.do("sendSecurityCode", {"challengeToken": await world.challenged(grace), "channel": "SMS"})
    assert sent["__typename"] == "SecurityCodeSent"
    token = await world.again(practice.administrator)
    log = await api.query("{ auditLog(first: 50) { nodes { action } } }", token=token)
    assert "money_guard.tripped" in [node["action"] for node in log["auditLog"]["nodes"]]


async def test_many_numbers_of_many_ranges_stop_strangers_and_nobody_else(world: World, api: Api, clock: Clock) -> None:
    customer = await world.enrolled(await paying(world), "grace@clinic.example")
    trial = await world.enrolled(await world.practice("Oak Street Practice"), "joan@oak.example")
    await codes(scattered(130), verified=10)
    await clock.forward(minutes=6)
    assert await ask(api, trial, "+14155550123") == "LimitReached"
    assert await ask(api, customer, "+14155550123") == "SecurityCodeSent"
    (alert,) = await alerts()
    assert '"ALL"' in alert["details"]


async def test_fifty_staff_who_set_up_in_a_morning_are_not_held_back(world: World, api: Api, clock: Clock) -> None:
    practice = await world.practice()
    for n in range(50):
        enrollment = await world.enrolled(practice, f"user{n}@clinic.example")
        if n % 5 < 2:  # two of five never type it in
            assert await ask(api, enrollment, world.number()) == "SecurityCodeSent"
        else:
            await world.proved(enrollment)
        await clock.forward(minutes=4)
        await keep_sessions_open()
    assert await alerts() == []
    assert await database.fetch("SELECT 1 FROM code_stops") == []


async def test_staff_of_a_practice_none_of_whom_proves_a_phone_are_held_back(
    world: World, api: Api, clock: Clock
) -> None:
    practice = await world.practice()
    kinds = []
    for n in range(30):
        enrollment = await world.enrolled(practice, f"user{n}@clinic.example")
        kinds.append(await ask(api, enrollment, f"+1202{560 + n}0123"))
        await clock.forward(minutes=2)
        await keep_sessions_open()
    sent = kinds.count("SecurityCodeSent")
    assert 20 <= sent <= 23  # twenty, and those who asked while the last of them might have been typing
    assert kinds == ["SecurityCodeSent"] * sent + ["LimitReached"] * (30 - sent)
    (alert,) = await alerts()
    assert alert["practice_id"] == await id_of(practice)


@pytest.mark.parametrize(("numbers", "verified", "stops"), [(19, 0, 0), (20, 5, 0), (20, 4, 1)])
async def test_the_breaker_wants_enough_numbers_and_a_low_share(
    db: None, clock: Clock, numbers: int, verified: int, stops: int
) -> None:
    await codes(many(numbers), verified=verified)
    await clock.forward(minutes=6)
    await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
    assert len(await alerts()) == stops


async def test_one_person_who_tries_many_numbers_does_not_stop_a_range(db: None, clock: Clock) -> None:
    await codes(many(30), per_flow=30)
    await clock.forward(minutes=6)
    await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
    assert await alerts() == []
    await codes(many(20), per_flow=5)
    await clock.forward(minutes=6)
    await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
    assert len(await alerts()) == 1


async def test_of_requests_that_see_it_at_once_one_tells(db: None, clock: Clock) -> None:
    await codes(many(40))
    await clock.forward(minutes=6)
    watching = (money_guard.watch(STRANGER, Crowd.STRANGERS, None, number("+1415555", n)) for n in range(9000, 9020))
    await asyncio.gather(*watching)
    assert len(await alerts("money_guard.tripped")) == 1
    assert len(await money_guard.stops(OPERATOR)) == 1


async def test_the_operator_sees_what_is_held_back_and_lets_it_go(world: World, api: Api, clock: Clock) -> None:
    enrollment = await world.enrolled(await world.practice(), "grace@clinic.example")
    await codes(many(20))
    await clock.forward(minutes=6)
    assert await ask(api, enrollment, "+14155559000") == "LimitReached"
    (stop,) = await money_guard.stops(OPERATOR)
    assert (stop.scope, stop.subject, stop.numbers, stop.verified, stop.is_open) == ("PREFIX", "+1415555", 20, 0, True)
    with pytest.raises(Forbidden):
        await money_guard.stops(STRANGER)
    with pytest.raises(Forbidden):
        await money_guard.lift(STRANGER, stop.id)
    await money_guard.lift(OPERATOR, stop.id)
    with pytest.raises(NotFound):
        await money_guard.lift(OPERATOR, stop.id)
    assert await ask(api, enrollment, "+14155559000") == "SecurityCodeSent"
    assert [row["action"] for row in await alerts()] == ["money_guard.tripped", "money_guard.lifted"]
    (stop,) = await money_guard.stops(OPERATOR)
    assert not stop.is_open


async def test_a_stop_that_is_over_may_come_again(db: None, clock: Clock) -> None:
    for round_ in range(2):
        await codes(many(20))
        await clock.forward(minutes=6)
        await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
        assert len(await alerts("money_guard.tripped")) == round_ + 1
        await clock.forward(hours=1)


async def test_the_terminal_lists_what_is_held_back_and_lifts_it(clock: Clock, server_url: str, tmp_path: Path) -> None:
    name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
    server = Server(tmp_path, database_url(server_url, name))
    await codes(many(20))
    await clock.forward(minutes=6)
    await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
    assert await take("+12125550100") is None
    (stop,) = await money_guard.stops(OPERATOR)
    held, used_up = (await server.run("money-guard", "list")).printed.split("\n\n")
    assert held.splitlines()[1].split()[:6] == [str(stop.id), "yes", "PREFIX", "+1415555", "0", "20"]
    assert "strangers:day:SMS 1 10000" in " ".join(used_up.split())
    done = await server.run("money-guard", "lift", "--id", str(stop.id))
    assert (done.status, "audit trail" in done.printed) == (0, True)
    assert "nothing is held back" in (await server.run("money-guard", "lift", "--id", str(stop.id))).refused()
    assert "no more" in (await server.run("money-guard", "list")).printed
    lifted = (await alerts())[-1]
    assert (lifted["action"], lifted["actor_name"].startswith("operator ")) == ("money_guard.lifted", True)


async def test_stops_and_budgets_are_thrown_away_when_they_are_of_no_more_use(db: None, clock: Clock) -> None:
    await codes(many(20))
    await clock.forward(minutes=6)
    await money_guard.watch(STRANGER, Crowd.STRANGERS, None, "+14155559000")
    assert await take("+12125550100") is None
    await clock.forward(days=7)
    await retention.purge()
    assert await database.fetch("SELECT 1 FROM budgets") == []
    assert len(await money_guard.stops(OPERATOR)) == 1
    await clock.forward(hours=2)
    await retention.purge()
    assert await money_guard.stops(OPERATOR) == []


async def test_those_that_are_used_up_are_told_in_the_order_they_were_asked_for(db: None) -> None:
    one = Budget(allowance=Allowance.CODES, amount=1, window_seconds=3600)
    async with budgets.spending_all([("codes:b", one), ("codes:a", one)]):
        pass
    with pytest.raises(budgets.NotTaken) as refused:
        async with budgets.spending_all([("codes:c", one), ("codes:b", one), ("codes:a", one)]):
            pytest.fail("two of them are used up")
    assert [found.key for found in refused.value.used_up] == ["codes:b", "codes:a"]
    assert set(await budgets.used(["codes:a", "codes:b", "codes:c", "codes:d"])) == {"codes:a", "codes:b"}


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ("unix socket", "unknown"),
    ],
)
def test_a_network_is_the_block_that_one_customer_of_a_provider_gets(address: str, block: str) -> None:
    assert networks.block(address) == block


def test_the_countries_left_out_of_the_settings_are_home() -> None:
    assert phone_countries.served() == DEFAULT_COUNTRIES
    assert phone_countries.country_of("+14165550123") == "CA"
