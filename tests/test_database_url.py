"""DATABASE_URL as providers write it: libpq's parameters are read, and what nobody would act on is refused by its name."""

from pathlib import Path
from urllib.parse import quote

import pytest

from domain import database, database_url
from domain.database_url import DatabaseUrl
from domain.url_errors import UrlInvalid
from tests.servers.tls import Authority

PASSWORD = "hunter2"
BASE = f"postgres://access:{PASSWORD}@db.internal:5432/access"


def read(query: str) -> DatabaseUrl:
    """A good URL with these parameters."""
    return database_url.parse(f"{BASE}?{query}")


def refused(url: str) -> UrlInvalid:
    """Why a URL is not taken. The password is not in it, and it is one line."""
    with pytest.raises(UrlInvalid) as caught:
        database_url.parse(url)
    line = str(caught.value)
    assert PASSWORD not in line
    assert "\n" not in line
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgres://db/access", (("db", 5432),)),
        ("postgresql://access@db:6432/access", (("db", 6432),)),
        ("postgres://access:p%40ss%2Fw%3Ard@one:5432,two:5433/access", (("one", 5432), ("two", 5433))),
        ("postgres://one,two:5433/access", (("one", 5432), ("two", 5433))),
        ("postgres://[::1]:5433,[2001:db8::1]/access", (("::1", 5433), ("2001:db8::1", 5432))),
        ("postgres://%2Frun%2Fpostgresql/access", (("/run/postgresql", 5432),)),
        ("postgres:///access?host=/run/postgresql", (("/run/postgresql", 5432),)),
        ("postgres:///access?host=/cloudsql/project:region:name&port=5433", (("/cloudsql/project:region:name", 5433),)),
        ("postgres:///access?host=one,two&port=5432,5433", (("one", 5432), ("two", 5433))),
        ("postgres:///access?host=one,two&port=6432", (("one", 6432), ("two", 6432))),
        ("postgres:///access", ()),
    ],
)
def test_every_form_of_host_is_read(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert database_url.parse(url).hosts == hosts


def test_what_asyncpg_reads_itself_it_gets_as_it_is() -> None:
    found = database_url.parse("postgres://me%40here:p%3A%25@db/name%20here?sslmode=require&krbsrvname=postgres")
    assert found.dsn == "postgresql://me%40here:p%3A%25@/name%20here?sslmode=require&krbsrvname=postgres"
    assert database_url.parse("postgres://db/?dbname=access&user=me").dsn == "postgresql:///access?user=me"


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_every_mode_of_tls_is_passed_on(mode: str) -> None:
    assert read(f"sslmode={mode}").dsn.endswith(f"?sslmode={mode}")
    assert read(f"ssl={mode}").dsn.endswith(f"?sslmode={mode}")


def test_the_words_of_jdbc_for_tls_mean_what_libpq_takes_them_for() -> None:
    assert read("ssl=true").dsn.endswith("?sslmode=require")
    assert read("ssl=false").dsn.endswith("?sslmode=disable")


def test_files_with_certificates_are_tried_and_passed_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client")
    files = f"sslrootcert={quote(str(authority.file))}&sslcert={quote(str(certificate))}&sslkey={quote(str(key))}"
    for mode in ("require", "verify-ca", "verify-full"):
        found = read(f"sslmode={mode}&{files}")
        assert quote(str(authority.file), safe="") in found.dsn
        assert found.client_certificate == (str(certificate), str(key), "")
        assert not found.trusts_system


def test_the_systems_authorities_can_be_trusted_and_then_the_name_is_checked_too() -> None:
    for query in ("sslrootcert=system", "sslmode=verify-full&sslrootcert=system"):
        found = read(query)
        assert found.trusts_system
        assert "ssl" not in found.dsn
    assert "weaker" in refused(f"{BASE}?sslrootcert=system&sslmode=require").problem


def test_options_are_settings_of_the_server() -> None:
    found = read("options=-c%20search_path%3Dapp%20-cstatement_timeout=5s%20--lock-timeout=1s%20-c%20work_mem=4\\%20MB")
    assert found.server_settings == {
        "application_name": database_url.APPLICATION_NAME,
        "search_path": "app",
        "statement_timeout": "5s",
        "lock_timeout": "1s",
        "work_mem": "4 MB",
    }
    assert read("application_name=billing").server_settings == {"application_name": "billing"}
    assert read("fallback_application_name=billing").server_settings == {"application_name": "billing"}


def test_numbers_of_libpq_of_the_pool_and_of_asyncpg_are_read() -> None:
    found = read(
        "connect_timeout=3&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=20000"
        "&minsize=2&maxsize=20&max_queries=1000&max_inactive_connection_lifetime=60.0&command_timeout=5&statement_cache_size=0"
    )
    assert found.connect_timeout_seconds == 3
    assert found.numbers["tcp_user_timeout"] == 20_000
    assert (found.numbers["maxsize"], found.numbers["statement_cache_size"]) == (20, 0)
    assert read("connect_timeout=0").connect_timeout_seconds == database_url.CONNECT_TIMEOUT_SECONDS
    credentials = database.config(f"{BASE}?maxsize=20&command_timeout=5")["connections"]["default"]["credentials"]
    assert (credentials["minsize"], credentials["maxsize"], credentials["command_timeout"]) == (1, 20, 5)


def test_a_standby_is_passed_over_where_there_are_several_hosts() -> None:
    assert read("").target == "any"
    assert database_url.parse("postgres://one,two/access").target == "read-write"
    assert database_url.parse("postgres://one,two/access?target_session_attrs=any").target == "any"
    assert read("target_session_attrs=primary").target == "primary"


@pytest.mark.parametrize("query", ["client_encoding=UTF8", "gssencmode=disable", "channel_binding=prefer", "sslsni=1"])
def test_what_is_done_anyway_may_be_asked_for(query: str) -> None:
    assert read(query).dsn.endswith("/access")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql+asyncpg://access@db/access", "put postgresql:// instead"),
        ("postgresql+psycopg2://access@db/access", "put postgresql:// instead"),
        (f"mysql://access:{PASSWORD}@db/access", "PostgreSQL"),
        (PASSWORD, "PostgreSQL"),
        ("postgres://", "neither a host nor a database"),
        (f"postgres://access:{PASSWORD}#1@db/access", "%23"),
        (f"postgres://access:{PASSWORD}/1@db/access", "port"),
        (f"postgres://access:{PASSWORD}@1@db/access", "%40"),
        (f"postgres://access:{PASSWORD}%@db/access", "%25"),
        (f"postgres://access:{PASSWORD} 1@db/access", "%20"),
        ("postgres://db:70000/access", "port"),
        ("postgres://db:0/access", "port"),
        ("postgres://db:port/access", "port"),
        ("postgres://[::1/access", "host"),
        ("postgres://one,,two/access", "host"),
        ("postgres:///access?host=one,two&port=1,2,3", "number of ports"),
        ("postgres://db/access/more", "%2F"),
        ("postgres://db/access?host=/run/postgresql", "both after the ?"),
        ("postgres://db/access?port=6432", "both after the ?"),
        ("postgres:///access?port=6432", "both after the ?"),
        ("postgres://db/access?dbname=other", "twice"),
        (f"{BASE}?sslmode=on", "disable, allow, prefer, require, verify-ca, verify-full"),
        (f"{BASE}?sslrootcert=/nowhere/ca.pem", "sslrootcert"),
        (f"{BASE}?sslrootcert={__file__}", "sslrootcert"),
        (f"{BASE}?sslcert=/nowhere/client.pem", "sslcert"),
        (f"{BASE}?sslkey=/nowhere/client.key", "sslkey without sslcert"),
        (f"{BASE}?ssl_min_protocol_version=SSLv3", "TLSv1.2"),
        (f"{BASE}?target_session_attrs=read-only", "read-write or primary"),
        (f"{BASE}?target_session_attrs=standby", "read-write or primary"),
        (f"{BASE}?channel_binding=require", "leave it out"),
        (f"{BASE}?gssencmode=require", "leave it out"),
        (f"{BASE}?client_encoding=latin1", "utf8"),
        (f"{BASE}?connect_timeout=soon", "whole number"),
        (f"{BASE}?connect_timeout=-1", "whole number"),
        (f"{BASE}?maxsize=0", "whole number from 1"),
        (f"{BASE}?maxsize=1e3", "whole number"),
        (f"{BASE}?minsize=5&maxsize=2", "maxsize"),
        (f"{BASE}?statement_cache_size=none", "whole number"),
        (f"{BASE}?options=-B%20100", "options=-c%20name%3Dvalue"),
        (f"{BASE}?options=-c%20search_path", "options=-c%20name%3Dvalue"),
        (f"{BASE}?statement_timeout=5000", "options=-c%20statement_timeout%3Dvalue"),
        (f"{BASE}?search_path=app", "options=-c%20search_path"),
        (f"{BASE}?pgbouncer=true", "leave it out"),
        (f"{BASE}?connection_limit=5", "put maxsize"),
        (f"{BASE}?hostaddr=10.0.0.1", "hostaddr"),
        (f"{BASE}?service=main", "service"),
        (f"{BASE}?sslmode", "name=value"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_that_says_what_to_put(url: str, word: str) -> None:
    assert word in str(refused(url))


def test_certificates_are_needed_where_they_are_to_be_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    assert "sslrootcert=system" in refused(f"{BASE}?sslmode=verify-full").remedy
    (tmp_path / ".postgresql").mkdir()
    Authority(tmp_path).file.rename(tmp_path / ".postgresql" / "root.crt")
    assert read("sslmode=verify-full").dsn.endswith("sslmode=verify-full")
