"""Blocking somebody bites at once, also under load."""

import asyncio
import time

from domain import database
from tests.world import Api, Person, World

CLIENTS = 20
VIEWER = "{ viewer { id } usersTile { activeCount } }"


async def ask_until(
    api: Api, person: Person, let_in: asyncio.Event, blocked: asyncio.Event
) -> list[tuple[float, bool]]:
    """Ask again and again, a while longer than until somebody is blocked; when each request began, and whether it was let in.

    let_in: set as soon as one was.
    """
    answers = []
    after = 0
    while after < 10:
        after += blocked.is_set()
        began = time.perf_counter()
        answer = await api.post(VIEWER, token=person.session)
        answers.append((began, answer["data"] is not None))
        if answer["data"] is not None:
            let_in.set()
    return answers


async def test_no_request_that_begins_after_a_deactivation_is_let_in(world: World, api: Api) -> None:
    practice = await world.practice()
    grace = await world.joined(practice, "grace@clinic.example")
    let_in, blocked = asyncio.Event(), asyncio.Event()
    asking = [asyncio.create_task(ask_until(api, grace, let_in, blocked)) for _ in range(CLIENTS)]
    await let_in.wait()
    await api.do("deactivate", {"userId": grace.id}, token=practice.administrator.session)
    committed = time.perf_counter()
    blocked.set()
    answers = [answer for answers in await asyncio.gather(*asking) for answer in answers]
    later = [was_let_in for began, was_let_in in answers if began >= committed]
    assert len(later) >= CLIENTS * 9
    assert not any(later)


async def test_an_act_that_was_under_way_does_not_survive_its_actors_deactivation(world: World, api: Api) -> None:
    """Whichever comes first: after both, nothing stands that the blocked administrator did later than the block."""
    practice = await world.practice()
    for number in range(8):
        second = await world.joined(practice, f"second{number}@clinic.example", "ADMINISTRATOR")
        row = {"firstName": "A", "lastName": "B", "email": f"new{number}@clinic.example", "accessLevel": "BILLING"}
        query = "mutation M($input: InviteInput!) { invite(input: $input) { __typename ... on InviteReport { invitedCount } } }"
        acted, blocked = await asyncio.gather(
            api.post(query, {"input": {"users": [row]}}, token=second.session),
            api.do("deactivate", {"userId": second.id}, token=practice.administrator.session),
        )
        assert blocked["status"] == "INACTIVE"
        left = await database.fetch(
            "SELECT 1 FROM users WHERE email = $1 AND removed_at IS NULL AND status = 'INVITED'", row["email"]
        )
        assert left == [], acted  # it came first and was taken back with the rest, or it was refused
