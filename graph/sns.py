"""Whether it is Amazon SNS that speaks, and about the configured topic.

A message is believed when it is of the topic, no older than two days, and signed by the key of a certificate that SNS serves from its
own host in the topic's region, or that the operator has pinned.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from domain import database
from domain.settings import SesTopic

MAX_AGE = timedelta(days=2)  # SNS gives up within hours
MAX_AHEAD = timedelta(minutes=15)
FETCH_SECONDS = 5.0
MAX_FETCHED = 64 * 1024
KEPT_CERTIFICATES = 8

Fetch = Callable[[str], Awaitable[bytes]]

_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{8,64}\.pem", re.ASCII)


class NotBelieved(Exception):
    """The message is not, or no longer, SNS's word about our topic. The text is for the log."""


async def require_genuine(topic: SesTopic, keys: "SigningKeys", message: Mapping[str, Any]) -> None:
    """Raises NotBelieved, and what the fetching of a certificate raises."""
    fields = _SIGNED.get(str(message.get("Type")))
    if fields is None or not all(isinstance(message.get(name), str) for name in fields if name != "Subject"):
        raise NotBelieved("it is no message of SNS")
    if message["TopicArn"] != topic.arn:
        raise NotBelieved("it is of another topic")
    await _require_recent(message["Timestamp"])
    kind = {"1": SHA1, "2": SHA256}.get(str(message.get("SignatureVersion")))
    if kind is None:
        raise NotBelieved("its signature is of no known version")
    try:
        signature = base64.b64decode(str(message.get("Signature")), validate=True)
    except (binascii.Error, ValueError):
        raise NotBelieved("its signature is no base64") from None
    key = await keys.get(str(message.get("SigningCertURL")))
    try:
        key.verify(signature, canonical(message).encode(), padding.PKCS1v15(), kind())
    except (InvalidSignature, UnicodeEncodeError):
        raise NotBelieved("its signature does not hold") from None


def canonical(message: Mapping[str, Any]) -> str:
    """What SNS signs (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html)."""
    names = [name for name in _SIGNED[message["Type"]] if message.get(name) is not None]
    return "".join(f"{name}\n{message[name]}\n" for name in names)


async def _require_recent(timestamp: str) -> None:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        raise NotBelieved("it has no moment") from None
    now = await database.now()
    if moment.tzinfo is None or not now - MAX_AGE <= moment <= now + MAX_AHEAD:
        raise NotBelieved("it is of another time")


class SigningKeys:
    """The keys that SNS signs a topic's messages with, each fetched once."""

    def __init__(self, topic: SesTopic, fetch: Fetch) -> None:
        self._host = topic.host
        self._fetch = fetch
        self._pinned = x509.load_pem_x509_certificate(topic.certificate) if topic.certificate else None
        self._kept: dict[str, x509.Certificate] = {}
        self._one_at_a_time = asyncio.Lock()

    async def get(self, url: str) -> rsa.RSAPublicKey:
        """The key behind a message's SigningCertURL. Raises NotBelieved, and what fetching raises."""
        certificate = self._pinned or await self._fetched(url)
        now = await database.now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise NotBelieved("its certificate is not valid now")
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise NotBelieved("its certificate is of another kind")
        return key

    async def _fetched(self, url: str) -> x509.Certificate:
        _require_own(url, self._host)
        if not _CERTIFICATE_PATH.fullmatch(urlsplit(url).path) or urlsplit(url).query:
            raise NotBelieved("its certificate is at another place than SNS's")
        if url in self._kept:  # what is slow to come, or never does, holds up no message that needs none
            return self._kept[url]
        async with self._one_at_a_time:
            return self._kept.get(url) or await self._keep(url)

    async def _keep(self, url: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(await self._fetch(url))
        except ValueError:
            raise NotBelieved("its certificate is none") from None
        while len(self._kept) >= KEPT_CERTIFICATES:
            self._kept.pop(next(iter(self._kept)))
        self._kept[url] = certificate
        return certificate


def _require_own(url: str, host: str) -> None:
    """A URL of SNS's own host in the topic's region, by https, and without anything that could lead elsewhere."""
    try:
        parts = urlsplit(url)
        is_own = parts.scheme == "https" and parts.netloc == host and not parts.fragment
    except ValueError:
        is_own = False
    if not is_own or not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise NotBelieved("it names another host than SNS's")


def subscribe_url(topic: SesTopic, url: str) -> str:
    """The URL that confirms the topic's subscription. Raises NotBelieved for every other."""
    _require_own(url, topic.host)
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if (
        parts.path not in ("", "/")
        or query.get("Action") != ["ConfirmSubscription"]
        or query.get("TopicArn") != [topic.arn]
    ):
        raise NotBelieved("its SubscribeURL does something else")
    return url


async def fetch(url: str) -> bytes:
    """A page of SNS's, over the network. Raises httpx.HTTPError."""
    found = bytearray()
    async with (
        httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            found += chunk
            if len(found) > MAX_FETCHED:
                raise httpx.DecodingError("too long")
    return bytes(found)
