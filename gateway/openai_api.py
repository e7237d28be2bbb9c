"""The users' door: OpenAI's chat completions and models."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from failover.errors import ProviderError
from failover.waiting import Priority
from gateway.auth import Auth
from gateway.cache import key_of
from gateway.counters import utc_now
from gateway.openai_shapes import ApiError, ChatRequest, all_failed, events, headers, parse_chat, refused, whole
from gateway.question import AllFailed, Question
from gateway.queue import Closing, Gone, Left, Refused
from gateway.sources import Reply, Sources
from gateway.store import PolicyStore

SYNTHETIC_HEADER = "x-failover-synthetic"
ONLY_HEADER = "x-failover-only"
"""The header of a synthetic request that names the one provider that is to answer it."""

PRIORITY_HEADER = "x-failover-priority"

_PRIORITIES = {priority.name.lower(): priority for priority in Priority}

_GONE = Response(status_code=499)
"""The response to a client that has gone, for the log: nobody is there to read it."""


class OpenAiApi:
    """Endpoints under /v1."""

    def __init__(
        self,
        sources: Sources,
        store: PolicyStore,
        auth: Auth,
        max_body_bytes: int,
        providers: Collection[str],
        *,
        remembers: bool,
    ) -> None:
        self._sources = sources
        self._store = store
        self._auth = auth
        self._max_body_bytes = max_body_bytes
        self._providers = providers
        self._remembers = remembers
        self._replying: set[asyncio.Task[Reply]] = set()

    async def chat(self, request: Request) -> Response:
        try:
            return await self._chat(request)
        except ApiError as error:
            return error.response()
        except ProviderError as error:
            return ApiError(400, error.failure.detail, code="bad_request").response()
        except AllFailed as error:
            return all_failed(error).response()
        except Refused as error:
            return refused(error).response()
        except Left:
            return _GONE

    async def _chat(self, request: Request) -> Response:
        question, wants_usage = await self._read(request)

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        reply = await self._reply(question, gone)
        if reply.chunks is not None:
            pieces = events(reply, reply.chunks, wants_usage=wants_usage)
            return StreamingResponse(pieces, media_type="text/event-stream", headers=headers(reply))
        assert reply.answer is not None
        return whole(reply, reply.answer)

    async def _reply(self, question: Question, gone: Gone) -> Reply:
        replying = asyncio.ensure_future(self._sources.reply(question, gone))
        self._replying.add(replying)
        try:
            return await replying
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Closing("The gateway is ending, and no provider has answered yet; ask again.") from None
        finally:
            self._replying.discard(replying)

    def close(self, patience: timedelta) -> None:
        """The gateway ends: whoever has no answer by then is told so, while there is still somebody to tell it."""
        asyncio.get_running_loop().call_later(patience.total_seconds(), self._give_up)

    def _give_up(self) -> None:
        for replying in self._replying:
            replying.cancel()

    async def _read(self, request: Request) -> tuple[Question, bool]:
        """What is asked, and whether a stream is to tell its usage; the body itself is not held while it waits."""
        body = await _body(request, self._max_body_bytes)
        chat = parse_chat(body)
        if chat.model not in self._store.policies:
            raise self._no_model(chat.model)
        wants_usage = bool(chat.stream_options and chat.stream_options.include_usage)
        return self._question(request, chat, len(body)), wants_usage

    def _question(self, request: Request, chat: ChatRequest, size: int) -> Question:
        synthetic = SYNTHETIC_HEADER in request.headers and self._auth.why_not(request) is None
        completion = chat.completion()
        remembered = self._remembers and not chat.stream and not synthetic
        return Question(
            route=chat.model,
            completion=completion,
            began=utc_now(),
            streaming=bool(chat.stream),
            synthetic=synthetic,
            key=key_of(chat.model, completion, _others(request, chat)) if remembered else None,
            priority=_priority(request),
            size=size,
            only=self._only(request) if synthetic else None,
        )

    def _only(self, request: Request) -> str | None:
        only = request.headers.get(ONLY_HEADER)
        if only is not None and only not in self._providers:
            known = ", ".join(sorted(self._providers))
            message = f"The header X-Failover-Only names {only!r}, which is no provider; the providers are {known}."
            raise ApiError(400, message, param="X-Failover-Only", code="provider_not_found")
        return only

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(route) for route in sorted(self._store.policies)]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in self._store.policies:
            return self._no_model(name).response()
        return JSONResponse(_model(name))

    def _no_model(self, name: str) -> ApiError:
        known = ", ".join(sorted(self._store.policies))
        message = f"There is no route {name!r}; a model here is the name of a route: {known}."
        return ApiError(404, message, param="model", code="model_not_found")


def _others(request: Request, chat: ChatRequest) -> dict[str, Any]:
    """The other values that tell requests apart: whom they are for, and in whose name they come."""
    return {**(chat.model_extra or {}), "": request.headers.get("authorization", "")}


def _priority(request: Request) -> Priority:
    asked = request.headers.get(PRIORITY_HEADER)
    if asked is None:
        return Priority.NORMAL
    asked = asked.strip().lower()
    if asked not in _PRIORITIES:
        message = f"The header X-Failover-Priority may be {', '.join(_PRIORITIES)}; leave it out for normal."
        raise ApiError(400, message, param="X-Failover-Priority", code="invalid_priority")
    return _PRIORITIES[asked]


async def _body(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ApiError(413, f"The request is larger than {limit} bytes.", code="request_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


def _model(route: str) -> dict[str, Any]:
    return {"id": route, "object": "model", "created": 0, "owned_by": "failover"}
