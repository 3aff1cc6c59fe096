"""Worker processes under one parent: it starts them, starts another one for each that ends by itself, and stops them.

Only the parent decides when a process is to end. One that ends without being told to, whatever its exit status, was killed, crashed, or
stopped itself because its event loop was stuck; what it had in hand comes back with its leases, and another process takes its place. One
that ends again and again is a fault that starting does not mend: then all of them stop, and the exit status says so to whatever started the
parent.

The parent has one thread, so that forking is safe at any time.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

logger = logging.getLogger(__name__)

STOP_SECONDS = 30.0  # for all that is under way in the processes; after that they are killed
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# So many ends of one process within this time are too many. More than one message can cause before it is left alone (`outbox.MAX_LOST`).
MOST_ENDS = 10
ENDS_WITHIN_SECONDS = 600.0
GAVE_UP = 1
CHECK_SECONDS = 0.2
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes one is. number: from 0. restarts: how many came before it in this place since the parent started."""

    number: int
    restarts: int


@dataclass(slots=True)
class Ends:
    """When the processes of one place ended by themselves, by a monotonic clock."""

    moments: deque[float] = field(default_factory=deque)

    def pause_after(self, now: float) -> float | None:
        """Note one more end; how long to wait before the next start, twice as long each time. None where it is one too many."""
        self.moments.append(now)
        while self.moments[0] <= now - ENDS_WITHIN_SECONDS:
            self.moments.popleft()
        if len(self.moments) >= MOST_ENDS:
            return None
        return float(min(FIRST_PAUSE_SECONDS * 2 ** (len(self.moments) - 1), LONGEST_PAUSE_SECONDS))


@dataclass(slots=True)
class _Slot:
    number: int
    process: BaseProcess | None = None
    restarts: int = 0
    starts_at: float = 0.0
    ends: Ends = field(default_factory=Ends)


class Supervisor:
    """Runs `work` in a number of processes. work: called in each with its place; returns when the process was sent SIGTERM."""

    def __init__(self, processes: int, work: Callable[[Place], None]) -> None:
        self._work = work
        self._slots = [_Slot(number) for number in range(processes)]
        self._context = multiprocessing.get_context("fork")
        self._received: list[signal.Signals] = []
        self._woken, self._waker = socket.socketpair()

    def run(self) -> int:
        """Until SIGTERM or SIGINT (0, or 1 where a process did not end as it should), or until starting again does not help (1).

        SIGHUP stops them as SIGTERM does, and starts the whole command anew, with the code and the settings of then.
        """
        with self._signals():
            status = self._keep_running()
        if signal.SIGHUP in self._received and signal.SIGTERM not in self._received:
            logger.info("The worker starts anew")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- its own command, without a shell
        return status

    def _keep_running(self) -> int:
        while not self._received:
            now = time.monotonic()
            for slot in self._slots:
                if slot.process is None and slot.starts_at <= now:
                    self._start(slot)
            self._wait(self._processes(), self._seconds_to_next_start())
            if not self._received and not self._note_ends():
                self._stop()
                return GAVE_UP
        logger.info("The worker processes are told to stop (%s)", self._received[0].name)
        return self._stop()

    def _start(self, slot: _Slot) -> None:
        process = self._context.Process(target=self._begin, args=(Place(slot.number, slot.restarts),))
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child has handlers of its own
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        slot.process = process

    def _begin(self, place: Place) -> None:
        """In the child."""
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._waker.close()
        self._work(place)

    def _processes(self) -> list[BaseProcess]:
        return [slot.process for slot in self._slots if slot.process is not None]

    def _note_ends(self) -> bool:
        """Plan another process for each that ended by itself; False when one has done so too often."""
        found = [(slot, slot.process) for slot in self._slots if slot.process is not None]
        goes_on = [self._note_end(slot, process) for slot, process in found if process.exitcode is not None]
        return all(goes_on)

    def _note_end(self, slot: _Slot, process: BaseProcess) -> bool:
        now = time.monotonic()
        pause = slot.ends.pause_after(now)
        how = _how(process.exitcode)
        process.close()
        slot.process = None
        if pause is None:
            logger.critical(
                "Worker process %d ended by itself %d times within %d minutes, the last time with %s; all of them stop",
                slot.number,
                MOST_ENDS,
                ENDS_WITHIN_SECONDS / 60,
                how,
            )
            return False
        slot.restarts += 1
        slot.starts_at = now + pause
        logger.error("Worker process %d ended by itself, with %s; another starts in %g s", slot.number, how, pause)
        return True

    def _stop(self) -> int:
        """Let every process finish what it has begun, and kill what has not ended in time; 0 when all ended as they should."""
        deadline: float | None = time.monotonic() + STOP_SECONDS
        processes = self._processes()
        for process in processes:
            process.terminate()
        alive = processes
        while alive := [process for process in alive if process.exitcode is None]:
            if deadline is not None and (time.monotonic() >= deadline or self._received.count(signal.SIGINT) > 1):
                logger.error("Worker processes that did not end in time are killed")
                for process in alive:
                    process.kill()
                deadline = None
            self._wait(alive, None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return int(any(process.exitcode for process in processes))

    def _seconds_to_next_start(self) -> float | None:
        starts = [slot.starts_at for slot in self._slots if slot.process is None]
        return max(min(starts) - time.monotonic(), 0.0) if starts else None

    def _wait(self, processes: Sequence[BaseProcess], seconds: float | None) -> None:
        """Until one of these processes ends or has ended, a signal comes, or the time is over."""
        # Not only for those that are alive now: one may have ended since somebody looked.
        if self._woken in wait([self._woken, *(process.sentinel for process in processes)], seconds):
            self._woken.recv(64)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note signals, and wake the loop for each."""

        def note(number: int, frame: FrameType | None) -> None:
            self._received.append(signal.Signals(number))

        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"signal {-exit_code}"
    return f"status {exit_code}"


class Stopping:
    """In a process that `Supervisor` started: notes that it is told to stop.

    A terminal sends SIGINT to all processes, and the parent passes it on as SIGTERM; service managers send SIGTERM to all of them, so that it
    comes twice. What comes again changes nothing.
    """

    def __init__(self) -> None:
        self.is_told = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_told = True

    def wait(self) -> None:
        """Return once the process is told to stop."""
        # No lock or event: a handler runs in the middle of whatever this thread does, and could wait for itself.
        while not self.is_told:
            time.sleep(CHECK_SECONDS)
