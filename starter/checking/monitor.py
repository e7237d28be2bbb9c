"""`failoverctl monitor`: sample the data plane until the time is over; say what broke; prove, or not, that it is well."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from failover.distribution import render
from failover.errors import RequestError, Unavailable
from failover.gates import Judgement
from failover.monitoring import (
    Figures,
    Limit,
    Metric,
    figures_of,
    judge,
    limits_of,
    parse_limit,
    parse_metrics,
    shown,
)
from failover.ports import TrafficPlane
from failover.telemetry import Telemetry
from failover.units import parse_duration, render_duration
from starter.arguments import percent
from starter.checking.canaries import trial
from starter.checking.checks import Check, failed, told, unknown
from starter.checking.context import CheckContext, counted, policy_of
from starter.checking.recovery import run_recovery
from starter.connection import connect
from starter.output import as_json_line, console, say
from starter.runs.finding import open_runs
from starter.settings import Settings

DURATION = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """What is asked for, as the options say it."""

    duration: str | None
    metrics: str | None
    alert: str | None
    success: str | None
    failover: bool = False
    users: bool = False
    canary: bool = False
    recovery: bool = False
    provider: str | None = None
    route: str | None = None
    interval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is watched: a route's users, or (`provider`) one provider's tries for it; and the limits that count."""

    route: str
    provider: str | None
    metrics: Sequence[Metric]
    limits: Sequence[Limit]
    duration: timedelta
    interval: timedelta

    @property
    def subject(self) -> str:
        return f"tries of route {self.route} at {self.provider}" if self.provider else f"users of route {self.route}"


def run_monitor(settings: Settings, state: Path | None, asked: Monitoring, *, json: bool) -> int:
    context = CheckContext.find(settings, state)
    duration = _duration(asked.duration)
    if asked.provider is not None:
        context.provider(asked.provider)
    if asked.recovery:
        if asked.provider is None:
            raise RequestError("--recovery-mode is about one provider; name it with --provider.")
        interval = _interval(asked, context.config.procedures.failback.watch_interval)
        threshold = percent("--success-threshold", asked.success)
        return run_recovery(context, asked.provider, duration, min(interval, duration), threshold, json=json)
    checks = asyncio.run(_monitor(context, asked, duration, json=json))
    return told("monitor", f"Over {render_duration(duration)}", checks, json=json, lines=True)


def _duration(text: str | None) -> timedelta:
    """The runbook's unit: plain numbers are minutes here, and only here."""
    if text is None:
        return DURATION
    try:
        found = parse_duration(f"{text}m" if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise RequestError(f"--duration: {error}; a plain number is minutes here.") from error
    if not found:
        raise RequestError("--duration: there is nothing to see in no time.")
    return found


def _interval(asked: Monitoring, usual: timedelta) -> timedelta:
    if asked.interval is None:
        return usual
    try:
        found = parse_duration(asked.interval)
    except ValueError as error:
        raise RequestError(f"--interval: {error}.") from error
    if found < timedelta(milliseconds=100):
        raise RequestError("--interval: 100ms is the least.")
    return found


async def _monitor(context: CheckContext, asked: Monitoring, duration: timedelta, *, json: bool) -> list[Check]:
    async with context.plane() as plane:
        watch = await _watch(context, plane, asked, duration)
        say(f"Watching the {watch.subject} for {render_duration(duration)}; {_limits(watch)}.")
        async with _beside(context, plane, watch.route, asked) as beside:
            return await _sampled(context, plane, watch, _View(watch, json=json), beside)


def _limits(watch: Watch) -> str:
    return "alarm at " + ", ".join(map(str, watch.limits)) if watch.limits else "no limit is set"


async def _watch(context: CheckContext, plane: TrafficPlane, asked: Monitoring, duration: timedelta) -> Watch:
    route, provider = context.default_route(asked.route), asked.provider
    if asked.canary and provider is None:
        found = await trial(context, plane, route)
        route, provider = found.route, found.target
    metrics = parse_metrics("--metrics", asked.metrics) if asked.metrics else list(Metric)
    interval = min(_interval(asked, context.config.procedures.gating.sample_interval), duration)
    limits = await _chosen(context, plane, route, asked)
    return Watch(
        route=route,
        provider=provider,
        metrics=metrics,
        limits=limits or [one for one in await _targets(context, plane, route, asked) if one.metric in metrics],
        duration=duration,
        interval=interval,
    )


async def _chosen(context: CheckContext, plane: TrafficPlane, route: str, asked: Monitoring) -> list[Limit]:
    """The limits that the options give, or that their mode implies; none: the targets in force."""
    validation, canary = context.config.procedures.validation, context.config.procedures.canary
    alerts = [parse_limit("--alert-threshold", part) for part in (asked.alert or "").split(",") if part.strip()]
    if asked.users and not alerts:
        alerts = [Limit(metric=Metric.ERROR_RATE, above=True, value=validation.alert_error_rate_percent)]
    least = percent("--success-threshold", asked.success)
    if asked.canary and least is None:
        least = canary.success_threshold_percent
    return [*alerts, *([Limit(metric=Metric.SUCCESS_RATE, above=False, value=least)] if least is not None else [])]


async def _targets(context: CheckContext, plane: TrafficPlane, route: str, asked: Monitoring) -> list[Limit]:
    """What users are owed: while a failover lasts, the rate of errors that the runbook allows during it."""
    targets = context.targets(await policy_of(plane, route))
    if asked.failover:
        allowed = 100 - context.config.kpis.user_error_rate_percent
        targets = targets.model_copy(update={"success_percent": min(allowed, targets.success_percent)})
    return limits_of(targets)


Beside = Callable[[], AsyncIterator[str]]


@asynccontextmanager
async def _beside(context: CheckContext, plane: TrafficPlane, route: str, asked: Monitoring) -> AsyncIterator[Beside]:
    """What else is told at each sample: in a failover, the shares in force and the runs that move them."""
    client = None
    if asked.failover:
        client = await connect(context.settings, context.stack)

    async def tell() -> AsyncIterator[str]:
        if client is None:
            return
        policy = await policy_of(plane, route)
        yield f"{render(policy.distribution)} ({policy.mode.value})"
        for run in await open_runs(client):
            yield f"{run.workflow_id} {run.phase}" + (f", waits for {run.waits_for}" if run.waits_for else "")

    yield tell


async def _sampled(
    context: CheckContext, plane: TrafficPlane, watch: Watch, view: "_View", beside: Beside
) -> list[Check]:
    """Print a line a sample until the time is over; → what broke on the way, and how the whole of it stands."""
    loop, gating = asyncio.get_running_loop(), context.config.procedures.gating
    began = (await _now(plane)).at
    deadline, alarms, gaps = loop.time() + watch.duration.total_seconds(), 0, 0
    while (left := deadline - loop.time()) > 0:
        await asyncio.sleep(min(left, watch.interval.total_seconds()))
        try:
            recent = await counted(plane, max(began, (await _now(plane)).at - gating.window))
            figures = figures_of(recent, watch.route, watch.provider)
            broken = [
                said for limit in watch.limits if (said := _broken(limit, figures, gating.minimum_requests)) is not None
            ]
            alarms += bool(broken)
            view.sample(recent.at - began, figures, broken, [line async for line in beside()])
        except Unavailable as error:
            gaps += 1
            view.gap(str(error))
    whole = figures_of(await counted(plane, began), watch.route, watch.provider)
    return [*_whole(watch, whole, gating.minimum_requests), *_on_the_way(watch, alarms, gaps)]


async def _now(plane: TrafficPlane) -> Telemetry:
    """A look at the data plane's own clock."""
    telemetry = await plane.observe(window=timedelta(seconds=1))
    if telemetry is None:
        raise Unavailable("The data plane does not count what it serves: nothing can be watched.")
    return telemetry


def _broken(limit: Limit, figures: Figures, minimum: int) -> str | None:
    found, said = judge(limit, figures, minimum)
    return said if found is Judgement.FAIL else None


def _whole(watch: Watch, figures: Figures, minimum: int) -> list[Check]:
    if not watch.limits:
        enough = figures.requests >= minimum
        said = f"{figures.requests} requests, {minimum} are needed to tell"
        about = watch.subject
        return [Check(about=about, judgement=Judgement.PASS if enough else Judgement.INCONCLUSIVE, said=said)]
    judged = [judge(limit, figures, minimum) for limit in watch.limits]
    return [Check(about=watch.subject, judgement=found, said=said) for found, said in judged]


def _on_the_way(watch: Watch, alarms: int, gaps: int) -> list[Check]:
    """What the whole may hide: a sample in which a limit was broken, or in which nothing could be seen."""
    broke = [failed("samples", f"a limit was broken in {alarms} of them")] if alarms else []
    blind = [unknown("samples", f"the data plane did not tell {gaps} times")] if gaps else []
    return [*broke, *blind]


class _View:
    """A line a sample, as it goes; JSON lines for machines."""

    def __init__(self, watch: Watch, *, json: bool) -> None:
        self._watch = watch
        self._json = json

    def sample(self, elapsed: timedelta, figures: Figures, broken: Sequence[str], beside: Sequence[str]) -> None:
        values = {metric.value: figures.value(metric) for metric in self._watch.metrics}
        if self._json:
            told = {"elapsed": elapsed.total_seconds(), "requests": figures.requests, **values}
            as_json_line("monitor-sample", {**told, "broken": broken, "beside": beside})
            return
        said = "  ".join(f"{metric.value} {shown(metric, figures.value(metric))}" for metric in self._watch.metrics)
        self._print(f"{elapsed.total_seconds():6.1f} s {figures.requests:5d} requests  {said}")
        for line in beside:
            self._print(f"           {line}")
        for line in broken:
            self._print(f"    ALERT  {line}", style="bold red")

    def gap(self, why: str) -> None:
        if self._json:
            as_json_line("monitor-sample", {"error": why})
        else:
            self._print(f"  NO DATA  {why}", style="yellow")

    def _print(self, text: str, style: str = "") -> None:
        from rich.text import Text

        out = console()
        out.print(Text(text, style=style))
        out.file.flush()
