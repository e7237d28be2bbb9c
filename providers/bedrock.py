"""AWS Bedrock by boto3: Converse, or InvokeModel where a model needs it (Anthropic's messages body)."""

import json
import math
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import boto3
import botocore.exceptions as boto
import urllib3.exceptions
from botocore.config import Config as BotoConfig

from failover.completion import Answer, Chunk, Completion, FinishReason, Role, ServiceStatus, Tool, ToolCall, Usage
from failover.credentials import Credentials
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from providers.classification import by_status, by_words, failure, retry_after
from providers.http import cut, invalid
from providers.threads import MOST, Threads

CONNECT_TIMEOUT = 5

_BY_CODE = {
    "ModelNotReadyException": FailureKind.MODEL_LOADING,
    "ServiceQuotaExceededException": FailureKind.HARD_QUOTA,
    "ExpiredTokenException": FailureKind.AUTHENTICATION,
    "ExpiredToken": FailureKind.AUTHENTICATION,
    "UnrecognizedClientException": FailureKind.AUTHENTICATION,
    "InvalidClientTokenId": FailureKind.AUTHENTICATION,
    "InvalidSignatureException": FailureKind.AUTHENTICATION,
    "SignatureDoesNotMatch": FailureKind.AUTHENTICATION,
    "MissingAuthenticationTokenException": FailureKind.AUTHENTICATION,
    "IncompleteSignatureException": FailureKind.AUTHENTICATION,
    "RequestTimeTooSkewed": FailureKind.AUTHENTICATION,
    "AccessDeniedException": FailureKind.PERMISSION,
    "ResourceNotFoundException": FailureKind.MODEL_UNAVAILABLE,
    "ModelTimeoutException": FailureKind.TIMEOUT,
    "ModelErrorException": FailureKind.SERVER_ERROR,
    "ModelStreamErrorException": FailureKind.SERVER_ERROR,
    "InternalServerException": FailureKind.SERVER_ERROR,
}

_GIVEN_BY_PEOPLE = frozenset({"env", "shared-credentials-file", "config-file", "sso", "login"})
"""Ways in which boto3 finds temporary credentials that end unless a person puts new ones there, or logs in again."""

_BAD_KEY = re.compile(r"authentication failed|bearer token|api key", re.I)
"""A refused Bedrock API key comes as AccessDeniedException too."""

_OF_BOTO3: tuple[tuple[tuple[type[Exception], ...], FailureKind, str | None], ...] = (
    (
        (TimeoutError, boto.ReadTimeoutError, boto.ConnectTimeoutError, urllib3.exceptions.TimeoutError),
        FailureKind.TIMEOUT,
        None,
    ),
    (
        (boto.NoCredentialsError, boto.PartialCredentialsError),
        FailureKind.AUTHENTICATION,
        "no AWS credentials were found",
    ),
    (
        (
            boto.SSOError,
            boto.TokenRetrievalError,
            boto.CredentialRetrievalError,
            boto.ProfileNotFound,
            boto.NoAuthTokenError,
            boto.LoginError,
        ),
        FailureKind.AUTHENTICATION,
        None,
    ),
    (
        (boto.ResponseStreamingError, boto.IncompleteReadError, urllib3.exceptions.ProtocolError),
        FailureKind.CUT_STREAM,
        "the answer was cut in the middle",
    ),
    # Its words hold the values that were sent, the prompt among them.
    ((boto.ParamValidationError,), FailureKind.BAD_REQUEST, "boto3 refuses the request's parameters"),
    ((boto.ConnectionError, boto.HTTPClientError, OSError, urllib3.exceptions.HTTPError), FailureKind.NETWORK, None),
)
"""What boto3 raises below HTTP, before it and after it; detail None: its own words. The first that fits."""

_FINISH = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
}


def classify(provider: str, code: str, status: int, message: str, headers: Mapping[str, str]) -> Failure:
    """Classify by the error's code, not the status: a 429 is a throttled call, a used-up quota or a model not ready."""
    wait = retry_after(headers)
    # Codes of events within a stream begin in lower case.
    known = _BY_CODE.get(code) or _BY_CODE.get(code[:1].upper() + code[1:])
    if known is None and code.lower().startswith("throttling"):
        known = by_status(429, message, retry_after=wait)
    if known is None and code.lower().startswith("serviceunavailable"):
        known = by_words(message) or FailureKind.SERVER_ERROR
    if known is FailureKind.PERMISSION and _BAD_KEY.search(message):
        known = FailureKind.AUTHENTICATION
    if known is None and "provided model identifier is invalid" in message:
        known = FailureKind.MODEL_UNAVAILABLE
    kind = known or by_status(status, message, retry_after=wait)
    return failure(kind, provider, message, code=code, wait=wait)


def classify_exception(provider: str, error: Exception) -> Failure:
    """Classify whatever boto3 raises."""
    detail, name = str(error) or type(error).__name__, type(error).__name__
    if isinstance(error, boto.EventStreamError | boto.ClientError):
        answer: Any = error.response
        told, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
        headers = meta.get("HTTPHeaders", {})
        status = int(meta.get("HTTPStatusCode", 500))
        return classify(provider, str(told.get("Code", "")), max(status, 400), str(told.get("Message", "")), headers)
    for classes, kind, words in _OF_BOTO3:
        if isinstance(error, classes):
            return failure(kind, provider, words or detail, code=name)
    return failure(FailureKind.INVALID_ANSWER, provider, "an answer that cannot be read", code=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockEndpoint:
    """Where and how Bedrock is called. `url` and `credentials` (id, secret) None: AWS's own and the standard chain."""

    region: str
    model: str
    api: Literal["converse", "invoke"]
    url: str | None = None
    credentials: tuple[str, str] | None = None


class BedrockClient:
    """One model in one region. A boto3 client has one read timeout, so there are a few of them."""

    def __init__(self, key: str, endpoint: BedrockEndpoint) -> None:
        self.key = key
        self._endpoint = endpoint
        self._threads = Threads(f"bedrock-{key}")
        self._clients: dict[tuple[str, int], Any] = {}
        self._making = threading.Lock()
        self._session: Any = None

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        whole = self._converse if self._endpoint.api == "converse" else self._invoke_model
        try:
            return await self._threads.call(lambda: whole(completion, timeout), timeout)
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(classify_exception(self.key, error)) from error

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        begin = self._converse_stream if self._endpoint.api == "converse" else self._invoke_model_stream
        pieces = self._threads.iterate(lambda: begin(completion, timeout), timeout)
        finished = False
        try:
            async with aclosing(pieces):
                async for chunk in pieces:
                    finished = finished or chunk.finish is not None
                    yield chunk
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(classify_exception(self.key, error)) from error
        if not finished:
            raise cut(self.key)

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        began = datetime.now(UTC)
        try:
            listed = await self._threads.call(lambda: self._models(timeout), timeout)
        except Exception as error:  # noqa: BLE001 (whatever it is, the control plane did not answer)
            detail = str(classify_exception(self.key, error))
            return ServiceStatus(reachable=False, model_listed=None, detail=detail, latency=datetime.now(UTC) - began)
        return ServiceStatus(
            reachable=True,
            model_listed=self._endpoint.model in listed,
            detail="answered",
            latency=datetime.now(UTC) - began,
        )

    async def credentials(self, *, timeout: timedelta) -> Credentials:
        try:
            return await self._threads.call(self._credentials, timeout)
        except Exception as error:  # noqa: BLE001 (whatever it is, nothing can be told of them)
            return Credentials(kind="AWS credentials", problem=str(classify_exception(self.key, error)))

    def _credentials(self) -> Credentials:
        if self._endpoint.credentials is not None:
            return Credentials(kind="given AWS keys", lasting=True)
        session: Any = self._session or boto3.Session(region_name=self._endpoint.region)
        token = session._session.get_auth_token(signing_name="bedrock")
        if token is not None:
            return Credentials(kind="the Bedrock API key", expires_at=getattr(token, "expiration", None))
        found = session.get_credentials()
        if found is None:
            return Credentials(kind="AWS credentials", problem="no AWS credentials were found")
        # Those that can be renewed are, here; what cannot be renewed any more raises.
        frozen = found.get_frozen_credentials()
        ends = getattr(found, "_expiry_time", None)
        kind = f"AWS credentials ({found.method})"
        if ends is not None:
            return Credentials(kind=kind, expires_at=ends, renews=found.method not in _GIVEN_BY_PEOPLE)
        return Credentials(kind=kind, lasting=not frozen.token)

    async def aclose(self) -> None:
        self._threads.close()
        for client in self._clients.values():
            client.close()

    def _client(self, service: str, timeout: timedelta) -> Any:
        # In powers of two, so that the few clients are made once; `Threads` ends each call exactly in time.
        seconds = 2 ** max(0, math.ceil(math.log2(max(timeout.total_seconds(), 1))))
        with self._making:
            if (service, seconds) not in self._clients:
                self._clients[service, seconds] = self._make_client(service, seconds)
            return self._clients[service, seconds]

    def _make_client(self, service: str, seconds: int) -> Any:
        options: dict[str, Any] = {}
        if self._endpoint.credentials is not None:
            options = dict(zip(("aws_access_key_id", "aws_secret_access_key"), self._endpoint.credentials, strict=True))
        signed: dict[str, Any] = {"signature_version": "v4"} if self._endpoint.credentials else {}
        config = BotoConfig(
            connect_timeout=min(CONNECT_TIMEOUT, seconds),
            read_timeout=seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=MOST,
            **signed,
        )
        # One session: the service's model, which takes a tenth of a second to read, is read once.
        self._session = self._session or boto3.Session(region_name=self._endpoint.region)
        make = self._session.client
        return make(service, endpoint_url=self._endpoint.url, config=config, **options)

    def _models(self, timeout: timedelta) -> list[str]:
        answer = self._client("bedrock", timeout).list_foundation_models()
        return [summary["modelId"] for summary in answer["modelSummaries"]]

    def _converse(self, completion: Completion, timeout: timedelta) -> Answer:
        answer = self._client("bedrock-runtime", timeout).converse(**self._conversation(completion))
        try:
            content = answer["output"]["message"]["content"]
            text = "".join(part.get("text", "") for part in content)
            used = [part["toolUse"] for part in content if "toolUse" in part]
            calls = [ToolCall(name=one["name"], arguments=one["input"]) for one in used]
            finish, usage = _finish(answer.get("stopReason")), _usage(answer.get("usage"))
            return Answer(text=text, finish=finish, usage=usage, calls=calls)
        except (KeyError, TypeError, AttributeError) as error:
            raise invalid(self.key, "an answer without output") from error

    def _converse_stream(self, completion: Completion, timeout: timedelta) -> Iterator[Chunk]:
        answer = self._client("bedrock-runtime", timeout).converse_stream(**self._conversation(completion))
        finish: FinishReason | None = None
        usage = Usage()
        with closing(answer["stream"]) as events:
            for event in events:
                if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                    yield Chunk(text=text)
                if "messageStop" in event:
                    finish = _finish(event["messageStop"].get("stopReason"))
                if "metadata" in event:
                    usage = _usage(event["metadata"].get("usage"))
        if finish is not None:
            yield Chunk(finish=finish, usage=usage)

    def _conversation(self, completion: Completion) -> dict[str, Any]:
        inference = {
            "maxTokens": completion.max_tokens,
            "temperature": completion.temperature,
            "topP": completion.top_p,
            "stopSequences": list(completion.stop) or None,
        }
        system = [{"text": message.text} for message in completion.messages if message.role is Role.SYSTEM]
        return {
            "modelId": self._endpoint.model,
            "messages": [
                {"role": message.role.value, "content": [{"text": message.text}]}
                for message in completion.messages
                if message.role is not Role.SYSTEM
            ],
            **({"system": system} if system else {}),
            **({"toolConfig": {"tools": [_tool(tool) for tool in completion.tools]}} if completion.tools else {}),
            "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
        }

    def _invoke_model(self, completion: Completion, timeout: timedelta) -> Answer:
        answer = self._client("bedrock-runtime", timeout).invoke_model(**self._invocation(completion))
        try:
            body = json.loads(answer["body"].read())
            text = "".join(part.get("text", "") for part in body["content"])
            used = [part for part in body["content"] if part.get("type") == "tool_use"]
            calls = [ToolCall(name=one["name"], arguments=one["input"]) for one in used]
            finish, usage = _finish(body.get("stop_reason")), _anthropic_usage(body.get("usage"))
            return Answer(text=text, finish=finish, usage=usage, calls=calls)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise invalid(self.key, "an answer without content") from error

    def _invoke_model_stream(self, completion: Completion, timeout: timedelta) -> Iterator[Chunk]:
        client = self._client("bedrock-runtime", timeout)
        answer = client.invoke_model_with_response_stream(**self._invocation(completion))
        finish: FinishReason | None = None
        given, taken = 0, 0
        stopped = False
        with closing(answer["body"]) as events:
            for event in events:
                body = self._anthropic_event(event)
                given = (body.get("message", {}).get("usage") or {}).get("input_tokens", given)
                if text := body.get("delta", {}).get("text"):
                    yield Chunk(text=text)
                if reason := body.get("delta", {}).get("stop_reason"):
                    finish = _finish(reason)
                    taken = (body.get("usage") or {}).get("output_tokens", taken)
                stopped = stopped or body.get("type") == "message_stop"
        if stopped:
            yield Chunk(finish=finish or FinishReason.STOP, usage=Usage(input_tokens=given, output_tokens=taken))

    def _anthropic_event(self, event: Any) -> dict[str, Any]:
        try:
            body = json.loads(event["chunk"]["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise invalid(self.key, "an event that cannot be read") from error
        return body if isinstance(body, dict) else {}

    def _invocation(self, completion: Completion) -> dict[str, Any]:
        optional = {
            "temperature": completion.temperature,
            "top_p": completion.top_p,
            "stop_sequences": list(completion.stop) or None,
            "system": "\n".join(m.text for m in completion.messages if m.role is Role.SYSTEM) or None,
            "tools": [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in completion.tools
            ]
            or None,
        }
        body = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": completion.max_tokens or 4096,
            "messages": [
                {"role": message.role.value, "content": message.text}
                for message in completion.messages
                if message.role is not Role.SYSTEM
            ],
            **{name: value for name, value in optional.items() if value is not None},
        }
        json_type = "application/json"
        return {
            "modelId": self._endpoint.model,
            "contentType": json_type,
            "accept": json_type,
            "body": json.dumps(body),
        }


def _tool(tool: Tool) -> dict[str, Any]:
    schema = {"json": dict(tool.parameters)}
    return {"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": schema}}


def _finish(reason: Any) -> FinishReason:
    return _FINISH.get(str(reason), FinishReason.STOP)


def _usage(usage: Any) -> Usage:
    usage = usage or {}
    return Usage(input_tokens=int(usage.get("inputTokens", 0)), output_tokens=int(usage.get("outputTokens", 0)))


def _anthropic_usage(usage: Any) -> Usage:
    usage = usage or {}
    return Usage(input_tokens=int(usage.get("input_tokens", 0)), output_tokens=int(usage.get("output_tokens", 0)))
