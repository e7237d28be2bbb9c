"""What Bedrock says when it refuses: names and statuses as botocore models them, messages as operators report them."""

from dataclasses import dataclass, field

from simulator.faults import Fault, FaultKind
from simulator.provider import Ask


@dataclass(frozen=True, slots=True)
class BedrockError:
    status: int
    name: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


def error_for(fault: Fault, ask: Ask, *, has_service_quota_error: bool) -> BedrockError:
    """The error of a refused call.

    A used-up quota is ServiceQuotaExceededException where the operation has it (InvokeModel), elsewhere a
    ThrottlingException that only its message tells apart.
    """
    match fault.kind:
        case FaultKind.SERVER_ERROR if fault.status == 503:
            return BedrockError(503, "ServiceUnavailableException", "Bedrock is unable to process your request.")
        case FaultKind.THROTTLED:
            return _throttled(fault)
        case FaultKind.QUOTA if has_service_quota_error:
            message = "Your request exceeds the service quota for your account: model invocation max tokens per day."
            return BedrockError(400, "ServiceQuotaExceededException", message)
        case FaultKind.REGION_DOWN:
            message = f"The service is currently unavailable in the {ask.region} region."
            return BedrockError(503, "ServiceUnavailableException", message)
        case _:
            return _FIXED[fault.kind]


def without_credentials() -> BedrockError:
    return BedrockError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def not_served() -> BedrockError:
    return BedrockError(404, "UnknownOperationException", "The requested operation is not recognized by the service.")


def unknown_model() -> BedrockError:
    return BedrockError(400, "ValidationException", "The provided model identifier is invalid.")


def _throttled(fault: Fault) -> BedrockError:
    headers = {"Retry-After": f"{fault.retry_after.total_seconds():g}"} if fault.retry_after else {}
    message = "Too many requests, please wait before trying again."
    return BedrockError(429, "ThrottlingException", message, headers)


_FIXED = {
    FaultKind.SERVER_ERROR: BedrockError(
        500,
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    FaultKind.QUOTA: BedrockError(
        429, "ThrottlingException", "Too many tokens per day, please wait before trying again."
    ),
    FaultKind.AUTHENTICATION: BedrockError(
        403, "ExpiredTokenException", "The security token included in the request is expired"
    ),
    FaultKind.PERMISSION: BedrockError(
        403, "AccessDeniedException", "You don't have access to the model with the specified model ID."
    ),
    FaultKind.MODEL_NOT_READY: BedrockError(
        429, "ModelNotReadyException", "The model specified in the request is not ready to serve inference requests."
    ),
    FaultKind.MODEL_MISSING: BedrockError(
        404,
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
    ),
    FaultKind.CAPACITY: BedrockError(
        503, "ServiceUnavailableException", "Too many connections, please wait before trying again."
    ),
}
