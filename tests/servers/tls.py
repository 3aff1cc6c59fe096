"""Certificates made for a test, and TLS in front of servers that speak none themselves.

authority = tls.Authority(folder)
authority.file                                   # PEM, for whoever is to trust it
async with tls.before(host, port, authority.context("localhost")) as front: ...           # any protocol that begins with TLS
async with tls.before_postgres(host, port, authority.context("localhost")) as front: ...  # asks for TLS as PostgreSQL's clients do
"""

import asyncio
import contextlib
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TLS_REQUEST = struct.pack("!ii", 8, 80877103)
DAY = timedelta(days=1)
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Authority:
    """Signs certificates. file: its own, PEM."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True)
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        never = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(**usage, **never), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = builder.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str) -> tuple[Path, Path]:
        """A certificate for these names or addresses, and its key: two PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = self._builder(subject, key).add_extension(alternatives, critical=False)
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        files = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return files

    def context(self, *names: str, asks_clients: bool = False) -> ssl.SSLContext:
        """A server's TLS under these names. asks_clients: only for those who have a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names))
        if asks_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        here = datetime.now(UTC)  # which TLS goes by
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(here - DAY).not_valid_after(here + 2 * DAY)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextlib.asynccontextmanager
async def before(host: str, port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """TLS from the first byte, in front of a server; yields the port of this machine where it listens."""
    async with _listening(host, port, _nothing, context) as own:
        yield own


@contextlib.asynccontextmanager
async def before_postgres(host: str, port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """TLS where a client asks for it as PostgreSQL's do, and in clear where it does not; yields the port."""

    async def asked(reader: Reader, writer: Writer) -> bytes:
        first = await reader.readexactly(8)
        if first != TLS_REQUEST:
            return first
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(context)
        return b""

    async with _listening(host, port, asked, None) as own:
        yield own


async def _nothing(reader: Reader, writer: Writer) -> bytes:
    return b""


@contextlib.asynccontextmanager
async def _listening(
    host: str, port: int, greet: Callable[[Reader, Writer], Awaitable[bytes]], context: ssl.SSLContext | None
) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first = await greet(reader, writer)
            far_reader, far_writer = await asyncio.open_connection(host, port)
            far_writer.write(first)
            pumps = [asyncio.create_task(_pump(*ends)) for ends in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                far_writer.close()
        writer.close()
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: Reader, writer: Writer) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
