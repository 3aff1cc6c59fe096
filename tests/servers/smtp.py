"""A real SMTP server inside the test process that keeps what it is sent.

with smtp.running() as server:
    server.url                                            # smtp://127.0.0.1:<port>?tls=none
    server.answer = lambda envelope: "451 4.3.0 later"    # from now on; None accepts again
    server.sent_to("ann@example.com")                     # the messages, oldest first
    server.hold(); server.release()                       # between the two no message is answered
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.ports import free_port

Answer = Callable[[Envelope], str | None]

WAIT_SECONDS = 60.0  # a machine may be slow; what is waited for comes much sooner


@dataclass(frozen=True, slots=True)
class Received:
    """One accepted message, as its envelope and content came over the wire."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float  # time.monotonic()

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return message_from_bytes(self.content, policy=policy.default)


class Sink:
    """The server. answer: the response after a message's content, or None to accept it."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.answer_recipient: Callable[[str], str | None] | None = None
        self.delay_seconds = 0.0  # between the content and the response
        self.port = 0
        self._received: list[Received] = []
        self._arrival = threading.Condition()
        self._held = 0
        self._let_go = threading.Event()
        self._let_go.set()

    @property
    def url(self) -> str:
        """As SMTP_URL takes it."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    @property
    def received(self) -> list[Received]:
        """Every accepted message so far, oldest first."""
        with self._arrival:
            return list(self._received)

    def sent_to(self, address: str) -> list[EmailMessage]:
        """The accepted messages to one address, oldest first."""
        return [one.message for one in self.received if address in one.recipients]

    def hold(self) -> None:
        """Answer no message's content from now on."""
        self._let_go.clear()

    def release(self) -> None:
        """Answer what was held, and everything to come."""
        self._let_go.set()

    def wait_held(self, count: int, seconds: float = WAIT_SECONDS) -> None:
        """Block until so many messages wait for an answer at the same time. Raises TimeoutError."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: self._held >= count, seconds):
                raise TimeoutError(f"{self._held} of {count} messages were held within {seconds} s")

    def wait_for(self, count: int, seconds: float = WAIT_SECONDS) -> list[Received]:
        """Block until so many messages were accepted in all. Raises TimeoutError."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self._received) >= count, seconds):
                raise TimeoutError(f"{len(self._received)} of {count} messages came within {seconds} s")
            return list(self._received)

    def forget(self) -> None:
        """Drop the messages and accept everything again."""
        with self._arrival:
            self._received.clear()
        self.answer = None
        self.answer_recipient = None
        self.delay_seconds = 0.0
        self.release()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks hooks up by the command's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse or take one recipient."""
        refusal = self.answer_recipient(address) if self.answer_recipient else None
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Refuse or keep one message."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        await self._wait_for_release()
        refusal = self.answer(envelope) if self.answer else None
        if refusal is not None:
            return refusal
        content = envelope.content
        assert isinstance(content, bytes)
        with self._arrival:
            one = Received(envelope.mail_from or "", tuple(envelope.rcpt_tos), content, time.monotonic())
            self._received.append(one)
            self._arrival.notify_all()
        return "250 2.0.0 OK"

    async def _wait_for_release(self) -> None:
        if self._let_go.is_set():
            return
        with self._arrival:
            self._held += 1
            self._arrival.notify_all()
        try:
            while not self._let_go.is_set():  # noqa: ASYNC110 -- it is set in another thread
                await asyncio.sleep(0.005)
        finally:
            with self._arrival:
                self._held -= 1


@contextlib.contextmanager
def running(port: int | None = None) -> Iterator[Sink]:
    """A server in a thread of its own while the block runs. port: a free one where left out."""
    sink = Sink()
    sink.port = port or free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=sink.port, ready_timeout=WAIT_SECONDS)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()
