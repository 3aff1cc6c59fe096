"""Files with certificates and keys that the operator names, tried before anything connects."""

import ssl
from pathlib import Path


class TlsFileInvalid(Exception):
    """A file that cannot be used. problem, remedy: halves of one line for the operator."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy


def check_trusted(name: str, path: str) -> None:
    """A PEM file with certificates to trust, or with revoked ones. name: as the operator knows it. Raises TlsFileInvalid."""
    try:
        Path(path).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise _invalid(name, error, "with the certificates to trust") from None


def check_key_pair(certificate: tuple[str, str], key: tuple[str, str | None], password: str) -> None:
    """Our own certificate, and its key in the same file or another: (name, path) of each. Raises TlsFileInvalid."""
    for name, path in (certificate, key):
        if path is not None:
            try:
                Path(path).read_bytes()
            except (OSError, ValueError) as error:
                raise _invalid(name, error, "with our own certificate or its key") from None
    try:
        # Without a function OpenSSL would ask for the password on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate[1], key[1], password=lambda: password)
    except (OSError, ValueError) as error:
        raise _invalid(
            certificate[0], error, "with our own certificate, and its key there or in the file that goes with it"
        ) from None


def trusting(path: Path | None) -> ssl.SSLContext:
    """What verifies a server: by the certificates in a file, or by those that the operating system trusts. Reads files."""
    return ssl.create_default_context(cafile=str(path) if path is not None else None)


def _invalid(name: str, error: Exception, holds: str) -> TlsFileInvalid:
    is_content = isinstance(error, ssl.SSLError | ValueError)
    reason = (
        "it is not PEM, or the key does not fit"
        if is_content
        else getattr(error, "strerror", None) or "it cannot be read"
    )
    return TlsFileInvalid(
        f"names a file that cannot be used for {name} ({reason})", f"put the path of a PEM file {holds}"
    )
