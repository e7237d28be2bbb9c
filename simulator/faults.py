"""The faults that a simulated provider can have, and the options that each takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class FaultKind(StrEnum):
    """Every kind keeps the control plane green, except `region_down`, `refused` and `control_plane_down`."""

    SERVER_ERROR = "server_error"
    THROTTLED = "throttled"
    QUOTA = "quota"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_MISSING = "model_missing"
    REGION_DOWN = "region_down"
    CAPACITY = "capacity"
    HANG = "hang"
    SLOW = "slow"
    REFUSED = "refused"
    EMPTY = "empty"
    WRONG = "wrong"
    GARBAGE = "garbage"
    STREAM_CUT = "stream_cut"
    STREAM_ERROR = "stream_error"
    CONTROL_PLANE_DOWN = "control_plane_down"

    @property
    def description(self) -> str:
        """One line for a person choosing a fault."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Mapping[FaultKind, str] = {
    FaultKind.SERVER_ERROR: "inference answers 500 or 503 while the control plane stays green",
    FaultKind.THROTTLED: "a share of the calls is refused by the rate limit",
    FaultKind.QUOTA: "the daily quota is used up: every call is refused until people act",
    FaultKind.AUTHENTICATION: "the credentials are no longer accepted",
    FaultKind.PERMISSION: "the credentials are good but may not use the model",
    FaultKind.MODEL_NOT_READY: "the model is still loading",
    FaultKind.MODEL_MISSING: "the model is not served under this id any more",
    FaultKind.REGION_DOWN: "the region's endpoint answers 503 to everything, the control plane included",
    FaultKind.CAPACITY: "the provider has no capacity left for the model",
    FaultKind.HANG: "calls are accepted and never answered",
    FaultKind.SLOW: "answers are right, but come late",
    FaultKind.REFUSED: "connections are refused: nothing listens",
    FaultKind.EMPTY: "calls succeed with no text in them",
    FaultKind.WRONG: "calls succeed with fluent text that does not answer the question",
    FaultKind.GARBAGE: "calls succeed with a body that cannot be parsed",
    FaultKind.STREAM_CUT: "streams stop after two pieces, without an error and without their end marker",
    FaultKind.STREAM_ERROR: "streams start well and then fail in the middle",
    FaultKind.CONTROL_PLANE_DOWN: "only listing models fails; inference is fine",
}

STREAM_KINDS = frozenset({FaultKind.STREAM_CUT, FaultKind.STREAM_ERROR})
"""Kinds that spare whole answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in force. `rate_bp`: share of the calls that it strikes, in basis points.

    It lives until cleared, for `lifetime`, or for the next `calls` inference calls, whichever ends first.
    """

    kind: FaultKind
    rate_bp: int = 10_000
    status: int = 500
    retry_after: timedelta | None = None
    delay: timedelta = timedelta(milliseconds=4000)
    lifetime: timedelta | None = None
    calls: int | None = None

    def as_json(self) -> dict[str, object]:
        """Kind and the options that matter to it, in the words of the control API."""
        values: dict[str, object] = {
            "rate": self.rate_bp / 100,
            "status": self.status,
            "retry_after": self.retry_after and self.retry_after.total_seconds(),
            "milliseconds": round(self.delay.total_seconds() * 1000),
            "seconds": self.lifetime and self.lifetime.total_seconds(),
            "calls": self.calls,
        }
        return {"kind": self.kind.value} | {name: values[name] for name in options_of(self.kind)}


class FaultRejected(ValueError):
    """A fault that cannot be meant; the message names what is allowed."""


def options_of(kind: FaultKind) -> tuple[str, ...]:
    """Names of the options that the kind takes, in the order they are shown."""
    if kind in (FaultKind.REFUSED, FaultKind.CONTROL_PLANE_DOWN):
        return ("seconds",)
    if kind is FaultKind.REGION_DOWN:
        return ("seconds", "calls")
    own = {
        FaultKind.SERVER_ERROR: ("status",),
        FaultKind.THROTTLED: ("retry_after",),
        FaultKind.SLOW: ("milliseconds",),
    }
    return ("rate", *own.get(kind, ()), "seconds", "calls")


def parse_kind(name: object) -> FaultKind:
    """The kind of that name. Raises FaultRejected."""
    for kind in FaultKind:
        if kind.value == name:
            return kind
    raise FaultRejected(f"There is no fault kind {name!r}; allowed are: {', '.join(FaultKind)}.")


def parse_fault(kind: object, options: Mapping[str, object]) -> Fault:
    """The fault that a request names. Raises FaultRejected."""
    known = parse_kind(kind)
    allowed = options_of(known)
    values: dict[str, object] = {"rate_bp": 3000} if known is FaultKind.THROTTLED else {}
    for name, value in options.items():
        if name not in allowed:
            raise FaultRejected(f"Fault {known} takes no option {name!r}; allowed are: {', '.join(allowed)}.")
        field, convert, sentence = _OPTIONS[name]
        if not _is_number(value) or (converted := convert(float(value))) is None:  # type: ignore[arg-type]
            raise FaultRejected(f"Option {name} of fault {known} must be {sentence}, not {value!r}.")
        values[field] = converted
    return Fault(kind=known, **values)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rate(value: float) -> int | None:
    return round(value * 100) if 0.01 <= value <= 100 else None


def _status(value: float) -> int | None:
    return int(value) if value in (500, 503) else None


def _calls(value: float) -> int | None:
    return int(value) if value >= 1 and value == int(value) else None


def _seconds(value: float) -> timedelta | None:
    return timedelta(seconds=value) if 0 < value <= 86_400 else None


def _milliseconds(value: float) -> timedelta | None:
    return _seconds(value / 1000)


_OPTIONS: Mapping[str, tuple[str, Callable[[float], object], str]] = {
    "rate": ("rate_bp", _rate, "a percentage from 0.01 to 100"),
    "status": ("status", _status, "500 or 503"),
    "retry_after": ("retry_after", _seconds, "a number of seconds above 0, at most 86400"),
    "milliseconds": ("delay", _milliseconds, "a number of milliseconds above 0, at most a day"),
    "seconds": ("lifetime", _seconds, "a number of seconds above 0, at most 86400"),
    "calls": ("calls", _calls, "a whole number of calls, at least 1"),
}
