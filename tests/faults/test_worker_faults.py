"""A worker dies, freezes, blocks or is told to stop in the middle of its work."""

import asyncio
import os
import signal
import time

import pytest

from tests.faults.scene import LONG_SECONDS, Scene

READY = "The worker looks for deliveries"
LEASE = 31  # a little more than a lease, in seconds of the database's clock


def freeze(pid: int, number: int) -> None:
    """Stop a process and all that it started, or let them go on."""
    os.killpg(pid, number)


@pytest.mark.fault("F4")
@pytest.mark.slow_fault
async def test_rows_of_a_worker_that_died_after_claiming_them_are_sent_once(scene: Scene) -> None:
    await scene.due([f"n{number}@example.com" for number in range(20)])
    with scene.worker("dying", point="after_claim") as worker:
        await scene.killed_at_its_point("dying", worker)
    assert not scene.parts.smtp.received
    await scene.forward(LEASE)
    with scene.worker("next"):
        rows = await scene.settled()
    assert {row["status"] for row in rows} == {"SENT"}
    assert {row["attempts"] for row in rows} == {2}
    assert set(scene.copies().values()) == {1}


@pytest.mark.fault("F5")
@pytest.mark.parametrize("point", ["after_final_dot", "before_settle"])
async def test_a_worker_that_died_after_the_final_dot_makes_a_double_that_is_the_same_mail(
    scene: Scene, point: str
) -> None:
    await scene.due(["ann@example.com"])
    with scene.worker("dying", point=point) as worker:
        await scene.killed_at_its_point("dying", worker)
    assert scene.copies() == {"ann@example.com": 1}
    await scene.forward(LEASE)
    with scene.worker("next"):
        [row] = await scene.settled()
    assert (row["status"], row["attempts"]) == ("SENT", 2)
    assert scene.copies() == {"ann@example.com": 2}
    assert scene.assert_doubles_are_alike() == 1


@pytest.mark.fault("F6")
@pytest.mark.slow_fault
async def test_a_worker_that_is_told_to_stop_under_load_finishes_what_it_began_and_gives_the_rest_back(
    scene: Scene,
) -> None:
    addresses = [f"n{number}@example.com" for number in range(1000)]
    await scene.due(addresses)
    scene.parts.smtp.delay_seconds = 0.05
    with scene.worker("stopped") as worker:
        scene.parts.smtp.wait_for(50, LONG_SECONDS)
        assert await asyncio.to_thread(worker.stop) == 0  # raises when it takes longer than 40 seconds
    open_rows = [row for row in await scene.deliveries() if row["status"] != "SENT"]
    assert open_rows, "it was stopped in the middle"
    assert {row["status"] for row in open_rows} <= {"QUEUED", "RETRYING"}, "nothing is left in hand"
    assert not any(row["is_ahead"] for row in open_rows), "others may have it at once"
    scene.parts.smtp.delay_seconds = 0.0
    with scene.worker("next"):
        await scene.settled()
    assert scene.copies() == dict.fromkeys(addresses, 1)


@pytest.mark.fault("F7")
@pytest.mark.slow_fault
async def test_a_worker_that_was_frozen_past_its_lease_settles_nothing(scene: Scene) -> None:
    await scene.due(["ann@example.com"])
    scene.parts.smtp.delay_seconds = 3.0
    with scene.worker("frozen") as frozen:
        await scene.until("SELECT 1 FROM deliveries WHERE status = 'SENDING'")
        await asyncio.sleep(1)  # its mail is with the relay, which has not answered yet
        freeze(frozen.popen.pid, signal.SIGSTOP)
        await scene.forward(2 * LEASE)
        scene.parts.smtp.delay_seconds = 0.0
        with scene.worker("next") as following:
            [row] = await scene.settled()
            assert (row["status"], row["attempts"]) == ("SENT", 2)
            following.stop()
        before = await scene.sql("SELECT sent_at, attempts, status FROM deliveries")
        freeze(frozen.popen.pid, signal.SIGCONT)
        await asyncio.to_thread(frozen.wait_until, "settled by another worker first")
        assert await scene.sql("SELECT sent_at, attempts, status FROM deliveries") == before
    assert 1 <= scene.copies()["ann@example.com"] <= 2
    scene.assert_doubles_are_alike()


@pytest.mark.slow_fault
@pytest.mark.fault("F8")
async def test_a_worker_whose_loop_is_blocked_says_where_and_ends_and_others_send(scene: Scene) -> None:
    await scene.due(["block@example.com", "ann@example.com"])
    with scene.worker("blocked", point="block") as blocked:
        await asyncio.to_thread(blocked.wait_until, "The event loop has not moved for 10 seconds")
        assert "points.py" in blocked.printed()
        with scene.worker("next"):
            rows = await scene.settled()
        assert {row["status"] for row in rows} == {"SENT"}
        await asyncio.to_thread(
            blocked.wait_until, "Worker process 0 ended by itself, with signal 9; another starts in 1 s"
        )
        assert "The event loop is stuck; this process ends" in blocked.printed()
    scene.assert_doubles_are_alike()


@pytest.mark.fault("F9")
@pytest.mark.slow_fault
async def test_a_message_that_ends_its_process_again_and_again_fails_alone(scene: Scene) -> None:
    others = [f"n{number}@example.com" for number in range(60)]
    await scene.due([*others[:30], "poison@example.com", *others[30:]])
    scene.parts.smtp.delay_seconds = 0.02
    deadline = time.monotonic() + LONG_SECONDS
    starts = deaths = 0
    while [row for row in await scene.deliveries() if row["status"] not in ("SENT", "FAILED")]:
        assert time.monotonic() < deadline, await scene.deliveries()
        starts += 1
        with scene.worker(f"worker{starts}", point="poison") as worker:
            while worker.popen.poll() is None and [
                row for row in await scene.deliveries() if row["status"] in ("QUEUED", "RETRYING", "SENDING")
            ]:
                await asyncio.sleep(0.2)
                await scene.forward(5)
            deaths += worker.printed().count("ended by itself, with signal 6")
        await scene.forward(LEASE)
    rows = {row["email"]: row for row in await scene.deliveries()}
    assert rows["poison@example.com"]["status"] == "FAILED"
    assert "ended while they had this message in hand" in rows["poison@example.com"]["problem"]
    assert {rows[address]["status"] for address in others} == {"SENT"}
    assert 1 <= deaths <= 8, "it does not go on for as long as the message lives"
    scene.assert_doubles_are_alike()
