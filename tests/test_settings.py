"""What the operator sets: read once, and refused in one line that says which setting, what is wrong and what to put there."""

import contextlib
import ipaddress
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.listener.sockets import listen
from cli.workers import exposed
from domain import settings
from domain.settings import SettingInvalid, Settings, SmtpUrl
from tests import processes
from tests.processes import ROOT
from tests.servers.ports import free_port
from tests.servers.tls import Authority

KEY = "Zk3v9Q-x7Yp2LmN8rT5wBc4DfGhJ1sKa6EuXo0Vi"
OLDER_KEY = "iV0oXuE6aKs1JhGfD4cBw5Tr8NmL2pY7x-Q9v3kZ"
PASSWORD = "hunter2"

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": f"postgres://access:{PASSWORD}@db.internal:5432/access",
    "REDIS_URL": f"rediss://:{PASSWORD}@redis.internal:6379/0",
    "SMTP_URL": f"smtp://access:{PASSWORD}@mail.example.com:587",
    "MAIL_FROM": "access@example.com",
    "TWILIO_ACCOUNT_SID": "AC00000000000000000000000000000000",
    "TWILIO_AUTH_TOKEN": PASSWORD,
    "TWILIO_FROM": "+14155550123",
    "CLIENT_URL": "https://app.example.com",
    "SECRET_KEYS": KEY,
}
SECOND = {
    "SECOND_TWILIO_ACCOUNT_SID": "AC11111111111111111111111111111111",
    "SECOND_TWILIO_AUTH_TOKEN": PASSWORD,
    "SECOND_TWILIO_FROM": "+14155550124",
}
NEEDED = sorted(PRODUCTION.keys() - {"ENVIRONMENT"})
NAME = re.compile(r"`([A-Z][A-Z_]+)")
ONE_LINE = re.compile(r"[A-Z_]+ [^\n]+: [^\n]+")


def refusal(name: str, value: str, environ: dict[str, str] = PRODUCTION) -> str:
    """The line that a wrong value is refused with; it names the setting, a problem and a remedy, and repeats no password."""
    with pytest.raises(SettingInvalid) as refused:
        settings.load(environ | {name: value})
    line = str(refused.value)
    assert refused.value.name == name
    assert line.startswith(f"{name} ")
    assert ONE_LINE.fullmatch(line), line
    assert PASSWORD not in line
    return line


def test_with_nothing_set_the_program_runs_for_development(tmp_path: Path) -> None:
    found = settings.load({"DATA_DIR": str(tmp_path)})
    assert found.is_development
    assert (found.host, found.port, found.log_level) == ("127.0.0.1", 8000, "info")
    assert (found.database_url, found.redis_url, found.smtp_url, found.twilio) == (None, None, None, None)
    assert (found.metrics_host, found.metrics_port) == ("127.0.0.1", None)
    assert found.client_url == "http://localhost:8000"
    assert found.mailbox_dir == tmp_path / "mailbox"
    assert (found.trusted_proxies, found.allowed_origins, found.allowed_hosts) == ((), (), ())


def test_production_starts_with_everything_set() -> None:
    found = settings.load(PRODUCTION)
    assert not found.is_development
    assert found.twilio is not None
    assert (found.twilio.sender, found.twilio.api_url) == ("+14155550123", "https://api.twilio.com")
    assert found.secret_keys == (KEY.encode(),)


@pytest.mark.parametrize("name", NEEDED)
def test_production_does_not_start_without_each_needed_setting(name: str) -> None:
    assert "is missing" in refusal(name, "")
    assert "is missing" in refusal(name, "  ")


RIGHT: list[tuple[str, str, str, Any]] = [
    ("ENVIRONMENT", "PRODUCTION", "environment", "production"),
    ("HOST", "0.0.0.0", "host", "0.0.0.0"),  # noqa: S104 -- what a container listens on
    ("HOST", "::", "host", "::"),
    ("PORT", "1", "port", 1),
    ("PORT", " 65535 ", "port", 65535),
    ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ("METRICS_PORT", "9464", "metrics_port", 9464),
    ("METRICS_HOST", "10.0.0.7", "metrics_host", "10.0.0.7"),
    ("PHONE_COUNTRIES", "", "phone_countries", ("US", "PR", "VI", "GU", "AS", "MP")),
    ("PHONE_COUNTRIES", "gb, IE,gb", "phone_countries", ("GB", "IE")),
    ("EXTRA_AREA_CODES", "", "extra_area_codes", ()),
    ("EXTRA_AREA_CODES", "387, 436,212", "extra_area_codes", ("387", "436", "212")),
    ("CODES_PER_DAY", "500", "codes_per_day", 500),
    ("CALLS_PER_DAY", "1", "calls_per_day", 1),
    ("KEEP_ALIVE_SECONDS", "", "keep_alive_seconds", 90),
    ("KEEP_ALIVE_SECONDS", "620", "keep_alive_seconds", 620),
    ("DRAIN_SECONDS", "", "drain_seconds", 10),
    ("DRAIN_SECONDS", "0", "drain_seconds", 0),
    ("DRAIN_SECONDS", "600", "drain_seconds", 600),
    ("SENDING", "", "is_sending", True),
    ("SENDING", "OFF", "is_sending", False),
    ("DATA_DIR", "/srv/access", "data_dir", Path("/srv/access")),
    ("DATABASE_URL", "postgresql://db/access", "database_url", "postgresql://db/access"),
    (
        "DATABASE_URL",
        "postgres:///access?host=/run/postgresql",
        "database_url",
        "postgres:///access?host=/run/postgresql",
    ),
    ("REDIS_URL", "redis://redis", "redis_url", "redis://redis"),
    ("CLIENT_URL", "https://app.example.com/", "client_url", "https://app.example.com"),
    ("CLIENT_URL", "https://app.example.com:8443/staff/", "client_url", "https://app.example.com:8443/staff"),
    ("MAIL_FROM", " access@example.com ", "mail_from", "access@example.com"),
    (
        "MAIL_FROM",
        "access@bücher.example",
        "mail_from",
        "access@xn--bcher-kva.example",
    ),  # what a mail's header can hold
    ("SECRET_KEYS", f"{KEY}, {OLDER_KEY},", "secret_keys", (KEY.encode(), OLDER_KEY.encode())),
    (
        "TRUSTED_PROXIES",
        "10.0.0.0/8, 192.0.2.7,::1",
        "trusted_proxies",
        tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "192.0.2.7/32", "::1/128")),
    ),
    (
        "ALLOWED_ORIGINS",
        "https://app.example.com/, http://localhost:5173",
        "allowed_origins",
        ("https://app.example.com", "http://localhost:5173"),
    ),
    # A browser sends the host in lower case and leaves the scheme's own port away.
    ("ALLOWED_ORIGINS", "HTTPS://App.Example.com:443", "allowed_origins", ("https://app.example.com",)),
    ("ALLOWED_ORIGINS", "https://bücher.example:8443", "allowed_origins", ("https://xn--bcher-kva.example:8443",)),
    ("ALLOWED_ORIGINS", "http://[::1]:5173", "allowed_origins", ("http://[::1]:5173",)),
    ("ALLOWED_ORIGINS", "capacitor://localhost", "allowed_origins", ("capacitor://localhost",)),
    ("ALLOWED_HOSTS", " api.example.com ,*.example.org", "allowed_hosts", ("api.example.com", "*.example.org")),
]


@pytest.mark.parametrize(("name", "value", "attribute", "expected"), RIGHT)
def test_a_right_value_is_taken(name: str, value: str, attribute: str, expected: Any) -> None:
    assert getattr(settings.load(PRODUCTION | {name: value}), attribute) == expected


WRONG: list[tuple[str, str]] = [
    ("ENVIRONMENT", "prod"),
    ("ENVIRONMENT", "produc\ntion"),
    *(("PORT", value) for value in ("0", "65536", "-1", "80.0", "1e3", "٨٠", "http", "9" * 5000)),
    ("LOG_LEVEL", "trace"),
    *(("METRICS_PORT", value) for value in ("0", "65536", "-1", "8000", "http")),
    ("PHONE_COUNTRIES", "USA"),
    ("PHONE_COUNTRIES", "US,XX"),
    ("PHONE_COUNTRIES", "US PR"),
    ("PHONE_COUNTRIES", "001"),
    ("CODES_PER_DAY", "0"),
    ("CODES_PER_DAY", "-1"),
    ("CODES_PER_DAY", "many"),
    ("CALLS_PER_DAY", "1e3"),
    ("CALLS_PER_DAY", "100000000"),
    ("DATABASE_URL", f"mysql://access:{PASSWORD}@db/access"),
    ("DATABASE_URL", f"postgres://access:{PASSWORD}@db:70000/access"),
    ("DATABASE_URL", f"postgres://access:{PASSWORD}@[::1/access"),
    ("DATABASE_URL", f"postgres://access:{PASSWORD}#1@db/access"),  # a password that is not percent-encoded
    ("DATABASE_URL", "postgres://"),
    ("DATABASE_URL", PASSWORD),
    ("REDIS_URL", f"http://:{PASSWORD}@redis:6379"),
    ("REDIS_URL", f"redis://:{PASSWORD}@redis:port"),
    ("REDIS_URL", f"redis://:{PASSWORD}#1@redis:6379"),
    ("REDIS_URL", f"redis://:{PASSWORD}@redis:6379/main"),
    ("REDIS_URL", f"redis://:{PASSWORD}@redis:6379/0?db=main"),
    ("REDIS_URL", f"redis://:{PASSWORD}@redis:6379/0?ssl_ca_certs=/etc/ssl/ca.pem"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?ssl_ca_certs=/nowhere/ca.pem"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?ssl_ca_certs={__file__}"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?ssl_cert_reqs=no"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?ssl_keyfile=/nowhere/key.pem"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?sslrootcert=/etc/ssl/ca.pem"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?socket_timeout=soon"),
    ("REDIS_URL", f"rediss://:{PASSWORD}@redis:6379/0?tls"),
    ("SMTP_CA_FILE", "/nowhere/ca.pem"),
    ("SMTP_CA_FILE", __file__),
    ("SMTP_FINAL_DOT_SECONDS", "4"),
    ("SMTP_CONNECTIONS", "0"),
    ("AUDIT_RETENTION_YEARS", "0"),
    ("CALLBACK_URL", "http://api.example.com"),
    ("DATABASE_URL", f"postgres://access:{PASSWORD}@db/access?sslmode=verify"),
    ("DATABASE_URL", f"postgres://access:{PASSWORD}@db/access?sslrotcert=/etc/ssl/ca.pem"),
    ("REDIS_URL", "redis://"),
    ("SMTP_URL", f"http://access:{PASSWORD}@mail.example.com"),
    ("SMTP_URL", f"smtp://access:{PASSWORD}/1@mail.example.com"),
    ("SMTP_URL", "smtp:mail.example.com"),
    ("SMTP_URL", "smtp://mail.example.com:0"),
    ("SMTP_URL", "smtp://mail.example.com?tls=starttls"),
    ("SMTP_URL", "smtp://mail.example.com?tls=none&timeout=5"),
    ("MAIL_FROM", "access"),
    ("MAIL_FROM", "Practice Access <access@example.com>"),
    ("MAIL_FROM", "access@example.com\nBcc: all@example.com"),
    ("TWILIO_FROM", "4155550123"),
    ("TWILIO_FROM", "+0123456789"),
    ("TWILIO_FROM", "MG00000000000000000000000000000000"),
    ("TWILIO_API_URL", "api.twilio.com"),
    ("TWILIO_API_URL", "http://carrier.example.com"),
    ("SECOND_TWILIO_FROM", "4155550124"),
    ("SECOND_TWILIO_ACCOUNT_SID", ""),
    ("SECOND_TWILIO_API_URL", "http://second.example.com"),
    ("CLIENT_URL", "app.example.com"),
    ("CLIENT_URL", "javascript:alert(1)"),
    ("CLIENT_URL", "https://"),
    ("CLIENT_URL", f"https://access:{PASSWORD}@app.example.com"),
    ("CLIENT_URL", "https://app.example.com?next=/"),
    ("CLIENT_URL", "https://app.example.com#/"),
    ("CLIENT_URL", "https://app.example.com\\@evil.example"),
    ("CLIENT_URL", 'https://app.example.com/"><script>'),
    ("SECRET_KEYS", KEY[:31]),
    ("SECRET_KEYS", f"{KEY},{PASSWORD}"),
    ("SECRET_KEYS", f"{KEY},{KEY}"),
    ("SECRET_KEYS", "a" * 64),
    ("SECRET_KEYS", "ab" * 32),
    ("SECRET_KEYS", ","),
    ("EXTRA_AREA_CODES", "900"),
    ("EXTRA_AREA_CODES", "800"),
    ("EXTRA_AREA_CODES", "876"),
    ("EXTRA_AREA_CODES", "416"),
    ("EXTRA_AREA_CODES", "911"),
    ("EXTRA_AREA_CODES", "123"),
    ("EXTRA_AREA_CODES", "4365"),
    ("KEEP_ALIVE_SECONDS", "4"),
    ("KEEP_ALIVE_SECONDS", "3601"),
    ("KEEP_ALIVE_SECONDS", "90s"),
    ("DRAIN_SECONDS", "-1"),
    ("DRAIN_SECONDS", "601"),
    ("DRAIN_SECONDS", "10s"),
    ("SENDING", "no"),
    ("TRUSTED_PROXIES", "*"),
    ("TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.0/33"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "proxy.internal"),
    ("ALLOWED_ORIGINS", "*"),
    ("ALLOWED_ORIGINS", "null"),
    ("ALLOWED_ORIGINS", "app.example.com"),
    ("ALLOWED_ORIGINS", "https://app.example.com/staff"),
    ("ALLOWED_ORIGINS", "https://app.example.com#top"),
    ("ALLOWED_ORIGINS", "https://access@app.example.com"),
    ("ALLOWED_ORIGINS", f"https://access:{PASSWORD}@app.example.com"),
    ("ALLOWED_ORIGINS", "https://:443"),
    ("ALLOWED_ORIGINS", "https://app.example.com:99999"),
    ("ALLOWED_ORIGINS", "https://[::1"),
    ("ALLOWED_HOSTS", "https://api.example.com"),
    ("ALLOWED_HOSTS", "api.*.com"),
]


# Tried by what uses them, since only the machine knows which values are good: test_an_address_that_this_machine_has_not… below, and the names.
BY_THE_MACHINE = {"HOST", "METRICS_HOST", "DATA_DIR"}
# Whatever stands in them may be right: only the carrier knows.
ANYTHING = {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "SECOND_TWILIO_AUTH_TOKEN"}


def test_every_setting_has_a_wrong_value_in_these_tables() -> None:
    rows = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    documented = {
        name for line in rows.splitlines() if line.startswith("| `") for name in NAME.findall(line.split("|")[1])
    }
    documented = {name for name in documented if not name.startswith("OTEL_")} - {"SECOND_TWILIO_"}
    assert len(documented) > 25
    tried = {name for name, _ in WRONG} | {name for name, *_ in WRONG_FEEDBACK}
    assert documented - tried == BY_THE_MACHINE | (ANYTHING & documented)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "192.0.2.1"),
        ("HOST", "no-such-host.invalid"),
        ("HOST", "a" * 70 + ".example"),
        ("METRICS_HOST", "a" * 70 + ".example"),
        ("METRICS_HOST", "192.0.2.1"),
    ],
)
async def test_an_address_that_this_machine_has_not_is_refused_in_one_line(
    tmp_path: Path, name: str, value: str
) -> None:
    ports = {"PORT": str(free_port()), "METRICS_PORT": str(free_port())}
    found = settings.load({"DATA_DIR": str(tmp_path), name: value} | ports)
    with pytest.raises(SettingInvalid) as refused, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(listen(found)) if name == "HOST" else exposed(found))
    assert ONE_LINE.fullmatch(str(refused.value))
    assert refused.value.name == {"HOST": "HOST", "METRICS_HOST": "METRICS_PORT"}[name]


async def test_a_file_of_settings_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("MAIL_FROM=büro@example.com".encode("latin-1"))
    done = await processes.run(tmp_path, {}, "doctor")
    assert done.returncode == 2
    assert re.fullmatch(r"practice-access: \.env cannot be read [^\n]+: [^\n]+\n", done.stderr), done.stderr


def test_an_authority_of_the_relays_own_goes_with_a_relay_and_with_tls(tmp_path: Path) -> None:
    file = str(Authority(tmp_path).file)
    relay = settings.load(PRODUCTION | {"SMTP_CA_FILE": file}).smtp_url
    assert relay is not None
    assert relay.ca_file == Path(file)
    refusal("SMTP_CA_FILE", file, PRODUCTION | {"SMTP_URL": "smtp://mail.example.com?tls=none"})
    with pytest.raises(SettingInvalid, match="SMTP_URL is missing"):
        settings.load({"SECRET_KEYS": KEY, "SMTP_CA_FILE": file})


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_in_one_line(name: str, value: str) -> None:
    refusal(name, value, PRODUCTION | SECOND)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLIENT_URL", "http://app.example.com"),
        ("CLIENT_URL", "https://localhost"),
        ("CLIENT_URL", "https://127.0.0.1:8000"),
        ("CLIENT_URL", "https://[::1]"),
        ("TWILIO_API_URL", "http://carrier.example.com"),
        ("SECRET_KEYS", f"change-me-{KEY}"),
        ("SECRET_KEYS", f"{KEY},ChangeMe{OLDER_KEY}"),
        ("SECRET_KEYS", f"{KEY},development-{OLDER_KEY}"),
        ("SECRET_KEYS", f"insecure-{KEY}"),
    ],
)
def test_production_refuses_what_development_may_have(name: str, value: str) -> None:
    refusal(name, value)
    settings.load(PRODUCTION | {"ENVIRONMENT": "development", name: value})


def test_the_three_settings_of_the_carrier_go_together(tmp_path: Path) -> None:
    development = {"SECRET_KEYS": KEY}
    three = {name: PRODUCTION[name] for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM")}
    assert settings.load(development | three).twilio is not None
    for name in three:
        assert "is missing" in refusal(name, "", development | three)


def test_a_second_carrier_comes_after_the_first_and_not_without_it() -> None:
    assert list(settings.load(PRODUCTION).carriers) == ["FIRST"]
    found = settings.load(PRODUCTION | SECOND)
    assert list(found.carriers) == ["FIRST", "SECOND"]
    assert found.second_twilio is not None
    assert (found.second_twilio.sender, found.second_twilio.api_url) == ("+14155550124", "https://api.twilio.com")
    for name in SECOND:
        assert "is missing" in refusal(name, "", PRODUCTION | SECOND)
    assert "is missing" in refusal("TWILIO_ACCOUNT_SID", "", {"SECRET_KEYS": KEY} | SECOND)


def test_a_carrier_on_this_machine_may_do_without_tls() -> None:
    found = settings.load(PRODUCTION | {"TWILIO_API_URL": "http://127.0.0.1:4010/"})
    assert found.twilio is not None
    assert found.twilio.api_url == "http://127.0.0.1:4010"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 587, None, None, "starttls")),
        ("smtps://mail.example.com", ("mail.example.com", 465, None, None, "implicit")),
        ("smtp://mail.example.com:2525", ("mail.example.com", 2525, None, None, "starttls")),
        (
            "smtps://me%40example.com:p%3A%2F%40%25@mail.example.com:466",
            ("mail.example.com", 466, "me@example.com", "p:/@%", "implicit"),
        ),
        ("smtp://relay.internal:25?tls=none", ("relay.internal", 25, None, None, "none")),
        ("smtp://me:secret@localhost:25?tls=none", ("localhost", 25, "me", "secret", "none")),
        ("smtp://me:secret@127.0.0.1?tls=none", ("127.0.0.1", 587, "me", "secret", "none")),
        ("smtp://me:secret@[::1]:25?tls=none", ("::1", 25, "me", "secret", "none")),
    ],
)
def test_a_relay_is_read_out_of_its_url(url: str, expected: tuple[Any, ...]) -> None:
    names = ("host", "port", "username", "password", "tls")
    assert settings.load(PRODUCTION | {"SMTP_URL": url}).smtp_url == SmtpUrl(**dict(zip(names, expected, strict=True)))


@pytest.mark.parametrize(
    "url", [f"smtp://me:{PASSWORD}@mail.example.com?tls=none", f"smtps://me:{PASSWORD}@mail.example.com?tls=none"]
)
def test_a_relay_elsewhere_gets_no_password_in_clear(url: str) -> None:
    assert "in clear" in refusal("SMTP_URL", url)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    (tmp_path / ".env").write_text(f"PORT=8001\nLOG_LEVEL=debug # noisy\nSECRET_KEYS={KEY}\nHOST\n")
    assert _of(tmp_path).port == 8001
    monkeypatch.setenv("PORT", "8002")
    found = _of(tmp_path)
    assert (found.port, found.log_level, found.secret_keys) == (8002, "debug", (KEY.encode(),))


def test_no_file_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _of(tmp_path).is_development


def _of(folder: Path) -> Settings:
    return settings.load(settings.environment() | {"DATA_DIR": str(folder)})


def test_an_installation_without_keys_makes_its_own_and_keeps_it(tmp_path: Path) -> None:
    first = settings.load({"DATA_DIR": str(tmp_path / "one")}).secret_keys
    assert settings.load({"DATA_DIR": str(tmp_path / "one")}).secret_keys == first
    assert settings.load({"DATA_DIR": str(tmp_path / "two")}).secret_keys != first
    assert len(first[0]) >= settings.MIN_KEY_LENGTH
    assert stat.S_IMODE((tmp_path / "one" / "secret_key").stat().st_mode) == 0o600


def test_processes_that_start_together_have_the_same_key(tmp_path: Path) -> None:
    found: set[tuple[bytes, ...]] = set()
    for round_ in range(50):
        folder = tmp_path / str(round_)
        keys: list[tuple[bytes, ...]] = []
        together = threading.Barrier(8)

        def start(
            folder: Path = folder, keys: list[tuple[bytes, ...]] = keys, gate: threading.Barrier = together
        ) -> None:
            gate.wait()
            keys.append(settings.load({"DATA_DIR": str(folder)}).secret_keys)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys) == 8
        assert len(set(keys)) == 1
        found.add(keys[0])
    assert len(found) == 50


@pytest.mark.parametrize("content", ["", " \n", "short"])
def test_a_key_that_was_left_half_written_is_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content)
    refusal("DATA_DIR", str(tmp_path), {})


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refusal("DATA_DIR", str(tmp_path / "file"), {})
    (tmp_path / "data" / "secret_key").mkdir(parents=True)
    refusal("DATA_DIR", str(tmp_path / "data"), {})


def test_what_tells_of_our_mail_is_set_by_three_parts_that_stand_alone(tmp_path: Path) -> None:
    found = settings.load(PRODUCTION)
    assert (found.bounce_address, found.ses_topic, found.postmark_webhook) == (None, None, None)
    topic = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mail"
    credentials = {"POSTMARK_WEBHOOK_USER": "postmark", "POSTMARK_WEBHOOK_PASSWORD": "sixteen-letters!"}
    found = settings.load(PRODUCTION | credentials | {"BOUNCE_ADDRESS": "Bounces@Example.com", "SES_TOPIC_ARN": topic})
    assert found.bounce_address == "bounces@example.com"
    assert found.ses_topic is not None
    assert found.ses_topic.host == "sns.us-gov-west-1.amazonaws.com"
    assert found.postmark_webhook is not None
    assert "sixteen" not in repr(found)
    china = settings.load(PRODUCTION | {"SES_TOPIC_ARN": "arn:aws-cn:sns:cn-north-1:123456789012:mail"}).ses_topic
    assert china is not None
    assert china.host == "sns.cn-north-1.amazonaws.com.cn"


WRONG_FEEDBACK: list[tuple[str, str, dict[str, str]]] = [
    ("BOUNCE_ADDRESS", "nowhere", {}),
    ("BOUNCE_ADDRESS", "a" * 21 + "@example.com", {}),
    ("SES_TOPIC_ARN", "mail-feedback", {}),
    ("SES_TOPIC_ARN", "arn:aws:sns:us-east-1.evil.example/:123456789012:mail", {}),
    ("SES_TOPIC_ARN", "arn:aws:sqs:us-east-1:123456789012:mail", {}),
    ("SES_CERTIFICATE", "/nowhere/sns.pem", {"SES_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:mail"}),
    ("SES_CERTIFICATE", __file__, {"SES_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:mail"}),
    ("POSTMARK_WEBHOOK_USER", "a:b", {"POSTMARK_WEBHOOK_PASSWORD": "sixteen-letters!"}),
    ("POSTMARK_WEBHOOK_PASSWORD", PASSWORD, {"POSTMARK_WEBHOOK_USER": "postmark"}),
]


@pytest.mark.parametrize(("name", "value", "others"), WRONG_FEEDBACK)
def test_what_tells_of_our_mail_is_refused_where_it_cannot_be_meant(
    name: str, value: str, others: dict[str, str]
) -> None:
    refusal(name, value, PRODUCTION | others)


def test_half_of_what_belongs_together_is_refused_by_the_name_of_the_other() -> None:
    for given, missing in (
        ({"SES_CERTIFICATE": "sns.pem"}, "SES_TOPIC_ARN"),
        ({"POSTMARK_WEBHOOK_USER": "postmark"}, "POSTMARK_WEBHOOK_PASSWORD"),
        ({"POSTMARK_WEBHOOK_PASSWORD": "sixteen-letters!"}, "POSTMARK_WEBHOOK_USER"),
    ):
        with pytest.raises(SettingInvalid) as refused:
            settings.load(PRODUCTION | given)
        assert refused.value.name == missing
        assert ONE_LINE.fullmatch(str(refused.value))
