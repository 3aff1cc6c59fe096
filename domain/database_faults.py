"""Why a database does not let us in, as one line for the operator: which setting, what is wrong, what to put there."""

import re
import socket
import ssl
from collections.abc import Iterator

import asyncpg

from domain.database_connections import NoHostServes
from domain.database_url import EXAMPLE
from domain.settings import SettingInvalid
from domain.url_errors import UrlInvalid

NAME = "DATABASE_URL"
# What connecting and statements raise, whether the server, the network or the driver says no.
DRIVER = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
START = "start the server, or put the right host and port"
ACCOUNT = f"put the right user and password, with %-codes for special characters, as in {EXAMPLE}"
CERTIFICATES = (
    "put sslrootcert=/path/of/its/authority.pem or sslrootcert=system, and the host by the name in its certificate"
)
PRIMARY = "put the primary, or all hosts with commas between"
SOCKET = "put the folder of its socket in host, or a host and port"
CREATE = "create it (CREATE DATABASE … ENCODING 'UTF8'), or put the name of one that is there"
PASSED_ON = (
    "take ignore_startup_parameters for its pgbouncer.ini, and ALTER ROLE … SET, from docs/operating.md (PgBouncer)"
)


def setting_invalid(error: BaseException) -> SettingInvalid | None:
    """The line for an error of connecting or of the first statements; None where it is no word of the database's."""
    for one in _chain(error):
        if isinstance(one, NoHostServes):
            each = "; ".join(f"{host} {_problem(fault)[0]}" for host, fault in one.faults)
            remedies = {_problem(fault)[1] for _, fault in one.faults}
            return SettingInvalid(
                NAME, f"names {len(one.faults)} hosts, and none serves: {each}", " or ".join(sorted(remedies))
            )
        if isinstance(one, UrlInvalid):
            return SettingInvalid(NAME, one.problem, one.remedy)
        if isinstance(one, DRIVER):
            problem, remedy = _problem(one)
            return SettingInvalid(NAME, f"leads to a server that {problem}", remedy)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# The first that fits: what was raised, a word in what the server said, what it does, and what to do. {} is what was told.
Kind = tuple[type[BaseException] | tuple[type[BaseException], ...], str, str, str]
KINDS: tuple[Kind, ...] = (
    (ssl.SSLCertVerificationError, "", "cannot be verified ({})", CERTIFICATES),
    (ssl.SSLError, "", "does not agree on TLS ({})", "put what it takes in sslmode, sslcert and sslkey"),
    (socket.gaierror, "", "cannot be found ({})", "put a host name that this machine can look up"),
    (ConnectionRefusedError, "", "refuses the connection", START),
    (TimeoutError, "", "does not answer in time", f"{START}; connect_timeout says how many seconds to wait"),
    ((FileNotFoundError, PermissionError), "", "cannot be had by its socket ({})", SOCKET),
    (
        ConnectionError,
        "rejected SSL",
        "has no TLS",
        "let it have some, or put sslmode=disable where the network is your own",
    ),
    (OSError, "", "cannot be reached ({})", START),
    (asyncpg.InvalidAuthorizationSpecificationError, "", "does not let us in ({})", ACCOUNT),
    (asyncpg.InvalidCatalogNameError, "", "has no such database ({})", CREATE),
    (
        asyncpg.InsufficientPrivilegeError,
        "",
        "allows us too little ({})",
        "GRANT that to the role, or put one that may",
    ),
    (asyncpg.TargetServerAttributeNotMatched, "", "is a read-only standby", PRIMARY),
    (asyncpg.ReadOnlySQLTransactionError, "", "is read-only", PRIMARY),
    (asyncpg.CannotConnectNowError, "", "cannot serve now ({})", "start again in a moment"),
    (asyncpg.TooManyConnectionsError, "", "has no connection left ({})", "raise max_connections, or lower maxsize"),
    (asyncpg.PostgresError, "startup parameter", "is a pooler that refuses a setting of ours ({})", PASSED_ON),
    (asyncpg.PostgresError, "no such database", "has no such database ({})", CREATE),  # PgBouncer's words
    (Exception, "", "does not serve ({})", "see its log, and try `practice-access doctor`"),
)


def _problem(error: BaseException) -> tuple[str, str]:
    """What the server does, and what to put there."""
    told = _told(error)
    kinds = ((does, remedy) for kind, word, does, remedy in KINDS if isinstance(error, kind) and word in told)
    does, remedy = next(kinds)
    return does.format(told), remedy


def _told(error: BaseException) -> str:
    """The first line of what the server or the system says, without control characters. It has no password in it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "?", text.splitlines()[0])[:200]
