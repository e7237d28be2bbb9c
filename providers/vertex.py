"""Google Vertex AI by google-cloud-aiplatform's PredictionServiceClient, over REST or gRPC."""

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import grpc
import requests.exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, RetryError, from_grpc_error
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.cloud import aiplatform_v1
from google.oauth2.credentials import Credentials
from google.protobuf import json_format

from failover.completion import Answer, Chunk, Completion, FinishReason, Role, ServiceStatus, Tool, ToolCall, Usage
from failover.credentials import Credentials as Told
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from providers.classification import by_status, by_words, failure, is_hard_quota, retry_after
from providers.http import cut, invalid
from providers.threads import Threads

_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""Channel options for a fast return: by default a refused channel stays deaf for up to two minutes."""

_FINISH_LENGTH = 2
_FINISH_STOP = 1


def classify(provider: str, code: int, message: str, details: str, headers: Mapping[str, str]) -> Failure:
    """Classify by HTTP code (gRPC's are mapped onto it): a 429 is a rate limit, a used-up quota, or shared capacity."""
    wait = retry_after(headers) or _retry_info(details)
    kind = by_status(code, message, retry_after=wait)
    if code == 429 and not is_hard_quota(f"{message} {details}") and "quota" not in message.lower():
        kind = FailureKind.CAPACITY
    if code == 429 and is_hard_quota(details):
        kind = FailureKind.HARD_QUOTA
    if code == 400 and "location" in message.lower() and "not supported" in message.lower():
        kind = FailureKind.REGION
    return failure(kind, provider, message, code=str(code), wait=wait)


def _retry_info(details: str) -> timedelta | None:
    """The wait that google.rpc.RetryInfo asks for, in JSON ("retryDelay": "12.5s") or as protobuf's text."""
    if told := re.search(r'"retryDelay": "([0-9]{1,9}(?:\.[0-9]+)?)s"', details):
        return timedelta(seconds=float(told[1]))
    if told := re.search(r"retry_delay\s*\{\s*(?:seconds: (\d{1,9})\s*)?(?:nanos: (\d{1,9})\s*)?\}", details):
        return timedelta(seconds=int(told[1] or 0), microseconds=int(told[2] or 0) // 1000)
    return None


def classify_exception(provider: str, error: BaseException) -> Failure:
    """Classify whatever the SDK raises: its classes differ by transport, their codes do not."""
    name, detail = type(error).__name__, str(error) or type(error).__name__
    if isinstance(error, GoogleAPICallError):
        return _of_call_error(provider, error)
    if isinstance(error, google.auth.exceptions.TransportError):
        return failure(FailureKind.NETWORK, provider, detail, code=name)
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        # A refused token is refreshed first, and the failure of that hides the 401.
        return failure(FailureKind.AUTHENTICATION, provider, detail, code=name)
    slow_read = isinstance(error, requests.exceptions.ConnectionError) and "timed out" in detail
    if slow_read or isinstance(error, TimeoutError | requests.exceptions.Timeout | RetryError):
        return failure(FailureKind.TIMEOUT, provider, detail, code=name)
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return failure(FailureKind.INVALID_ANSWER, provider, "an answer that is no JSON", code=name)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return failure(FailureKind.CUT_STREAM, provider, "the stream was cut in the middle", code=name)
    if isinstance(error, requests.exceptions.RequestException | OSError):
        return failure(FailureKind.NETWORK, provider, detail, code=name)
    return failure(FailureKind.INVALID_ANSWER, provider, "an answer that cannot be read", code=name)


_UNREACHED = re.compile(
    r"failed to connect|connection refused|connection reset|socket closed|dns resolution failed|broken pipe|goaway",
    re.I,
)
"""gRPC says a broken network with the code of an unavailable service."""


def _of_call_error(provider: str, error: GoogleAPICallError) -> Failure:
    code = int(error.code or 500)
    body = getattr(error.response, "text", "") or ""
    headers = getattr(error.response, "headers", {}) or {}
    message, details = str(error.message), " ".join(str(detail) for detail in error.details or [])
    try:
        told = json.loads(body)
        told = (told[0] if isinstance(told, list) else told)["error"]
        message, details = str(told.get("message", message)), json.dumps(told.get("details", []))
    except (ValueError, KeyError, TypeError, IndexError):
        pass  # gRPC has no body, and whatever else came, the code and the message stand.
    lowered = message.lower()
    if code == 503 and "getting metadata from plugin failed" in lowered:
        return failure(FailureKind.AUTHENTICATION, provider, message, code=str(code))  # the credentials' refresh
    if code == 503 and _UNREACHED.search(message):
        return failure(FailureKind.NETWORK, provider, message, code=str(code))
    if code == 500 and "deserializ" in lowered:
        return failure(FailureKind.INVALID_ANSWER, provider, "an answer that cannot be read", code=str(code))
    return classify(provider, code, message, details, headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexEndpoint:
    """Where and how Vertex is called. `url` None: Google's own, with application default credentials.

    `grpc_target` is host:port of a plaintext gRPC endpoint; `token` stands for credentials.
    """

    project: str
    region: str
    model: str
    transport: Literal["rest", "grpc"]
    url: str | None = None
    grpc_target: str | None = None
    token: str | None = None


class _GrpcCall:
    """A call that may be given up from another thread, even before it has begun."""

    def __init__(self) -> None:
        self._call: Any = None
        self._given_up = False
        self._lock = threading.Lock()

    def begun(self, call: Any) -> None:
        with self._lock:
            self._call = call
            given_up = self._given_up
        if given_up:
            call.cancel()

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            call = self._call
        if call is not None:
            call.cancel()


class VertexClient:
    """One Gemini model in one region. The SDK's client is made at the first call, where a missing credential is told."""

    def __init__(self, key: str, endpoint: VertexEndpoint) -> None:
        self.key = key
        self._endpoint = endpoint
        self._threads = Threads(f"vertex-{key}")
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        try:
            return await self._threads.call(lambda: self._generate(completion, timeout), timeout)
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(classify_exception(self.key, error)) from error

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        finished, call = False, _GrpcCall()
        pieces = self._threads.iterate(lambda: self._stream(completion, timeout, call), timeout)
        try:
            async with aclosing(pieces):
                async for chunk in pieces:
                    finished = finished or chunk.finish is not None
                    yield chunk
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(self._midway(error)) from error
        finally:
            call.give_up()
        if not finished:
            raise cut(self.key)

    def _midway(self, error: Exception) -> Failure:
        # The REST client parses a stream piece by piece, and says a broken one with a ValueError.
        if isinstance(error, ValueError) and not isinstance(error, requests.exceptions.RequestException):
            kind = by_words(str(error)) or FailureKind.INVALID_ANSWER
            return failure(kind, self.key, "a stream that cannot be read", code=type(error).__name__)
        return classify_exception(self.key, error)

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        began = datetime.now(UTC)
        try:
            await self._threads.call(lambda: self._publisher_model(timeout), timeout)
        except Exception as error:  # noqa: BLE001 (whatever it is, the control plane did not answer)
            told = classify_exception(self.key, error)
            missing = told.kind is FailureKind.MODEL_UNAVAILABLE
            latency = datetime.now(UTC) - began
            listed = False if missing else None
            return ServiceStatus(reachable=missing, model_listed=listed, detail=str(told), latency=latency)
        return ServiceStatus(reachable=True, model_listed=True, detail="answered", latency=datetime.now(UTC) - began)

    async def credentials(self, *, timeout: timedelta) -> Told:
        try:
            return await self._threads.call(self._credentials, timeout)
        except Exception as error:  # noqa: BLE001 (whatever it is, nothing can be told of them)
            return Told(kind="Google credentials", problem=str(classify_exception(self.key, error)))

    def _credentials(self) -> Told:
        if self._endpoint.token or self._endpoint.grpc_target:
            return Told(kind="a given token", lasting=True)
        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        # A login that was revoked, and a key that is no longer known, fail here.
        found.refresh(google.auth.transport.requests.Request())  # type: ignore[no-untyped-call]
        ends = found.expiry.replace(tzinfo=UTC) if found.expiry else None
        return Told(kind=f"Google credentials ({type(found).__name__})", expires_at=ends, renews=True)

    async def aclose(self) -> None:
        self._threads.close()
        for client in self._made.values():
            client.transport.close()

    def _client(self, kind: str) -> Any:
        with self._making:
            if kind not in self._made:
                self._made[kind] = self._make(kind)
            return self._made[kind]

    def _make(self, kind: str) -> Any:
        service: Any = {
            "prediction": aiplatform_v1.PredictionServiceClient,
            "garden": aiplatform_v1.ModelGardenServiceClient,
        }[kind]
        endpoint = self._endpoint
        url = endpoint.url or f"https://{endpoint.region}-aiplatform.googleapis.com"
        if endpoint.transport == "rest":
            credentials = Credentials(token=endpoint.token) if endpoint.token else None  # type: ignore[no-untyped-call]
            return service(credentials=credentials, transport="rest", client_options=ClientOptions(api_endpoint=url))
        transport = service.get_transport_class("grpc")
        if endpoint.grpc_target:
            channel = grpc.insecure_channel(endpoint.grpc_target, options=_CHANNEL)
        else:
            channel = transport.create_channel(url.removeprefix("https://"), options=_CHANNEL)
        return service(transport=transport(channel=channel))

    @property
    def _resource(self) -> str:
        where = f"projects/{self._endpoint.project}/locations/{self._endpoint.region}"
        return f"{where}/publishers/google/models/{self._endpoint.model}"

    def _publisher_model(self, timeout: timedelta) -> None:
        name = f"publishers/google/models/{self._endpoint.model}"
        self._client("garden").get_publisher_model(name=name, timeout=timeout.total_seconds())

    def _generate(self, completion: Completion, timeout: timedelta) -> Answer:
        request = self._request(completion)
        answer = self._client("prediction").generate_content(request, timeout=timeout.total_seconds(), retry=None)
        if answer is None or not answer.candidates:
            raise invalid(self.key, "an answer without candidates")
        candidate = answer.candidates[0]
        finish, usage = _finish(int(candidate.finish_reason)), _usage(answer)
        return Answer(text=_text(candidate), finish=finish, usage=usage, calls=_calls(candidate))

    def _stream(self, completion: Completion, timeout: timedelta, call: _GrpcCall) -> Iterator[Chunk]:
        request = self._request(completion)
        rest = self._endpoint.transport == "rest"
        finish: FinishReason | None = None
        usage = Usage()
        for answer in self._rest_answers(request, timeout) if rest else self._grpc_answers(request, call):
            for candidate in answer.candidates:
                if text := _text(candidate):
                    yield Chunk(text=text)
                if candidate.finish_reason:
                    finish, usage = _finish(int(candidate.finish_reason)), _usage(answer)
        if finish is not None:
            yield Chunk(finish=finish, usage=usage)

    def _rest_answers(self, request: Any, timeout: timedelta) -> Iterator[Any]:
        seconds = timeout.total_seconds()
        answers = self._client("prediction").stream_generate_content(request, timeout=seconds, retry=None)
        try:
            yield from answers
        finally:
            answers.cancel()

    def _grpc_answers(self, request: Any, call: _GrpcCall) -> Iterator[Any]:
        # The SDK's own method knows only a deadline of the whole stream, which would cut a long healthy answer, and
        # waits for the first piece before it hands out what can be cancelled.
        metadata = [to_grpc_metadata({"model": request.model})]  # type: ignore[no-untyped-call]
        answers = self._client("prediction").transport.stream_generate_content(request, metadata=metadata)
        call.begun(answers)
        try:
            yield from answers
        except grpc.RpcError as error:
            raise from_grpc_error(error) from error  # type: ignore[no-untyped-call]

    def _request(self, completion: Completion) -> Any:
        optional = {
            "max_output_tokens": completion.max_tokens,
            "temperature": completion.temperature,
            "top_p": completion.top_p,
            "stop_sequences": list(completion.stop) or None,
        }
        contents = [
            {"role": "model" if message.role is Role.ASSISTANT else "user", "parts": [{"text": message.text}]}
            for message in completion.messages
            if message.role is not Role.SYSTEM
        ]
        request: dict[str, Any] = {
            "model": self._resource,
            "contents": contents,
            "generation_config": {name: value for name, value in optional.items() if value is not None},
        }
        system = [{"text": message.text} for message in completion.messages if message.role is Role.SYSTEM]
        if system:
            request["system_instruction"] = {"parts": system}
        if completion.tools:
            request["tools"] = [{"function_declarations": [_declaration(tool) for tool in completion.tools]}]
        return aiplatform_v1.GenerateContentRequest(request)


def _text(candidate: Any) -> str:
    return "".join(part.text for part in candidate.content.parts)


def _calls(candidate: Any) -> list[ToolCall]:
    called = [part.function_call for part in candidate.content.parts if part.function_call]
    return [
        ToolCall(name=one.name, arguments=json_format.MessageToDict(type(one).pb(one)).get("args", {}))
        for one in called
    ]


def _declaration(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters_json_schema": dict(tool.parameters),
    }


def _finish(reason: int) -> FinishReason:
    if reason == _FINISH_LENGTH:
        return FinishReason.LENGTH
    return FinishReason.STOP if reason in (0, _FINISH_STOP) else FinishReason.CONTENT_FILTER


def _usage(answer: Any) -> Usage:
    used = answer.usage_metadata
    return Usage(input_tokens=used.prompt_token_count, output_tokens=used.candidates_token_count)
