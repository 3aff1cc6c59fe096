"""What comes back by SMTP or LMTP: a small server that takes mail for our return paths, from our own mail system, and nothing else.

It stores nothing and passes nothing on. A recipient that is not a return path of ours is refused before the mail is read, so whoever
reaches it can neither use it as a relay nor tell it anything about a delivery that is not theirs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from domain import return_paths
from workers import bounces

logger = logging.getLogger(__name__)

Take = Callable[[bytes, list[str]], Awaitable[object]]

MAX_MAIL_BYTES = 5 * 1024 * 1024  # with the mail that is sent back and all its pictures; only the beginning is read
MAX_CONNECTIONS = 20
IDLE_SECONDS = 60.0

# It would log addresses, and what clients type.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
logging.getLogger("mail.debug").setLevel(logging.CRITICAL)


class Receiver:
    """What the protocol asks."""

    def __init__(self, bounce_address: str, take: Take) -> None:
        self._bounce_address = bounce_address
        self._take = take

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd looks hooks up by the command's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take one recipient a mail: LMTP wants an answer for each, and a sender with more of them sends again."""
        if return_paths.delivery_of(self._bounce_address, address) is None:
            return await self._why_not(address)
        if envelope.rcpt_tos:
            return "452 4.5.3 One at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def _why_not(self, address: str) -> str:
        """What is answered for a recipient that is not taken. One that a newer server key may have made is to be brought again."""
        if return_paths.has_form(self._bounce_address, address):
            try:
                await bounces.require_keys()
            except Exception:  # noqa: BLE001 -- also where the database cannot tell
                return "451 4.3.0 Try again later"
        return "550 5.1.1 No such address here"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Note what the mail says, before it is answered for."""
        content = envelope.content
        try:
            await self._take(content if isinstance(content, bytes) else b"", envelope.rcpt_tos)
        except Exception as error:  # noqa: BLE001 -- the sender keeps the mail, and comes again when the database is back
            logger.warning("What came back cannot be noted: %s", type(error).__name__)
            return "451 4.3.0 Try again later"
        return "250 2.0.0 Noted"

    async def handle_exception(self, error: Exception) -> str:
        """What nobody expected is no reason to lose a mail."""
        logger.error("The mail server met what it did not expect: %s", type(error).__name__)
        return "451 4.3.0 Try again later"


class _Protocol(SMTP):
    """SMTP, and LMTP to whoever says LHLO."""

    line_length_limit = 64 * 1024  # what is sent back may have longer lines than mail may have

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802
        """As EHLO (RFC 2033 4.1)."""
        await self.smtp_EHLO(arg)


async def listen(bounce_address: str, take: Take, *, host: str, port: int) -> asyncio.Server:
    """Begin to serve. Raises OSError when the address cannot be had."""
    receiver = Receiver(bounce_address, take)
    loop = asyncio.get_running_loop()
    open_now: set[asyncio.BaseTransport] = set()

    class Connection(_Protocol):
        """Counted, so that nobody holds all memory."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if len(open_now) >= MAX_CONNECTIONS:
                transport.close()
                return
            open_now.add(transport)
            self._counted = transport
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            if (counted := getattr(self, "_counted", None)) is not None:
                open_now.discard(counted)
                super().connection_lost(error)

    def connection() -> SMTP:
        return Connection(
            receiver,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=False,
            hostname="practice-access",
            ident="Practice Access",
            timeout=IDLE_SECONDS,
            loop=loop,
        )

    return await loop.create_server(connection, host, port)
