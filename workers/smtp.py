"""A bounded pool of connections to one SMTP relay, and what its answers mean."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass
from typing import NoReturn

import aiosmtplib

from domain import delivery_faults, tracing
from domain.delivery_faults import Fault, Judgment, Stage
from domain.settings import SmtpUrl
from domain.tls_files import trusting
from workers.connection_limit import ConnectionLimit, Ended, says_too_many
from workers.deliveries import Bounced, ChannelDown, DeliveryError, Faulty, Permanent, Refused, Temporary

CONNECT_SECONDS = 30.0  # to the end of the sign-in
COMMAND_SECONDS = 20.0
GOODBYE_SECONDS = 2.0
MAX_AGE_SECONDS = 300.0
MAX_IDLE_SECONDS = 5.0  # another process may wait for it
CROWDED_IDLE_SECONDS = 1.0
SWEEP_SECONDS = 0.5
PATIENCE_SECONDS = 30.0  # how long a message waits to be let in before it goes back to the others
TURN_WAIT_SECONDS = 120.0

NO_ROOM_FOR_US = "The mail relay has no connection free for us."
NOT_AVAILABLE = 421
NO_ROOM = 452
TOO_MANY_SENDING = 432


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
        self.limit = ConnectionLimit(connections)
        self._open_now: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(
        self, content: bytes, recipient: str, *, return_path: str | None = None, is_urgent: bool = False
    ) -> None:
        """Hand one message over. content: with CRLF line ends. return_path: the envelope's sender, where it is another.

        Raises Temporary, Permanent, Bounced, ChannelDown, and Crowded, which says nothing about the message or the relay.
        """
        sender, deadline = return_path or self._sender, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with asyncio.timeout(TURN_WAIT_SECONDS):
                    turn = await self._turn(is_urgent=is_urgent)
            except TimeoutError:
                raise Crowded(NO_ROOM_FOR_US) from None
            async with turn:
                try:
                    return await self._send(content, sender, recipient)
                except Crowded as crowded:
                    if crowded.otherwise and crowded.was_alone:
                        raise crowded.otherwise from None  # it is not by our connections; a receiver's words may be passed on
                    self.limit.turned_away(len(self._open_now))
                    if time.monotonic() >= deadline:
                        raise (crowded.otherwise or crowded) from None

    async def _turn(self, *, is_urgent: bool) -> contextlib.AsyncExitStack:
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.limit.turn(is_urgent=is_urgent))
            except Ended:
                raise Crowded(NO_ROOM_FOR_US) from None
            return stack.pop_all()

    async def _send(self, content: bytes, sender: str, recipient: str) -> None:
        connection = await self._taken()
        was_alone = len(self._open_now) == 1
        try:
            try:
                await self._begin(connection, sender, recipient)
            except _Stale:
                self._close(connection)
                connection = await self._open()
                await self._begin(connection, sender, recipient)
            await _data(connection.client, content, self._final_dot_seconds)
        except Crowded as crowded:
            crowded.was_alone = was_alone and len(self._open_now) == 1
            self._close(connection)
            raise
        except DeliveryError:
            if not await _is_ready_again(connection.client):
                self._close(connection)
            raise
        except BaseException:
            self._close(connection)
            raise
        finally:
            await self._put_back(connection)

    async def _put_back(self, connection: _Connection) -> None:
        """Keep a connection that is still open, unless somebody else should have it."""
        if not connection.client.is_connected:
            self._open_now.discard(connection)
            return
        connection.used_at, connection.is_new = time.monotonic(), False
        has_had_its_turn = self.limit.has_had_its_turn(connection.opened_at)
        if has_had_its_turn or len(self._open_now) > self.limit.now:
            if has_had_its_turn:
                self.limit.rest()
            await self._quit(connection)
            return
        self._idle.append(connection)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Close what nobody uses, so that another process gets it; until nothing is kept."""
        while self._idle:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in [one for one in self._idle if not self._is_fit(one)]:
                if connection in self._idle:  # it may have been taken while another said goodbye
                    self._idle.remove(connection)
                    await self._quit(connection)

    async def close(self) -> None:
        """Say goodbye on every idle connection, and send away whoever waits for one."""
        self.limit.end()
        if self._sweeper is not None:
            self._sweeper.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._quit(connection) for connection in idle))

    def _close(self, connection: _Connection) -> None:
        connection.client.close()
        self._open_now.discard(connection)

    async def _quit(self, connection: _Connection) -> None:
        await _quit(connection.client)
        self._open_now.discard(connection)

    def _is_fit(self, connection: _Connection) -> bool:
        now = time.monotonic()
        idle_at_most = CROWDED_IDLE_SECONDS if self.limit.is_lowered else MAX_IDLE_SECONDS
        is_young = now - connection.opened_at < MAX_AGE_SECONDS and now - connection.used_at < idle_at_most
        return is_young and connection.client.is_connected

    async def _taken(self) -> _Connection:
        """The latest used connection that is fit, else a new one."""
        while self._idle:
            connection = self._idle.pop()
            if self._is_fit(connection):
                return connection
            await self._quit(connection)
        return await self._open()

    async def _open(self) -> _Connection:
        await self.limit.until_it_may_open()
        relay = self._relay
        if relay.tls != "none" and self._tls is None:
            self._tls = await asyncio.to_thread(trusting, relay.ca_file)  # reads files
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
            problem = _why_not_open(error, judgment)
            if _is_crowded(error) or (self._open_now and _is_turned_away(error)):
                raise Crowded(problem) from None
            raise ChannelDown(problem, judgment) from None
        connection = _Connection(client, time.monotonic(), time.monotonic())
        self._open_now.add(connection)
        self.limit.let_in(len(self._open_now))
        return connection

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
            if isinstance(error, aiosmtplib.SMTPSenderRefused) and _is_crowded(error):
                raise Crowded(_why_not_open(error, _judge(error, Stage.BEFORE))) from None
            if isinstance(error, aiosmtplib.SMTPSenderRefused):
                # Not the message: the relay takes no mail from us, or none before a password. After RCPT it may be a receiver's answer.
                judgment = _judge(error, Stage.MAIL)
                raise ChannelDown(f"The mail relay does not take mail from us ({judgment.code}).", judgment) from None
            _raise_refusal(error, Stage.RCPT)
        except (aiosmtplib.SMTPException, OSError) as error:
            if not connection.is_new:
                raise _Stale from None
            raise Faulty(f"The mail relay broke off ({type(error).__name__}).") from None


@dataclass
class Crowded(Exception):
    """There are too many connections. It is neither the message nor a fault of the relay, so it is no DeliveryError and nothing learns from it.

    problem: a sentence for an administrator. otherwise: what it is if it does not pass, where the relay said it of a message. was_alone:
    no other connection of this process was open then.
    """

    problem: str
    otherwise: DeliveryError | None = None
    was_alone: bool = False


class _Stale(Exception):
    """A kept connection turned out to be closed on the other side."""


async def _data(client: aiosmtplib.SMTP, content: bytes, final_dot_seconds: float) -> None:
    try:
        with tracing.span("SMTP DATA", tracing.CLIENT):
            await client.data(content, timeout=final_dot_seconds)
    except aiosmtplib.SMTPResponseException as error:
        _raise_refusal(error, Stage.DATA)
    except (aiosmtplib.SMTPException, OSError) as error:
        # It may have been taken all the same; the next try has the same Message-ID.
        client.close()
        raise Faulty(f"The mail relay broke off ({type(error).__name__}).") from None


def _raise_refusal(error: aiosmtplib.SMTPResponseException, stage: Stage) -> NoReturn:
    """Raise what becomes of a message that was refused or put off.

    Words about connections may be a receiver's that the relay passes on; 432 is Exchange Online's own, which counts connections here.
    """
    refusal = _refusal(error, stage)
    if error.code < 500 and _is_crowded(error):
        raise Crowded(refusal.problem, None if error.code == TOO_MANY_SENDING else refusal) from None
    raise refusal from None


def _is_crowded(error: Exception) -> bool:
    """Whether the relay says that there are too many connections."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and says_too_many(error.message or "")


def _is_turned_away(error: Exception) -> bool:
    """Whether it may be that there are too many: 421, or no answer at all, while others of ours are open and work."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code == NOT_AVAILABLE
    return isinstance(error.__cause__ or error, ConnectionError)


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
