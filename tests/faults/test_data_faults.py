"""A row that nothing can be made of any more."""

from pathlib import Path

import pytest

from domain import contents, database
from domain.models.columns import DeliveryStatus
from tests.servers import smtp
from tests.test_delivery import relaying, rows, signed_up, until


@pytest.mark.fault("F37")
async def test_a_message_whose_server_key_no_worker_has_waits_and_others_go_out(db: None, tmp_path: Path) -> None:
    lost = await signed_up("lost@example.com")
    await database.execute("UPDATE sign_ups SET key_id = '00000000' WHERE id = $1", lost)
    for number in range(5):
        await signed_up(f"n{number}@example.com")
    with smtp.running() as sink:
        async with relaying(tmp_path, SMTP_URL=sink.url):
            await until(DeliveryStatus.SENT, 5)
            [row] = await until(DeliveryStatus.RETRYING)
        assert len(sink.received) == 5
    assert row["subject_id"] == lost
    assert (row["problem"], row["attempts"]) == (contents.KEY_AWAITED, 0)
    assert len(await rows()) == 6
