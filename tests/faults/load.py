"""People at work while something breaks: requests one after the other, by several at once, and which of them failed."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from tests.faults.scene import LONG_SECONDS, people, post

TILE = "{ usersTile { activeCount } }"


@dataclass
class Load:
    """What came of the requests so far."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, more: int) -> None:
        """Block until so many more were answered."""
        wanted, deadline = self.answered + more, time.monotonic() + LONG_SECONDS
        while self.answered < wanted and not self.failures:
            assert time.monotonic() < deadline, self
            time.sleep(0.05)

    def ask(self, url: str, session: str, name: str) -> None:
        """Read and write in turn until it ends."""
        number = 0
        while not self.ended.is_set():
            number += 1
            try:
                self._ask_once(url, session, f"{name}-{number}.example", is_write=number % 5 == 0)
            except (httpx.TransportError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _ask_once(self, url: str, session: str, domain: str, *, is_write: bool) -> None:
        if is_write:
            answer = post(url, "invite", {"users": people(1, domain)}, session)
        else:
            headers = {"authorization": f"Bearer {session}"}
            answer = httpx.post(f"{url}/graphql", json={"query": TILE}, headers=headers, timeout=30).json()
        if "errors" in answer:
            self.failures.append(str(answer))
        self.answered += 1


@contextlib.contextmanager
def under_load(url: str, session: str, count: int = 4) -> Iterator[Load]:
    """So many clients ask while the block runs."""
    load = Load()
    threads = [threading.Thread(target=load.ask, args=(url, session, f"client{n}")) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.ended.set()
        for thread in threads:
            thread.join()
