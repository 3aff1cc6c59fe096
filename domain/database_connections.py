"""Opening connections to the database that a URL names, one by one or for a pool."""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import asyncpg

from domain import connection_limits
from domain.database_url import DatabaseUrl, parse

# libpq's names for what is set on the socket, in milliseconds for tcp_user_timeout, else in seconds and as a count.
SOCKET_OPTIONS: Mapping[str, str] = {
    "keepalives_idle": "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE",  # macOS has the second
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}


class NoHostServes(ConnectionError):
    """Of several hosts none let us in. faults: what each of them did, in the order they were tried."""

    def __init__(self, faults: list[tuple[str, Exception]]) -> None:
        super().__init__("; ".join(f"{host}: {type(error).__name__}" for host, error in faults))
        self.faults = faults


class Connector:
    """Opens connections to one database; what asyncpg's pool calls for each of its own."""

    def __init__(self, url: str) -> None:
        self.url: DatabaseUrl = parse(url)
        self._tls: ssl.SSLContext | None = None

    async def __call__(self, *places: object, **options: Any) -> asyncpg.Connection:
        """A connection. Of the options those are taken that say how to use it: where it leads is the URL's matter.

        What the URL's `options` say wins over `server_settings`. Raises NoHostServes, or what asyncpg raises where there is one host only.
        """
        kept = ("loop", "connection_class", "record_class", "command_timeout", "statement_cache_size")
        chosen = {name: options[name] for name in kept if options.get(name) is not None}
        chosen["server_settings"] = {**(options.get("server_settings") or {}), **self.url.server_settings}
        faults: list[tuple[str, Exception]] = []
        for host, port in self.url.hosts or ((None, None),):
            try:
                connection = await self._connect(host, port, chosen)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched) as error:
                faults.append((f"{host}:{port}" if host else "the database", error))
            else:
                self._keep_alive(connection)
                return connection
        if len(faults) == 1:
            raise faults[0][1]
        raise NoHostServes(faults)

    async def _connect(self, host: str | None, port: int | None, chosen: Mapping[str, Any]) -> asyncpg.Connection:
        if self.url.trusts_system and self._tls is None:
            self._tls = await asyncio.to_thread(self._system_tls)
        return await asyncpg.connect(
            self.url.dsn,
            host=host,
            port=port,
            timeout=self.url.connect_timeout_seconds,
            target_session_attrs=self.url.target,
            ssl=self._tls,
            **chosen,
        )

    def _system_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(
            ["postgresql"]
        )  # which servers of version 17 and newer ask for where TLS comes first
        if self.url.client_certificate is not None:
            certificate, key, password = self.url.client_certificate
            context.load_cert_chain(certificate, key, password=lambda: password)
        return context

    def _keep_alive(self, connection: asyncpg.Connection) -> None:
        found: socket.socket | None = connection._transport.get_extra_info("socket")  # noqa: SLF001 -- there is no public way to it
        if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
            return
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, self.url.numbers.get("keepalives", 1) != 0)
        for name, option in SOCKET_OPTIONS.items():
            value = self.url.numbers.get(name, connection_limits.OF_OUR_END[name])
            if value and hasattr(socket, option):  # zero is the system's own
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def is_pooled(connection: asyncpg.Connection, backend_pid: int) -> bool:
    """Whether a pooler such as PgBouncer stands between: the process that answers is not the one that the server named at the start."""
    return bool(connection.get_server_pid() != backend_pid)


async def open_single(url: str, server_settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
    """A plain connection outside of the pool. Raises what `Connector` raises.

    Without prepared statements that have names, so that it is good where a pooler hands each transaction to another server process.
    """
    return await Connector(url)(statement_cache_size=0, server_settings=server_settings)
