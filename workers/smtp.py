"""A bounded pool of kept connections to one SMTP relay, and what its answers mean."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass

import aiosmtplib

from domain import delivery_faults, tracing
from domain.delivery_faults import Fault, Judgment, Stage
from domain.settings import SmtpUrl
from workers.deliveries import Bounced, ChannelDown, DeliveryError, Faulty, Permanent, Refused, Temporary

CONNECT_SECONDS = 30.0  # to the end of the sign-in
COMMAND_SECONDS = 20.0
GOODBYE_SECONDS = 2.0
MAX_AGE_SECONDS = 300.0
MAX_IDLE_SECONDS = 20.0

NOT_AVAILABLE = 421
NO_ROOM = 452
SIGN_IN_WANTED = (530, 534, 535, 538)


@dataclass(eq=False)
class _Connection:
    client: aiosmtplib.SMTP
    opened_at: float
    used_at: float
    is_new: bool = True


class Pool:
    """Hands messages to one relay. sender: the envelope's, an ASCII address. connections: open at most.

    final_dot_seconds: how long the relay may think about a message that it has in full.
    """

    def __init__(self, relay: SmtpUrl, sender: str, connections: int, final_dot_seconds: float) -> None:
        self._final_dot_seconds = final_dot_seconds
        self._relay = relay
        self._sender = sender
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None

    async def send(self, content: bytes, recipient: str, *, return_path: str | None = None) -> None:
        """Hand one message over. content: with CRLF line ends. return_path: the envelope's sender, where it is another.

        Raises Temporary, Permanent, Bounced, ChannelDown.
        """
        sender = return_path or self._sender
        async with self._free:
            connection = await self._taken()
            try:
                try:
                    await self._begin(connection, sender, recipient)
                except _Stale:
                    connection.client.close()
                    connection = await self._open()
                    await self._begin(connection, sender, recipient)
                await _data(connection.client, content, self._final_dot_seconds)
            except DeliveryError:
                if not await _is_ready_again(connection.client):
                    connection.client.close()
                raise
            except BaseException:
                connection.client.close()
                raise
            finally:
                if connection.client.is_connected:
                    connection.used_at, connection.is_new = time.monotonic(), False
                    self._idle.append(connection)

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection.client) for connection in idle))

    async def _taken(self) -> _Connection:
        """The latest used connection that is fit, else a new one."""
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            is_fit = now - connection.opened_at < MAX_AGE_SECONDS and now - connection.used_at < MAX_IDLE_SECONDS
            if is_fit and connection.client.is_connected:
                return connection
            await _quit(connection.client)
        return await self._open()

    async def _open(self) -> _Connection:
        relay = self._relay
        if relay.tls != "none" and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads the system's certificates
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls",
            tls_context=self._tls,
            username=relay.username,
            password=relay.password,
            local_hostname=self._sender.rpartition("@")[2],
            timeout=COMMAND_SECONDS,
        )
        try:
            with tracing.span("SMTP connect", tracing.CLIENT):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            judgment = _judge(error, Stage.BEFORE) if isinstance(error, aiosmtplib.SMTPResponseException) else None
            raise ChannelDown(_why_not_open(error, judgment), judgment) from None
        return _Connection(client, time.monotonic(), time.monotonic())

    async def _begin(self, connection: _Connection, sender: str, recipient: str) -> None:
        """The envelope. Nothing of the message is with the relay yet, so a connection that went stale costs nothing."""
        try:
            with tracing.span("SMTP MAIL", tracing.CLIENT):
                await connection.client.mail(sender)
            with tracing.span("SMTP RCPT", tracing.CLIENT):
                await connection.client.rcpt(recipient)
        except aiosmtplib.SMTPResponseException as error:
            if error.code == NOT_AVAILABLE and not connection.is_new:
                raise _Stale from None
            if isinstance(error, aiosmtplib.SMTPSenderRefused) or error.code in SIGN_IN_WANTED:
                # Not the message: the relay takes no mail from us, or none before a password.
                judgment = _judge(error, Stage.MAIL)
                raise ChannelDown(f"The mail relay does not take mail from us ({judgment.code}).", judgment) from None
            raise _refusal(error, Stage.RCPT) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            if not connection.is_new:
                raise _Stale from None
            raise Faulty(f"The mail relay broke off ({type(error).__name__}).") from None


class _Stale(Exception):
    """A kept connection turned out to be closed on the other side."""


async def _data(client: aiosmtplib.SMTP, content: bytes, final_dot_seconds: float) -> None:
    try:
        with tracing.span("SMTP DATA", tracing.CLIENT):
            await client.data(content, timeout=final_dot_seconds)
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(error, Stage.DATA) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        # It may have been taken all the same; the next try has the same Message-ID.
        client.close()
        raise Faulty(f"The mail relay broke off ({type(error).__name__}).") from None


def _judge(error: aiosmtplib.SMTPResponseException, stage: Stage) -> Judgment:
    return delivery_faults.of_status(None, error.message or "", reply=error.code, stage=stage)


def _refusal(error: aiosmtplib.SMTPResponseException, stage: Stage) -> DeliveryError:
    """What becomes of a message that the relay refused or put off, by whose fault that is."""
    judgment = _judge(error, stage)
    if judgment.is_temporary or not 500 <= error.code < 600:
        kind = Faulty if _is_relays_own(error, judgment) else Temporary
        return kind(judgment.put_off, judgment)
    if judgment.fault is Fault.RECIPIENT:
        return Bounced(judgment.refused, judgment)
    if judgment.cause.is_the_messages:
        return Permanent(judgment.refused, judgment)
    if judgment.cause.is_the_mailboxs:
        return Temporary(judgment.put_off, judgment)
    return Refused(judgment.put_off, judgment)


def _is_relays_own(error: aiosmtplib.SMTPResponseException, judgment: Judgment) -> bool:
    """Whether a relay that puts a message off says that it is for its own sake: RFC 3463 3.4 (4.3.x), or no more than 421 or 452."""
    _, _, enhanced = judgment.code.partition(" ")
    return enhanced.startswith("4.3.") if enhanced else error.code in (NOT_AVAILABLE, NO_ROOM)


async def _is_ready_again(client: aiosmtplib.SMTP) -> bool:
    """Take a refused message's envelope back."""
    try:
        await client.rset(timeout=GOODBYE_SECONDS)
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


async def _quit(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=GOODBYE_SECONDS)
    client.close()


def _why_not_open(error: Exception, judgment: Judgment | None) -> str:
    cause = error.__cause__ or error
    if judgment is not None and isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"The mail relay refuses our user or password ({judgment.code})."
    if judgment is not None:
        return f"The mail relay turns us away ({judgment.code})."
    if isinstance(cause, ssl.SSLError):
        return f"The mail relay's TLS certificate does not hold ({type(cause).__name__})."
    if "STARTTLS" in str(error):
        return "The mail relay offers no STARTTLS, and mail is not sent in clear."
    if "AUTH" in str(error):
        return "The mail relay takes no user and password."
    return f"The mail relay cannot be reached ({type(cause).__name__})."
