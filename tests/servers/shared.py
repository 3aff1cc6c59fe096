"""One thing for all processes of a run, made when the first of them asks for it.

The process that began the run offers it; pytest-xdist's workers find the offer by the environment:

    shared.offer(make)      # in the first process; `make` runs at most once, in a thread
    shared.get()            # in any process of the run: what `make` returned
"""

import os
import secrets
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Listener

NAME = "PRACTICE_ACCESS_TEST_SERVER"


class _Offer:
    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[bool, str] | None = None
        self._key = secrets.token_bytes(16)
        self._listener = Listener(("127.0.0.1", 0), authkey=self._key)
        self.address = f"{self._listener.address[1]}:{self._key.hex()}"
        threading.Thread(target=self._serve, name="shared", daemon=True).start()

    def get(self) -> tuple[bool, str]:
        """Whether it could be made; and what was made, or why not."""
        with self._lock:
            if self._made is None:
                try:
                    self._made = (True, self._make())
                except Exception as error:  # noqa: BLE001 -- told to each who asks
                    self._made = (False, f"{type(error).__name__}: {error}")
            return self._made

    def close(self) -> None:
        """Offer it no longer."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                connection.send(self.get())


_offer: _Offer | None = None


def offer(make: Callable[[], str]) -> None:
    """Offer something to this process and all that it starts."""
    global _offer  # noqa: PLW0603 -- one offer a run
    _offer = _Offer(make)
    os.environ[NAME] = _offer.address


def withdraw() -> None:
    """End the offer."""
    global _offer  # noqa: PLW0603 -- as above
    if _offer is not None:
        _offer.close()
        os.environ.pop(NAME, None)
    _offer = None


def is_offered() -> bool:
    """Whether a process that began the run offers it."""
    return NAME in os.environ


def get() -> str:
    """What is offered. Blocks until it is made. Raises RuntimeError when it cannot be made."""
    if _offer is not None:
        is_made, answer = _offer.get()
    else:
        port, _, key = os.environ[NAME].partition(":")
        with Client(("127.0.0.1", int(port)), authkey=bytes.fromhex(key)) as connection:
            is_made, answer = connection.recv()
    if not is_made:
        raise RuntimeError(answer)
    return str(answer)
