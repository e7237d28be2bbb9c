"""Refusals of Vertex AI: the same over REST and gRPC, though the SDK's classes differ."""

import json
from datetime import timedelta
from typing import Any

import google.api_core.exceptions
import google.auth.exceptions
import pytest
import requests
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from failover.failure import FailureKind
from providers.vertex import classify, classify_exception

K = FailureKind
api: Any = google.api_core.exceptions  # its constructors have no types
auth: Any = google.auth.exceptions
PER_MINUTE = (
    "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model."
)
PER_DAY = "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_day_per_project_per_base_model."
EXHAUSTED = "Resource exhausted. Please try again later. Please refer to https://cloud.google.com/error-code-429"
VIOLATION = json.dumps(
    [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateContentRequestsPerDayPerProjectPerModel"}],
        }
    ]
)


@pytest.mark.parametrize(
    ("code", "message", "details", "kind"),
    [
        (429, PER_MINUTE, "", K.THROTTLED),
        (429, PER_DAY, "", K.HARD_QUOTA),
        (429, "Quota exceeded for quota metric 'Requests' and limit 'Requests per day'", "", K.HARD_QUOTA),
        (429, "Quota exceeded.", VIOLATION, K.HARD_QUOTA),
        (429, EXHAUSTED, "", K.CAPACITY),
        (429, "Resource has been exhausted (e.g. check quota).", "", K.THROTTLED),
        (401, "Request had invalid authentication credentials.", "", K.AUTHENTICATION),
        (403, "Permission 'aiplatform.endpoints.predict' denied on resource", "", K.PERMISSION),
        (403, "Vertex AI API has not been used in project 1 before or it is disabled.", "", K.PERMISSION),
        (403, "This API method requires billing to be enabled.", "", K.PERMISSION),
        (404, "Publisher Model `gemini-9` was not found", "", K.MODEL_UNAVAILABLE),
        (400, "User location is not supported for the API use.", "", K.REGION),
        (400, "Unable to submit request because it must have a contents field.", "", K.BAD_REQUEST),
        (499, "The operation was cancelled.", "", K.SERVER_ERROR),
        (500, "Internal error encountered.", "", K.SERVER_ERROR),
        (503, "The service is currently unavailable.", "", K.SERVER_ERROR),
        (503, "The model is overloaded. Please try again later.", "", K.CAPACITY),
        (503, "The model gemini is loading.", "", K.MODEL_LOADING),
        (503, "The service is currently unavailable in region us-central1.", "", K.REGION),
        (504, "Deadline expired before operation could complete.", "", K.TIMEOUT),
    ],
)
def test_a_refusal(code: int, message: str, details: str, kind: FailureKind) -> None:
    """By code; a 429 is three things, told apart by the quota that it names."""
    assert classify("gcp", code, message, details, {}).kind is kind


def rest(code: int, message: str, *, details: Any = (), wrapped: bool = False) -> Any:
    """As the REST client raises it; a stream's error comes in a list."""
    response = requests.Response()
    response.status_code = code
    body: Any = {"error": {"code": code, "message": message, "status": "X", "details": list(details)}}
    response._content = json.dumps([body] if wrapped else body).encode()
    return api.from_http_status(code, f"POST https://x: {message}", response=response)


DAILY = api.ResourceExhausted(PER_DAY)
RETRY_JSON = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
RETRY_PROTO = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=12, nanos=500_000_000))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (rest(429, PER_MINUTE), K.THROTTLED),
        (rest(429, PER_DAY, wrapped=True), K.HARD_QUOTA),
        (rest(403, "denied"), K.PERMISSION),
        (api.TooManyRequests(PER_MINUTE), K.THROTTLED),
        (DAILY, K.HARD_QUOTA),
        (api.Unauthenticated("bad token"), K.AUTHENTICATION),
        (api.Unauthorized("bad token"), K.AUTHENTICATION),
        (api.PermissionDenied("no"), K.PERMISSION),
        (api.NotFound("no"), K.MODEL_UNAVAILABLE),
        (api.InvalidArgument("no"), K.BAD_REQUEST),
        (api.FailedPrecondition("no"), K.BAD_REQUEST),
        (api.DeadlineExceeded("Deadline Exceeded"), K.TIMEOUT),
        (api.GatewayTimeout("no"), K.TIMEOUT),
        (api.Cancelled("no"), K.SERVER_ERROR),
        (api.Unknown("no"), K.SERVER_ERROR),
        (api.DataLoss("no"), K.SERVER_ERROR),
        (api.InternalServerError("no"), K.SERVER_ERROR),
        (api.InternalServerError("Exception deserializing response!"), K.INVALID_ANSWER),
        (api.ServiceUnavailable("The service is currently unavailable."), K.SERVER_ERROR),
        (api.ServiceUnavailable("failed to connect to all addresses; Connection refused"), K.NETWORK),
        (api.ServiceUnavailable("Socket closed"), K.NETWORK),
        (api.ServiceUnavailable("DNS resolution failed for us-central1-aiplatform.googleapis.com"), K.NETWORK),
        (api.ServiceUnavailable("recvmsg:Connection reset by peer"), K.NETWORK),
        (
            api.ServiceUnavailable("Getting metadata from plugin failed with error: Reauthentication is needed."),
            K.AUTHENTICATION,
        ),
        (auth.RefreshError("invalid_grant"), K.AUTHENTICATION),
        (auth.InvalidOperation("Anonymous credentials cannot be refreshed."), K.AUTHENTICATION),
        (auth.DefaultCredentialsError("Your default credentials were not found."), K.AUTHENTICATION),
        (auth.TransportError("no route to the token server"), K.NETWORK),
        (requests.exceptions.ReadTimeout(), K.TIMEOUT),
        (requests.exceptions.ConnectTimeout(), K.TIMEOUT),
        (TimeoutError(), K.TIMEOUT),
        (requests.exceptions.ConnectionError("refused"), K.NETWORK),
        (requests.exceptions.ConnectionError("HTTPSConnectionPool(host='x', port=443): Read timed out."), K.TIMEOUT),
        (requests.exceptions.ChunkedEncodingError(), K.CUT_STREAM),
        (requests.exceptions.JSONDecodeError("no", "{", 0), K.INVALID_ANSWER),
        (KeyError("x"), K.INVALID_ANSWER),
    ],
)
def test_what_the_sdk_raises(error: Exception, kind: FailureKind) -> None:
    """Of both transports, of the credentials and of the HTTP library below, which is not hidden."""
    failure = classify_exception("gcp", error)
    assert failure.kind is kind
    assert failure.detail


@pytest.mark.parametrize(
    "error",
    [
        rest(429, PER_MINUTE, details=[RETRY_JSON]),
        api.ResourceExhausted(PER_MINUTE, details=[RETRY_PROTO]),
    ],
)
def test_the_wait_is_read_from_both_transports(error: Exception) -> None:
    """RetryInfo comes as JSON and as a protobuf message."""
    failure = classify_exception("gcp", error)
    assert (failure.kind, failure.retry_after) == (K.THROTTLED, timedelta(seconds=12.5))
