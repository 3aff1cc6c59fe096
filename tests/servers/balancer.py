"""A load balancer that follows /readyz, in front of API processes: as nginx, HAProxy or a cloud's do, with connections that it keeps."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CHECK_SECONDS = 0.2
# What belongs to one connection, and not to the message (RFC 9110 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "host"}


class Balancer:
    """An ASGI application that passes each request on to one of the backends that are ready, once: what is lost is lost.

    backends: their URLs. Without one that is ready the answer is 503.
    """

    def __init__(self, backends: Sequence[str]) -> None:
        self.backends = list(backends)
        self.ready: set[str] = set(backends)
        self.passed_on: dict[str, int] = dict.fromkeys(backends, 0)
        self._number = 0
        self._client: httpx.AsyncClient
        self._ended = threading.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Serve until `end`."""
        config = uvicorn.Config(self, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        async with httpx.AsyncClient(timeout=60, trust_env=False) as self._client:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await asyncio.to_thread(self._ended.wait)
            server.should_exit = True
            await serving

    def watch(self) -> None:
        """Ask each backend now and then whether it is ready, until `end`. Runs in a thread of its own."""
        with httpx.Client(timeout=1, trust_env=False) as client:
            while not self._ended.wait(CHECK_SECONDS):
                for backend in self.backends:
                    try:
                        is_ready = client.get(f"{backend}/readyz").status_code == 200
                    except httpx.TransportError:
                        is_ready = False
                    (self.ready.add if is_ready else self.ready.discard)(backend)

    def end(self) -> None:
        """Stop watching and serving."""
        self._ended.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        ready = [backend for backend in self.backends if backend in self.ready]
        if not ready:
            return Response("no backend is ready", status_code=503)
        self._number += 1
        backend = ready[self._number % len(ready)]
        headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
        try:
            answer = await self._client.request(
                request.method, backend + request.url.path, headers=headers, content=await request.body()
            )
        except httpx.TransportError as error:
            return Response(f"{backend}: {type(error).__name__}", status_code=502)
        self.passed_on[backend] += 1
        kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        return Response(answer.content, answer.status_code, kept)


@contextlib.contextmanager
def running(backends: Sequence[str]) -> Iterator[tuple[Balancer, str]]:
    """A balancer in front of the backends while the block runs, and its URL."""
    balancer = Balancer(backends)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [
            threading.Thread(target=balancer.watch),
            threading.Thread(target=lambda: asyncio.run(balancer.serve(listener))),
        ]
        for thread in threads:
            thread.start()
        try:
            yield balancer, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            balancer.end()
            for thread in threads:
                thread.join()
