"""Where Prometheus reads: `GET /metrics` on a port of its own, which nobody but the operator is to reach.

It is served by a thread, so it answers also while the process's loop is held up, or its database is away.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from domain import metrics, scraping
from domain.settings import Settings

logger = logging.getLogger(__name__)

# Worker processes of one machine are each read by themselves: the first takes the port, the others those after it.
PORTS_OF_WORKERS = 64


@contextlib.contextmanager
def exposed(settings: Settings, *, ports: int = 1) -> Iterator[int | None]:
    """Serve this process's metrics while the block runs, where METRICS_PORT is set; the port. Called on the loop.

    ports: how many to try, from METRICS_PORT on, for processes that start together. Raises OSError when none is free.
    """
    if settings.metrics_port is None:
        yield None
        return
    lookup = scraping.Lookup(asyncio.get_running_loop())
    scraping.prepare()
    server = _listen(settings.metrics_host, settings.metrics_port, ports, _Both(lookup))
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


def _listen(host: str, port: int, ports: int, registry: CollectorRegistry) -> WSGIServer:
    for candidate in range(port, min(port + ports, 65536)):
        try:
            server, _ = start_http_server(candidate, host, registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == min(port + ports, 65536) - 1:
                raise
        else:
            logger.info("Metrics are served on port %d", candidate)
            return server
    raise OSError(errno.EADDRINUSE, "no port is free")
