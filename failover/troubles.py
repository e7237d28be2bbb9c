"""Why users are in trouble now, and which run is at it: what every picture of the state of things agrees on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from failover import kinds
from failover.distribution import apportion, percent, render
from failover.health import Health, Verdict
from failover.policy import Mode, TrafficPolicy, is_drill


class Need(StrEnum):
    """What a run wants of a person."""

    APPROVAL = "approval"
    ANSWER = "answer"
    ORDERS = "orders"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run's wait for a person's word: for what, in a few words; and `text`, all that it asks.

    `default`: what happens by itself at the deadline.
    """

    need: Need
    what: str
    text: str
    deadline: datetime | None = None
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """A run under way. `waits` None: it goes on by itself. `told_at` None: it has not told yet where it stands.

    `provider`: whom it takes users off, "" where it is about nobody alone, or that is not known.
    """

    workflow_id: str
    procedure: str
    phase: str
    started_at: datetime
    told_at: datetime | None
    provider: str = ""
    waits: Waiting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`said` in a sentence without its full stop; `why` where it is known. `run` is at it; None: `do` is what helps.

    `by_hand` helps without any run, so without Temporal and without a worker too; "" where nobody is known to be well.
    """

    route: str
    said: str
    why: str = ""
    run: RunNow | None = None
    do: str = ""
    by_hand: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.said}: {self.why.rstrip('.')}." if self.why else f"{self.said}."


def troubles(
    policies: Sequence[TrafficPolicy], verdicts: Sequence[Verdict], runs: Sequence[RunNow] = ()
) -> list[Trouble]:
    """Traffic on who is down; and degraded service, where what stands in for the providers is the answer already."""
    return [
        *(one for policy in policies if policy.mode is not Mode.DEGRADED for one in _dead(policy, verdicts, runs)),
        *(_degraded(policy, runs) for policy in policies if policy.mode is Mode.DEGRADED),
    ]


def _dead(policy: TrafficPolicy, verdicts: Sequence[Verdict], runs: Sequence[RunNow]) -> list[Trouble]:
    return [
        Trouble(
            route=policy.route,
            said=f"{one.provider} is down and has {percent(policy.distribution[one.provider])} % of route {policy.route}",
            why=one.reason,
            run=_mover(runs, one.provider),
            do=f"failoverctl failover --from {one.provider}",
            by_hand=_by_hand(policy, verdicts),
        )
        for one in sorted(verdicts, key=lambda one: one.provider)
        if one.down and policy.distribution.get(one.provider)
    ]


def _by_hand(policy: TrafficPolicy, verdicts: Sequence[Verdict]) -> str:
    """The command that gives all of the route to those of its providers that are well, in the proportion of now."""
    well = {one.provider for one in verdicts if one.health is Health.HEALTHY}
    shares = {name: share for name, share in policy.distribution.items() if share and name in well}
    if not shares:
        return ""
    whole = {name: 100 * part for name, part in apportion(100, shares).items()}
    return f"failoverctl restore {policy.route} --to {render(whole)}"


def _degraded(policy: TrafficPolicy, runs: Sequence[RunNow]) -> Trouble:
    normal = f"failoverctl restore {policy.route} --normal"
    said = f"Service of route {policy.route} is degraded"
    return Trouble(route=policy.route, said=said, run=_emergency(runs), do=normal, by_hand=normal)


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
