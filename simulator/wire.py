"""What every dialect gives: how to read a request, answer it whole or in pieces, and refuse it in the vendor's words."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from simulator.answers import Reply
from simulator.faults import Fault, FaultKind
from simulator.provider import Ask, Call

GARBAGE = b"<html><head><title>Error</title></head><body>upstream returned something else</body></html>"


class MalformedRequest(Exception):
    """The body is not what the vendor's API takes; the message says what is wrong without quoting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A streamed answer, encoded. Opening and trailer frame the transport, and are sent whatever happens in between."""

    pieces: Sequence[bytes]
    closing: Sequence[bytes]
    failure: bytes
    start: Sequence[bytes] = ()
    opening: bytes = b""
    separator: bytes = b""
    trailer: bytes = b""
    media_type: str | None = None
    headers: Mapping[str, str] | None = None

    def sent(self, fault: Fault | None) -> Iterator[bytes]:
        """What goes over the wire, one write after another."""
        kind = fault.kind if fault else None
        if kind is FaultKind.STREAM_CUT:
            parts = [*self.start, *self.pieces[:2]]
        elif kind is FaultKind.STREAM_ERROR:
            parts = [*self.start, *self.pieces[:2], self.failure]
        else:
            parts = [*self.start, *self.pieces, *self.closing]
        for index, part in enumerate(parts):
            yield (self.separator if index else self.opening) + part
        if self.trailer:
            yield self.trailer


class Dialect(ABC):
    """One vendor's way to say things. Holds no state."""

    stream_media_type: str
    region: str

    def has_credentials(self, request: Request) -> bool:
        """Whether the request shows any; they are not verified."""
        return "authorization" in request.headers

    def region_of(self, request: Request) -> str:
        """Region that the request is for, as far as it says."""
        return self.region

    @abstractmethod
    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        """What the request asks. Raises MalformedRequest."""

    @abstractmethod
    def whole(self, call: Call, reply: Reply) -> Response:
        """The answer to a request that asked for no stream."""

    @abstractmethod
    def frames(self, call: Call, reply: Reply) -> Frames:
        """The answer in pieces."""

    @abstractmethod
    def refusal(self, call: Call, fault: Fault) -> Response:
        """What the vendor says when it refuses a call because of the fault."""

    @abstractmethod
    def no_credentials(self, call: Call) -> Response:
        """What the vendor says to a request without any credentials."""

    @abstractmethod
    def malformed(self, call: Call, reason: str) -> Response:
        """What the vendor says to a body that it cannot use."""

    @abstractmethod
    def not_found(self, call: Call, path: str) -> Response:
        """What the vendor says to a path that it does not serve."""

    def garbage(self, call: Call) -> Response:
        """A success that is none: what a broken proxy in between would send."""
        media_type = self.stream_media_type if call.ask.stream else "text/html"
        return Response(GARBAGE, media_type=media_type)


def as_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body. Raises MalformedRequest."""
    try:
        parsed = json.loads(body)
    except ValueError:
        raise MalformedRequest("the body is not valid JSON") from None
    if not isinstance(parsed, dict):
        raise MalformedRequest("the body must be a JSON object")
    return parsed


def last_user_text(messages: object, *, field: str, content: str) -> str:
    """Text of the last user message of a conversation, its parts joined.

    `field` names the conversation in error messages, `content` the key that holds a message's text or parts.
    """
    if not isinstance(messages, list) or not messages:
        raise MalformedRequest(f"{field} must be a list with at least one message")
    for message in reversed(messages):
        if not isinstance(message, dict) or content not in message:
            raise MalformedRequest(f"each of {field} must be an object with {content}")
        if message.get("role", "user") == "user":
            return _text(message[content], field=f"{field}.{content}")
    raise MalformedRequest(f"{field} must hold a message of the user")


def whole_number(value: object, *, field: str) -> int | None:
    """A positive maximum of tokens, or None where the request sets none."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MalformedRequest(f"{field} must be a whole number of at least 1")
    return value


def tool_names(body: Mapping[str, Any], *path: str) -> frozenset[str]:
    """Names of the tools that a request gives the model; `path` leads from each of them to its name."""
    tools = body.get("tools")
    return frozenset(str(_at(tool, path)) for tool in tools) if isinstance(tools, list) else frozenset()


def _at(value: object, path: Sequence[str]) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def openai_calls(reply: Reply, id_: str) -> dict[str, Any]:
    """The call of a tool as OpenAI and Meta say it; nothing without one."""
    if reply.call is None:
        return {}
    name, arguments = reply.call
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"id": f"call_{id_[:24]}", "type": "function", "function": function}]}


def compact(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def server_sent(document: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + compact(document) + b"\n\n"


def _text(content: object, *, field: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(str(part["text"]) for part in content if "text" in part)
    raise MalformedRequest(f"{field} must be text or a list of parts")
