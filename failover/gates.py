"""Gates: may a ramp go on? Pure functions of what was measured; no data is never good news."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from failover.incident import Sample
from failover.units import milliseconds


class Judgement(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Metric(StrEnum):
    SUCCESS_PERCENT = "success_percent"
    LATENCY_P95_MS = "latency_p95_ms"


class Consequence(StrEnum):
    """What a failed gate asks for: the procedure's answer to a failure, or to go on faster (the source got worse)."""

    FAIL = "fail"
    HASTEN = "hasten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A check on one provider's tries, or (`provider` None) on what users of the route get.

    Success passes from `pass_at` upwards and fails below `fail_at`; latency passes up to `pass_at` and fails above
    `fail_at`; between the two it is inconclusive. It has failed after `failures` bad samples with no good one between them,
    and is blind after `errors` monitor errors in a row, which are no measurements. With `enforce` off it is reported only.
    """

    name: str
    metric: Metric
    provider: str | None = None
    pass_at: float
    fail_at: float
    minimum_requests: int
    failures: int
    errors: int
    consequence: Consequence = Consequence.FAIL
    enforce: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counts of one provider on a route, or of its users (`provider` None), within a window. Latency None: no answers."""

    provider: str | None
    requests: int
    good: int
    latency_p95: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSample:
    """One look at a route while a ramp is on it: who rules it, and what was counted lately and since the step began.

    `at` is the data plane's clock. `synthetic` counts requests that we sent ourselves for this look: they are in no reading.
    """

    at: datetime
    revision: str
    author: str
    claim: str | None
    users: Sample
    recent: Sequence[Reading]
    whole: Sequence[Reading]
    synthetic: int = 0
    synthetic_good: int = 0
    synthetic_slowest: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """How a gate stands after the samples so far: bad ones since the last good one, monitor errors in a row, and the last
    finding with its reason.
    """

    name: str
    failures: int = 0
    errors: int = 0
    last: Judgement = Judgement.INCONCLUSIVE
    reason: str = "not sampled yet"
    samples: int = 0
    failed_samples: int = 0


def fresh(gates: Iterable[Gate]) -> list[GateState]:
    """The states before the first sample."""
    return [GateState(name=gate.name) for gate in gates]


def judge(gate: Gate, sample: GateSample) -> tuple[Judgement, str]:
    """The worse of what was counted lately and since the step began, of those with enough requests; and why."""
    readings = [_of(gate.provider, sample.recent), _of(gate.provider, sample.whole)]
    enough = [reading for reading in readings if reading is not None and reading.requests >= gate.minimum_requests]
    if not enough:
        seen = max((reading.requests for reading in readings if reading is not None), default=0)
        return Judgement.INCONCLUSIVE, f"{gate.name}: {seen} requests, {gate.minimum_requests} are needed to tell"
    judged = [_compare(gate, reading) for reading in enough]
    return max(judged, key=lambda found: _WORSE[found[0]])


_WORSE = {Judgement.PASS: 0, Judgement.INCONCLUSIVE: 1, Judgement.FAIL: 2}


def _of(provider: str | None, readings: Sequence[Reading]) -> Reading | None:
    return next((reading for reading in readings if reading.provider == provider), None)


def _compare(gate: Gate, reading: Reading) -> tuple[Judgement, str]:
    value = _value(gate.metric, reading)
    if value is None or math.isnan(value):
        return Judgement.INCONCLUSIVE, f"{gate.name}: {reading.requests} requests, but no figure"
    higher_is_better = gate.metric is Metric.SUCCESS_PERCENT
    passed = value >= gate.pass_at if higher_is_better else value <= gate.pass_at
    failed = value < gate.fail_at if higher_is_better else value > gate.fail_at
    found = Judgement.FAIL if failed else Judgement.PASS if passed else Judgement.INCONCLUSIVE
    return found, f"{gate.name}: {_render(gate.metric, value)} of {reading.requests} requests, {_bounds(gate)}"


def _value(metric: Metric, reading: Reading) -> float | None:
    if metric is Metric.SUCCESS_PERCENT:
        return 100 * reading.good / reading.requests if reading.requests else None
    return None if reading.latency_p95 is None else float(milliseconds(reading.latency_p95))


def _render(metric: Metric, value: float) -> str:
    # Cut off, not rounded: 97.96 must not read as the 98 that it misses.
    return f"{math.floor(value * 10) / 10:.1f} % good" if metric is Metric.SUCCESS_PERCENT else f"P95 {value:.0f} ms"


def _bounds(gate: Gate) -> str:
    unit = "%" if gate.metric is Metric.SUCCESS_PERCENT else "ms"
    band = "" if gate.fail_at == gate.pass_at else f", fails at {gate.fail_at:g} {unit}"
    return f"passes at {gate.pass_at:g} {unit}{band}"


def after(gate: Gate, state: GateState, sample: GateSample) -> GateState:
    """The state with one more sample."""
    found, reason = judge(gate, sample)
    failed = found is Judgement.FAIL
    return replace(
        state,
        # Silence between two bad samples is no good news: only a good one clears what was found.
        failures=0 if found is Judgement.PASS else state.failures + failed,
        errors=0,
        last=found,
        reason=reason,
        samples=state.samples + 1,
        failed_samples=state.failed_samples + failed,
    )


def after_error(state: GateState, why: str) -> GateState:
    """The state when the monitor itself failed: neither good nor bad, and what was found before no longer speaks."""
    return replace(state, errors=state.errors + 1, last=Judgement.INCONCLUSIVE, reason=f"{state.name}: {why}")


def standing(gate: Gate, state: GateState) -> Judgement:
    """What the samples so far amount to; one bad sample alone is not a failure, and no pass either."""
    if state.failures >= gate.failures:
        return Judgement.FAIL
    return Judgement.INCONCLUSIVE if state.last is Judgement.FAIL else state.last


class Action(StrEnum):
    WAIT = "wait"
    PROCEED = "proceed"
    HASTEN = "hasten"
    FAIL = "fail"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: Action
    reason: str


def decide(gates: Sequence[Gate], states: Mapping[str, GateState], *, over: bool) -> Decision:
    """What to do in a hold; `over`: its time has passed. A failure acts at any time, everything else at the end.

    Nothing goes faster while the monitor is blind, or while a guard's last sample was bad. A hold that no enforced gate
    watches is passed by time alone.
    """
    enforced = [gate for gate in gates if gate.enforce]
    failed = [gate for gate in enforced if standing(gate, states[gate.name]) is Judgement.FAIL]
    harmful = [gate for gate in failed if gate.consequence is Consequence.FAIL]
    if harmful:
        return Decision(action=Action.FAIL, reason=_said(harmful, states))
    blind = [gate for gate in enforced if states[gate.name].errors >= gate.errors]
    if blind:
        return Decision(action=Action.ASK, reason=f"The monitor is blind: {_said(blind, states)}")
    guards = [gate for gate in enforced if gate.consequence is Consequence.FAIL]
    if failed and not any(states[gate.name].last is Judgement.FAIL for gate in guards):
        return Decision(action=Action.HASTEN, reason=_said(failed, states))
    if not over:
        return Decision(action=Action.WAIT, reason="")
    open_ones = [gate for gate in guards if standing(gate, states[gate.name]) is not Judgement.PASS]
    if open_ones:
        return Decision(action=Action.ASK, reason=f"Inconclusive: {_said(open_ones, states)}")
    return Decision(action=Action.PROCEED, reason=_said(guards, states) or "no gate watches this step")


def _said(gates: Sequence[Gate], states: Mapping[str, GateState]) -> str:
    return "; ".join(states[gate.name].reason for gate in gates)


def would_have_failed(gates: Sequence[Gate], states: Mapping[str, GateState]) -> list[str]:
    """What gates that are not enforced found: the report says it, nothing acts on it."""
    return [
        f"{states[gate.name].reason} (not enforced)"
        for gate in gates
        if not gate.enforce and states[gate.name].failed_samples >= gate.failures
    ]
