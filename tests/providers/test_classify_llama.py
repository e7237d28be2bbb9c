"""Refusals of Meta's API, whose error body is documented nowhere."""

from datetime import timedelta

import pytest

from failover.failure import FailureKind
from providers.llama import classify

K = FailureKind


@pytest.mark.parametrize(
    ("status", "body", "kind", "detail"),
    [
        (400, '{"title":"Bad Request","detail":"max_tokens is too large","status":400}', K.BAD_REQUEST, "max_tokens"),
        (401, '{"title":"Unauthorized","detail":"Invalid API key","status":401}', K.AUTHENTICATION, "Invalid API key"),
        (401, '{"error":{"message":"Bad token"}}', K.AUTHENTICATION, "Bad token"),
        (403, '{"detail":"no access"}', K.PERMISSION, "no access"),
        (404, '{"error":"model not found"}', K.MODEL_UNAVAILABLE, "model not found"),
        (429, '{"title":"Too Many Requests"}', K.THROTTLED, "Too Many Requests"),
        (429, '{"detail":"You have used your daily quota"}', K.HARD_QUOTA, "daily quota"),
        (429, '{"detail":"5000 tokens per day are used up"}', K.HARD_QUOTA, "per day"),
        (500, '{"title":"Internal Server Error"}', K.SERVER_ERROR, "Internal"),
        (503, '{"detail":"The model is loading"}', K.MODEL_LOADING, "loading"),
        (503, '{"detail":"The model is at capacity"}', K.CAPACITY, "capacity"),
        (503, '{"detail":"unavailable in region us-east-1"}', K.REGION, "us-east-1"),
        (503, "<html>Service Unavailable</html>", K.SERVER_ERROR, "Service Unavailable"),
        (504, "", K.TIMEOUT, "504"),
        (500, "[1]", K.SERVER_ERROR, "1"),
        (500, "null", K.SERVER_ERROR, ""),
        (422, '{"detail":[{"msg":"field required","loc":["messages"],"input":"secret"}]}', K.BAD_REQUEST, "required"),
    ],
)
def test_a_refusal(status: int, body: str, kind: FailureKind, detail: str) -> None:
    """By status and by words, in whatever shape they come; the code is the status."""
    failure = classify("meta", status, {}, body)
    assert failure.kind is kind
    assert detail in failure.detail
    assert "secret" not in failure.detail
    assert failure.code == str(status)


@pytest.mark.parametrize(("seconds", "kind"), [("12", K.THROTTLED), ("7200", K.HARD_QUOTA)])
def test_the_wait_is_kept(seconds: str, kind: FailureKind) -> None:
    """And a long one is a quota."""
    failure = classify("meta", 429, {"retry-after": seconds}, "{}")
    assert (failure.kind, failure.retry_after) == (kind, timedelta(seconds=int(seconds)))
