"""Calls that read a code out, slowly and twice."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from domain import mailbox
from domain.contents import Content
from domain.models.columns import Channel
from domain.outbox import Claimed
from workers.messages import Messages
from workers.roads import Roads

RING_SECONDS = "25"


class CallSender:
    """Calls by a carrier where one is set, into the development mailbox otherwise."""

    def __init__(self, roads: Roads | None, messages: Messages, mailbox_dir: Path) -> None:
        self._roads = roads
        self._messages = messages
        self._mailbox = mailbox_dir

    async def send(self, row: Claimed, content: Content) -> str | None:
        """Call one number; the carrier's id of the call. Raises DeliveryError."""
        sentences = self._messages.call(content)
        if self._roads is not None:
            return await self._roads.send(row, content.recipient, Twiml=twiml(sentences), Timeout=RING_SECONDS)
        await asyncio.to_thread(
            mailbox.put,
            self._mailbox,
            channel=Channel.VOICE,
            kind=row.kind.value,
            to=content.recipient,
            subject=None,
            text="\n".join(sentences),
            html=None,
            sent_at=datetime.now(UTC),
        )
        return None


def twiml(sentences: list[str]) -> str:
    """What the carrier's machine says, with a pause before each sentence."""
    spoken = "".join(f'<Pause length="1"/><Say language="en-US">{escape(sentence)}</Say>' for sentence in sentences)
    return f"<Response>{spoken}</Response>"
