"""What a DATABASE_URL says about certificates, tried before anything connects."""

import os
from collections.abc import Mapping
from pathlib import Path

from domain.tls_files import TlsFileInvalid, check_key_pair, check_trusted
from domain.url_errors import UrlInvalid

SYSTEM = "system"  # sslrootcert: the certificate authorities that the operating system trusts


def check(given: dict[str, str]) -> bool:
    """Whether the system's certificate authorities are trusted; that is then no more in `given`. Raises UrlInvalid for files."""
    trusts_system = given.get("sslrootcert") == SYSTEM
    if trusts_system:
        del given["sslrootcert"]
        if given.pop("sslmode", "verify-full") != "verify-full":
            raise UrlInvalid("has sslrootcert=system with a weaker sslmode", "put sslmode=verify-full")
    elif given.get("sslmode", "").startswith("verify") and not _has_authorities(given):
        remedy = (
            "put sslrootcert=/path/of/its/authority.pem, or sslrootcert=system for what the operating system trusts"
        )
        raise UrlInvalid(f"has sslmode={given['sslmode']} without a certificate to verify by", remedy)
    try:
        for name in ("sslrootcert", "sslcrl"):
            if name in given:
                check_trusted(name, given[name])
        if "sslcert" in given:
            check_key_pair(("sslcert", given["sslcert"]), ("sslkey", given.get("sslkey")), given.get("sslpassword", ""))
    except TlsFileInvalid as error:
        raise UrlInvalid(error.problem, error.remedy) from None
    if "sslkey" in given and "sslcert" not in given:
        raise UrlInvalid("has sslkey without sslcert", "put both, or neither")
    return trusts_system


def _has_authorities(given: Mapping[str, str]) -> bool:
    """Whether asyncpg finds a file of authorities: named here, in the environment, or where libpq has it."""
    return bool(
        given.get("sslrootcert")
        or os.environ.get("PGSSLROOTCERT")
        or Path("~/.postgresql/root.crt").expanduser().is_file()
    )
