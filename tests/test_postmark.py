"""What Postmark tells: believed with the credentials that the operator gave it, and about our own mails alone."""

import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from domain import database, settings
from graph import postmark
from graph.app import create_app
from tests.conftest import TEST_KEYS, Clock
from tests.test_bounced_addresses import invited, on_the_tile, resend
from tests.world import Api, Json, Mail, World

PASSWORD = "a-long-password-of-postmark"
SETTINGS = {
    "SECRET_KEYS": ",".join(TEST_KEYS),
    "POSTMARK_WEBHOOK_USER": "postmark",
    "POSTMARK_WEBHOOK_PASSWORD": PASSWORD,
}


@pytest_asyncio.fixture
async def caller(db: None, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks with the API as Postmark does."""
    app = create_app(settings.load(SETTINGS | {"DATA_DIR": str(tmp_path)}), checks={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://10.0.0.7:8000") as client:
        yield client


async def tell(caller: httpx.AsyncClient, event: Any, password: str = PASSWORD) -> int:
    response = await caller.post(postmark.PATH, json=event, auth=("postmark", password))
    return response.status_code


def event(delivery: UUID, record: str, **more: Any) -> Json:
    """As Postmark's documentation shows one."""
    return {
        "RecordType": record,
        "MessageStream": "outbound",
        "ID": 4323372036854775807,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Email": "new@clinic.example",
        "Metadata": {"delivery": delivery.hex},
    } | more


@pytest.mark.parametrize(
    ("record", "kind", "status", "says"),
    [
        ("Delivery", None, "DELIVERED", None),
        ("SpamComplaint", "SpamComplaint", "DELIVERED", "spam"),
        ("Bounce", "SpamComplaint", "DELIVERED", "spam"),
        ("Bounce", "HardBounce", "BOUNCED", "no such mailbox"),
        ("Bounce", "BadEmailAddress", "BOUNCED", "no such mailbox"),
        ("Bounce", "ManuallyDeactivated", "BOUNCED", "another address"),
        ("Bounce", "SoftBounce", "FAILED", "The mailbox is full."),
        ("Bounce", "DMARCPolicy", "FAILED", "fails a check of its sender"),
        ("Bounce", "Blocked", "FAILED", "refused by a rule"),
        ("Bounce", "Transient", "SENT", "(4.2.2). The mailbox is full."),
        ("Bounce", "AutoResponder", "SENT", None),
        ("Bounce", "Subscribe", "SENT", None),
        ("Bounce", ["HardBounce"], "SENT", None),
        ("Open", None, "SENT", None),
        ("SubscriptionChange", None, "SENT", None),
        (None, None, "SENT", None),
    ],
)
async def test_each_event_has_its_end(
    world: World, api: Api, mail: Mail, caller: httpx.AsyncClient, record: Any, kind: Any, status: str, says: str | None
) -> None:
    practice, _, delivery = await invited(world, mail)
    details = {"Details": "smtp;452 4.2.2 full"} if kind in ("SoftBounce", "Transient") else {}
    for _ in range(2):
        assert await tell(caller, event(delivery, record, Type=kind, **details)) == 204
    shown = (await on_the_tile(api, practice))["delivery"]
    assert shown["status"] == status
    assert (says or "") in (shown["problem"] or "")
    assert (shown["problem"] is None) == (says is None)


async def test_whoever_has_not_the_credentials_changes_nothing(
    world: World, api: Api, mail: Mail, caller: httpx.AsyncClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    practice, user_id, delivery = await invited(world, mail)
    bounce = event(delivery, "Bounce", Type="HardBounce")
    right = base64.b64encode(f"postmark:{PASSWORD}".encode()).decode()
    with caplog.at_level(logging.DEBUG):
        for header in (
            "",
            "Basic",
            "Basic !",
            "Basic " + right[:-4],
            "Bearer " + right,
            right,
            "Basic " + right + "AAAA",
        ):
            response = await caller.post(postmark.PATH, json=bounce, headers={"authorization": header})
            assert response.status_code == 403, header
        assert await tell(caller, bounce, "another password") == 403
        assert (await caller.post(postmark.PATH, json=bounce)).status_code == 403
        assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"
        assert await tell(caller, bounce) == 204
    assert PASSWORD not in caplog.text
    await clock.forward(minutes=2)
    assert (await resend(api, practice, user_id))["__typename"] == "AddressBounced"


async def test_what_is_not_about_a_mail_of_ours_changes_nothing(
    world: World, api: Api, mail: Mail, caller: httpx.AsyncClient
) -> None:
    practice, _, delivery = await invited(world, mail)
    strange: list[Any] = [
        [],
        "x",
        None,
        {},
        event(uuid4(), "Bounce", Type="HardBounce"),
        *(
            event(delivery, "Bounce", Type="HardBounce", Metadata=metadata)
            for metadata in (None, list[str](), dict[str, str](), {"delivery": 1}, {"delivery": "x"})
        ),
    ]
    for one in strange:
        assert await tell(caller, one) == 204
    signed = {"authorization": "Basic " + base64.b64encode(f"postmark:{PASSWORD}".encode()).decode()}
    assert (await caller.post(postmark.PATH, content=b"\xff", headers=signed)).status_code == 204
    assert (await caller.post(postmark.PATH, content=b"x" * 600_000, headers=signed)).status_code == 413
    assert (await caller.get(postmark.PATH, headers=signed)).status_code == 405
    assert (await on_the_tile(api, practice))["delivery"]["status"] == "SENT"


async def test_no_notification_opens_or_ends_what_lets_people_in(
    world: World, api: Api, mail: Mail, caller: httpx.AsyncClient
) -> None:
    practice, _, delivery = await invited(world, mail)
    grace = await world.joined(practice, "grace@clinic.example")
    state = """
        SELECT (SELECT json_agg(u ORDER BY u.id) FROM users u)::text AS users, (SELECT json_agg(i ORDER BY i.id) FROM invitations i)::text AS i,
            (SELECT json_agg(s ORDER BY s.id) FROM sessions s)::text AS s, (SELECT json_agg(d ORDER BY d.id) FROM devices d)::text AS d,
            (SELECT json_agg(c ORDER BY c.id) FROM security_codes c)::text AS c, (SELECT json_agg(e ORDER BY e.id) FROM enrollments e)::text AS e
    """
    token = (await mail.latest("new@clinic.example")).content.link_token
    (before,) = await database.fetch(state)
    deliveries = [row["id"] for row in await database.fetch("SELECT id FROM deliveries")]
    for one in deliveries:
        for record, kind in (("Delivery", None), ("Bounce", "HardBounce"), ("SpamComplaint", None)):
            assert await tell(caller, event(one, record, Type=kind)) == 204
    assert (await database.fetch(state)) == [before]
    values = {"token": token, "practiceAccessCode": practice.practice_access_code}
    assert (await api.do("acceptInvitation", values))["__typename"] == "Enrollment"  # the link is good all the same
    assert await world.again(grace)
    assert delivery in deliveries


async def test_without_credentials_there_is_no_such_page(api: Api) -> None:
    assert (await api.client.post(postmark.PATH)).status_code == 404
