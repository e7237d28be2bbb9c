"""What the traffic policy was, by what runs recorded and what the detectors saw of the shares."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from failover.analysis.case import PolicyChange
from failover.incident import RunRecord
from failover.replay import DetectorSample

SAME = timedelta(seconds=5)
"""A run's own moment and the first sample that shows its shares are no further apart than this, beside a probe's cadence."""


def policy_changes(samples: Sequence[DetectorSample], records: Sequence[RunRecord]) -> list[PolicyChange]:
    """Every change, oldest first: those of runs with their author, others as the detectors came to see them."""
    known = [change for record in records for change in _of_run(record)]
    noticed = [change for change in _noticed(samples) if not any(_same(change, one) for one in known)]
    return sorted([*known, *noticed], key=lambda change: change.at)


def _of_run(record: RunRecord) -> list[PolicyChange]:
    at = record.moments.in_force or record.moments.decided
    by = record.workflow_id + (f" ({record.requested_by})" if record.requested_by else "")
    return [
        PolicyChange(
            at=at, route=shift.route, before=shift.before, after=shift.after, by=by, reason=record.request_reason
        )
        for shift in record.routes
        if shift.before != shift.after
    ]


def _noticed(samples: Sequence[DetectorSample]) -> list[PolicyChange]:
    """Each provider's watch tells that provider's share; changes that were seen close together are one."""
    found: list[PolicyChange] = []
    last: dict[tuple[str, str], tuple[datetime, int]] = {}
    for one in sorted(samples, key=lambda sample: sample.at):
        for route, share in (one.shares or {}).items():
            kept = last.get((one.provider, route))
            if kept is not None and kept[1] != share:
                _add(found, one, route, before=kept[1], after=share, within=one.at - kept[0])
            last[one.provider, route] = (one.at, share)
    return found


def _add(
    found: list[PolicyChange], sample: DetectorSample, route: str, *, before: int, after: int, within: timedelta
) -> None:
    provider = sample.provider
    for number, change in enumerate(found):
        near = change.route == route and sample.at - change.at <= SAME and provider not in change.after
        if near:
            found[number] = replace(
                change, before={**change.before, provider: before}, after={**change.after, provider: after}
            )
            return
    found.append(
        PolicyChange(at=sample.at, route=route, before={provider: before}, after={provider: after}, within=within)
    )


def _same(noticed: PolicyChange, known: PolicyChange) -> bool:
    """Whether a run's record tells of it already; a ramp's record has the way from its first share to its last."""
    if noticed.route != known.route:
        return False
    earliest, latest = known.at - SAME, known.at + SAME + noticed.within
    return earliest <= noticed.at <= latest and all(
        known.after.get(provider, 0) == share for provider, share in noticed.after.items()
    )
