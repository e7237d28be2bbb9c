"""How often failovers succeed, over many records: counts and intervals beside each rate, and the runbook's targets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from failover.accuracy import Interval, wilson
from failover.config.kpis import SuccessRates
from failover.incident import Outcome, RunRecord, Trigger
from failover.kinds import FAILBACK, FAILOVERS

FAILED = (Outcome.ROLLED_BACK, Outcome.HELD, Outcome.STOPPED, Outcome.NEEDS_HUMAN)
"""Ends that were not what the run was started for, whoever is to blame."""

AUTOMATED, MANUAL, RETURNED = "automated failover", "manual failover", "failback"

NAMES = (AUTOMATED, MANUAL, RETURNED)
"""The rates that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`succeeded` of `counted` runs. `left_out` says why others were not counted, with how many. `percent` None: no run."""

    name: str
    counted: int
    succeeded: int
    target: float
    left_out: Sequence[str] = ()

    @property
    def percent(self) -> float | None:
        return 100 * self.succeeded / self.counted if self.counted else None

    @property
    def interval(self) -> Interval | None:
        """The interval of the rate at 95 % confidence; None if nothing was counted."""
        return wilson(self.succeeded, self.counted) if self.counted else None

    @property
    def met(self) -> bool | None:
        """The point estimate decides; the interval says how much so few runs can prove."""
        return None if self.percent is None else self.percent > self.target


def success_rates(records: Iterable[RunRecord], targets: SuccessRates) -> list[Rate]:
    """Automated and manual failovers, and failbacks, against their targets."""
    wanted = (targets.automated_failover_percent, targets.manual_failover_percent, targets.failback_percent)
    known = [(rate_of(record), record) for record in records]
    return [
        _rate(name, [record for rate, record in known if rate == name], target)
        for name, target in zip(NAMES, wanted, strict=True)
    ]


def rate_of(record: RunRecord) -> str | None:
    """The rate that a run is looked at for; None: for none. Drills are neither failovers nor failbacks."""
    if record.is_drill:
        return None
    if record.procedure in FAILOVERS:
        return AUTOMATED if record.trigger is Trigger.AUTOMATIC else MANUAL
    return RETURNED if record.procedure == FAILBACK else None


def succeeded(record: RunRecord) -> bool | None:
    """Whether a run did what it was started for; None where it says nothing of how well failovers work."""
    return None if why_not_counted(record) else record.outcome is Outcome.COMPLETED


def _rate(name: str, records: Sequence[RunRecord], target: float) -> Rate:
    why, good = [why_not_counted(record) for record in records], [succeeded(record) for record in records]
    left_out = {reason: why.count(reason) for reason in dict.fromkeys(why) if reason is not None}
    return Rate(
        name=name,
        counted=len(good) - good.count(None),
        succeeded=good.count(True),
        target=target,
        left_out=[f"{count} {reason}" for reason, count in left_out.items()],
    )


def why_not_counted(record: RunRecord) -> str | None:
    """Why a run says nothing of how well failovers work; None where it does."""
    if record.outcome is Outcome.REJECTED:
        return "refused before anything moved"
    if record.outcome is Outcome.SUPERSEDED:
        return "taken over by another run"
    if record.outcome is Outcome.ABORTED:
        return "aborted by a person"
    if record.outcome is Outcome.COMPLETED and record.moments.in_force is None:
        return "with nothing to move"
    return None
