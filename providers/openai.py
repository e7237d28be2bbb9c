"""Any OpenAI-compatible endpoint (OpenAI itself, vLLM, Together, …), over httpx."""

import re
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

_FINISH = {"length": FinishReason.LENGTH, "content_filter": FinishReason.CONTENT_FILTER}


def classify(provider: str, status: int, headers: Mapping[str, str], body: str) -> Failure:
    """Classify by status, and by the error's code where it says more: a quota that is used up comes as a 429 too."""
    error = read_error(body)
    code = str(error.get("code") or error.get("type") or status)
    message = str(error.get("message") or body or f"HTTP {status}")
    wait = retry_after(headers)
    kind = by_status(
        status, f"{code} {error.get('type') or ''} {message}" if status == 429 else message, retry_after=wait
    )
    if status == 400 and _BAD_KEY.search(message):
        kind = FailureKind.AUTHENTICATION
    return failure(kind, provider, message, code=code, wait=wait)


_BAD_KEY = re.compile(r"\bAPI key not valid\b|\b(incorrect|invalid) API key\b", re.I)
"""Google's and xAI's compatible endpoints refuse a key with a 400."""


class OpenAiClient:
    """One model behind one base URL."""

    def __init__(self, key: str, model: str, api: JsonApi) -> None:
        self.key = key
        self._model = model
        self._api = api

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        answer = await self._api.post("/chat/completions", self._body(completion), timeout)
        try:
            choice = answer["choices"][0]
            text = choice["message"].get("content") or ""
            if not isinstance(text, str):
                raise TypeError
            calls = tool_calls(self.key, choice["message"])
            finish, usage = _finish(choice.get("finish_reason")), _usage(answer.get("usage"))
            return Answer(text=text, finish=finish, usage=usage, calls=calls)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise invalid(self.key, "an answer without choices") from error

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        body = {**self._body(completion), "stream": True, "stream_options": {"include_usage": True}}
        finish, usage, done = None, Usage(), False
        async with aclosing(self._api.events("/chat/completions", body, timeout)) as events:
            async for data in events:
                if done := data == "[DONE]":
                    break
                event = self._event(data)
                usage = _usage(event.get("usage")) if event.get("usage") else usage
                for choice in event.get("choices") or []:
                    finish = _finish(choice["finish_reason"]) if choice.get("finish_reason") else finish
                    if text := (choice.get("delta") or {}).get("content"):
                        yield Chunk(text=text)
        if finish is None or not done:
            raise cut(self.key)
        yield Chunk(finish=finish, usage=usage)

    def _event(self, data: str) -> dict[str, Any]:
        event = parse(self.key, data)
        if not isinstance(event, dict):
            raise invalid(self.key, "an event that is no object")
        if "error" in event:
            raise _midway(self.key, data)
        return event

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        return await self._api.models(self._model, timeout)

    async def credentials(self, *, timeout: timedelta) -> Credentials:
        return self._api.credentials()

    async def aclose(self) -> None:
        await self._api.aclose()

    def _body(self, completion: Completion) -> dict[str, Any]:
        return chat_body(self._model, completion, tokens="max_tokens")


def _midway(provider: str, data: str) -> ProviderError:
    error = read_error(data)
    message = str(error.get("message") or "the stream broke off with an error")
    kind = by_words(message) or FailureKind.SERVER_ERROR
    return ProviderError(failure(kind, provider, message, code=str(error.get("code") or "stream_error")))


def _finish(reason: Any) -> FinishReason:
    return _FINISH.get(str(reason), FinishReason.STOP)


def _usage(usage: Any) -> Usage:
    usage = usage if isinstance(usage, dict) else {}
    return Usage(
        input_tokens=int(usage.get("prompt_tokens") or 0), output_tokens=int(usage.get("completion_tokens") or 0)
    )
