"""What the providers that speak JSON over HTTP have in common: one attempt, bounded, with every failure classified."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from failover.completion import Completion, ServiceStatus, ToolCall
from failover.credentials import Credentials
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from providers.classification import failure

Classify = Callable[[str, int, Mapping[str, str], str], Failure]
"""(provider, status, headers, body) → the failure."""


class JsonApi:
    """One provider's HTTP API. `key` None: the credential is missing, which is said when it would be needed."""

    def __init__(self, provider: str, base_url: str, key: str | None, key_env: str | None, classify: Classify) -> None:
        self.provider = provider
        self._key = key
        self._key_env = key_env
        self._classify = classify
        self._base_url = base_url.rstrip("/")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self._http = httpx.AsyncClient(limits=limits)

    async def post(self, path: str, body: Mapping[str, Any], timeout: timedelta) -> Any:
        """The answer's JSON; ProviderError for everything else."""
        seconds = timeout.total_seconds()
        try:
            # httpx bounds each read, so that an answer that drips would never end.
            async with asyncio.timeout(seconds):
                response = await self._http.post(
                    f"{self._base_url}{path}", json=body, headers=self._headers(), timeout=seconds
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._broken(error) from error
        self._check(response, response.text)
        return self._json(response.text)

    async def events(self, path: str, body: Mapping[str, Any], timeout: timedelta) -> AsyncGenerator[str, None]:
        """The data of each server-sent event. Comments that keep the connection alive are no events."""
        try:
            async with AsyncExitStack() as opened:
                async with asyncio.timeout(timeout.total_seconds()):
                    response = await opened.enter_async_context(self._stream(path, body, timeout))
                    lines = response.aiter_lines()
                    data = await _next_data(lines)
                if data is None:
                    raise invalid(self.provider, "a stream without events")
                while data is not None:
                    yield data
                    async with asyncio.timeout(timeout.total_seconds()):
                        data = await _next_data(lines)
        except httpx.RemoteProtocolError as error:
            detail = "the stream was cut in the middle"
            raise ProviderError(failure(FailureKind.CUT_STREAM, self.provider, detail)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._broken(error) from error

    @asynccontextmanager
    async def _stream(self, path: str, body: Mapping[str, Any], timeout: timedelta) -> AsyncIterator[httpx.Response]:
        seconds = timeout.total_seconds()
        url = f"{self._base_url}{path}"
        async with self._http.stream("POST", url, json=body, headers=self._headers(), timeout=seconds) as response:
            if response.is_error:
                await response.aread()
                self._check(response, response.text)
            yield response

    async def models(self, model: str, timeout: timedelta) -> ServiceStatus:
        """What GET /models says. Never raises for what the provider does."""
        began = datetime.now(UTC)
        seconds = timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.get(f"{self._base_url}/models", headers=self._headers(), timeout=seconds)
            self._check(response, response.text)
            listed = [entry.get("id") for entry in self._json(response.text)["data"]]
        except (ProviderError, httpx.HTTPError, TimeoutError, KeyError, TypeError, AttributeError) as error:
            detail = str(error) or type(error).__name__
            return ServiceStatus(reachable=False, model_listed=None, detail=detail, latency=datetime.now(UTC) - began)
        return ServiceStatus(
            reachable=True, model_listed=model in listed, detail="answered", latency=datetime.now(UTC) - began
        )

    def credentials(self) -> Credentials:
        """The kind of the key, and what is wrong with it; nobody can ask a key when it ends."""
        where = f"the API key in {self._key_env}" if self._key_env else "the API key"
        problem = "" if self._key else f"{where} is not there: set {self._key_env or 'api_key_env'}"
        return Credentials(kind=where, problem=problem)

    def _headers(self) -> dict[str, str]:
        if self._key is None:
            said = f"no API key: set {self._key_env}" if self._key_env else "no API key: configure api_key_env"
            raise ProviderError(failure(FailureKind.AUTHENTICATION, self.provider, said))
        return {"Authorization": f"Bearer {self._key}"}

    def _check(self, response: httpx.Response, body: str) -> None:
        if response.is_error:
            raise ProviderError(self._classify(self.provider, response.status_code, response.headers, body))

    def _json(self, text: str) -> Any:
        return parse(self.provider, text)

    def _broken(self, error: httpx.HTTPError | TimeoutError) -> ProviderError:
        return ProviderError(classify_transport(self.provider, error))

    async def aclose(self) -> None:
        await self._http.aclose()


def parse(provider: str, text: str) -> Any:
    """Parse JSON, or raise ProviderError (INVALID_ANSWER)."""
    try:
        return json.loads(text)
    except ValueError as error:
        detail = "an answer that is no JSON"
        raise ProviderError(failure(FailureKind.INVALID_ANSWER, provider, detail)) from error


async def _next_data(lines: AsyncIterator[str]) -> str | None:
    """The data of the next event; None at the stream's end."""
    async for line in lines:
        if line.startswith("data:"):
            return line[5:].strip()
    return None


def classify_transport(provider: str, error: httpx.HTTPError | TimeoutError) -> Failure:
    """A failure below HTTP: a timeout, or the network."""
    detail = str(error) or type(error).__name__
    kind = FailureKind.TIMEOUT if isinstance(error, httpx.TimeoutException | TimeoutError) else FailureKind.NETWORK
    return failure(kind, provider, detail, code=type(error).__name__)


def invalid(provider: str, detail: str) -> ProviderError:
    """An answer that has not the shape that it must have."""
    return ProviderError(failure(FailureKind.INVALID_ANSWER, provider, detail))


def cut(provider: str) -> ProviderError:
    """A stream that ended without its end marker."""
    return ProviderError(failure(FailureKind.CUT_STREAM, provider, "the stream ended without its end marker"))


def chat_body(model: str, completion: Completion, *, tokens: str) -> dict[str, Any]:
    """A completion as OpenAI's and Meta's APIs take it; `tokens` is their name for the limit."""
    optional = {
        tokens: completion.max_tokens,
        "temperature": completion.temperature,
        "top_p": completion.top_p,
        "stop": list(completion.stop) or None,
    }
    tools = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in completion.tools
    ]
    return {
        "model": model,
        **({"tools": tools} if tools else {}),
        "messages": [{"role": message.role.value, "content": message.text} for message in completion.messages],
        **{name: value for name, value in optional.items() if value is not None},
    }


def tool_calls(provider: str, message: Mapping[str, Any]) -> list[ToolCall]:
    """The calls in a message of OpenAI's or Meta's shape; ProviderError where their arguments cannot be read."""
    try:
        functions = [call["function"] for call in message.get("tool_calls") or []]
        return [ToolCall(name=str(one["name"]), arguments=dict(parse(provider, one["arguments"]))) for one in functions]
    except (KeyError, TypeError, ValueError) as error:
        raise invalid(provider, "a call of a tool that cannot be read") from error
