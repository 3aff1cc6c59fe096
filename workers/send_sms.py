"""Texts with a code."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from domain import mailbox
from domain.contents import Content
from domain.models.columns import Channel
from domain.outbox import Claimed
from workers.messages import Messages
from workers.roads import Roads


class TextSender:
    """Sends texts by a carrier where one is set, into the development mailbox otherwise."""

    def __init__(self, roads: Roads | None, messages: Messages, mailbox_dir: Path) -> None:
        self._roads = roads
        self._messages = messages
        self._mailbox = mailbox_dir

    async def send(self, row: Claimed, content: Content) -> str | None:
        """Send one; the carrier's id of it. Raises DeliveryError."""
        body = self._messages.text(content)
        if self._roads is not None:
            return await self._roads.send(row, content.recipient, Body=body)
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
