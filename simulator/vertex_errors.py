"""What Vertex AI says when it refuses, in google.rpc.Status: the same for REST and gRPC."""

from dataclasses import dataclass
from typing import Any

from simulator.faults import Fault, FaultKind
from simulator.provider import Ask

SERVICE = "aiplatform.googleapis.com"
SIGN_IN = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
METHOD = "google.cloud.aiplatform.v1.PredictionService"


@dataclass(frozen=True, slots=True)
class VertexError:
    """`code` is the HTTP status, `status` the name of the gRPC code; `details` are protobuf messages as JSON."""

    code: int
    status: str
    message: str
    details: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def error_for(fault: Fault, ask: Ask) -> VertexError:
    """The error of a refused call."""
    match fault.kind:
        case FaultKind.SERVER_ERROR if fault.status == 503:
            return unavailable()
        case FaultKind.SERVER_ERROR:
            return VertexError(500, "INTERNAL", "Internal error encountered.")
        case FaultKind.THROTTLED:
            return _throttled(fault, ask)
        case FaultKind.QUOTA:
            return _quota(ask)
        case FaultKind.AUTHENTICATION:
            return _unauthenticated("ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials.")
        case FaultKind.PERMISSION:
            return _denied(ask)
        case FaultKind.MODEL_NOT_READY:
            return VertexError(503, "UNAVAILABLE", f"The model {ask.model} is loading. Please try again later.")
        case FaultKind.MODEL_MISSING:
            return missing(ask.resource)
        case FaultKind.REGION_DOWN:
            return VertexError(503, "UNAVAILABLE", f"The service is currently unavailable in region {ask.region}.")
        case _:
            return _no_capacity()


def unavailable() -> VertexError:
    return VertexError(503, "UNAVAILABLE", "The service is currently unavailable.")


def without_credentials() -> VertexError:
    return _unauthenticated("CREDENTIALS_MISSING", "Request is missing required authentication credential.")


def missing(resource: str) -> VertexError:
    message = (
        f"Publisher Model `{resource}` was not found or your project does not have access to it. "
        "Please ensure you are using a valid model version."
    )
    return VertexError(404, "NOT_FOUND", message)


def _throttled(fault: Fault, ask: Ask) -> VertexError:
    message = (
        f"Quota exceeded for {SERVICE}/generate_content_requests_per_minute_per_project_per_base_model "
        f"with base model: {ask.model}. Please submit a quota increase request. "
        "https://cloud.google.com/vertex-ai/docs/generative-ai/quotas-genai."
    )
    if fault.retry_after is None:
        return VertexError(429, "RESOURCE_EXHAUSTED", message)
    seconds = f"{fault.retry_after.total_seconds():g}s"
    return VertexError(429, "RESOURCE_EXHAUSTED", message, (_detail("RetryInfo", retryDelay=seconds),))


def _quota(ask: Ask) -> VertexError:
    metric = f"{SERVICE}/generate_content_requests_per_day_per_project_per_base_model"
    message = (
        f"Quota exceeded for {metric} with base model: {ask.model}. Please submit a quota increase request. "
        "https://cloud.google.com/vertex-ai/docs/generative-ai/quotas-genai."
    )
    violation = {
        "subject": "project:simulated",
        "description": f"Quota metric {metric}: limit 'GenerateContentRequestsPerDayPerProjectPerModel' is used up.",
    }
    return VertexError(429, "RESOURCE_EXHAUSTED", message, (_detail("QuotaFailure", violations=[violation]),))


def _no_capacity() -> VertexError:
    message = (
        "Resource exhausted. Please try again later. Please refer to "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
    )
    return VertexError(429, "RESOURCE_EXHAUSTED", message)


def _unauthenticated(reason: str, message: str) -> VertexError:
    metadata = {"service": SERVICE, "method": f"{METHOD}.GenerateContent"}
    info = _detail("ErrorInfo", reason=reason, domain="googleapis.com", metadata=metadata)
    return VertexError(401, "UNAUTHENTICATED", f"{message} {SIGN_IN}", (info,))


def _denied(ask: Ask) -> VertexError:
    permission, resource = "aiplatform.endpoints.predict", ask.resource
    info = _detail(
        "ErrorInfo",
        reason="IAM_PERMISSION_DENIED",
        domain=SERVICE,
        metadata={"permission": permission, "resource": resource},
    )
    message = f"Permission '{permission}' denied on resource '//{SERVICE}/{resource}' (or it may not exist)."
    return VertexError(403, "PERMISSION_DENIED", message, (info,))


def _detail(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{name}", **fields}
