"""The four orders of `canary`: start one, tell one where to go next, take one back, or only sample the route."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from failover.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options of `canary` as they were typed; what was not has its default."""

    source_provider: str | None = None
    update_traffic: str | None = None
    rollback: bool = False
    validation_mode: bool = False
    target_provider: str | None = None
    traffic_percentage: str | None = None
    duration: str | None = None
    percents: str | None = None
    step_duration: str | None = None
    success_threshold: str | None = None
    failure_threshold: str | None = None
    synthetic: int | None = None
    sample_size: int | None = None
    run: str | None = None
    route: str | None = None
    reason: str = ""
    actor: str | None = None
    approval: Sequence[str] = ()
    emergency_mode: bool = False
    dry_run: bool = False

    @property
    def given(self) -> list[str]:
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A canary that is to be started. `target` None: the first in the chain of the source."""

    source: str
    target: str | None
    route: str | None
    reason: str
    traffic: str | None = None
    duration: str | None = None
    percents: str | None = None
    step_duration: str | None = None
    success_threshold: str | None = None
    failure_threshold: str | None = None
    approvals: Sequence[str] = ()
    synthetic: int | None = None
    emergency: bool = False
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The running canary that an order is for: the one named, else that of the route."""

    run: str | None
    route: str | None
    actor: str | None
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    meant: Meant
    percent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    meant: Meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    route: str | None
    size: int | None
    threshold: str | None


Order = Start | Update | Rollback | Sample

_STEERING = {"run", "route", "actor", "reason"}
TAKES = {
    "source_provider": {
        *("target_provider", "traffic_percentage", "duration", "percents", "step_duration"),
        *("success_threshold", "failure_threshold", "synthetic", "route", "reason"),
        *("approval", "emergency_mode", "dry_run"),
    },
    "update_traffic": _STEERING,
    "rollback": _STEERING,
    "validation_mode": {"sample_size", "success_threshold", "route"},
}
"""The option that names the order → what else it takes. How the command goes about it (--wait, --yes, --json) all do."""


def which_order(typed: Typed) -> Order:
    """Find the order; RequestError if it is none of the four, or takes an option it would ignore: --dry-run must not move."""
    named = [name for name in typed.given if name in TAKES]
    if len(named) != 1:
        raise RequestError(
            "Give one of --source-provider (start a canary), --update-traffic (where it goes next), --rollback "
            "(take it back) and --validation-mode (move nothing, and sample the route). Nothing was done."
        )
    order = named[0]
    for name in typed.given:
        if name != order and name not in TAKES[order]:
            takers = " or ".join(_option(taker) for taker, taken in TAKES.items() if name in taken)
            raise RequestError(f"{_option(name)} goes with {takers}, not with {_option(order)}. Nothing was done.")
    return _order(typed, order)


def _order(typed: Typed, order: str) -> Order:
    meant = Meant(run=typed.run, route=typed.route, actor=typed.actor, comment=typed.reason)
    if order == "validation_mode":
        return Sample(route=typed.route, size=typed.sample_size, threshold=typed.success_threshold)
    if order == "rollback":
        return Rollback(meant=meant)
    if typed.update_traffic is not None:
        return Update(meant=meant, percent=typed.update_traffic)
    assert typed.source_provider is not None
    return Start(
        source=typed.source_provider,
        target=typed.target_provider,
        route=typed.route,
        reason=typed.reason,
        traffic=typed.traffic_percentage,
        duration=typed.duration,
        percents=typed.percents,
        step_duration=typed.step_duration,
        success_threshold=typed.success_threshold,
        failure_threshold=typed.failure_threshold,
        approvals=typed.approval,
        synthetic=typed.synthetic,
        emergency=typed.emergency_mode,
        dry_run=typed.dry_run,
    )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
