"""Handing e-mails to an SMTP relay, or into the development mailbox."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from domain import addresses, mailbox, return_paths
from domain.contents import Content
from domain.outbox import Claimed
from domain.settings import Settings
from workers.breakers import Breaker
from workers.deliveries import ChannelDown, Permanent
from workers.envelope import envelope
from workers.messages import Messages
from workers.smtp import Crowded, Pool

# What Postmark is told so that its webhooks say it again; it takes the header out, and gives the mail a Message-ID of its own.
POSTMARK_HEADER = "X-PM-Metadata-delivery"


class EmailSender:
    """Makes e-mails and sends them, by a relay where one is set.

    breaker, pool: the relay's, shared by all that send by it. pool: None for the development mailbox. is_urgent: whether its mails go first.
    """

    def __init__(
        self, settings: Settings, messages: Messages, breaker: Breaker, pool: Pool | None, *, is_urgent: bool
    ) -> None:
        self._breaker = breaker
        self._pool = pool
        self._is_urgent = is_urgent
        self._messages = messages
        self._sender = addresses.canonical_email(settings.mail_from)
        self._mailbox: Path = settings.mailbox_dir
        self._bounce_address = settings.bounce_address
        self._tells_postmark = settings.postmark_webhook is not None

    async def send(self, row: Claimed, content: Content) -> str | None:
        """Send one. Raises DeliveryError. The address is checked once more: a row may have been tampered with."""
        try:
            recipient = addresses.canonical_email(content.recipient)
        except addresses.EmailInvalid:
            raise Permanent("The stored address is not an e-mail address.") from None
        mail = self._messages.mail(row.kind, content)
        message = envelope(
            mail,
            delivery_id=row.id,
            sender=self._sender,
            recipient=recipient,
            queued_at=row.queued_at,
            provider_headers={POSTMARK_HEADER: row.id.hex} if self._tells_postmark else {},
        )
        if self._pool is None:
            await asyncio.to_thread(
                mailbox.put_mail, self._mailbox, message, kind=row.kind.value, sent_at=datetime.now(UTC)
            )
            return None
        return_path = return_paths.make(self._bounce_address, row.id) if self._bounce_address else None
        try:
            with self._breaker.trying(row.id):
                await self._pool.send(message, recipient, return_path=return_path, is_urgent=self._is_urgent)
        except Crowded as crowded:  # the breaker has learnt nothing from it, and the try does not count
            raise ChannelDown(crowded.problem) from None
        return None


def pool(settings: Settings) -> Pool | None:
    """The connections to the relay that is set; None where there is none."""
    if settings.smtp_url is None:
        return None
    sender = addresses.canonical_email(settings.mail_from)
    return Pool(settings.smtp_url, sender, settings.smtp_connections, settings.final_dot_seconds)
