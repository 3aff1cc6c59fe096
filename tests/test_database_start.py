"""A start on a database that cannot be worked on ends in one line and exit code 2, and writes nothing."""

import asyncio
import contextlib
import re
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from domain import database_start
from domain.database_connections import NoHostServes, open_single
from domain.settings import SettingInvalid
from tests import processes
from tests.conftest import TEST_KEYS, database_url, fresh_database
from tests.servers import tls
from tests.servers.ports import free_port
from tests.servers.tls import Authority

LINE = re.compile(r"practice-access: DATABASE_URL [^\n]+: [^\n]+\n")
# Everything that an operator starts, with what else it has to be told.
COMMANDS = (
    ("api",),
    ("dev",),
    ("worker",),
    ("migrate",),
    ("practices", "list"),
    ("audit", "verify"),
    ("login-settings", "reset", "--practice", str(uuid.uuid4())),
)
OTHERS_TABLE = "CREATE TABLE customers (id int)"


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def made(server_url: str, *statements: str, options: str = "") -> AsyncIterator[str]:
    """The URL of a new database in which these statements were run."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    async with connected(server_url) as server:
        await server.execute(f'CREATE DATABASE "{name}" {options}')
        try:
            url = database_url(server_url, name)
            async with connected(url) as one:
                for statement in statements:
                    await one.execute(statement)
            yield url
        finally:
            await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def refused(url: str, *, by: Any = database_start.require) -> str:
    """The line that a database is refused with."""
    with pytest.raises(SettingInvalid) as caught:
        await by(url)
    line = str(caught.value)
    assert re.fullmatch(r"DATABASE_URL [^\n]+: [^\n]+", line), line
    assert (urlsplit(url).password or "no password") not in line
    return line


async def everything(url: str) -> list[tuple[Any, ...]]:
    """What is in a database: its tables, and what stands in the list of migrations."""
    async with connected(url) as one:
        tables = await one.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_)' ORDER BY 1, 2"
        )
        names = [tuple(row) for row in tables]
        if ("public", "tortoise_migrations") in names:
            names += [tuple(row) for row in await one.fetch("SELECT app, name FROM tortoise_migrations ORDER BY id")]
    return names


def by_other(url: str, **changes: str) -> str:
    """The same URL with another user, password, port or name."""
    parts = urlsplit(url)
    user, password = changes.get("user", parts.username), changes.get("password", parts.password)
    place = f"{user}:{password}@{changes.get('host', parts.hostname)}:{changes.get('port', parts.port)}"
    return urlunsplit((parts.scheme, place, changes.get("path", parts.path), changes.get("query", ""), ""))


async def test_a_server_that_does_not_let_us_in_is_told_by_what_it_does(server_url: str) -> None:
    closed = str(free_port())
    assert "does not let us in" in await refused(by_other(server_url, password="wrong-password"))
    assert "does not let us in" in await refused(by_other(server_url, user="nobody-here"))
    assert "refuses the connection" in await refused(by_other(server_url, port=closed))
    assert "cannot be found" in await refused(by_other(server_url, host="no-such-host.invalid"))
    assert "has no such database" in await refused(by_other(server_url, path="/no_such_database"))
    assert "socket" in await refused("postgres://me:secret@/access?host=/nowhere")
    assert "has no TLS" in await refused(by_other(server_url, query="sslmode=require"))


async def test_a_server_that_never_answers_is_given_up_after_the_time_that_the_url_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "does not answer in time" in await refused(
            f"postgres://me:secret@127.0.0.1:{port}/access?connect_timeout=1"
        )


async def test_of_several_hosts_the_first_that_takes_writes_is_used_however_the_others_fail(server_url: str) -> None:
    parts = urlsplit(server_url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"127.0.0.1:{free_port()},127.0.0.1:{silent.getsockname()[1]}"
        account = f"{parts.username}:{parts.password}"
        url = f"postgres://{account}@{dead},{parts.hostname}:{parts.port}{parts.path}?connect_timeout=1"
        connection = await open_single(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        neither = f"postgres://{account}@{dead}/access?connect_timeout=1"
        with pytest.raises(NoHostServes):
            await open_single(neither)
        line = await refused(neither)
        assert "2 hosts" in line
        assert "refuses the connection" in line
        assert "does not answer in time" in line


async def test_a_standby_among_several_hosts_is_passed_over(server_url: str) -> None:
    parts = urlsplit(server_url)
    async with made(server_url) as url:
        name = urlsplit(url).path
        async with connected(url) as one:
            await one.execute(f'ALTER DATABASE "{name[1:]}" SET default_transaction_read_only = on')
        place = f"{parts.username}:{parts.password}@{parts.hostname}:{parts.port}"
        twice = f"postgres://{place},{parts.hostname}:{parts.port}{name}"
        assert "is a read-only standby" in await refused(twice)
        assert "is a read-only standby" in await refused(f"{url}?target_session_attrs=read-write")
        assert "is read-only" in await refused(url)
        assert "is read-only" in await refused(url, by=database_start.migrate)
        assert await everything(url) == []


async def test_a_database_of_another_program_is_left_as_it_is(server_url: str) -> None:
    async with made(server_url, OTHERS_TABLE) as url:
        for by in (database_start.require, database_start.migrate):
            assert "another program" in await refused(url, by=by)
        assert await everything(url) == [("public", "customers")]
    listed = "CREATE TABLE tortoise_migrations (id int, app text, name text)"
    async with made(
        server_url, OTHERS_TABLE, listed, "INSERT INTO tortoise_migrations VALUES (1, 'shop', '0001')"
    ) as url:
        before = await everything(url)
        assert "another program" in await refused(url, by=database_start.migrate)
        assert await everything(url) == before


async def test_tables_of_extensions_are_nobodys(server_url: str) -> None:
    async with made(server_url, "CREATE SCHEMA other", "CREATE TABLE other.customers (id int)") as url:
        assert (await database_start.look(url)).tables == 0
        database_start.require_usable(await database_start.look(url))


async def test_a_database_that_is_empty_or_half_migrated_is_told_with_the_command_that_mends_it(
    db: None, server_url: str
) -> None:
    async with made(server_url) as url:
        assert "practice-access migrate" in await refused(url)
        assert await everything(url) == []
    half = await fresh_database(server_url)
    async with connected(half) as one:
        await one.execute("DELETE FROM tortoise_migrations WHERE name >= '0021'")
    line = await refused(half)
    assert re.search(r"lacks \d+ of \d+ migrations, from 0021_", line)
    assert "practice-access migrate" in line


async def test_a_database_that_is_further_than_this_version_is_taken(db: None, server_url: str) -> None:
    ahead = await fresh_database(server_url)
    async with connected(ahead) as one:
        await one.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('domain', '9999_later', now())"
        )
    assert (await database_start.require(ahead)).missing == []


async def test_names_in_every_script_need_a_database_in_utf8(server_url: str) -> None:
    async with made(server_url, options="ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0") as url:
        assert "SQL_ASCII" in await refused(url)


async def test_a_search_path_that_leads_nowhere_is_told(server_url: str) -> None:
    async with made(server_url) as url:
        assert "search_path" in await refused(f"{url}?options=-c%20search_path%3Dnowhere")


async def test_each_command_says_it_in_one_line_and_ends_with_2(server_url: str, tmp_path: Path) -> None:
    closed = by_other(server_url, port=str(free_port()))
    settings = {"DATABASE_URL": closed, "SECRET_KEYS": ",".join(TEST_KEYS), "REDIS_URL": "redis://127.0.0.1:1"}

    async def run(command: tuple[str, ...]) -> None:
        done = await processes.run(tmp_path, {**settings, "PORT": str(free_port())}, *command)
        assert LINE.fullmatch(done.stderr), (command, done.stderr)
        assert (done.returncode, done.stdout) == (2, ""), command

    await asyncio.gather(*map(run, COMMANDS))


async def test_what_works_on_a_schema_says_in_one_line_that_there_is_none_yet(server_url: str, tmp_path: Path) -> None:
    async with made(server_url) as url:
        settings = {"DATABASE_URL": url, "SECRET_KEYS": ",".join(TEST_KEYS)}
        worker = await processes.run(tmp_path, settings | {"REDIS_URL": "redis://127.0.0.1:1"}, "worker")
        assert LINE.fullmatch(worker.stderr)
        assert worker.returncode == 2
        doctor = await processes.run(tmp_path, settings, "doctor")
        assert doctor.returncode == 2
        assert (doctor.stderr, "Traceback" in doctor.stdout) == ("", False)
        first = doctor.stdout.splitlines()[0]
        assert first.startswith("database  FAILED: DATABASE_URL names a database that lacks")
        assert "practice-access migrate" in first
        assert await everything(url) == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def over_tls(url: str, host: str, port: int, query: str) -> str:
    """A URL that leads to a server by its TLS front."""
    return by_other(url, host=host, port=str(port), query=query)


async def answers(url: str) -> bool:
    """Whether a statement runs; over TLS."""
    connection = await open_single(url)
    try:
        assert connection._transport.get_extra_info("ssl_object") is not None
        return bool(await connection.fetchval("SELECT true"))
    finally:
        await connection.close()


async def test_the_servers_certificate_is_verified_as_far_as_the_url_asks(
    server_url: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    ours, others = (
        f"sslrootcert={quote(str(authority.file))}",
        f"sslrootcert={quote(str(Authority(tmp_path / 'other').file))}",
    )
    place = urlsplit(server_url)
    async with tls.before_postgres(str(place.hostname), place.port or 0, authority.context("localhost")) as port:

        def at(host: str, query: str) -> str:
            return over_tls(server_url, host, port, query)

        assert await answers(at("localhost", f"sslmode=verify-full&{ours}"))
        assert await answers(at("127.0.0.1", f"sslmode=verify-ca&{ours}"))
        assert await answers(at("127.0.0.1", "sslmode=require"))
        for query in (f"sslmode=verify-ca&{others}", f"sslmode=require&{others}"):
            assert "cannot be verified" in await refused(at("localhost", query))
        line = await refused(at("127.0.0.1", f"sslmode=verify-full&{ours}"))
        assert "cannot be verified" in line
        assert "sslrootcert" in line
        assert "cannot be verified" in await refused(at("localhost", "sslrootcert=system"))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # what OpenSSL takes for the system's
        assert await answers(at("localhost", "sslrootcert=system"))
        assert "cannot be verified" in await refused(at("127.0.0.1", "sslrootcert=system"))


async def test_the_server_gets_our_certificate_where_the_url_names_one(server_url: str, authority: Authority) -> None:
    certificate, key = authority.issue("client")
    ours = f"sslmode=verify-full&sslrootcert={quote(str(authority.file))}"
    own = f"{ours}&sslcert={quote(str(certificate))}&sslkey={quote(str(key))}"
    place = urlsplit(server_url)
    context = authority.context("localhost", asks_clients=True)
    async with tls.before_postgres(str(place.hostname), place.port or 0, context) as port:
        assert await answers(over_tls(server_url, "localhost", port, own))
        await refused(over_tls(server_url, "localhost", port, ours))


async def test_what_the_url_asks_of_the_server_and_of_the_socket_holds(server_url: str) -> None:
    query = "options=-c%20search_path%3Dpg_catalog%20-c%20lock_timeout%3D3s&application_name=billing&keepalives_idle=41&tcp_user_timeout=19000"
    connection = await open_single(f"{server_url}?{query}", {"lock_timeout": "1s", "statement_timeout": "7s"})
    try:
        for name, value in {
            "search_path": "pg_catalog",
            "lock_timeout": "3s",
            "statement_timeout": "7s",
            "application_name": "billing",
        }.items():
            assert await connection.fetchval("SELECT current_setting($1)", name) == value
        found = connection._transport.get_extra_info("socket")
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 41
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 19_000
    finally:
        await connection.close()
