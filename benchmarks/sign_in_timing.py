"""How long a wrong password takes for accounts of every kind: whoever tries must not learn from the clock whose address it is.

`.venv/bin/python -m benchmarks.sign_in_timing` prints the median of each kind over SAMPLES sign-ins, taken in turns, and how far the
medians lie apart. It starts a PostgreSQL of its own.
"""

import asyncio
import os
import statistics
import tempfile
import time

import httpx

from domain import database, passwords, secrets, settings
from graph.app import create_app
from tests import conftest
from tests.servers import postgres
from tests.world import Api, Mail, World, document

SAMPLES = int(os.environ.get("SAMPLES", "400"))
GOAL_MS = 2.0


async def measure(api: Api) -> dict[str, list[float]]:
    """Milliseconds of each wrong sign-in by kind of account; no counter is left to lock one of them."""
    world = World(api, Mail())
    practice = await world.practice()
    await world.joined(practice, "active@clinic.example")
    await world.invite(practice, "half-joined@clinic.example")
    inactive = await world.joined(practice, "inactive@clinic.example")
    await api.do("deactivate", {"userId": inactive.id}, token=practice.administrator.session)
    taken: dict[str, list[float]] = {kind: [] for kind in ("unknown", "active", "half-joined", "inactive")}
    body = document("signIn")
    for number in range(SAMPLES + 20):
        for kind, times in taken.items():
            values = {"email": f"{kind}@clinic.example", "password": "not the password at all"}
            began = time.perf_counter()
            answer = await api.post(body, {"input": values})
            times.append((time.perf_counter() - began) * 1000)
            if answer["data"]["signIn"]["__typename"] != "CredentialsIncorrect":
                raise RuntimeError(f"{kind}: {answer}")
        if number % 3 == 2:
            await database.execute("DELETE FROM guess_counters")
            await database.execute("DELETE FROM budgets")
    return {kind: times[20:] for kind, times in taken.items()}  # the first ones warm up


async def main(server: str) -> None:
    """Print the medians."""
    await conftest.make_template(server)
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    await database.connect(await conftest.fresh_database(server))
    await passwords.prepare()
    with tempfile.TemporaryDirectory() as folder:
        loaded = settings.load({"DATA_DIR": folder, "SECRET_KEYS": ",".join(conftest.TEST_KEYS)})
        transport = httpx.ASGITransport(app=create_app(loaded, checks={}), client=("198.51.100.7", 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            taken = await measure(Api(client))
    await database.disconnect()
    medians = {kind: statistics.median(times) for kind, times in taken.items()}
    for kind, median in medians.items():
        print(f"{kind:12} {median:7.2f} ms, median of {len(taken[kind])}")
    apart = max(medians.values()) - min(medians.values())
    print(f"apart        {apart:7.2f} ms (goal: {GOAL_MS} ms)")


if __name__ == "__main__":
    with postgres.running() as url:
        asyncio.run(main(url))
