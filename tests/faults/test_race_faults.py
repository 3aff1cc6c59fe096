"""What changes while a mail about it waits; and many workers on the same rows."""

import asyncio
import sys
from collections import Counter

import pytest

from tests.faults.scene import Scene
from tests.processes import ROOT
from tests.test_practice_access_codes import rotate
from tests.world import Api, Mail, World


@pytest.mark.fault("F34")
async def test_a_mail_that_waits_says_what_is_so_when_it_goes_out_or_is_called_off(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    admin = practice.administrator
    second = await world.joined(practice, "second@clinic.example", "ADMINISTRATOR")
    await mail.run()
    # The access code is replaced twice, an invitation revoked, a person blocked, and a reset's link replaced, all while mails wait.
    await rotate(api, admin.session)
    revoked = await world.invite(practice, "revoked@clinic.example")
    await api.do("revokeInvitation", {"userId": revoked}, token=admin.session)
    await api.do("requestPasswordReset", {"email": second.email})
    await api.do("deactivate", {"userId": second.id}, token=admin.session)
    await rotate(api, admin.session)
    sent = await mail.run()
    shown = (await api.query("{ practiceAccessCode { code } }", token=admin.session))["practiceAccessCode"]["code"]
    assert {one.content.recipient for one in sent} == {admin.email}
    assert [one.content.code for one in sent if one.content.code] == [shown]


CLAIM = """
import asyncio, sys
from domain import database, outbox, secrets

secrets.use_keys((b"a key, which no message here waits for",))

async def main():
    await database.connect(sys.argv[1])
    while rows := await outbox.claim(2, at_most=100, lease_seconds=600, suspects=False):
        print("\\n".join(str(row.id) for row in rows), flush=True)
    await database.disconnect()

asyncio.run(main())
"""


@pytest.mark.fault("F35")
@pytest.mark.slow_fault
async def test_eight_processes_that_claim_ten_thousand_rows_claim_each_once(scene: Scene) -> None:
    await scene.due([f"n{number}@example.com" for number in range(10_000)])
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLAIM, scene.parts.database_url, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        for _ in range(8)
    ]
    printed = await asyncio.gather(*(child.communicate() for child in children))
    claimed = Counter(line for output, _ in printed for line in output.decode().split())
    assert len(claimed) == 10_000
    assert set(claimed.values()) == {1}
    assert sum(bool(output) for output, _ in printed) > 1, "they did race"
    [row] = await scene.sql("SELECT count(*) AS n FROM deliveries WHERE attempts = 1 AND status = 'SENDING'")
    assert row["n"] == 10_000
