"""What being seen costs: an id, counters and a log line for each request, operation and message, without traces.

    python -m benchmarks.observing

Each figure is one part alone, in a process that does nothing else; the best of several rounds, since a busy machine only adds.
Lines of the log go to /dev/null as JSON, so their making is in the figures and the terminal is not.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from starlette.types import Receive, Scope, Send
from strawberry.types import ExecutionResult

from domain import delivery_log, logs, settings
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Kind
from graph import operations
from graph.seen import Seen
from workers.observing import sending

ROUNDS = 7
TIMES = 5_000
NOWHERE = Path("/dev/null")
KEY = "k3y-0f-the-benchmark-9f8e7d6c5b4a"

Act = Callable[[], Awaitable[None]]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def _send(message: object) -> None:
    """Take it."""


SCOPE: Scope = {
    "type": "http",
    "method": "POST",
    "path": "/graphql",
    "headers": [(b"content-type", b"application/json")],
}
ROW = Claimed(
    id=uuid4(),
    kind=Kind.INVITATION,
    channel=Channel.EMAIL,
    subject_id=uuid4(),
    user_id=None,
    attempt=1,
    queued_at=datetime.now(UTC),
    expires_at=datetime.now(UTC),
    owner=uuid4(),
    request_id=uuid4().hex,
)
seen = Seen(_nothing)


async def _bare() -> None:
    await _nothing(SCOPE, _receive, _send)


async def _request() -> None:
    await seen(SCOPE, _receive, _send)


async def _operation() -> None:
    with operations.observed(ValueError) as operation:
        operation.type, operation.fields = "mutation", ("invite",)
        operation.end(ExecutionResult(data={}, errors=None))


async def _message() -> None:
    with sending(ROW):
        pass
    delivery_log.note(
        ROW.id,
        channel=ROW.channel,
        kind=ROW.kind.value,
        attempt=ROW.attempt,
        status=DeliveryStatus.SENT,
        seconds=0.1,
        request_id=ROW.request_id,
    )


async def microseconds(act: Act) -> float:
    """What one act takes."""
    best = float("inf")
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        for _ in range(TIMES):
            await act()
        best = min(best, (time.perf_counter() - began_at) / TIMES)
    return best * 1e6


async def measure() -> list[float]:
    """What a request, an operation and a message take."""
    bare = await microseconds(_bare)
    return [await microseconds(_request) - bare, await microseconds(_operation), await microseconds(_message)]


def row(level: str) -> str:
    """One line of the table. level: LOG_LEVEL; at info each operation and each message is a line of the log."""
    development = settings.load({"SECRET_KEYS": KEY, "LOG_LEVEL": level})
    logs.configure(replace(development, environment="production"))
    with NOWHERE.open("w") as nowhere:
        for handler in logging.getLogger().handlers:
            handler.stream = nowhere  # type: ignore[attr-defined]  # the only one is a StreamHandler
        figures = asyncio.run(measure())
    return f"| `{level}` | {' | '.join(f'{one:.0f} µs' for one in figures)} |"


if __name__ == "__main__":
    print("| `LOG_LEVEL` | a request | its operation | a message |\n|---|---|---|---|")
    for one in ("warning", "info"):
        print(row(one))
