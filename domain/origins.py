"""Origins of web pages (RFC 6454), in the one spelling that browsers send."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import idna

DEFAULT_PORTS = {"http": 80, "https": 443}
# What apps have that show web pages of their own: Capacitor, Ionic, Tauri, and extensions of browsers.
APP_SCHEMES = ("capacitor", "ionic", "tauri", "chrome-extension", "moz-extension", "safari-web-extension")


@dataclass
class OriginInvalid(Exception):
    """What was written is no origin that can be allowed. reason: a clause, without a password that came along."""

    reason: str


def canonical_origin(raw: str) -> str:
    """An origin in lower case, with A-labels and without its scheme's own port. Raises OriginInvalid.

    A slash at the end is left out: address bars add one.
    """
    if "@" in raw:
        raise OriginInvalid("holds an address with a user, which an origin has not")
    shown = repr(raw[:60])
    if raw in {"*", "null"}:
        whose = "every site" if raw == "*" else "every file and every sandbox"
        raise OriginInvalid(f"holds {shown}, which would let the pages of {whose} in")
    if "://" not in raw:
        raise OriginInvalid(f"holds {shown}, which has no scheme")
    try:
        parts = urlsplit(raw)
        return _joined(parts, shown)
    except ValueError:
        raise OriginInvalid(f"holds {shown}, which is no origin") from None


def _joined(parts: SplitResult, shown: str) -> str:
    """Raises OriginInvalid, and ValueError for a host or a port that cannot be."""
    if parts.scheme not in (*DEFAULT_PORTS, *APP_SCHEMES):
        raise OriginInvalid(f"holds {shown}, which is not of http or https")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise OriginInvalid(f"holds {shown}, which goes on after the host")
    host = _host(parts.hostname or "")
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _host(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    ascii_host = host if host.isascii() else idna.encode(host).decode()
    if not re.fullmatch(r"[a-z0-9._-]+", ascii_host):
        raise ValueError(host)
    return ascii_host
