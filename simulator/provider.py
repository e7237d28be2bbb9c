"""One simulated provider: the fault it has now, the calls it counted, its seeded luck."""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from simulator.answers import Reply
from simulator.faults import STREAM_KINDS, Fault, FaultKind


class ProviderKind(StrEnum):
    """The vendors whose wire shapes a provider speaks."""

    BEDROCK = "bedrock"
    VERTEX = "vertex"
    LLAMA = "llama"
    OPENAI = "openai"


CATALOGUE: dict[ProviderKind, tuple[str, ...]] = {
    ProviderKind.BEDROCK: (
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "anthropic.claude-3-haiku-20240307-v1:0",
        "amazon.nova-lite-v1:0",
        "meta.llama3-3-70b-instruct-v1:0",
    ),
    ProviderKind.VERTEX: ("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash-001", "gemini-1.5-pro", "gemini-pro"),
    ProviderKind.LLAMA: (
        "Llama-4-Maverick-17B-128E-Instruct-FP8",
        "Llama-3.3-70B-Instruct",
        "Llama-3.3-8B-Instruct",
    ),
    ProviderKind.OPENAI: ("gpt-4o", "gpt-4o-mini"),
}
"""Models that each kind lists. Inference serves any id: the fault `model_missing` is what takes one away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request asks of a model. `resource`: the model's full name where the vendor has one."""

    model: str
    prompt: str = ""
    max_tokens: int | None = None
    stream: bool = False
    region: str = ""
    resource: str = ""
    wants_stream_usage: bool = False
    numeric_enums: bool = False
    server_sent_events: bool = False
    tools: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that got past the door, and the fault that strikes it. `number` counts from 1 per provider."""

    ask: Ask
    number: int
    id: str
    latency: timedelta
    fault: Fault | None = None

    @property
    def created(self) -> int:
        """Seconds since the epoch, by the simulator's own clock: the same in every run."""
        return 1_750_000_000 + self.number


@dataclass(slots=True, kw_only=True)
class Counters:
    """What a provider counted since its start or the last reset. Holds nothing of any prompt."""

    inference_calls: int = 0
    control_plane_calls: int = 0
    streams: int = 0
    without_credentials: int = 0
    malformed: int = 0
    answered: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    last: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        names = [name for name in self.__slots__ if name != "failures"]
        return {name: getattr(self, name) for name in names} | {"failures": dict(self.failures)}


class SimulatedProvider:
    """State of one provider. The same seed and the same order of calls give the same outcomes."""

    def __init__(
        self, key: str, kind: ProviderKind, *, seed: int, latency: timedelta, extra_models: tuple[str, ...] = ()
    ) -> None:
        self.key = key
        self.kind = kind
        self.models = tuple(dict.fromkeys((*CATALOGUE[kind], *extra_models)))
        self.counters = Counters()
        self.fault: Fault | None = None
        self.knows: dict[str, str] = {}
        """Questions and their right answers, beside what a healthy provider can make out by itself."""
        self._calls_left: int | None = None
        self._seed = seed
        self._latency = latency
        self._luck = random.Random(f"{seed}/{key}")
        self._requests = 0

    def set_fault(self, fault: Fault | None) -> None:
        self.fault = fault
        self._calls_left = fault.calls if fault else None

    def reset_counters(self) -> None:
        self.counters = Counters()

    def begin(self, ask: Ask) -> Call:
        """Counts an inference call and draws whether the fault strikes it."""
        self.counters.inference_calls += 1
        self.counters.streams += ask.stream
        fault = self._draw(ask)
        if fault:
            self.counters.failures[fault.kind.value] += 1
        self.counters.last = {"model": ask.model, "stream": ask.stream, "fault": fault.kind.value if fault else None}
        return self._call(ask, fault)

    def begin_control(self, region: str) -> Call:
        """Counts a control-plane call; only two kinds of fault reach it."""
        self.counters.control_plane_calls += 1
        reaches = self.fault and self.fault.kind in (FaultKind.REGION_DOWN, FaultKind.CONTROL_PLANE_DOWN)
        fault = self.fault if reaches else None
        if fault:
            self.counters.failures[fault.kind.value] += 1
        return self._call(Ask(model="", region=region), fault)

    def answered(self, reply: Reply) -> None:
        self.counters.answered += 1
        self.counters.input_tokens += reply.input_tokens
        self.counters.output_tokens += reply.output_tokens

    def turn_away(self, *, region: str = "") -> Call:
        """A request that does not get as far as a model: numbered, not counted as a call."""
        return self._call(Ask(model="", region=region), None)

    def _draw(self, ask: Ask) -> Fault | None:
        fault = self.fault
        if fault is None or fault.kind is FaultKind.CONTROL_PLANE_DOWN:
            return None
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left == 0:
                self.set_fault(None)
        struck = fault.rate_bp >= 10_000 or self._luck.random() * 10_000 < fault.rate_bp
        return fault if struck and (ask.stream or fault.kind not in STREAM_KINDS) else None

    def _call(self, ask: Ask, fault: Fault | None) -> Call:
        self._requests += 1
        digest = hashlib.sha256(f"{self._seed}/{self.key}/{self._requests}".encode()).hexdigest()
        jitter = 1 + (self._requests % 5) / 10
        return Call(ask=ask, number=self._requests, id=digest[:32], latency=self._latency * jitter, fault=fault)
