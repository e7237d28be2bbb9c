"""What another policy would have done: recorded samples through the same decisions, against what was done.

Only what was recorded can be replayed: counts over the windows of then, and the shares of then (where this policy has not
started what was started, those from before it). What traffic would have done elsewhere nobody can tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failover.accuracy import Assessment, rejudged
from failover.automation import permission, permitted
from failover.config import Config
from failover.health import Condition, Probe, Verdict, judge, note, note_latency
from failover.telemetry import ProviderWindow, Telemetry
from failover.triggers import Response, WatchState, after, respond
from failover.units import render_duration

SAME = timedelta(seconds=60)
"""Two starts for the same provider that are no further apart are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted of one provider over one window."""

    window: timedelta
    at: datetime
    since: datetime
    windows: Sequence[ProviderWindow]

    def telemetry(self) -> Telemetry:
        return Telemetry(at=self.at, since=self.since, providers=self.windows, routes=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSample:
    """One turn of one provider's watch: what it learnt, and what it did. `shares`: route → basis points, None: unknown.

    `started` is the procedure that was started or proposed, or that a hold kept back (`held`).
    """

    at: datetime
    provider: str
    probes: Sequence[Probe] = ()
    counted: Sequence[Counted] = ()
    assessment: Assessment | None = None
    shares: Mapping[str, int] | None = None
    condition: Condition = Condition.HEALTHY
    reason: str = ""
    started: str | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A procedure that a verdict started, or would have."""

    at: datetime
    provider: str
    procedure: str
    condition: Condition
    reason: str
    held: bool = False
    """A hold kept it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One start of then beside one of the replay; None where there is none."""

    then: Start | None
    now: Start | None

    @property
    def at(self) -> datetime:
        start = self.then or self.now
        assert start is not None
        return start.at

    @property
    def said(self) -> str:
        if self.then is not None and self.then.held:
            return "a hold kept it back"
        if self.then is None:
            return "only with this policy"
        if self.now is None:
            return "not with this policy"
        later = round((self.now.at - self.then.at).total_seconds())
        other = "" if self.now.procedure == self.then.procedure else f", as {self.now.procedure}"
        return "the same" if not later and not other else f"{abs(later)} s {'later' if later > 0 else 'earlier'}{other}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a policy makes of recorded samples. `doubts`: where the recording cannot say exactly what would have been."""

    samples: int
    since: datetime | None
    until: datetime | None
    starts: Sequence[Compared]
    doubts: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class _World:
    """What the replay knows at one moment."""

    states: dict[str, WatchState] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    unmoved: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Shares of a provider before a start of then that this policy has not made (yet): without it they would have stayed."""
    left: set[str] = field(default_factory=set)
    """Providers that this policy has left and nobody had left then: no second start is due."""


def replay(samples: Sequence[DetectorSample], config: Config) -> Replay:
    """Every sample in turn, by a policy that may be another than the one it was recorded under."""
    ordered = sorted((one for one in samples if one.provider in config.providers), key=lambda one: one.at)
    world = _World()
    now = [start for sample in ordered if (start := _turn(world, sample, config)) is not None]
    return Replay(
        samples=len(ordered),
        since=ordered[0].at if ordered else None,
        until=ordered[-1].at if ordered else None,
        starts=_compared(_of_then(ordered), now),
        doubts=_doubts(samples, config),
    )


def _turn(world: _World, sample: DetectorSample, config: Config) -> Start | None:
    detection, provider = config.detection, sample.provider
    state = world.states.get(provider, WatchState(provider=provider))
    history = state.history
    for probe in sample.probes:
        history = note(history, probe, detection)
    if sample.assessment is not None:
        history = replace(history, assessment=rejudged(sample.assessment, detection.accuracy_drop_points))
    telemetry = {window: _nearest(sample.counted, window) for window in _windows(config)}
    history = note_latency(history, telemetry[detection.server_errors.window], provider, detection)
    verdict = judge(provider, history, telemetry, detection, sample.at)
    state = replace(state, history=replace(history, condition=verdict.condition))
    left_already = state.started_at is not None and state.condition is verdict.condition
    started = sample.started is not None and not sample.held
    if started:
        world.left.discard(provider)
    if started and sample.shares is not None and not left_already:
        world.unmoved.setdefault(provider, sample.shares)
    response = _respond(world, state, verdict, sample, config)
    _follow(world, response, started, verdict)
    world.verdicts[provider] = verdict
    world.states[provider] = after(state, verdict, response, sample.at)
    if response.procedure is None:
        return None
    return Start(
        at=sample.at,
        provider=provider,
        procedure=response.procedure,
        condition=verdict.condition,
        reason=verdict.reason,
    )


def _follow(world: _World, response: Response, started: bool, verdict: Verdict) -> None:
    """What the start, or the end of the trouble, makes of the shares."""
    provider = verdict.provider
    over = verdict.condition is Condition.HEALTHY and verdict.cause is None and not started
    if response.procedure is not None or over:
        world.unmoved.pop(provider, None)
    if over:
        world.left.discard(provider)
    elif response.procedure == "immediate" and not started:
        world.left.add(provider)


def _respond(world: _World, state: WatchState, verdict: Verdict, sample: DetectorSample, config: Config) -> Response:
    shares = world.unmoved.get(sample.provider, sample.shares)
    if shares is not None and sample.provider in world.left:
        shares = dict.fromkeys(shares, 0)
    policies = None if shares is None else {route: {sample.provider: points} for route, points in shares.items()}
    max_age = config.procedures.immediate.verdict_max_age
    others = [one for name, one in world.verdicts.items() if name != sample.provider and sample.at - one.at <= max_age]
    users = [route for route, points in (shares or {}).items() if points]
    if verdict.condition in (Condition.HEALTHY, Condition.BLIND):
        return respond(verdict, state, policies, others, config.detection, sample.at)
    # A hold is people's, and no part of a policy: what it kept back would have been started.
    allowed = permission(config, verdict.condition, users, None, sample.at)
    asks = bool(allowed.propose) and not allowed.act
    response = respond(verdict, state, policies, others, config.detection, sample.at, asks_people=asks)
    return permitted(response, allowed)


def _windows(config: Config) -> set[timedelta]:
    return {config.detection.server_errors.window, config.detection.throttling.window}


def _nearest(counted: Sequence[Counted], window: timedelta) -> Telemetry | None:
    nearest = min(counted, key=lambda one: abs(one.window - window), default=None)
    return None if nearest is None else nearest.telemetry()


def _of_then(samples: Sequence[DetectorSample]) -> list[Start]:
    return [
        Start(
            at=one.at,
            provider=one.provider,
            procedure=one.started,
            condition=one.condition,
            reason=one.reason,
            held=one.held,
        )
        for one in samples
        if one.started is not None
    ]


def _compared(then: Sequence[Start], now: Sequence[Start]) -> list[Compared]:
    left, pairs = list(now), list[Compared]()
    for start in then:
        near = [one for one in left if one.provider == start.provider and abs(one.at - start.at) <= SAME]
        match = min(near, key=lambda one: abs(one.at - start.at), default=None)
        if match is not None:
            left.remove(match)
        pairs.append(Compared(then=start, now=match))
    return sorted([*pairs, *(Compared(then=None, now=one) for one in left)], key=lambda pair: pair.at)


def _doubts(samples: Sequence[DetectorSample], config: Config) -> list[str]:
    doubts = []
    recorded = {counted.window for sample in samples for counted in sample.counted}
    for window in sorted(_windows(config) - recorded if recorded else ()):
        nearest = min(recorded, key=lambda one: abs(one - window))
        doubts.append(
            f"Nothing was counted over {render_duration(window)}; the counts over {render_duration(nearest)} stand for it."
        )
    gone = sorted({one.provider for one in samples} - set(config.providers))
    if gone:
        doubts.append(f"Samples of {', '.join(gone)} are left out: the policy has no such provider.")
    slowest = max((p.latency for one in samples for p in one.probes if p.failure is None), default=timedelta(0))
    if config.detection.probe.timeout < slowest:
        doubts.append(
            f"Probes were answered after up to {render_duration(slowest)}; a timeout of "
            f"{render_duration(config.detection.probe.timeout)} would have made some of them failures, and is not replayed."
        )
    return doubts
