"""Refusals of Bedrock: the error's code decides, never the status alone."""

from datetime import timedelta

import botocore.exceptions as aws
import pytest
import urllib3.exceptions
from botocore.eventstream import ChecksumMismatch

from failover.failure import FailureKind
from providers.bedrock import classify, classify_exception

K = FailureKind


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        ("ThrottlingException", 429, "Too many requests, please wait before trying again.", K.THROTTLED),
        ("ThrottlingException", 400, "Rate exceeded", K.THROTTLED),
        ("ThrottlingException", 429, "Too many tokens per day, please wait before trying again.", K.HARD_QUOTA),
        ("ThrottlingException", 429, "Too many tokens, please wait before trying again.", K.THROTTLED),
        ("TooManyRequestsException", 429, "", K.THROTTLED),
        ("throttlingException", 200, "Too many requests", K.THROTTLED),
        ("ServiceQuotaExceededException", 400, "Your request exceeds the service quota.", K.HARD_QUOTA),
        ("ModelNotReadyException", 429, "The model is not ready for inference.", K.MODEL_LOADING),
        ("ExpiredTokenException", 403, "The security token included in the request is expired", K.AUTHENTICATION),
        ("UnrecognizedClientException", 403, "The security token is invalid.", K.AUTHENTICATION),
        ("InvalidSignatureException", 403, "Signature expired: 20260101T000000Z", K.AUTHENTICATION),
        ("IncompleteSignatureException", 403, "", K.AUTHENTICATION),
        ("MissingAuthenticationTokenException", 403, "Missing Authentication Token", K.AUTHENTICATION),
        ("RequestTimeTooSkewed", 403, "", K.AUTHENTICATION),
        (
            "AccessDeniedException",
            403,
            "Authentication failed: Please make sure your API Key is valid.",
            K.AUTHENTICATION,
        ),
        ("AccessDeniedException", 403, "Bearer Token has expired", K.AUTHENTICATION),
        ("AccessDeniedException", 403, "You don't have access to the model with the specified model ID.", K.PERMISSION),
        ("AccessDeniedException", 403, "User: arn:aws:iam::1:user/x is not authorized to perform", K.PERMISSION),
        ("ResourceNotFoundException", 404, "Could not resolve the foundation model", K.MODEL_UNAVAILABLE),
        ("ResourceNotFoundException", 404, "This model version has reached the end of its life.", K.MODEL_UNAVAILABLE),
        ("ValidationException", 400, "The provided model identifier is invalid.", K.MODEL_UNAVAILABLE),
        ("ValidationException", 400, "Malformed input request", K.BAD_REQUEST),
        ("validationException", 200, "Malformed input request", K.BAD_REQUEST),
        ("ModelTimeoutException", 408, "", K.TIMEOUT),
        ("modelTimeoutException", 200, "", K.TIMEOUT),
        ("ModelErrorException", 424, "", K.SERVER_ERROR),
        ("modelStreamErrorException", 200, "", K.SERVER_ERROR),
        ("InternalServerException", 500, "", K.SERVER_ERROR),
        ("internalServerException", 200, "", K.SERVER_ERROR),
        ("InternalFailure", 500, "", K.SERVER_ERROR),
        ("ServiceUnavailableException", 503, "Bedrock is unable to process your request.", K.SERVER_ERROR),
        ("ServiceUnavailableException", 503, "Too many connections, please wait.", K.CAPACITY),
        ("ServiceUnavailableException", 503, "currently unavailable in the us-east-1 region.", K.REGION),
        ("serviceUnavailableException", 200, "", K.SERVER_ERROR),
        ("503", 503, "Service Unavailable", K.SERVER_ERROR),
        ("504", 504, "Gateway Timeout", K.TIMEOUT),
    ],
)
def test_a_refusal(code: str, status: int, message: str, kind: FailureKind) -> None:
    """As ClientError carries it; within a stream the status is 200 and the code begins in lower case."""
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    failure = classify_exception("aws", aws.ClientError(response, "Converse"))  # type: ignore[arg-type]
    assert failure.kind is kind
    assert failure.code == code


def test_an_event_within_a_stream_has_no_status() -> None:
    """EventStreamError carries the code alone."""
    response = {"Error": {"Code": "throttlingException", "Message": "Too many requests"}}
    assert classify_exception("aws", aws.EventStreamError(response, "ConverseStream")).kind is K.THROTTLED  # type: ignore[arg-type]


def test_the_wait_is_kept() -> None:
    """From the header."""
    failure = classify("aws", "ThrottlingException", 429, "Too many requests", {"retry-after": "3"})
    assert failure.retry_after == timedelta(seconds=3)


def test_a_throttling_that_asks_for_hours_is_a_quota() -> None:
    """Whatever its words."""
    failure = classify("aws", "ThrottlingException", 429, "Too many requests", {"retry-after": "7200"})
    assert failure.kind is K.HARD_QUOTA


URL = "https://bedrock-runtime.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), K.TIMEOUT),
        (aws.ReadTimeoutError(endpoint_url=URL), K.TIMEOUT),
        (aws.ConnectTimeoutError(endpoint_url=URL), K.TIMEOUT),
        (urllib3.exceptions.ReadTimeoutError(None, URL, "Read timed out."), K.TIMEOUT),  # type: ignore[arg-type]
        (aws.EndpointConnectionError(endpoint_url=URL, error="refused"), K.NETWORK),
        (aws.ConnectionClosedError(endpoint_url=URL), K.NETWORK),
        (aws.SSLError(endpoint_url=URL, error=OSError("bad certificate")), K.NETWORK),
        (aws.ProxyConnectionError(proxy_url="http://proxy"), K.NETWORK),
        (ConnectionResetError(), K.NETWORK),
        (aws.NoCredentialsError(), K.AUTHENTICATION),
        (aws.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), K.AUTHENTICATION),
        (aws.UnauthorizedSSOTokenError(), K.AUTHENTICATION),
        (aws.SSOTokenLoadError(error_msg="Token for https://x.awsapps.com/start does not exist"), K.AUTHENTICATION),
        (aws.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"), K.AUTHENTICATION),
        (aws.CredentialRetrievalError(provider="custom-process", error_msg="exit 1"), K.AUTHENTICATION),
        (aws.ProfileNotFound(profile="prod"), K.AUTHENTICATION),
        (aws.NoAuthTokenError(), K.AUTHENTICATION),
        (aws.ResponseStreamingError(error="IncompleteRead"), K.CUT_STREAM),
        (urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead"), K.CUT_STREAM),
        (aws.IncompleteReadError(actual_bytes=1, expected_bytes=2), K.CUT_STREAM),
        (aws.ParamValidationError(report="Invalid type, value: my private question"), K.BAD_REQUEST),
        (ChecksumMismatch(1, 2), K.INVALID_ANSWER),
        (aws.BotoCoreError(), K.INVALID_ANSWER),
        (KeyError("output"), K.INVALID_ANSWER),
    ],
)
def test_what_boto3_raises_of_itself(error: Exception, kind: FailureKind) -> None:
    """Below HTTP, before it (credentials, parameters) and after it (parsing); never with the prompt."""
    failure = classify_exception("aws", error)
    assert failure.kind is kind
    assert failure.detail
    assert "private" not in failure.detail
