"""A carrier that takes a message and does not say so, or is busy or broken."""

from pathlib import Path

import pytest

from domain.models.columns import DeliveryStatus
from tests.conftest import Clock
from tests.servers import carrier
from tests.test_delivery import PHONE, account, code_sent, relaying, until


@pytest.mark.fault("F30")
@pytest.mark.slow_fault
async def test_a_carrier_that_takes_a_text_and_answers_too_late_gets_it_twice_at_most(
    db: None, clock: Clock, tmp_path: Path
) -> None:
    with carrier.running() as phones:
        digits = await code_sent()
        phones.delay_seconds = 11.0  # longer than it is waited for; it takes the text all the same
        async with relaying(tmp_path, **account(phones)):
            [row] = await until(DeliveryStatus.RETRYING)
            assert "broke off" in row["problem"]
            phones.delay_seconds = 0.0
            await until(DeliveryStatus.SENT)
        texts = phones.sent_to(PHONE)
    assert 1 <= len(texts) <= 2
    assert {text.text.split()[0] for text in texts} == {digits}
    assert len(set(phones.idempotency_keys)) == 1, "a carrier that knows a repeated request by its key sends one"


@pytest.mark.fault("F31")
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_carrier_that_is_busy_or_broken_gets_the_text_a_little_later(
    db: None, clock: Clock, tmp_path: Path, status: int
) -> None:
    with carrier.running() as phones:
        digits = await code_sent()
        phones.refuse("*", status, 20429, "not now")
        async with relaying(tmp_path, **account(phones)) as relay:
            [row] = await until(DeliveryStatus.RETRYING)
            assert 0 < row["due_in"] < 3
            phones.forget()
            await clock.forward(seconds=3)
            relay.ring()
            await until(DeliveryStatus.SENT)
        [text] = phones.sent_to(PHONE)
    assert text.text.startswith(digits)
