"""From a vendor's refusal to a failure class, by what every vendor says in much the same words."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from failover.failure import Failure, FailureKind

HARD_QUOTA_WAIT = timedelta(hours=1)
"""Asked to wait for longer than this, it is no rate limit any more."""

_WORDS: tuple[tuple[FailureKind, str], ...] = (
    (FailureKind.REGION, r"\bin (the )?(region )?[a-z]+(-[a-z]+)*-?\d+[a-z]?( region)?\b|\bregion\b"),
    (FailureKind.MODEL_LOADING, r"\b(is|still) (being )?load(ing|ed)\b|\bnot ready\b|\bwarming up\b|model_loading"),
    (FailureKind.CAPACITY, r"\bcapacity\b|\boverload|too many connections|\bno (free )?resources\b"),
)
"""What a 503 (or a Vertex 429) says of itself, most telling first."""

_DAILY = re.compile(r"per[_ ]day|daily|per[_ ]month|insufficient_quota|billing|exceeded your current quota", re.I)


def by_status(status: int, message: str, *, retry_after: timedelta | None = None) -> FailureKind:
    """The class of an HTTP status and the message that came with it."""
    if status == 429:
        waits_long = retry_after is not None and retry_after > HARD_QUOTA_WAIT
        return FailureKind.HARD_QUOTA if waits_long or is_hard_quota(message) else FailureKind.THROTTLED
    known = {
        401: FailureKind.AUTHENTICATION,
        402: FailureKind.HARD_QUOTA,
        403: FailureKind.PERMISSION,
        404: FailureKind.MODEL_UNAVAILABLE,
        408: FailureKind.TIMEOUT,
        504: FailureKind.TIMEOUT,
    }
    if status in known:
        return known[status]
    if status >= 500:
        return by_words(message) or FailureKind.SERVER_ERROR
    return FailureKind.BAD_REQUEST


def is_hard_quota(message: str) -> bool:
    """Whether a refusal is about a quota that no short wait refills."""
    return _DAILY.search(message) is not None


def by_words(message: str) -> FailureKind | None:
    """What the message gives away; None where it says nothing in particular."""
    return next((kind for kind, words in _WORDS if re.search(words, message, re.I)), None)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """The header's wait, in seconds or as a date; None without a sensible one."""
    lowered = {name.lower(): value for name, value in headers.items()}
    if (milliseconds := lowered.get("retry-after-ms", "")).replace(".", "", 1).isdigit():
        return timedelta(milliseconds=float(milliseconds))
    value = lowered.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdigit():
        return timedelta(seconds=float(value))
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(timedelta(0), moment - (now or datetime.now(UTC)))


def shorten(message: str) -> str:
    """One line of at most 200 characters, without anything that looks like a key."""
    plain = re.sub(r"(?i)(bearer\s+|sk-|key[=:]\s*|AKIA)[A-Za-z0-9._~+/=-]{6,}", r"\1…", " ".join(message.split()))
    return plain if len(plain) <= 200 else f"{plain[:199]}…"


def failure(
    kind: FailureKind, provider: str, detail: str, *, code: str | None = None, wait: timedelta | None = None
) -> Failure:
    return Failure(kind=kind, provider=provider, detail=shorten(detail), code=code, retry_after=wait)
