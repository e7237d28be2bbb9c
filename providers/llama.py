"""Meta's Llama API, over httpx, in its own shapes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from failover.completion import Answer, Chunk, Completion, FinishReason, ServiceStatus, Usage
from failover.credentials import Credentials
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from providers.classification import by_status, by_words, failure, read_error, retry_after
from providers.http import JsonApi, chat_body, cut, invalid, parse, tool_calls

BASE_URL = "https://api.llama.com/v1"


def classify(provider: str, status: int, headers: Mapping[str, str], body: str) -> Failure:
    """Classify by status: Meta documents no error body, so what it says is read as words only."""
    wait = retry_after(headers)
    message = str(read_error(body).get("message") or body or f"HTTP {status}")
    return failure(by_status(status, message, retry_after=wait), provider, message, code=str(status), wait=wait)


class LlamaClient:
    """One model of Meta's API."""

    def __init__(self, key: str, model: str, api: JsonApi) -> None:
        self.key = key
        self._model = model
        self._api = api

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        answer = await self._api.post("/chat/completions", self._body(completion), timeout)
        try:
            message = answer["completion_message"]
            content = message.get("content", "" if message.get("tool_calls") else None)
            text = content["text"] if isinstance(content, dict) else content
            if not isinstance(text, str):
                raise TypeError
            calls = tool_calls(self.key, message)
            finish, usage = _finish(message.get("stop_reason")), _usage(answer.get("metrics"))
            return Answer(text=text, finish=finish, usage=usage, calls=calls)
        except (KeyError, TypeError, AttributeError) as error:
            raise invalid(self.key, "an answer without completion_message") from error

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        finish, usage = None, Usage()
        body = {**self._body(completion), "stream": True}
        async with aclosing(self._api.events("/chat/completions", body, timeout)) as events:
            async for data in events:
                event = self._event(data)
                if event.get("event_type") == "complete":
                    finish = _finish(event.get("stop_reason"))
                if event.get("metrics"):
                    usage = _usage(event["metrics"])
                if text := (event.get("delta") or {}).get("text"):
                    yield Chunk(text=text)
        if finish is None:
            raise cut(self.key)
        yield Chunk(finish=finish, usage=usage)

    def _event(self, data: str) -> dict[str, Any]:
        message = parse(self.key, data)
        if isinstance(message, dict) and "error" in message:
            raise _midway(self.key, data)
        event = message.get("event") if isinstance(message, dict) else None
        if not isinstance(event, dict):
            raise invalid(self.key, "an event that is none of Meta's")
        return event

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        return await self._api.models(self._model, timeout)

    async def credentials(self, *, timeout: timedelta) -> Credentials:
        return self._api.credentials()

    async def aclose(self) -> None:
        await self._api.aclose()

    def _body(self, completion: Completion) -> dict[str, Any]:
        return chat_body(self._model, completion, tokens="max_completion_tokens")


def _midway(provider: str, data: str) -> ProviderError:
    message = str(read_error(data).get("message") or "the stream broke off with an error")
    return ProviderError(failure(by_words(message) or FailureKind.SERVER_ERROR, provider, message, code="stream"))


def _finish(reason: Any) -> FinishReason:
    return FinishReason.LENGTH if reason == "length" else FinishReason.STOP


def _usage(metrics: Any) -> Usage:
    """Read the usage from metrics, which come as a list of {metric, value}."""
    values = {entry.get("metric"): entry.get("value") for entry in metrics or [] if isinstance(entry, dict)}
    return Usage(
        input_tokens=int(values.get("num_prompt_tokens") or 0),
        output_tokens=int(values.get("num_completion_tokens") or 0),
    )
