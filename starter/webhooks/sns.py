"""Amazon SNS: signed envelopes, the certificates that they are signed by, and subscriptions that want to be confirmed."""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
from cachetools import TTLCache
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from failover.alert_forms import SnsMessage, envelope
from failover.errors import Unavailable
from failover.senders import Sender

FETCH_TIMEOUT = timedelta(seconds=5)

MOST_BYTES = 64 * 1024
"""The most bytes of a certificate, or of the answer to a confirmation."""

KEPT = timedelta(hours=24)

_HOST = re.compile(r"sns\.([a-z0-9-]{1,40})\.amazonaws\.com(\.cn)?")

Fetch = Callable[[str], Awaitable[bytes]]
"""GET an address; Unavailable where nobody answers well."""


async def fetch(url: str) -> bytes:
    """Fetch by HTTPS, without following redirects: the host was checked, the next one would not be."""
    try:
        async with (
            httpx.AsyncClient(timeout=FETCH_TIMEOUT.total_seconds(), follow_redirects=False) as http,
            http.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise Unavailable(f"{urlsplit(url).hostname} answers with more than {MOST_BYTES} bytes.")
            return bytes(body)
    except httpx.HTTPError as error:
        raise Unavailable(f"{urlsplit(url).hostname} does not answer ({type(error).__name__}).") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """An envelope whose signature is Amazon's, from a topic that we take messages of."""

    message: SnsMessage
    confirmed: bool
    """Whether it was a subscription, which is confirmed now."""


class Sns:
    """Believes envelopes, or says why not."""

    def __init__(self, get: Fetch = fetch) -> None:
        self._get = get
        self._keys: TTLCache[str, RSAPublicKey] = TTLCache(maxsize=32, ttl=KEPT.total_seconds())

    async def believe(self, sender: Sender, body: bytes, max_age: timedelta, now: datetime) -> Believed | str:
        """Check an envelope; RequestError if it is none, Unavailable if Amazon cannot be asked for the certificate."""
        message, given = envelope(body)
        why = _why_not(message, sender, max_age, now)
        if why is not None:
            return why
        if not await self._is_signed(message, message.signed_text(given), now):
            return "its signature is not Amazon's"
        if message.Type == "SubscriptionConfirmation":
            if not _is_amazons(message.SubscribeURL or "", message.TopicArn):
                return "its SubscribeURL is not Amazon's"
            await self._get(message.SubscribeURL or "")
        return Believed(message=message, confirmed=message.Type == "SubscriptionConfirmation")

    async def _is_signed(self, message: SnsMessage, text: bytes, now: datetime) -> bool:
        key = await self._key(message.SigningCertURL, now)
        if key is None:
            return False
        algorithm = SHA256() if message.SignatureVersion == "2" else SHA1()
        try:
            key.verify(base64.b64decode(message.Signature, validate=True), text, PKCS1v15(), algorithm)
        except (InvalidSignature, binascii.Error):
            return False
        return True

    async def _key(self, url: str, now: datetime) -> RSAPublicKey | None:
        if url not in self._keys:
            pem = await self._get(url)
            key = await asyncio.to_thread(_public_key, pem, now)
            if key is None:
                return None
            self._keys[url] = key
        return self._keys[url]


def _public_key(pem: bytes, now: datetime) -> RSAPublicKey | None:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
    key = certificate.public_key()
    in_time = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return key if in_time and isinstance(key, RSAPublicKey) else None


def _why_not(message: SnsMessage, sender: Sender, max_age: timedelta, now: datetime) -> str | None:
    """The reason against a message that can be told before anybody else is asked; None if there is none."""
    if not sender.topic_arns:
        return "no topic is named for this sender (topic_arns)"
    if message.TopicArn not in sender.topic_arns:
        return "its topic is none of topic_arns"
    if not _is_amazons(message.SigningCertURL, message.TopicArn) or not message.SigningCertURL.endswith(".pem"):
        return "its SigningCertURL is not Amazon's"
    if abs(now - message.Timestamp.astimezone(UTC)) > max_age:
        return f"it was sent {abs(now - message.Timestamp).total_seconds():.0f} s from now (webhooks.max_age)"
    return None


def _is_amazons(url: str, topic: str) -> bool:
    """Whether an address is SNS's own, in the topic's region."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "https" and not parts.username and parts.port in (None, 443)
    except ValueError:
        return False
    host = _HOST.fullmatch(parts.hostname or "")
    return plain and host is not None and topic.split(":")[3:4] == [host[1]]
