"""What can go wrong with one call to a provider, in words that every provider shares."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class FailureKind(StrEnum):
    """The classes that a failed call falls into; each provider client maps its vendor's errors onto them."""

    THROTTLED = "throttled"
    HARD_QUOTA = "hard_quota"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_LOADING = "model_loading"
    REGION = "region"
    CAPACITY = "capacity"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    NETWORK = "network"
    CUT_STREAM = "cut_stream"
    BAD_REQUEST = "bad_request"
    INVALID_ANSWER = "invalid_answer"


UNAVAILABLE_KINDS = frozenset(
    {
        FailureKind.MODEL_UNAVAILABLE,
        FailureKind.MODEL_LOADING,
        FailureKind.REGION,
        FailureKind.CAPACITY,
        FailureKind.TIMEOUT,
        FailureKind.SERVER_ERROR,
        FailureKind.NETWORK,
        FailureKind.CUT_STREAM,
    }
)
"""The provider does not serve now; it may come back by itself."""

UNUSABLE_KINDS = frozenset({FailureKind.AUTHENTICATION, FailureKind.PERMISSION, FailureKind.HARD_QUOTA})
"""The provider refuses us; it will not heal by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One classified failure.

    `detail` is the vendor's own words, shortened and free of prompts and credentials; `code` the vendor's error code or
    HTTP status as text ("ThrottlingException", "503"); `retry_after` as the provider asked for it.
    """

    kind: FailureKind
    provider: str
    detail: str
    code: str | None = None
    retry_after: timedelta | None = None

    def __str__(self) -> str:
        code = f" ({self.code})" if self.code else ""
        return f"{self.provider}: {self.kind.value.replace('_', ' ')}{code}: {self.detail}"


_BY_STATUS = {
    401: FailureKind.AUTHENTICATION,
    403: FailureKind.PERMISSION,
    404: FailureKind.MODEL_UNAVAILABLE,
    408: FailureKind.TIMEOUT,
    429: FailureKind.THROTTLED,
    504: FailureKind.TIMEOUT,
}

_BY_WORDS = (
    (r"throttl|rate.?limit|too.?many|resource.?exhausted", FailureKind.THROTTLED),
    (r"quota", FailureKind.HARD_QUOTA),
    (r"time.?out|deadline", FailureKind.TIMEOUT),
    (r"permission|forbidden|access.?denied", FailureKind.PERMISSION),
    (r"authent|unauthor|credential|api.?key", FailureKind.AUTHENTICATION),
    (r"not.?ready|loading", FailureKind.MODEL_LOADING),
    (r"not.?found", FailureKind.MODEL_UNAVAILABLE),
    (r"connect|network|dns|socket", FailureKind.NETWORK),
    (r"capacity|overload", FailureKind.CAPACITY),
    (r"unavailable|internal|server.?error|bad.?gateway", FailureKind.SERVER_ERROR),
    (
        r"bad.?request|validation|invalid|content.?(policy|filter)|context.?window|unprocessable",
        FailureKind.BAD_REQUEST,
    ),
)


def failure_of(label: str) -> FailureKind | None:
    """The class of a failure by what somebody's metrics call it: our own word, an HTTP status or an exception's name.

    None where it says nothing that we know ("_OTHER"): such a failure condemns nobody.
    """
    text = label.strip()
    if text in FailureKind.__members__.values():
        return FailureKind(text)
    if re.fullmatch(r"[45]\d\d", text):
        status = int(text)
        return _BY_STATUS.get(status, FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REQUEST)
    words = text.casefold()
    return next((kind for pattern, kind in _BY_WORDS if re.search(pattern, words)), None)
