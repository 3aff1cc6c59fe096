"""How many processors this process may use. `os.cpu_count` counts the machine's, which a container or a unit seldom has all of."""

import math
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")
BACKGROUND = 15  # of nice values from -20 to 19: a thread at 15 gets 3 % of a processor that one at 0 wants all of


def usable() -> int:
    """At least 1: what the affinity mask allows, and no more than the quota of the control group (version 2) rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(CONTROL_GROUPS, OWN_GROUP)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(mounted: Path, own_group: Path) -> float | None:
    """The smallest quota of the process's group and of those around it, in processors; None where there is none.

    https://docs.kernel.org/admin-guide/cgroup-v2.html: `cpu.max` is "max 100000", or microseconds out of a period.
    """
    try:
        line = next(line for line in own_group.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    group = mounted / line.removeprefix("0::").lstrip("/")
    quotas = []
    while group.is_relative_to(mounted):
        with suppress(OSError, ValueError):
            most, period = (group / "cpu.max").read_text().split()
            quotas.append(float(most) / float(period))
        if group == mounted:
            break
        group = group.parent
    return min((quota for quota in quotas if math.isfinite(quota)), default=None)


def give_way() -> None:
    """Let the calling thread run when no other wants its processor. Linux alone knows priorities of threads; elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with suppress(OSError):  # a sandbox may not allow it, and hashing is possible without
        os.setpriority(os.PRIO_PROCESS, thread, max(BACKGROUND, os.getpriority(os.PRIO_PROCESS, thread)))
