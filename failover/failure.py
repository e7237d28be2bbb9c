"""What can go wrong with one call to a provider, in words that every provider shares."""

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
