"""How long codes of other practices take beside an API process that is frozen just before the commit of one.

    .venv/bin/python -m benchmarks.frozen

Starts PostgreSQL, Redis and API processes of its own. CODES (50) people of as many practices ask one process for a code at once: for
comparison while all is well, and then beside a process that is stopped by SIGSTOP. Printed are the median and the 99th percentile, and
what the requests were answered with. ROUNDS (5) rounds, each with a frozen process of its own; each pair is one round.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests import conftest
from tests import parts as real_parts
from tests.faults import codes
from tests.faults.codes import Waiting
from tests.faults.scene import Scene
from tests.faults.test_freeze_faults import frozen, started
from tests.servers import postgres

CODES = int(os.environ.get("CODES", "50"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))


async def measured(url: str, waiting: Sequence[Waiting], taken: list[float], answers: Counter[str]) -> None:
    """Ask for all of these codes at once; adds the milliseconds of each and what it was answered with."""

    async def one(wanted: Waiting) -> None:
        began = time.perf_counter()
        answer = await codes.ask(url, wanted)
        taken.append((time.perf_counter() - began) * 1000)
        answers[codes.kind(answer)] += 1

    await asyncio.gather(*(one(wanted) for wanted in waiting))


def tell(name: str, taken: Sequence[float], answers: Counter[str]) -> None:
    """Print a line."""
    p99 = statistics.quantiles(taken, n=100)[98]
    print(f"{name:24} p50 {statistics.median(taken):8.1f} ms   p99 {p99:8.1f} ms   {dict(answers)}")


async def main(server: str, folder: Path) -> None:
    """Print the figures."""
    await conftest.make_template(server)
    database_url = await conftest.fresh_database(server)
    alone: list[float] = []
    beside: list[float] = []
    alone_answers: Counter[str] = Counter()
    beside_answers: Counter[str] = Counter()
    with real_parts.running(folder, database_url) as parts:
        scene = Scene(parts)
        async with started(scene, "healthy") as healthy:
            await measured(healthy.url, await codes.staff(database_url, CODES), [], Counter())  # warms up
            for number in range(ROUNDS):
                await scene.sql("DELETE FROM budgets")  # the people of each round have the same phones
                await measured(healthy.url, await codes.staff(database_url, CODES), alone, alone_answers)
                await scene.sql("DELETE FROM budgets")
                staff = await codes.staff(database_url, CODES + 1)
                async with frozen(scene, f"frozen{number}", staff.pop()) as (_, asking):
                    await measured(healthy.url, staff, beside, beside_answers)
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
    tell("all is well", alone, alone_answers)
    tell("beside a frozen process", beside, beside_answers)


if __name__ == "__main__":
    with postgres.running() as own, tempfile.TemporaryDirectory() as made:
        asyncio.run(main(own, Path(made)))
