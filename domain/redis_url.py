"""What a REDIS_URL may say. redis-py reads it, and takes any parameter: one that it does not know breaks the first connection."""

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from domain.tls_files import TlsFileInvalid, check_key_pair, check_trusted
from domain.url_errors import UrlInvalid

EXAMPLE = "redis://host:6379/0"
ONE_LIKE = f"put one like {EXAMPLE}"
SCHEMES = ("redis", "rediss")
NUMBER, SECONDS = r"[0-9]{1,6}", r"[0-9]{1,6}(\.[0-9]{1,3})?"
YES_OR_NO = "yes|no|true|false|0|1"
# redis-py's names (https://redis.readthedocs.io/en/stable/connections.html), with the form of their values.
PARAMETERS: Mapping[str, str] = {
    "db": NUMBER,
    "client_name": r"[\w.-]{1,60}",
    "protocol": "2|3",
    "socket_timeout": SECONDS,
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": YES_OR_NO,
    "health_check_interval": NUMBER,
    "retry_on_timeout": YES_OR_NO,
    "max_connections": NUMBER,
}
TLS_PARAMETERS: Mapping[str, str] = {
    "ssl_ca_certs": ".+",
    "ssl_certfile": ".+",
    "ssl_keyfile": ".+",
    "ssl_password": ".+",
    "ssl_cert_reqs": "required|optional|none",
    "ssl_check_hostname": YES_OR_NO,
}


def check(url: str) -> None:
    """Try what can be tried before anything connects. Raises UrlInvalid."""
    parts = urlsplit(url)
    if parts.fragment or "#" in url:
        raise UrlInvalid("has a # in it", "write it as %23 where it is a part of the password")
    if parts.path not in ("", "/") and not re.fullmatch(rf"/{NUMBER}/?", parts.path):
        raise UrlInvalid("names a database that is not a number", ONE_LIKE)
    is_tls = parts.scheme == "rediss"
    given: dict[str, str] = {}
    for part in parts.query.split("&") if parts.query else []:
        name, separator, value = part.partition("=")
        given[name] = unquote(value)
        if not separator or not re.fullmatch(r"[a-z_]{1,40}", name):
            raise UrlInvalid(
                "has something after the ? that is not a parameter", "put name=value, with & between several"
            )
        if name in TLS_PARAMETERS and not is_tls:
            raise UrlInvalid(f"has {name}, and redis:// does not use TLS", "put rediss://")
        form = {**PARAMETERS, **TLS_PARAMETERS}.get(name)
        if form is None:
            raise UrlInvalid(f"has a parameter {name} that nothing acts on", "leave it out")
        if not re.fullmatch(form, given[name], re.IGNORECASE if form == YES_OR_NO else 0):
            raise UrlInvalid(f"has a {name} that cannot be meant", "put a value that redis-py takes, or leave it out")
    _check_files(given)


def _check_files(given: Mapping[str, str]) -> None:
    try:
        if "ssl_ca_certs" in given:
            check_trusted("ssl_ca_certs", given["ssl_ca_certs"])
        if "ssl_certfile" in given:
            key = ("ssl_keyfile", given.get("ssl_keyfile"))
            check_key_pair(("ssl_certfile", given["ssl_certfile"]), key, given.get("ssl_password", ""))
        elif "ssl_keyfile" in given:
            raise UrlInvalid("has ssl_keyfile without ssl_certfile", "put both, or neither")
    except TlsFileInvalid as error:
        raise UrlInvalid(error.problem, error.remedy) from None
