"""The benchmark of delivery runs, at a size that says nothing of speed."""

import os
import subprocess
import sys

from tests.processes import ROOT


def test_the_delivery_benchmark_measures_all_that_its_table_has() -> None:
    small = {"MAILS": "60", "CODES": "3", "ROUNDS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.delivery"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PRACTICE_ACCESS_TEST_SERVER"} | small,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for told in (
        "Practice Access, 2 worker processes",
        "aiosmtplib alone",
        "Celery and Redis",
        "in a burst of 60 invitations",
    ):
        assert told in done.stdout
