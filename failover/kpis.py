"""The runbook's key performance indicators of one run, each with its target."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from failover import kinds
from failover.incident import Impact, RunRecord
from failover.units import render_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One indicator. `value` in `unit` ("s" or "%"), None where it is not known; `met` None where it cannot be told."""

    name: str
    value: float | None
    target: float
    unit: str
    explanation: str

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.value < self.target

    def render(self) -> str:
        return "unknown" if self.value is None else f"{self.value:.1f} {self.unit}"

    def render_target(self) -> str:
        return f"< {render_duration(timedelta(seconds=self.target)) if self.unit == 's' else f'{self.target:g} %'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """A run's three clocks: all of it, without waiting for people, and waiting for people."""

    total: timedelta
    active: timedelta
    waiting_for_people: timedelta


def binds(record: RunRecord) -> bool:
    """Whether the targets are a run's: they are of immediate failovers, and of drills, which practise one.

    A ramp has its own plan, and an emergency is over when a provider comes back.
    """
    return record.procedure == kinds.IMMEDIATE or record.is_drill


def counts(record: RunRecord) -> bool:
    """Whether how a run did is told among others: nothing was really wrong in a drill."""
    return binds(record) and not record.is_drill


def measure(record: RunRecord) -> list[Kpi]:
    """Every indicator, in the runbook's order. What did not happen, or was not counted, is unknown: never met."""
    moments, targets = record.moments, record.kpis
    execution = targets.immediate_execution if record.procedure == kinds.IMMEDIATE else targets.execution
    return [
        _time("detection", moments.first_bad, moments.unhealthy, targets.detection, "first bad sample → unhealthy"),
        _time("execution", moments.decided, moments.verified, execution, "decided → in force and verified"),
        _time("restoration", moments.in_force, moments.restored, targets.restoration, "in force → users' side good"),
        _time("total", moments.first_bad, moments.restored, targets.total, "first bad sample → users' side good"),
        *_impact(record.impact, record),
    ]


def _time(name: str, start: datetime | None, end: datetime | None, target: timedelta, explanation: str) -> Kpi:
    value = None if start is None or end is None else max(0.0, (end - start).total_seconds())
    return Kpi(name=name, value=value, target=target.total_seconds(), unit="s", explanation=explanation)


def _impact(impact: Impact | None, record: RunRecord) -> list[Kpi]:
    targets = record.kpis
    loss, errors = targets.request_loss_percent, targets.user_error_rate_percent
    lost = _at_least(impact.lost, impact, loss) if impact else None
    failed = _at_least(impact.failed, impact, errors) if impact else None
    pending, untimed = (impact.pending, impact.untimed) if impact else (0, 0)
    slower, allowed = _degradation(impact), targets.degradation_percent
    return [
        _share("request loss", lost, loss, "accepted and never usefully answered", pending),
        _share("user error rate", failed, errors, "errors to users while it lasted", pending),
        _share("degradation", slower, allowed, "P95 after against the minute before", untimed),
    ]


def _at_least(bad: int, impact: Impact, target: float) -> float | None:
    """The share that is known to be bad, in percent; None where those that have not ended could still change the verdict."""
    requests = impact.requests + impact.pending
    if not requests:
        return None
    least, most = 100 * bad / requests, 100 * (bad + impact.pending) / requests
    return None if least < target <= most else least


def _share(name: str, value: float | None, target: float, explanation: str, pending: int) -> Kpi:
    more = f"; {pending} requests of that time had not ended" if pending else ""
    return Kpi(name=name, value=value, target=target, unit="%", explanation=f"{explanation}{more}")


def _degradation(impact: Impact | None) -> float | None:
    if impact is None or not impact.baseline_p95 or impact.after_p95 is None:
        return None
    return 100 * (impact.after_p95 / impact.baseline_p95 - 1)


def clocks(record: RunRecord) -> Clocks:
    """The times of a closed run; those of one that is still open count to its last entry."""
    last = record.timeline[-1].at if record.timeline else record.moments.decided
    total = (record.moments.closed or last) - record.moments.decided
    waiting = record.waited_for_people
    return Clocks(total=total, active=total - waiting, waiting_for_people=waiting)
