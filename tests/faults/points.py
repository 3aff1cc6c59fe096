"""A process of the product that kills itself, as `kill -9` would, at a named point.

python -m tests.faults.points POINT MARK COMMAND…      as `practice-access COMMAND…`; MARK: a file that is made when it dies

"freeze_at_commit" stops the process, as SIGSTOP would, just before the commit that sends a security code. It dies once: a process that finds the mark goes on as if there were no point. "poison" and "block" are no deaths of that kind: a
message to poison@… ends the process each time that one is made for it, and one to block@… keeps the event loop busy for ever.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tortoise.backends.asyncpg.client import TransactionWrapper

from cli.main import main
from domain import outbox, sign_up
from domain.models.columns import DeliveryStatus
from domain.outbox import Kind
from workers import deliveries
from workers.send_email import EmailSender

_mark = Path()
_is_queued = False


def _die() -> None:
    """At once, unless this point has killed a process already."""
    try:
        os.close(os.open(_mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _at_commit(*, before: bool) -> None:
    queue, commit = outbox.queue, TransactionWrapper.commit

    async def queued(*messages: outbox.Message) -> Any:
        global _is_queued  # noqa: PLW0603 -- one act is under way in such a process
        _is_queued = _is_queued or any(message.kind is Kind.INVITATION for message in messages)
        return await queue(*messages)

    async def committed(self: TransactionWrapper) -> None:
        if before and _is_queued:
            _die()
        await commit(self)
        if _is_queued:
            _die()

    outbox.queue = queued
    TransactionWrapper.commit = committed  # type: ignore[method-assign]  # that is the point


def _freeze_at_commit() -> None:
    queue, commit = outbox.queue, TransactionWrapper.commit
    sends_code: ContextVar[bool] = ContextVar("sends_code", default=False)

    async def queued(*messages: outbox.Message) -> Any:
        sends_code.set(any(message.kind is Kind.SECURITY_CODE for message in messages))
        return await queue(*messages)

    async def committed(self: TransactionWrapper) -> None:
        if sends_code.get() and not _mark.exists():
            _mark.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        await commit(self)

    outbox.queue = queued
    TransactionWrapper.commit = committed  # type: ignore[method-assign]  # that is the point


def _after_claim() -> None:
    claim = outbox.claim

    async def claimed(*arguments: Any, **named: Any) -> Any:
        rows = await claim(*arguments, **named)
        if rows:
            _die()
        return rows

    outbox.claim = claimed


def _after_final_dot() -> None:
    sent = deliveries.sent

    def taken_over(*arguments: Any) -> Any:
        _die()
        return sent(*arguments)

    deliveries.sent = taken_over  # type: ignore[assignment]  # it takes whatever that one takes


def _before_settle() -> None:
    settle = outbox.settle

    async def settled(outcomes: Any) -> int:
        if any(outcome.status is DeliveryStatus.SENT for outcome in outcomes):
            _die()
        return await settle(outcomes)

    outbox.settle = settled


def _on_recipient(name: str, act: Callable[[], None]) -> None:
    send = EmailSender.send

    async def sending(self: EmailSender, row: Any, content: Any) -> Any:
        if content.recipient.startswith(f"{name}@"):
            await asyncio.sleep(0.2)  # whatever is under way beside it is in the middle of it
            act()
        return await send(self, row, content)

    EmailSender.send = sending  # type: ignore[method-assign]  # that is the point


def _block() -> None:
    if not _mark.exists():
        _mark.touch()
        time.sleep(3600)


def _block_api() -> None:
    sign_up_ = sign_up.sign_up

    async def signed_up(actor: Any, form: sign_up.SignUpForm) -> str:
        if form.practice_name == "Block":
            _block()
        return await sign_up_(actor, form)

    sign_up.sign_up = signed_up


POINTS: dict[str, Callable[[], None]] = {
    "before_commit": lambda: _at_commit(before=True),
    "after_commit": lambda: _at_commit(before=False),
    "freeze_at_commit": _freeze_at_commit,
    "after_claim": _after_claim,
    "after_final_dot": _after_final_dot,
    "before_settle": _before_settle,
    "poison": lambda: _on_recipient("poison", os.abort),
    "block": lambda: _on_recipient("block", _block),
    "block_api": _block_api,
}


if __name__ == "__main__":
    point, mark, *command = sys.argv[1:]
    _mark = Path(mark)
    POINTS[point]()
    sys.exit(main(command))
