"""The product does what the model says, whatever people do in whatever order."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import Clock
from tests.stateful.machine import Machine
from tests.world import World

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "300"))
STEPS = 50
# To look for the shortest way to a difference takes minutes, and is of no use to whoever only wants to know that there is one.
PHASES = [phase for phase in Phase if phase is not Phase.shrink or os.environ.get("STATEFUL_SHRINK") != "no"]
ROUND = 10
SHARDS = 6  # so that several workers share it


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_the_product_does_what_the_model_says(world: World, clock: Clock, shard: int) -> None:
    class Shard(Machine):
        pass

    Shard.__name__ = f"Shard{shard}"
    Shard.world, Shard.clock, Shard.loop = world, clock, asyncio.get_running_loop()
    for examples in in_rounds(len(range(shard, EXAMPLES, SHARDS))):
        given = settings(
            max_examples=1 + examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=PHASES,
        )
        await asyncio.to_thread(run_state_machine_as_test, Shard, settings=given)


def in_rounds(examples: int) -> list[int]:
    """How many examples each call of Hypothesis makes, beside the simplest one of all, with which it always begins.

    After ten of its own it mostly varies those that it had: five near copies to a new one.
    """
    return [min(ROUND, examples - done) for done in range(0, examples, ROUND)]
