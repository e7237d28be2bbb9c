"""Refusals of OpenAI and of the servers that speak its protocol, as they come."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from failover.failure import FailureKind
from providers.http import classify_transport
from providers.openai import classify

K = FailureKind
RPM = (
    "Rate limit reached for gpt-4o in organization org-x on requests per min (RPM): Limit 3, Used 3, Requested 1. "
    "Please try again in 20s. You can increase your rate limit by adding a payment method to your account at "
    "https://platform.openai.com/account/billing."
)
RPD = "Rate limit reached for gpt-4o in organization org-x on requests per day (RPD): Limit 200, Used 200, Requested 1."
QUOTA = "You exceeded your current quota, please check your plan and billing details."


def error(message: str, code: Any = None, kind: str = "invalid_request_error") -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, error("Incorrect API key provided: sk-x.", "invalid_api_key"), K.AUTHENTICATION),
        (400, '[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}]', K.AUTHENTICATION),
        (400, json.dumps({"code": "x", "error": "Incorrect API key provided: xa***"}), K.AUTHENTICATION),
        (403, error("Country, region, or territory not supported", "unsupported_country_region"), K.PERMISSION),
        (403, error("Project does not have access to model `o1`", "model_not_found"), K.PERMISSION),
        (404, error("The model `gpt-9` does not exist", "model_not_found"), K.MODEL_UNAVAILABLE),
        (404, '{"object":"error","message":"The model `x` does not exist.","code":404}', K.MODEL_UNAVAILABLE),
        (404, error("The API deployment for this resource does not exist.", "DeploymentNotFound"), K.MODEL_UNAVAILABLE),
        (429, error(RPM, "rate_limit_exceeded", "requests"), K.THROTTLED),
        (429, error(RPD, "rate_limit_exceeded", "requests"), K.HARD_QUOTA),
        (429, error(QUOTA, "insufficient_quota", "insufficient_quota"), K.HARD_QUOTA),
        (429, error("Billing hard limit has been reached", "billing_hard_limit_reached"), K.HARD_QUOTA),
        (429, error("anything", None, "insufficient_quota"), K.HARD_QUOTA),
        (429, '{"error":"Model is overloaded","error_type":"overloaded"}', K.CAPACITY),
        (429, '{"message":"Service tier capacity exceeded for this model.","code":"3505"}', K.CAPACITY),
        (429, "", K.THROTTLED),
        (402, '{"error":{"code":402,"message":"Insufficient credits"}}', K.HARD_QUOTA),
        (400, error("This model's maximum context length is 8192 tokens.", "context_length_exceeded"), K.BAD_REQUEST),
        (422, '{"detail":[{"loc":["body"],"msg":"field required","input":{"content":"secret"}}]}', K.BAD_REQUEST),
        (500, error("The server had an error while processing your request.", None, "server_error"), K.SERVER_ERROR),
        (502, "<html>502 Bad Gateway</html>", K.SERVER_ERROR),
        (503, error("The engine is currently overloaded, please try again later"), K.CAPACITY),
        (503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', K.MODEL_LOADING),
        (503, '{"error":"Model x is currently loading","estimated_time":20.0}', K.MODEL_LOADING),
        (504, "upstream request timeout", K.TIMEOUT),
        (500, "[]", K.SERVER_ERROR),
        (500, '"text"', K.SERVER_ERROR),
        (500, "null", K.SERVER_ERROR),
        (500, '{"error":null}', K.SERVER_ERROR),
    ],
)
def test_a_refusal(status: int, body: str, kind: FailureKind) -> None:
    """By status, and by code and message where they say more; shape never matters."""
    failure = classify("x", status, {}, body)
    assert failure.kind is kind
    assert failure.provider == "x"
    assert "secret" not in failure.detail


def test_a_wait_of_a_day_is_a_quota() -> None:
    """Azure asks for it in the header."""
    body = error("Requests have exceeded the token rate limit of your pricing tier.", "429")
    failure = classify("x", 429, {"Retry-After": "86400"}, body)
    assert (failure.kind, failure.retry_after) == (K.HARD_QUOTA, timedelta(days=1))


def test_code_and_words_are_kept() -> None:
    """The vendor's own, for the report."""
    failure = classify("x", 404, {}, error("The model `gpt-9` does not exist", "model_not_found"))
    assert (failure.code, failure.detail) == ("model_not_found", "The model `gpt-9` does not exist")
    vllm = classify("x", 404, {}, '{"object":"error","message":"The model `x` does not exist.","code":404}')
    assert (vllm.code, vllm.detail) == ("404", "The model `x` does not exist.")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout(""), K.TIMEOUT),
        (httpx.ConnectTimeout(""), K.TIMEOUT),
        (httpx.PoolTimeout(""), K.TIMEOUT),
        (httpx.ConnectError("Connection refused"), K.NETWORK),
        (httpx.ReadError(""), K.NETWORK),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), K.NETWORK),
        (httpx.ConnectError("[Errno -2] Name or service not known"), K.NETWORK),
    ],
)
def test_what_breaks_below_http(error: httpx.HTTPError, kind: FailureKind) -> None:
    """A timeout is told from a network that does not carry; neither is without words."""
    failure = classify_transport("x", error)
    assert failure.kind is kind
    assert failure.detail
