"""What a process shows of itself on a port of its own, which nobody but the operator is to reach.

`GET /metrics` is for Prometheus. A worker, which has no other port, also answers `GET /healthz` (the process lives) and `GET /readyz` (it can
work). It is served by threads, so it answers also while the process's loop is held up, or its database is away.
"""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from domain import metrics, scraping
from domain.settings import Settings
from workers.health import READY, Health

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

# Worker processes of one machine are each read by themselves: the first takes the port, the others those after it.
PORTS_OF_WORKERS = 64
SLOWEST_CLIENT_SECONDS = 10

Answer = tuple[int, dict[str, object]]
STATUSES = {200: "200 OK", 404: "404 Not Found", 405: "405 Method Not Allowed", 503: "503 Service Unavailable"}


def ports_of_worker(settings: Settings, number: int) -> list[int]:
    """The ports that a worker process may take, the one that should be its own first. number: which process of its command, from 0."""
    if settings.metrics_port is None:
        return []
    ports = range(settings.metrics_port, min(settings.metrics_port + PORTS_OF_WORKERS, 65536))
    return [*ports[number:], *ports[:number]]


@contextlib.contextmanager
def exposed(
    settings: Settings, *, ports: Sequence[int] | None = None, health: Health | None = None
) -> Iterator[int | None]:
    """Serve this process's metrics while the block runs, where METRICS_PORT is set; the port. Called on the loop.

    ports: the first free one of these, for processes that start together; METRICS_PORT alone where left out. health: of a worker. Raises
    OSError when none is free.
    """
    if settings.metrics_port is None:
        yield None
        return
    lookup = scraping.Lookup(asyncio.get_running_loop())
    scraping.prepare()
    server = _listen(settings.metrics_host, ports or [settings.metrics_port], _app(_Both(lookup), health))
    thread = threading.Thread(target=server.serve_forever, name="exposition", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Both(CollectorRegistry):
    """What was counted, and what is looked up."""

    def __init__(self, lookup: scraping.Lookup) -> None:
        super().__init__(auto_describe=False)
        self.register(lookup)
        self.register(metrics.REGISTRY)


def _app(registry: CollectorRegistry, health: Health | None) -> "WSGIApplication":
    shown = make_wsgi_app(registry)
    pages: dict[str, Callable[[], Answer]] = {}
    if health is not None:
        pages = {"/healthz": lambda: (200, {"status": "alive"}), "/readyz": lambda: _readiness(health)}

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path != "/metrics" and path not in pages:
            return _json(start_response, 404, {"status": "not found"})
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _json(start_response, 405, {"status": "method not allowed"})
        return shown(environ, start_response) if path == "/metrics" else _json(start_response, *pages[path]())

    return app


def _readiness(health: Health) -> Answer:
    parts = health.parts()
    is_ready = all(state == READY for state in parts.values())
    return (200 if is_ready else 503), {"status": "ready" if is_ready else "not ready", "parts": parts}


def _json(start_response: "StartResponse", status: int, answer: dict[str, object]) -> Iterable[bytes]:
    body = json.dumps(answer).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("cache-control", "no-store")]
    start_response(STATUSES[status], headers)
    return [body]


class _Handler(WSGIRequestHandler):
    timeout = SLOWEST_CLIENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line each scrape says nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Its parent asks DNS for the machine's name here, which may hang.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


def _listen(host: str, ports: Sequence[int], app: "WSGIApplication") -> _Server:
    """On the first of these ports that is free. Raises OSError."""
    family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    kind = type("_FamilyServer", (_Server,), {"address_family": family})
    for port in ports:
        try:
            server: _Server = kind((host, port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                raise
        else:
            server.set_app(app)
            logger.info("Metrics are served on port %d", port)
            return server
    raise OSError(errno.EADDRINUSE, "no port is free")
