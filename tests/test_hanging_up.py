"""Clients that hang up in the middle of a request take nothing of the server with them."""

import asyncio
import random

import pytest

from domain import database
from tests.world import Api, World, document

ROUNDS = 60
AT_ONCE = 12
TILE = "{ usersTile { activeCount practiceAccessCode { code } users { nodes { id invitation { state } } } } }"


# graphql-core leaves a resolver's coroutine unawaited when its request is cancelled before it began; nothing is lost by that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.fault("F21")
async def test_sixty_rounds_of_requests_cut_off_at_random_moments_leave_the_pool_whole(world: World, api: Api) -> None:
    practice = await world.practice()
    admin = practice.administrator
    chance = random.Random(7)

    def request(number: int) -> asyncio.Task[object]:
        row = {"firstName": "Pat", "lastName": "N", "email": f"pat{number}@many.example", "accessLevel": "BILLING"}
        wanted = [
            api.post(TILE, token=admin.session),
            api.post(document("invite"), {"input": {"users": [row]}}, token=admin.session),
            api.post(document("signIn"), {"input": {"email": admin.email, "password": "wrong"}}),
        ]
        chosen = chance.randrange(len(wanted))
        for left in wanted[:chosen] + wanted[chosen + 1 :]:
            left.close()
        return asyncio.create_task(wanted[chosen])

    cut_off = 0
    for round_ in range(ROUNDS):
        tasks = [request(round_ * AT_ONCE + number) for number in range(AT_ONCE)]
        for task in chance.sample(tasks, AT_ONCE // 2):
            await asyncio.sleep(chance.choice((0, 0.0005, 0.001, 0.003, 0.01)))
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cut_off += sum(isinstance(result, asyncio.CancelledError) for result in results)
        assert [result for result in results if isinstance(result, Exception)] == []
        assert all("INTERNAL_SERVER_ERROR" not in str(result) for result in results)
    assert cut_off > ROUNDS

    async with asyncio.timeout(60):
        held = await asyncio.gather(
            *(database.fetch("SELECT pg_backend_pid() AS pid, pg_sleep(0.2)") for _ in range(database.POOL_SIZE))
        )
    assert len({rows[0]["pid"] for rows in held}) == database.POOL_SIZE
    left = await database.fetch(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert left == []
    # What went through is whole: every invited user has an invitation, a delivery and a row in the trail.
    counts = await database.fetch(
        """
        SELECT (SELECT count(*) FROM users WHERE status = 'INVITED') AS users, (SELECT count(*) FROM invitations) AS invitations,
            (SELECT count(*) FROM deliveries WHERE kind = 'invitation') AS deliveries,
            (SELECT count(*) FROM audit_events WHERE action = 'invitation.sent') AS events
        """
    )
    assert len(set(counts[0].values())) == 1
