"""Texts with a code."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from domain import mailbox
from domain.contents import Content
from domain.models.columns import Channel
from domain.outbox import Claimed
from workers.carrier import Carrier
from workers.messages import Messages


class TextSender:
    """Sends texts by a carrier where one is set, into the development mailbox otherwise."""

    def __init__(self, carrier: Carrier | None, messages: Messages, mailbox_dir: Path) -> None:
        self._carrier = carrier
        self._messages = messages
        self._mailbox = mailbox_dir

    async def send(self, row: Claimed, content: Content) -> str | None:
        """Send one; the carrier's id of it. Raises DeliveryError."""
        body = self._messages.text(content)
        if self._carrier is not None:
            return await self._carrier.post("Messages", content.recipient, row.id, Body=body)
        await asyncio.to_thread(
            mailbox.put,
            self._mailbox,
            channel=Channel.SMS,
            kind=row.kind.value,
            to=content.recipient,
            subject=None,
            text=body,
            html=None,
            sent_at=datetime.now(UTC),
        )
        return None
