"""What the operator sets, read once at the start from the environment and an optional `.env` file.

A wrong value stops the start with one line that says which setting, what is wrong and what to put there.
"""

import contextlib
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import phonenumbers
from cryptography import x509
from dotenv import dotenv_values

from domain import database_url, redis_url, return_paths
from domain.addresses import EmailInvalid, area_code_problem, canonical_email, shown_email
from domain.origins import OriginInvalid, canonical_origin
from domain.tls_files import TlsFileInvalid, check_trusted
from domain.url_errors import UrlInvalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CarrierName = Literal["FIRST", "SECOND"]
# Where each carrier tells what became of its messages, under CALLBACK_URL; the path says whose token signs.
CALLBACK_PATHS: Mapping[CarrierName, str] = {"FIRST": "/webhooks/twilio", "SECOND": "/webhooks/second-twilio"}
MIN_WEBHOOK_PASSWORD_LENGTH = 16
# The United States and the territories that its carriers bill as home. Canada shares the +1 and is not among them.
DEFAULT_COUNTRIES = ("US", "PR", "VI", "GU", "AS", "MP")
DEFAULT_CODES_PER_DAY = 10_000  # texts to phones that are still to be proved
DEFAULT_CALLS_PER_DAY = 2_000
DEFAULT_SMTP_CONNECTIONS = 8  # of each worker process
MIN_KEY_LENGTH = 32  # characters; 128 bits even when somebody typed hexadecimal digits
# Texts with a code end in "@host #123456" and have 140 characters, of which the code and the product's name take the rest.
MAX_CLIENT_HOST_LENGTH = 94
# Values that stand in examples; a production that runs on one of them is open to every reader of the example.
KNOWN_EXAMPLES = ("change-me", "changeme", "example", "development", "secret-key", "insecure")


class SettingInvalid(Exception):
    """A setting that the program cannot start with. `str()` is the one line for the operator."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        super().__init__(f"{name} {problem}: {remedy}")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpUrl:
    """Where e-mails leave. tls: "starttls" demands it, "implicit" is TLS from the first byte, "none" sends in clear.

    ca_file: the authorities whose certificates are believed; where left out, those that the operating system trusts.
    """

    host: str
    port: int
    username: str | None
    password: str | None
    tls: Literal["implicit", "starttls", "none"]
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Twilio:
    """A Twilio-compatible carrier for texts and calls. sender: an E.164 number that it lent to this account."""

    account_sid: str
    auth_token: str
    sender: str
    api_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SesTopic:
    """The SNS topic that Amazon SES tells of our mails by. certificate: PEM, where the signer is pinned; else it is fetched."""

    arn: str
    certificate: bytes | None

    @property
    def host(self) -> str:
        """Where SNS serves the topic's region from."""
        _, partition, _, region, *_ = self.arn.split(":")
        return f"sns.{region}.amazonaws.com" + (".cn" if partition == "aws-cn" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostmarkWebhook:
    """What Postmark signs in with when it calls (HTTP Basic)."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration of one process. secret_keys: newest first; every one still verifies."""

    environment: Literal["development", "production"]
    host: str
    port: int
    data_dir: Path
    database_url: str | None
    redis_url: str | None
    smtp_url: SmtpUrl | None
    mail_from: str
    final_dot_seconds: float
    smtp_connections: int
    bounce_address: str | None
    ses_topic: SesTopic | None
    postmark_webhook: PostmarkWebhook | None
    twilio: Twilio | None
    second_twilio: Twilio | None
    callback_url: str | None
    client_url: str
    secret_keys: tuple[bytes, ...]
    trusted_proxies: tuple[Network, ...]
    allowed_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    log_level: str
    audit_retention_days: int
    metrics_host: str
    metrics_port: int | None
    phone_countries: tuple[str, ...]
    extra_area_codes: tuple[str, ...]
    codes_per_day: int
    calls_per_day: int
    keep_alive_seconds: int
    drain_seconds: int
    is_sending: bool

    @property
    def is_development(self) -> bool:
        """Whether the mailbox page and GraphiQL are served."""
        return self.environment == "development"

    @property
    def carriers(self) -> dict[CarrierName, Twilio]:
        """The accounts for texts and calls, the preferred one first; none where messages land in the mailbox."""
        accounts: dict[CarrierName, Twilio | None] = {"FIRST": self.twilio, "SECOND": self.second_twilio}
        return {name: account for name, account in accounts.items() if account is not None}

    @property
    def mailbox_dir(self) -> Path:
        """Where messages land for which no relay or carrier is set."""
        return self.data_dir / "mailbox"


def environment() -> dict[str, str]:
    """The process environment over what `.env` in the working folder holds (the environment wins). Raises SettingInvalid."""
    try:
        from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingInvalid(".env", f"cannot be read ({reason})", "put a text file in UTF-8 there, or none") from None
    return from_file | dict(os.environ)


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingInvalid for the first one that is missing or wrong."""
    values = {name: value.strip() for name, value in environ.items() if value.strip()}
    kind = _one_of(values, "ENVIRONMENT", ("development", "production"), "development")
    production = kind == "production"
    port = _port(values)
    data_dir = Path(values.get("DATA_DIR", "./data")).expanduser().absolute()
    return Settings(
        environment="production" if production else "development",
        host=values.get("HOST", "127.0.0.1"),
        port=port,
        data_dir=data_dir,
        database_url=_database_url(values, production),
        redis_url=_redis_url(values, production),
        smtp_url=_smtp(values, production),
        mail_from=_mail_from(values, production),
        final_dot_seconds=_final_dot_seconds(values),
        smtp_connections=_smtp_connections(values),
        twilio=_twilio(values, "TWILIO_", production, is_needed=production or _has(values, "SECOND_TWILIO_")),
        second_twilio=_twilio(values, "SECOND_TWILIO_", production, is_needed=False),
        bounce_address=_bounce_address(values),
        ses_topic=_ses_topic(values),
        postmark_webhook=_postmark_webhook(values),
        callback_url=_callback_url(values, production),
        client_url=_client_url(values, port, production),
        secret_keys=_secret_keys(values, data_dir, production),
        trusted_proxies=tuple(_network("TRUSTED_PROXIES", part) for part in _list(values, "TRUSTED_PROXIES")),
        allowed_origins=tuple(_origin(part) for part in _list(values, "ALLOWED_ORIGINS")),
        allowed_hosts=tuple(_allowed_host(part) for part in _list(values, "ALLOWED_HOSTS")),
        log_level=_one_of(values, "LOG_LEVEL", ("debug", "info", "warning", "error"), "info"),
        audit_retention_days=_audit_retention_days(values),
        metrics_host=values.get("METRICS_HOST", "127.0.0.1"),
        metrics_port=_metrics_port(values, port),
        phone_countries=_phone_countries(values),
        extra_area_codes=tuple(_area_code(part) for part in _list(values, "EXTRA_AREA_CODES")),
        codes_per_day=_amount(values, "CODES_PER_DAY", DEFAULT_CODES_PER_DAY),
        calls_per_day=_amount(values, "CALLS_PER_DAY", DEFAULT_CALLS_PER_DAY),
        keep_alive_seconds=_keep_alive_seconds(values),
        drain_seconds=_drain_seconds(values, production),
        is_sending=_one_of(values, "SENDING", ("on", "off"), "on") == "on",
    )


def _demand(values: Mapping[str, str], name: str, remedy: str, production: bool) -> str | None:
    value = values.get(name)
    if value is None and production:
        raise SettingInvalid(name, "is missing, and ENVIRONMENT=production needs it", remedy)
    return value


def _one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = values.get(name, default).lower()
    if value not in allowed:
        raise SettingInvalid(name, f"is {value!r}", f"put one of {', '.join(allowed)}")
    return value


def _port(values: Mapping[str, str]) -> int:
    value = values.get("PORT", "8000")
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 65536:
        raise SettingInvalid("PORT", f"is {value[:20]!r}", "put a number from 1 to 65535, such as 8000")
    return int(value)


def _final_dot_seconds(values: Mapping[str, str]) -> float:
    # RFC 5321 4.5.3.2.6 allows the server ten minutes after the final dot; giving up early makes doubles.
    value = values.get("SMTP_FINAL_DOT_SECONDS", "120")
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 5 <= int(value) <= 600:
        raise SettingInvalid("SMTP_FINAL_DOT_SECONDS", f"is {value[:20]!r}", "put seconds from 5 to 600, such as 120")
    return float(value)


def _keep_alive_seconds(values: Mapping[str, str]) -> int:
    # Proxies keep connections for 60 to 75 seconds. One that this end closes first is a request lost, and a stray 502.
    value = values.get("KEEP_ALIVE_SECONDS", "90")
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 5 <= int(value) <= 3600:
        remedy = "put seconds from 5 to 3600, more than the proxy in front keeps a connection, such as 90"
        raise SettingInvalid("KEEP_ALIVE_SECONDS", f"is {value[:20]!r}", remedy)
    return int(value)


def _drain_seconds(values: Mapping[str, str], production: bool) -> int:
    # Kubernetes takes some seconds to tell its proxies, and kills after 30; 10 of them are for requests that are under way.
    value = values.get("DRAIN_SECONDS", "10" if production else "0")
    if not re.fullmatch(r"[0-9]{1,3}", value) or int(value) > 600:
        remedy = "put seconds from 0 to 600, more than the load balancer takes to notice, such as 10"
        raise SettingInvalid("DRAIN_SECONDS", f"is {value[:20]!r}", remedy)
    return int(value)


def _smtp_connections(values: Mapping[str, str]) -> int:
    value = values.get("SMTP_CONNECTIONS", str(DEFAULT_SMTP_CONNECTIONS))
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= 100:
        raise SettingInvalid("SMTP_CONNECTIONS", f"is {value[:20]!r}", "put a whole number from 1 to 100, such as 8")
    return int(value)


def _metrics_port(values: Mapping[str, str], port: int) -> int | None:
    value = values.get("METRICS_PORT")
    if value is None:
        return None
    remedy = "put a number from 1 to 65535, such as 9464, or leave it out for no metrics"
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 65536:
        raise SettingInvalid("METRICS_PORT", f"is {value[:20]!r}", remedy)
    if int(value) == port:
        raise SettingInvalid("METRICS_PORT", "is the API's own PORT", "put another one: metrics are not for the public")
    return int(value)


def _audit_retention_days(values: Mapping[str, str]) -> int:
    # Six years is what HIPAA asks for (45 CFR 164.316(b)(2)(i)); the database lets nothing go before it is a year old.
    value = values.get("AUDIT_RETENTION_YEARS", "6")
    if not re.fullmatch(r"[0-9]{1,2}", value) or not 1 <= int(value) <= 99:
        raise SettingInvalid("AUDIT_RETENTION_YEARS", f"is {value[:20]!r}", "put whole years from 1 to 99, such as 6")
    return int(value) * 366


def _phone_countries(values: Mapping[str, str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.upper() for part in _list(values, "PHONE_COUNTRIES"))) or DEFAULT_COUNTRIES
    for country in found:
        if country not in phonenumbers.SUPPORTED_REGIONS:
            raise SettingInvalid(
                "PHONE_COUNTRIES", f"holds {country[:20]!r}", "put ISO codes of countries, home first, such as US,PR,CA"
            )
    return found


def _area_code(value: str) -> str:
    if problem := area_code_problem(value):
        remedy = "put area codes of the United States that the program does not know yet, such as 436,621"
        raise SettingInvalid("EXTRA_AREA_CODES", f"holds {value[:20]!r}, which {problem}", remedy)
    return value


def _amount(values: Mapping[str, str], name: str, default: int) -> int:
    value = values.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,8}", value) or int(value) < 1:
        raise SettingInvalid(name, f"is {value[:20]!r}", f"put a whole number from 1 to 99999999, such as {default}")
    return int(value)


def _list(values: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in values.get(name, "").split(",") if part.strip()]


def _split(name: str, value: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        valid = (
            parts.scheme in schemes and bool(parts.hostname or parts.path) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        valid = False
    if not valid:  # the value may hold a password: it is not repeated
        raise SettingInvalid(name, "is not a URL of the right kind", f"put one like {example}")
    return parts


def _database_url(values: Mapping[str, str], production: bool) -> str | None:
    value = _demand(values, "DATABASE_URL", f"put one like {database_url.EXAMPLE}", production)
    if value is not None:
        try:
            database_url.parse(value)
        except UrlInvalid as error:
            raise SettingInvalid("DATABASE_URL", error.problem, error.remedy) from None
    return value


def _redis_url(values: Mapping[str, str], production: bool) -> str | None:
    value = _demand(values, "REDIS_URL", f"put one like {redis_url.EXAMPLE}", production)
    if value is not None:
        _split("REDIS_URL", value, redis_url.SCHEMES, redis_url.EXAMPLE)
        try:
            redis_url.check(value)
        except UrlInvalid as error:
            raise SettingInvalid("REDIS_URL", error.problem, error.remedy) from None
    return value


def _smtp(values: Mapping[str, str], production: bool) -> SmtpUrl | None:
    example = "smtp://user:password@mail.example.com:587"
    value = _demand(values, "SMTP_URL", f"put one like {example}", production)
    if value is None:
        if "SMTP_CA_FILE" in values:
            raise SettingInvalid("SMTP_URL", "is missing, and SMTP_CA_FILE goes with it", f"put one like {example}")
        return None
    parts = _split("SMTP_URL", value, ("smtp", "smtps"), example)
    if not parts.hostname:
        raise SettingInvalid("SMTP_URL", "names no host", f"put one like {example}")
    if parts.query not in ("", "tls=none"):
        raise SettingInvalid(
            "SMTP_URL", "has an unknown option", "the only one is ?tls=none, for a relay on this machine"
        )
    tls: Literal["implicit", "starttls", "none"] = "implicit" if parts.scheme == "smtps" else "starttls"
    if parts.query == "tls=none":
        if tls == "implicit" or (parts.username and not _is_loopback(parts.hostname)):
            raise SettingInvalid(
                "SMTP_URL", "asks for a password in clear", "leave ?tls=none away, or the user and password"
            )
        tls = "none"
    return SmtpUrl(
        host=parts.hostname,
        port=parts.port or (465 if tls == "implicit" else 587),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
        ca_file=_smtp_ca_file(values, tls),
    )


def _smtp_ca_file(values: Mapping[str, str], tls: str) -> Path | None:
    if "SMTP_CA_FILE" not in values:
        return None
    if tls == "none":
        raise SettingInvalid(
            "SMTP_CA_FILE", "is set, and ?tls=none in SMTP_URL sends in clear", "leave one of them out"
        )
    path = Path(values["SMTP_CA_FILE"]).expanduser()
    try:
        check_trusted("SMTP_CA_FILE", str(path))
    except TlsFileInvalid as error:
        raise SettingInvalid("SMTP_CA_FILE", error.problem, error.remedy) from None
    return path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _mail_from(values: Mapping[str, str], production: bool) -> str:
    remedy = "put the address that e-mails come from, such as access@example.com"
    value = _demand(values, "MAIL_FROM", remedy, production) or "practice-access@localhost.localdomain"
    try:
        return _plain_address(value)
    except EmailInvalid:
        raise SettingInvalid("MAIL_FROM", "is not an e-mail address", remedy) from None


def _plain_address(value: str) -> str:
    """An address with nothing around it: a name would be lost without a word. Raises EmailInvalid."""
    if shown_email(value) != value:
        raise EmailInvalid("has more than an address")
    return canonical_email(value)


ACCOUNT = ("ACCOUNT_SID", "AUTH_TOKEN", "FROM")


def _has(values: Mapping[str, str], prefix: str) -> bool:
    return any(prefix + part in values for part in ACCOUNT)


def _twilio(values: Mapping[str, str], prefix: str, production: bool, *, is_needed: bool) -> Twilio | None:
    if not is_needed and not _has(values, prefix):
        return None
    for part in ACCOUNT:
        if prefix + part not in values:
            raise SettingInvalid(
                prefix + part,
                "is missing",
                f"put what the carrier's console shows; all three {prefix} settings go together",
            )
    if not re.fullmatch(r"\+[1-9][0-9]{4,14}", values[f"{prefix}FROM"]):
        raise SettingInvalid(f"{prefix}FROM", "is not an E.164 number", "put one like +14155550123")
    api_url = values.get(f"{prefix}API_URL", "https://api.twilio.com")
    parts = _split(f"{prefix}API_URL", api_url, ("https", "http"), "https://api.twilio.com")
    if production and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise SettingInvalid(
            f"{prefix}API_URL", "is not https", "put an https:// URL; the account's token travels in each request"
        )
    return Twilio(
        account_sid=values[f"{prefix}ACCOUNT_SID"],
        auth_token=values[f"{prefix}AUTH_TOKEN"],
        sender=values[f"{prefix}FROM"],
        api_url=api_url.rstrip("/"),
    )


def _bounce_address(values: Mapping[str, str]) -> str | None:
    if "BOUNCE_ADDRESS" not in values:
        return None
    remedy = "put one like bounces@example.com, or leave it out"
    try:
        address = _plain_address(values["BOUNCE_ADDRESS"])
    except EmailInvalid:
        raise SettingInvalid("BOUNCE_ADDRESS", "is not an e-mail address", remedy) from None
    if address.index("@") + return_paths.LENGTH > return_paths.MAX_LOCAL_LENGTH:
        room = return_paths.MAX_LOCAL_LENGTH - return_paths.LENGTH
        raise SettingInvalid("BOUNCE_ADDRESS", f"has more than {room} characters before the @", remedy)
    return address


def _ses_topic(values: Mapping[str, str]) -> SesTopic | None:
    arn = values.get("SES_TOPIC_ARN")
    if arn is None:
        if "SES_CERTIFICATE" in values:
            raise SettingInvalid("SES_TOPIC_ARN", "is missing", "SES_CERTIFICATE goes with it")
        return None
    if not re.fullmatch(r"arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?", arn, re.ASCII):
        remedy = "put one like arn:aws:sns:us-east-1:123456789012:mail-feedback"
        raise SettingInvalid("SES_TOPIC_ARN", "is not the ARN of an SNS topic", remedy)
    return SesTopic(arn=arn, certificate=_pinned(values["SES_CERTIFICATE"]) if "SES_CERTIFICATE" in values else None)


def _pinned(path: str) -> bytes:
    try:
        text = Path(path).expanduser().read_bytes()
        x509.load_pem_x509_certificate(text)
    except (OSError, ValueError):
        remedy = "put the path of a PEM file with SNS's signing certificate, or leave it out"
        raise SettingInvalid("SES_CERTIFICATE", "is not a file with a certificate", remedy) from None
    return text


def _postmark_webhook(values: Mapping[str, str]) -> PostmarkWebhook | None:
    user, password = values.get("POSTMARK_WEBHOOK_USER"), values.get("POSTMARK_WEBHOOK_PASSWORD")
    if user is None and password is None:
        return None
    if user is None or password is None:
        missing = "POSTMARK_WEBHOOK_USER" if user is None else "POSTMARK_WEBHOOK_PASSWORD"
        raise SettingInvalid(missing, "is missing", "Postmark signs in with both; put both, or none")
    if ":" in user:
        raise SettingInvalid("POSTMARK_WEBHOOK_USER", "has a colon", "HTTP Basic cannot tell where such a name ends")
    if len(password) < MIN_WEBHOOK_PASSWORD_LENGTH:
        remedy = f"put at least {MIN_WEBHOOK_PASSWORD_LENGTH} random characters; whoever guesses it can say that mail came back"
        raise SettingInvalid("POSTMARK_WEBHOOK_PASSWORD", "is too short", remedy)
    return PostmarkWebhook(user=user, password=password)


def _client_url(values: Mapping[str, str], port: int, production: bool) -> str:
    remedy = "put the address of the client that e-mailed links lead to, such as https://app.example.com"
    value = _demand(values, "CLIENT_URL", remedy, production) or f"http://localhost:{port}"
    url = _plain_url("CLIENT_URL", value, "https://app.example.com", remedy, production)
    if len(urlsplit(url).hostname or "") > MAX_CLIENT_HOST_LENGTH:
        limit = f"put one of at most {MAX_CLIENT_HOST_LENGTH}; texts with a code name it, and phones read them up to 140 characters"
        raise SettingInvalid("CLIENT_URL", "has too long a host", limit)
    return url


def _callback_url(values: Mapping[str, str], production: bool) -> str | None:
    if "CALLBACK_URL" not in values:
        return None
    remedy = (
        "put the address under which the carrier reaches this API, such as https://api.example.com, or leave it out"
    )
    return _plain_url("CALLBACK_URL", values["CALLBACK_URL"], "https://api.example.com", remedy, production)


def _plain_url(name: str, value: str, example: str, remedy: str, production: bool) -> str:
    parts = _split(name, value, ("https", "http"), example)
    if (
        parts.query
        or parts.fragment
        or parts.username
        or not parts.hostname
        or not re.fullmatch(r"[\w:/.\[\]~-]+", value, re.ASCII)
    ):
        raise SettingInvalid(
            name, "has a user, a query, a fragment or a character that a plain address cannot have", remedy
        )
    if production and (parts.scheme != "https" or _is_loopback(parts.hostname)):
        raise SettingInvalid(name, "is not a public https address", remedy)
    return value.rstrip("/")


def _secret_keys(values: Mapping[str, str], data_dir: Path, production: bool) -> tuple[bytes, ...]:
    remedy = 'put comma-separated random keys, newest first; `python3 -c "import secrets; print(secrets.token_urlsafe(32))"` makes one'
    if _demand(values, "SECRET_KEYS", remedy, production) is None:
        return (_own_key(data_dir / "secret_key"),)
    keys = _list(values, "SECRET_KEYS")
    for key in keys:
        if len(key) < MIN_KEY_LENGTH or len(set(key)) < 10:
            raise SettingInvalid(
                "SECRET_KEYS",
                f"holds a key that is too weak (under {MIN_KEY_LENGTH} characters, or repetitive)",
                remedy,
            )
        if production and any(example in key.lower() for example in KNOWN_EXAMPLES):
            raise SettingInvalid("SECRET_KEYS", "holds a key out of an example", remedy)
    if len(set(keys)) != len(keys) or not keys:
        raise SettingInvalid("SECRET_KEYS", "holds no key, or the same key twice", remedy)
    return tuple(key.encode() for key in keys)


def _own_key(path: Path) -> bytes:
    """The development installation's own random key, made at its first start and readable by its owner only.

    Written under another name and linked to its own: of processes that start together one makes it, and none reads half of it.
    """
    remedy = "put a folder that this user may write to"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(32))
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingInvalid("DATA_DIR", f"cannot be used ({reason})", remedy) from error
    if len(key) < MIN_KEY_LENGTH:
        raise SettingInvalid(
            "DATA_DIR", f"has a damaged {path.name}", "remove that file to have a new one made, or bring it back"
        )
    return key.encode()


def _write_once(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink()


def _network(name: str, value: str) -> Network:
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        raise SettingInvalid(
            name, f"holds {value!r}", "put addresses or networks, such as 10.0.0.0/8,192.0.2.7"
        ) from None


def _origin(value: str) -> str:
    try:
        return canonical_origin(value)
    except OriginInvalid as error:
        remedy = "put origins with commas between, such as https://app.example.com,http://localhost:5173"
        raise SettingInvalid("ALLOWED_ORIGINS", error.reason, remedy) from None


def _allowed_host(value: str) -> str:
    if not re.fullmatch(r"\*|(\*\.)?[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", value):
        raise SettingInvalid(
            "ALLOWED_HOSTS", f"holds {value[:60]!r}", "put hosts such as api.example.com or *.example.com"
        )
    return value.lower()
