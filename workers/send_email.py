"""Handing e-mails to an SMTP relay over kept connections, or into the development mailbox."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib

from domain import addresses, mailbox
from domain.contents import Content
from domain.models.columns import Channel
from domain.outbox import Claimed
from domain.settings import Settings, SmtpUrl
from workers.deliveries import Bounced, ChannelDown, Permanent, Temporary
from workers.messages import Messages, envelope

CONNECTIONS = 4
COMMAND_SECONDS = 30.0
# RFC 5321 4.5.3.2.6 allows the server ten minutes after the final dot; giving up early makes doubles.
FINAL_DOT_SECONDS = 120.0
MAX_AGE_SECONDS = 300.0
CHECK_AFTER_SECONDS = 5.0


@dataclass
class _Connection:
    client: aiosmtplib.SMTP
    opened_at: float
    used_at: float


class Relay:
    """A bounded pool of connections to one relay. Each lane has its own, so that bulk mail never holds up a code."""

    def __init__(self, relay: SmtpUrl, sender: str) -> None:
        self._relay = relay
        self._sender = sender
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[_Connection] = []

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand one message over. Raises Temporary, Permanent, Bounced, ChannelDown."""
        async with self._connection() as client:
            try:
                await client.send_message(
                    message, sender=self._sender, recipients=[recipient], timeout=FINAL_DOT_SECONDS
                )
            except aiosmtplib.SMTPRecipientsRefused as error:
                raise _refused_recipient(error.recipients[0].code) from None
            except aiosmtplib.SMTPSenderRefused as error:
                # Not the message: the relay does not want mail from us, or not before a password.
                raise ChannelDown(f"The mail relay does not accept our sender address ({error.code}).") from None
            except aiosmtplib.SMTPResponseException as error:
                raise _refused_message(error.code) from None
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                raise Temporary(f"The mail relay broke off ({type(error).__name__}).") from None

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        for connection in self._idle:
            await _quit(connection.client)
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection that works; kept afterwards, unless what was done on it failed halfway."""
        async with self._free:
            connection = await self._kept() or await self._open()
            is_good = False
            try:
                yield connection.client
                is_good = True
            except (Permanent, ChannelDown):
                is_good = True  # the server answered and waits for the next message
                raise
            finally:
                if is_good and connection.client.is_connected:
                    connection.used_at = time.monotonic()
                    self._idle.append(connection)
                else:
                    connection.client.close()

    async def _kept(self) -> _Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            is_young = now - connection.opened_at < MAX_AGE_SECONDS and connection.client.is_connected
            if is_young and (now - connection.used_at < CHECK_AFTER_SECONDS or await _answers(connection.client)):
                return connection
            await _quit(connection.client)
        return None

    async def _open(self) -> _Connection:
        relay = self._relay
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls",
            tls_context=ssl.create_default_context() if relay.tls != "none" else None,
            username=relay.username,
            password=relay.password,
            local_hostname=self._sender.rpartition("@")[2],
            timeout=COMMAND_SECONDS,
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            raise ChannelDown(f"The mail relay refuses our password ({error.code}).") from None
        except ssl.SSLError as error:
            raise ChannelDown(f"The mail relay's certificate does not hold ({type(error).__name__}).") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise ChannelDown(f"The mail relay cannot be reached ({type(error).__name__}).") from None
        return _Connection(client, time.monotonic(), time.monotonic())


async def _answers(client: aiosmtplib.SMTP) -> bool:
    try:
        await client.noop()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        return False
    return True


async def _quit(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        await client.quit()
    client.close()


def _refused_recipient(code: int) -> Temporary | Bounced:
    if code < 500:
        return Temporary(f"The receiving server puts this address off ({code}).")
    return Bounced(
        f"The receiving server does not know this address ({code}). Check it, and send again to the right one."
    )


def _refused_message(code: int) -> Temporary | Permanent:
    if code < 500:
        return Temporary(f"The receiving server puts the message off ({code}).")
    return Permanent(f"The receiving server refuses the message ({code}).")


class EmailSender:
    """Makes e-mails and sends them, by a relay where one is set."""

    def __init__(self, settings: Settings, messages: Messages) -> None:
        self._messages = messages
        self._sender = settings.mail_from
        self._relay = Relay(settings.smtp_url, settings.mail_from) if settings.smtp_url else None
        self._mailbox: Path = settings.mailbox_dir

    async def send(self, row: Claimed, content: Content) -> str | None:
        """Send one. Raises DeliveryError. The address is checked once more: a row may have been tampered with."""
        try:
            recipient = addresses.canonical_email(content.recipient)
        except addresses.EmailInvalid:
            raise Permanent("The stored address is not an e-mail address.") from None
        mail = self._messages.mail(row.kind, content)
        if self._relay is None:
            await asyncio.to_thread(
                mailbox.put,
                self._mailbox,
                channel=Channel.EMAIL,
                kind=row.kind.value,
                to=content.recipient,
                subject=mail.subject,
                text=mail.text,
                html=mail.html,
                sent_at=row.queued_at,
            )
            return None
        message = envelope(mail, delivery_id=row.id, sender=self._sender, recipient=recipient, queued_at=row.queued_at)
        await self._relay.send(message, recipient)
        return None

    async def close(self) -> None:
        """Close what is open."""
        if self._relay is not None:
            await self._relay.close()
