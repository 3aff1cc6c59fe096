"""The benchmark of delivery runs, at a size that says nothing of speed."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.servers import reaper, shared


@pytest.mark.slow_fault
def test_the_delivery_benchmark_measures_all_that_its_table_has() -> None:
    small = {"MAILS": "60", "CODES": "3", "ROUNDS": "1", "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if name != shared.NAME} | small
    started = reaper.popen(
        [sys.executable, "-m", "benchmarks.delivery"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, problems = started.communicate(timeout=600)
    reaper.forget(started.pid)
    assert started.returncode == 0, problems.decode()[-3000:]
    for told in (
        "Practice Access, 2 worker processes",
        "aiosmtplib alone",
        "Celery and Redis",
        "in a burst of 60 invitations",
    ):
        assert told in printed.decode()
