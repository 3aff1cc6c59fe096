"""An SMTP relay that misbehaves to order, on a raw socket.

async with scripted_smtp.running(Script(at="RCPT", answer=b"450 4.2.0 later\\r\\n")) as relay:
    relay.url
    relay.contents        # what followed each DATA, whatever was answered to it

`script` may be replaced while it runs; None behaves well.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

STAGES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT", "QUIT")
ENDLESS_BYTES = 50 * 1024 * 1024


@dataclass
class Script:
    """What happens at one stage. at: a stage; "DOT" is the end of the content.

    answer: instead of the good one. drop: close the connection, before or after the answer. silent: say nothing for so many
    seconds. endless: an answer without an end. drip: one byte of the answer a second.
    """

    at: str
    answer: bytes | None = None
    drop: str | None = None
    silent: float = 0.0
    endless: bool = False
    drip: bool = False


@dataclass
class ScriptedRelay:
    """The server's memory."""

    script: Script | None
    port: int = 0
    contents: list[bytes] = field(default_factory=list)
    offers: tuple[bytes, ...] = ()
    tls: ssl.SSLContext | None = None
    connections: int = 0

    @property
    def url(self) -> str:
        """As SMTP_URL takes it, in clear."""
        return f"smtp://127.0.0.1:{self.port}?tls=none"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "CONNECT", b"220 here\r\n"):
            return
        while line := await reader.readline():
            command = line[:4].upper().decode(errors="replace")
            if command == "STAR" and self.tls is not None:
                writer.write(b"220 go on\r\n")
                await writer.start_tls(self.tls)
                continue
            stage = command if command in STAGES else "OTHER"
            good = {"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(stage, b"250 2.0.0 ok\r\n")
            if stage == "EHLO":
                good = b"".join(b"250-" + offer + b"\r\n" for offer in self.offers) + b"250 8BITMIME\r\n"
            if not await self._say(writer, stage, good):
                return
            if stage == "DATA" and (self.script is None or self.script.at != "DATA" or self.script.answer is None):
                self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
                if not await self._say(writer, "DOT", b"250 2.0.0 taken\r\n"):
                    return
            if stage == "QUIT":
                return

    async def _say(self, writer: asyncio.StreamWriter, stage: str, good: bytes) -> bool:
        """Answer, as the script has it; whether the connection goes on."""
        script = self.script
        if script is None or script.at != stage:
            writer.write(good)
            await writer.drain()
            return True
        if script.silent:
            await asyncio.sleep(script.silent)
        if script.drop == "before":
            return False
        if script.endless:
            for _ in range(ENDLESS_BYTES // 65_536):
                writer.write(b"250-" + b"x" * 65_530 + b"\r\n")
                await writer.drain()
            return False
        answer = script.answer if script.answer is not None else good
        for byte in answer if script.drip else ():
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(1)
        if not script.drip:
            writer.write(answer)
            await writer.drain()
        return script.drop != "after"


@contextlib.asynccontextmanager
async def running(
    script: Script | None, *, offers: tuple[bytes, ...] = (), tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRelay]:
    """A relay on the test's own loop while the block runs. offers: what it says that it can. tls: for STARTTLS."""
    relay = ScriptedRelay(script, offers=offers, tls=tls)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, limit=2**20)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
