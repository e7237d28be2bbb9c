"""Turn a vendor's refusal into a failure class, by what every vendor says in much the same words."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from failover.failure import Failure, FailureKind

HARD_QUOTA_WAIT = timedelta(hours=1)
"""The longest wait that may be asked for by a rate limit; more means a used-up quota."""

_WORDS: tuple[tuple[FailureKind, str], ...] = (
    (
        FailureKind.MODEL_LOADING,
        r"\b(is|still|currently) (being )?load(ing|ed)\b|^loading model\b|\bnot ready\b|\bwarming up\b|model_loading",
    ),
    (FailureKind.CAPACITY, r"\bcapacity\b|\boverload|too many connections|\bno (free )?resources\b"),
    (
        FailureKind.REGION,
        r"\bregion\b|\b(us|eu|ap|sa|ca|me|af|il|mx|cn)(-[a-z]+)+-\d\b"  # us-east-1, us-gov-west-1
        r"|\b(us|europe|asia|australia|africa|me|(north|south)america)-[a-z]+\d\b",  # europe-west4
    ),
)
"""What a 5xx says of itself, most telling first: a model that loads in a region is loading."""

# The word "billing" alone says nothing: OpenAI's messages about requests a minute link to the billing page.
_DAILY = re.compile(
    r"per[_ ]?day|daily|per[_ ]?month|insufficient_quota|billing (hard )?limit|billing_(hard_)?limit"
    r"|exceeded your current quota",
    re.I,
)
_OVERLOADED = re.compile(r"\boverload|\bcapacity\b", re.I)


def by_status(status: int, message: str, *, retry_after: timedelta | None = None) -> FailureKind:
    """The class of an HTTP status and the message that came with it."""
    if status == 429:
        waits_long = retry_after is not None and retry_after > HARD_QUOTA_WAIT
        if waits_long or is_hard_quota(message):
            return FailureKind.HARD_QUOTA
        return FailureKind.CAPACITY if _OVERLOADED.search(message) else FailureKind.THROTTLED
    known = {
        401: FailureKind.AUTHENTICATION,
        402: FailureKind.HARD_QUOTA,
        403: FailureKind.PERMISSION,
        404: FailureKind.MODEL_UNAVAILABLE,
        408: FailureKind.TIMEOUT,
        499: FailureKind.SERVER_ERROR,  # Google's CANCELLED: given up by the server, for we were still waiting
        504: FailureKind.TIMEOUT,
        524: FailureKind.TIMEOUT,
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
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    value = lowered.get("retry-after", "")
    try:
        if _NUMBER.fullmatch(milliseconds := lowered.get("retry-after-ms", "")):
            return timedelta(milliseconds=float(milliseconds))
        if _NUMBER.fullmatch(value):
            return timedelta(seconds=float(value))
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(timedelta(0), moment - (now or datetime.now(UTC)))


_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")


def read_error(body: str) -> dict[str, Any]:
    """The error's fields, `message` among them, from the shapes that HTTP APIs use; {} from any other.

    {"error": {…}}, the same in a list, {"error": "…"}, {"message": "…"}, {"detail": "…"} and FastAPI's
    {"detail": [{"msg": …, "input": what was sent}]}, of which only `msg` may be shown.
    """
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    told = told[0] if isinstance(told, list) and told else told
    if not isinstance(told, dict):
        return {}
    error = told.get("error") or told
    if not isinstance(error, dict):
        return {**told, "message": str(error)}
    message = error.get("message") or error.get("detail") or error.get("title")
    if isinstance(message, list):
        message = "; ".join(str(one.get("msg")) for one in message if isinstance(one, dict))
    return {**error, "message": message} if message else error


def shorten(message: str) -> str:
    """One line of at most 200 characters, without a key, and without the request that validators say back."""
    message = _ECHO.split(" ".join(message.split()), maxsplit=1)[0]
    plain = _SECRET.sub(r"\1…", message)
    return plain if len(plain) <= 200 else f"{plain[:199]}…"


_ECHO = re.compile(r"""["']input(_value)?["']?\s*[:=]|\binput_value=""")
_SECRET = re.compile(
    r"((?i:bearer\s+|\bsk-|key[=:]\s*)(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})|\bA[KS]IA(?=[A-Z0-9]{12}))[\w.~+/=-]{6,}"
)
"""What follows is a key where it holds a digit or is long; "API key: configure" is prose."""


def failure(
    kind: FailureKind, provider: str, detail: str, *, code: str | None = None, wait: timedelta | None = None
) -> Failure:
    return Failure(kind=kind, provider=provider, detail=shorten(detail), code=code, retry_after=wait)
