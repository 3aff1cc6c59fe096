"""Redis and the mail relay over TLS: verified by the authority that the operator names, or not used."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from cli import doctor
from domain import settings
from domain.settings import SmtpUrl
from tests import processes
from tests.servers import redis, tls
from tests.servers.ports import free_port
from tests.servers.tls import Authority
from workers import smtp
from workers.deliveries import ChannelDown

KEYS = {"SECRET_KEYS": "Zk3v9Q-x7Yp2LmN8rT5wBc4DfGhJ1sKa6EuXo0Vi"}
CONTENT = b"From: a@example.com\r\nTo: b@example.com\r\n\r\nHello.\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def rediss(authority: Authority) -> AsyncIterator[int]:
    """The port of a Redis behind TLS, under the name localhost."""
    with redis.running() as server:
        place = urlsplit(server.url)
        async with tls.before(str(place.hostname), place.port or 0, authority.context("localhost")) as port:
            yield port


async def works(url: str) -> bool:
    """Whether `doctor` says that a Redis answers."""
    settings.load(KEYS | {"REDIS_URL": url})
    return await doctor._line("redis", url, doctor._redis, "") == 0


async def test_redis_is_verified_by_the_authority_that_the_url_names(rediss: int, authority: Authority) -> None:
    ours = f"ssl_ca_certs={quote(str(authority.file), safe='')}"
    assert await works(f"rediss://localhost:{rediss}/0?{ours}")
    for url in (
        f"rediss://localhost:{rediss}/0",
        f"rediss://127.0.0.1:{rediss}/0?{ours}",
        f"redis://localhost:{rediss}/0",
    ):
        assert not await works(url), url


async def test_the_bell_rings_over_tls(rediss: int, authority: Authority, tmp_path: Path) -> None:
    url = f"rediss://localhost:{rediss}/0?ssl_ca_certs={quote(str(authority.file), safe='')}"
    ring = "from workers import broker; broker.deliver.send(); print(broker.broker.is_full())"
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ring, cwd=processes.ROOT, env={"REDIS_URL": url}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await done.communicate()
    assert (done.returncode, printed) == (0, b"False\n")


class Mailbox:
    """What a relay took."""

    def __init__(self) -> None:
        self.taken = 0

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802 -- aiosmtpd's name
        self.taken += 1
        return "250 2.0.0 taken"


@pytest.mark.parametrize("kind", ["starttls", "implicit"])
async def test_the_relay_is_verified_by_the_authority_that_is_set(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    context, box = authority.context("localhost"), Mailbox()
    port = free_port()
    if kind == "implicit":
        relay = Controller(box, "127.0.0.1", port, ssl_context=context)
    else:
        relay = Controller(box, "127.0.0.1", port)
        relay.factory = lambda: SMTP(box, tls_context=context, require_starttls=True)  # type: ignore[method-assign]
    relay.start()
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").file
    scheme = "smtps" if kind == "implicit" else "smtp"
    try:
        await send(at(f"{scheme}://localhost:{port}", authority.file))
        assert box.taken == 1
        assert "takes our mail" in await doctor._smtp(at(f"{scheme}://localhost:{port}", authority.file))
        for url, file in (
            (f"{scheme}://localhost:{port}", other),
            (f"{scheme}://localhost:{port}", None),
            (f"{scheme}://127.0.0.1:{port}", authority.file),
        ):
            with pytest.raises(ChannelDown, match="certificate does not hold"):
                await send(at(url, file))
        assert box.taken == 1
    finally:
        await asyncio.to_thread(relay.stop)


def at(url: str, file: Path | None) -> SmtpUrl:
    """A relay as the operator sets it."""
    found = settings.load(KEYS | {"SMTP_URL": url} | ({"SMTP_CA_FILE": str(file)} if file else {})).smtp_url
    assert found is not None
    return found


async def send(relay: SmtpUrl) -> None:
    """Hand one message over."""
    pool = smtp.Pool(relay, "a@example.com", 1, 20.0)
    try:
        await pool.send(CONTENT, "b@example.com")
    finally:
        await pool.close()
