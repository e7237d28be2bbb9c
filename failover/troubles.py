"""Why users are in trouble now, and which run is at it: what every picture of the state of things agrees on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from failover import kinds
from failover.distribution import percent
from failover.health import Verdict
from failover.policy import Mode, TrafficPolicy, is_drill


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """A run under way, or (with `outcome` and `closed_at`) one that ended. `waits_for` is "" where it goes on by itself.

    `provider`: whom it takes users off, "" where it is about nobody alone, or that is not known.
    """

    workflow_id: str
    procedure: str
    phase: str
    provider: str = ""
    waits_for: str = ""
    outcome: str = ""
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`said` in a sentence without its full stop; `why` where it is known. `run` is at it; None: `do` is what helps."""

    said: str
    why: str = ""
    run: RunNow | None = None
    do: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.said}: {self.why.rstrip('.')}." if self.why else f"{self.said}."


def troubles(
    policies: Sequence[TrafficPolicy], verdicts: Sequence[Verdict], runs: Sequence[RunNow] = ()
) -> list[Trouble]:
    """Traffic on who is down, and degraded service, where who stands in for the providers is the answer already."""
    return [
        *(one for policy in policies if policy.mode is not Mode.DEGRADED for one in _dead(policy, verdicts, runs)),
        *(_degraded(policy, runs) for policy in policies if policy.mode is Mode.DEGRADED),
    ]


def _dead(policy: TrafficPolicy, verdicts: Sequence[Verdict], runs: Sequence[RunNow]) -> list[Trouble]:
    return [
        Trouble(
            said=f"{one.provider} is down and has {percent(policy.distribution[one.provider])} % of route {policy.route}",
            why=one.reason,
            run=_mover(runs, one.provider),
            do=f"failoverctl failover --from {one.provider}",
        )
        for one in sorted(verdicts, key=lambda one: one.provider)
        if one.down and policy.distribution.get(one.provider)
    ]


def _degraded(policy: TrafficPolicy, runs: Sequence[RunNow]) -> Trouble:
    return Trouble(
        said=f"Service of route {policy.route} is degraded",
        run=_emergency(runs),
        do=f"failoverctl restore {policy.route} --normal",
    )


def _mover(runs: Sequence[RunNow], provider: str) -> RunNow | None:
    # A watch for a failback, or a drill, helps nobody who is in trouble.
    about = (
        run
        for run in runs
        if run.procedure in kinds.FAILOVERS and run.provider == provider and not is_drill(run.workflow_id)
    )
    return next(about, None) or _emergency(runs)


def _emergency(runs: Sequence[RunNow]) -> RunNow | None:
    return next((run for run in runs if run.procedure == kinds.EMERGENCY), None)
