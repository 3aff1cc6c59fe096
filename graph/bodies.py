"""The bodies of what others call us with: read up to a limit, and never further."""

from typing import Any

from starlette.requests import Request

from graph import json_text


async def read_json(request: Request, max_bytes: int) -> dict[str, Any] | None:
    """The object in the body; an empty one for what is none, and None for what is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            return None
    try:
        found = json_text.parsed(bytes(body))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
