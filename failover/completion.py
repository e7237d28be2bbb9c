"""A chat completion as every provider client takes and gives it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class FinishReason(StrEnum):
    """Why the model stopped, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What a model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What a model wants to be called."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What is asked. `temperature`, `top_p` and `stop` are left to the provider's default when None or empty."""

    messages: Sequence[Message]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: Sequence[str] = ()
    tools: Sequence[Tool] = ()
    """The tools that the model may call, in whole answers only: the gateway takes none, an audit asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. Text may be empty: whether that is acceptable is the caller's judgement."""

    text: str
    finish: FinishReason
    usage: Usage
    calls: Sequence[ToolCall] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer: text as it comes, and on the last piece why it ended and what it used.

    A stream without a last piece that carries `finish` was cut, whatever the transport said.
    """

    text: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What the provider's control plane says: is it up, and does it list our model (None: it cannot tell)."""

    reachable: bool
    model_listed: bool | None
    detail: str
    latency: timedelta
    labels: Mapping[str, str] = field(default_factory=dict)
