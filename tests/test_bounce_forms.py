"""Whoever sent a mail back, in whatever form: it is read, the right one is blamed, and nothing else is taken for a bounce."""

from collections import Counter
from uuid import UUID

import pytest

from domain import database, return_paths, scraping, secrets
from tests.conftest import TEST_KEYS
from tests.returned_mails import bounces as hard_bounces
from tests.returned_mails import others, writing
from tests.returned_mails.writing import Example
from tests.test_bounced_addresses import MAIL, on_the_tile
from tests.world import Api, Mail, World
from workers import bounces
from workers.bounces import Kind

HOME = "bounces@example.com"
KNOWN = UUID(int=7)
EXAMPLES = {
    "hard bounces": hard_bounces.BOUNCES,
    "delays": others.DELAYS,
    "complaints": others.COMPLAINTS,
    "no bounces": others.NO_BOUNCES,
}


@pytest.fixture(autouse=True)
def _keys() -> None:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))


def read_as(mail: str) -> str:
    """The verdict, or what kind it is without one."""
    reading = bounces.read(mail.encode(), HOME, [return_paths.make(HOME, KNOWN)])
    assert reading.delivery_id == KNOWN
    if reading.kind is not Kind.REPORT:
        return reading.kind.value
    assert reading.report is not None
    assert "ward.example" not in (reading.report.problem or "")
    return reading.report.verdict.value


@pytest.mark.parametrize(
    "example", [pytest.param(one, id=f"{one.form}: {one.expected}") for table in EXAMPLES.values() for one in table]
)
def test_a_returned_mail_is_read_for_what_it_is(example: Example) -> None:
    assert read_as(example.mail) == example.expected
    assert read_as(example.mail.replace("\n", "\r\n")) == example.expected


def test_the_forms_and_how_many_of_each_are_read() -> None:
    for name, table in EXAMPLES.items():
        forms = Counter(one.form.partition(",")[0] for one in table)
        right = Counter(one.form.partition(",")[0] for one in table if read_as(one.mail) == one.expected)
        print(f"\n{name}")  # noqa: T201 -- a table to look at, with -s
        for form, count in forms.items():
            print(f"  {form:<40} {right[form]} of {count}")  # noqa: T201 -- as above
        assert right == forms


def test_a_form_without_an_address_of_ours_says_nothing() -> None:
    for table in EXAMPLES.values():
        for one in table:
            assert bounces.read(one.mail.encode(), HOME, ["bounces@example.com"]).kind is Kind.FOREIGN


def test_a_text_that_sends_another_mail_back_is_not_believed() -> None:
    mail = writing.text(
        writing.EXIM,
        "Mail delivery failed",
        f"{writing.EXIM_OPENING}\n------ This is a copy of the message. ------\n\nMessage-ID: <{'0' * 32}@example.com>\n",
    )
    assert bounces.read(mail.encode(), HOME, [return_paths.make(HOME, KNOWN)]).kind is Kind.FOREIGN
    ours = mail.replace("0" * 32, KNOWN.hex)
    assert bounces.read(ours.encode(), HOME, [return_paths.make(HOME, KNOWN)]).kind is Kind.REPORT


UNREADABLE = next(one.mail for one in others.NO_BOUNCES if one.expected == "unreadable").encode()


async def test_what_cannot_be_read_is_logged_counted_once_and_shown_until_something_better_is_known(
    world: World, api: Api, mail: Mail, caplog: pytest.LogCaptureFixture
) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    delivery = (await mail.latest(MAIL)).row.id
    address = return_paths.make(HOME, delivery)
    before = await _unreadable()
    with caplog.at_level("INFO"):
        assert await bounces.take(UNREADABLE, HOME, [address]) is Kind.UNREADABLE
        assert await bounces.take(UNREADABLE, HOME, [address]) is Kind.UNREADABLE
    assert [record.levelname for record in caplog.records if str(delivery) in record.message] == ["WARNING", "INFO"]
    assert "Kim" not in caplog.text
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == "SENT"
    assert "could not be read" in shown["problem"]
    assert await _unreadable() == before + 1
    bounce = hard_bounces.BOUNCES[0].mail.encode()
    assert await bounces.take(bounce, HOME, [address]) is Kind.REPORT
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == "BOUNCED"
    assert "There is no such mailbox" in shown["problem"]
    assert await bounces.take(UNREADABLE, HOME, [address]) is Kind.UNREADABLE
    assert (await on_the_tile(api, practice))["delivery"] == shown


async def _unreadable() -> float:
    found = await scraping._look()
    assert found.unreadable is not None
    families = {family.name: family for family in scraping._families(found)}
    (sample,) = families["practice_access_unreadable_returns"].samples
    return float(sample.value)


async def test_a_complaint_that_comes_to_the_return_path_is_a_complaint(world: World, api: Api, mail: Mail) -> None:
    practice = await world.practice()
    await world.invite(practice, MAIL)
    delivery = (await mail.latest(MAIL)).row.id
    raw = others.COMPLAINTS[0].mail.encode()
    assert await bounces.take(raw, HOME, [return_paths.make(HOME, delivery)]) is Kind.REPORT
    shown = await on_the_tile(api, practice)
    assert shown["delivery"]["status"] == "DELIVERED"
    assert "marked it as spam" in shown["delivery"]["problem"]
    (row,) = await database.fetch("SELECT is_complaint FROM bounced_addresses WHERE delivery_id = $1", delivery)
    assert row["is_complaint"]
