"""How a delivery proves whose it is. Pure: headers, body, secrets and `now` in; the reason against it out, or None.

Every comparison takes the same time whatever it compares, and every secret is compared.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

SIGNATURE_HEADER = "x-failover-signature"
TIMESTAMP_HEADER = "x-failover-timestamp"
"""Headers of the generic form; the signature is `v1=` and the hex HMAC-SHA256 of Unix seconds, a dot and the body."""

PAGERDUTY_HEADER = "x-pagerduty-signature"
GRAFANA_HEADER = "x-grafana-alerting-signature"

NO_MATCH = "the signature is none of ours"


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """The token of an Authorization header, where there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def is_any(given: str, secrets: Sequence[str]) -> bool:
    """Whether it is one of them."""
    return any([hmac.compare_digest(given.encode(), secret.encode()) for secret in secrets])


def why_not_bearer(headers: Mapping[str, str], secrets: Sequence[str]) -> str | None:
    token = bearer_of(headers)
    if token is None:
        return "it has no header Authorization: Bearer with a token"
    return None if is_any(token, secrets) else "the token is none of ours"


def why_not_basic(headers: Mapping[str, str], user: str, secrets: Sequence[str]) -> str | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "it has no header Authorization: Basic with a user and a password"
    try:
        given = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "its header Authorization: Basic cannot be decoded"
    return None if is_any(given, [f"{user}:{secret}" for secret in secrets]) else "user or password are not ours"


def why_not_pagerduty(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str | None:
    """Why PagerDuty's signature does not fit, or None. While a secret is changed there are several; any one will do."""
    given = [part.strip().removeprefix("v1=") for part in headers.get(PAGERDUTY_HEADER, "").split(",")]
    return None if _is_signed(given, body, secrets) else NO_MATCH


def why_not_grafana(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    timestamp_header: str | None,
    window: timedelta,
    now: datetime,
) -> str | None:
    given = [headers.get(GRAFANA_HEADER, "")]
    if timestamp_header is None:
        return None if _is_signed(given, body, secrets) else NO_MATCH
    timestamp = headers.get(timestamp_header.lower(), "")
    if not _is_signed(given, f"{timestamp}:".encode() + body, secrets):
        return NO_MATCH
    return why_stale(timestamp, window, now)


def why_not_generic(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], window: timedelta, now: datetime
) -> str | None:
    timestamp = headers.get(TIMESTAMP_HEADER, "")
    given = [headers.get(SIGNATURE_HEADER, "").removeprefix("v1=")]
    if not _is_signed(given, f"{timestamp}.".encode() + body, secrets):
        return NO_MATCH
    return why_stale(timestamp, window, now)


def sign(secret: str, body: bytes, timestamp: str) -> str:
    """The generic form's signature."""
    return "v1=" + _hmac(secret, f"{timestamp}.".encode() + body)


def why_stale(timestamp: str, window: timedelta, now: datetime) -> str | None:
    """Why a signature of that time (Unix seconds) counts no more, or not yet."""
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return "its timestamp is no number of seconds"
    age = now - datetime.fromtimestamp(int(timestamp), UTC)
    if abs(age) > window:
        return f"it was signed {abs(age).total_seconds():.0f} s {'ago' if age > timedelta(0) else 'ahead'}: too far from now"
    return None


def _is_signed(given: Sequence[str], text: bytes, secrets: Sequence[str]) -> bool:
    wanted = [_hmac(secret, text) for secret in secrets]
    return any([is_any(one, wanted) for one in given if one])


def _hmac(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
