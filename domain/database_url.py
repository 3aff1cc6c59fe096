"""What a DATABASE_URL says. Read in one place, for the pool and for every plain connection.

The parameters are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html), because that is what providers hand out. asyncpg
reads most of them by itself and gets them as they are. This module reads the rest, and refuses what nobody would act on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from domain import database_tls
from domain.url_errors import UrlInvalid

EXAMPLE = "postgres://user:password@host:5432/name"
ONE_LIKE = f"put one like {EXAMPLE}"
SCHEMES = ("postgres", "postgresql")
DEFAULT_PORT = 5432
CONNECT_TIMEOUT_SECONDS = 10.0  # for each host; libpq itself would wait for ever
APPLICATION_NAME = "practice-access"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

# What asyncpg reads itself, with the values that it takes; None for any.
PASSED: Mapping[str, tuple[str, ...] | None] = {
    "user": None,
    "password": None,
    "passfile": None,
    "sslmode": SSL_MODES,
    "sslrootcert": None,
    "sslcert": None,
    "sslkey": None,
    "sslpassword": None,
    "sslcrl": None,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "krbsrvname": None,
    "gsslib": ("gssapi",),
}
# What libpq has, and this program only takes where it asks for what is done anyway.
AS_IT_IS: Mapping[str, tuple[str, ...]] = {
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "load_balance_hosts": ("disable",),
}
TARGETS = ("any", "read-write", "primary")
# Parameters of the pool and of asyncpg: the smallest value of each.
POOL: Mapping[str, int] = {"minsize": 0, "maxsize": 1, "max_queries": 1, "max_inactive_connection_lifetime": 0}
NUMBERS: Mapping[str, int] = {
    **POOL,
    "command_timeout": 1,
    "statement_cache_size": 0,
    "timeout": 1,
    "connect_timeout": 0,
}
KEEPALIVE: Mapping[str, int] = {
    "keepalives": 0,
    "keepalives_idle": 0,
    "keepalives_interval": 0,
    "keepalives_count": 0,
    "tcp_user_timeout": 0,
}
LONGEST_NUMBER = 9  # digits


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """A URL, read. hosts: (name, address or folder; port), tried in this order; none where libpq's own places are tried.

    dsn: user, password, database and the parameters that asyncpg reads itself. numbers: those of NUMBERS and KEEPALIVE that are set.
    server_settings: what `options` and application_name ask for. trusts_system: sslrootcert=system.
    """

    hosts: tuple[tuple[str, int], ...]
    dsn: str
    target: str
    numbers: Mapping[str, int]
    server_settings: Mapping[str, str]
    trusts_system: bool
    client_certificate: tuple[str, str | None, str] | None  # file, file with its key, and the key's password

    @property
    def connect_timeout_seconds(self) -> float:
        """How long one host may take to let us in."""
        return float(self.numbers.get("connect_timeout") or self.numbers.get("timeout") or CONNECT_TIMEOUT_SECONDS)


def parse(url: str) -> DatabaseUrl:
    """Read a URL. Raises UrlInvalid."""
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        raise _wrong_scheme(scheme if separator else "")
    if re.search(r"[\x00-\x20\x7f]", url):
        raise UrlInvalid("has a blank in it", "write it as %20")
    if "#" in rest:
        raise UrlInvalid("has a # in it", "write it as %23 where it is a part of the password")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise UrlInvalid("has a % without two hexadecimal digits after it", "write a % of the password as %25")
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    given = _parameters(query)
    account, hosts = _account_and_hosts(netloc, given)
    names = [name for name in (given.pop("dbname", ""), given.pop("database", ""), unquote(path)) if name]
    if len(names) > 1:
        raise UrlInvalid("names the database twice", "put its name after the / and leave dbname out")
    database = "".join(names)
    if "/" in path:
        raise UrlInvalid("has a / in the user, the password or the database's name", "write it as %2F")
    if not (account or hosts or database or "user" in given):
        raise UrlInvalid("names neither a host nor a database", ONE_LIKE)
    return _read(given, hosts, account, database)


def _wrong_scheme(scheme: str) -> UrlInvalid:
    # A scheme with a driver in it is how other libraries are told which to use.
    if re.fullmatch(r"postgres(ql)?\+[a-z0-9]{1,20}", scheme):
        return UrlInvalid(f"begins with {scheme}://", "put postgresql:// instead")
    return UrlInvalid("is not a URL of PostgreSQL", ONE_LIKE)


def _parameters(query: str) -> dict[str, str]:
    """The query's parameters. A + is a +, as libpq has it."""
    given: dict[str, str] = {}
    for part in query.split("&") if query else []:
        name, separator, value = part.partition("=")
        if not separator or not re.fullmatch(r"[a-z_]{1,40}", name):
            raise UrlInvalid(
                "has something after the ? that is not a parameter", "put name=value, with & between several"
            )
        given[name] = unquote(value)
    return given


def _account_and_hosts(netloc: str, given: dict[str, str]) -> tuple[str, tuple[tuple[str, int], ...]]:
    account, separator, place = netloc.rpartition("@")
    if separator and "@" in account:
        raise UrlInvalid("has an @ in the user or password", "write it as %40")
    hosts, ports = given.pop("host", ""), given.pop("port", "")
    if (place and (hosts or ports)) or (ports and not hosts):
        raise UrlInvalid(
            "has a host or a port after the ? that does not go with the rest",
            "put both before the / or both after the ?",
        )
    if not hosts:
        return account, tuple(_host(one) for one in place.split(",")) if place else ()
    names = hosts.split(",")
    numbers = [_port(port) for port in ports.split(",")] if ports else [DEFAULT_PORT]
    if len(numbers) not in (1, len(names)):
        raise UrlInvalid("has another number of ports than of hosts", "put one port for all, or one for each host")
    return account, tuple(zip(map(_name, names), numbers * (len(names) if len(numbers) == 1 else 1), strict=True))


def _host(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+)(?::([^:]*))?", text)
    if found is None:
        raise UrlInvalid("has a host that cannot be read", ONE_LIKE)
    return _name(unquote(found[1].strip("[]"))), _port(found[2]) if found[2] else DEFAULT_PORT


def _name(text: str) -> str:
    if not text or not (text.startswith("/") or re.fullmatch(r"[\w.:%-]+", text)):
        raise UrlInvalid("has a host that cannot be read", ONE_LIKE)
    return text


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise UrlInvalid("has a port that is not a number from 1 to 65535", ONE_LIKE)
    return int(text)


def _read(given: dict[str, str], hosts: tuple[tuple[str, int], ...], account: str, database: str) -> DatabaseUrl:
    _as_others_write_it(given)
    numbers = {
        name: _number(name, given.pop(name), least) for name, least in {**NUMBERS, **KEEPALIVE}.items() if name in given
    }
    if numbers.get("minsize", 0) > numbers.get("maxsize", 10**LONGEST_NUMBER):
        raise UrlInvalid("has a minsize over its maxsize", "put a maxsize that is not smaller")
    for name, allowed in AS_IT_IS.items():
        if name in given and (value := given.pop(name).lower()) not in allowed:
            raise UrlInvalid(
                f"has {name}={_shown(value)}, which cannot be had here", f"put {' or '.join(allowed)}, or leave it out"
            )
    settings = _server_settings(given)
    # A standby among several hosts is passed over even where nobody said so: this program writes.
    target = given.pop("target_session_attrs", "read-write" if len(hosts) > 1 else "any")
    if target not in TARGETS:
        raise UrlInvalid(
            f"has target_session_attrs={_shown(target)}", f"put {' or '.join(TARGETS[1:])}: this program writes"
        )
    trusts_system = database_tls.check(given)
    for name, value in given.items():
        if name not in PASSED:
            raise UrlInvalid(f"has a parameter {name} that nothing acts on", _instead_of(name))
        if (choices := PASSED[name]) is not None and value not in choices:
            raise UrlInvalid(f"has {name}={_shown(value)}", f"put one of {', '.join(choices)}")
    certificate = (given["sslcert"], given.get("sslkey"), given.get("sslpassword", "")) if "sslcert" in given else None
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
    return DatabaseUrl(
        hosts=hosts,
        dsn=f"postgresql://{account}{'@' if account else ''}/{quote(database, safe='')}"
        + (f"?{query}" if query else ""),
        target=target,
        numbers=numbers,
        server_settings=settings,
        trusts_system=trusts_system,
        client_certificate=certificate,
    )


def _as_others_write_it(given: dict[str, str]) -> None:
    """`ssl=true` is JDBC's word for sslmode=require, which libpq knows too; `ssl=require` is asyncpg's."""
    if "ssl" in given:
        value = given.pop("ssl")
        given.setdefault("sslmode", {"true": "require", "false": "disable"}.get(value, value))


def _number(name: str, text: str, least: int) -> int:
    if not re.fullmatch(rf"[0-9]{{1,{LONGEST_NUMBER}}}(\.0+)?", text) or int(float(text)) < least:
        raise UrlInvalid(f"has {name}={_shown(text)}", f"put a whole number from {least} on")
    return int(float(text))


def _server_settings(given: dict[str, str]) -> dict[str, str]:
    name = given.pop("application_name", "") or given.get("fallback_application_name", "") or APPLICATION_NAME
    given.pop("fallback_application_name", None)
    return {"application_name": name, **_options(given.pop("options", ""))}


def _options(text: str) -> dict[str, str]:
    """`-c name=value`, or `--name=value`, as often as wanted. A backslash makes the next character a plain one."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", text)]
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word = f"-c{words.pop(0)}"
        setting = re.fullmatch(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", word, re.DOTALL)
        if setting is None:
            raise UrlInvalid(
                "has options that cannot be read", "put options=-c%20name%3Dvalue, with %20 between several"
            )
        found[setting[1].replace("-", "_").lower()] = setting[2]
    return found


def _instead_of(name: str) -> str:
    match name:
        case "pgbouncer":
            return "leave it out: a pooler is found out by itself"
        case "schema" | "currentSchema" | "search_path":
            return "put options=-c%20search_path%3Dname"
        case "connection_limit" | "pool_size":
            return "put maxsize"
        case "hostaddr" | "service" | "servicefile" | "require_auth" | "replication":
            return "leave it out, and name host, user and database in the URL"
    return f"leave it out; where the server is to set it, put options=-c%20{name}%3Dvalue"


def _shown(value: str) -> str:
    """A value as a line can hold it; nothing long, for it may be a piece of a password that was not encoded."""
    return re.sub(r"[^\w.-]", "?", value)[:20]
