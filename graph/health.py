"""The health checks: whether the process lives, and whether requests should be sent to it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from domain.readiness import NotReady

logger = logging.getLogger(__name__)

# Raises NotReady, whose words are told, or anything else.
Check = Callable[[], Awaitable[None]]
PATIENCE_SECONDS = 0.9  # for all checks together: the answer is there within a second
NOT_STORED = {"cache-control": "no-store"}


def routes(checks: Mapping[str, Check], notes: Mapping[str, Check]) -> list[BaseRoute]:
    """/healthz and /readyz. checks: what the process cannot serve without, by name. notes: what it can serve without for a while."""
    return [
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", _readiness(checks, notes), methods=["GET"]),
    ]


async def _alive(request: Request) -> Response:
    return JSONResponse({"status": "alive"}, headers=NOT_STORED)


def _readiness(checks: Mapping[str, Check], notes: Mapping[str, Check]) -> Callable[[Request], Awaitable[Response]]:
    told: dict[str, str] = {}

    async def ready(request: Request) -> Response:
        nonlocal told
        problems = await _problems({**checks, **notes})
        _log(told, problems)
        told = problems
        is_ready = not problems.keys() & checks.keys()
        parts = {name: "ready" if name not in problems else "not ready" for name in checks}
        parts |= {name: "ready" if name not in problems else "degraded" for name in notes}
        return JSONResponse(
            {"status": "ready" if is_ready else "not ready", "parts": parts, "problems": problems},
            status_code=200 if is_ready else 503,
            headers=NOT_STORED,
        )

    return ready


async def _problems(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is wrong with each part that is not ready, in a sentence."""
    found = await asyncio.gather(*(_problem(check) for check in checks.values()))
    return {name: problem for name, problem in zip(checks, found, strict=True) if problem is not None}


async def _problem(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except NotReady as problem:
        return str(problem)
    except Exception as error:  # noqa: BLE001 -- whatever a part raises, it is not ready
        return f"It does not answer as it should ({type(error).__name__})."
    return None


def _log(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Say what has changed: a check comes every few seconds."""
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            logger.info("%s is ready again", name)
        elif now[name] != before.get(name):
            logger.warning("%s is not ready: %s", name, now[name])
