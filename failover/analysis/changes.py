"""What the traffic policy was, by what runs recorded and what the detectors saw of the shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failover.analysis.case import PolicyChange
from failover.incident import Outcome, RunRecord
from failover.replay import DetectorSample

SAME = timedelta(seconds=5)
"""Changes no further apart than this, plus a probe's cadence, are one: told by a run and seen by the detectors."""

ALL = 10_000
"""Basis points; with fewer or more, not every provider's watch has seen the change yet."""


def policy_changes(samples: Sequence[DetectorSample], records: Sequence[RunRecord]) -> list[PolicyChange]:
    """Every change, oldest first: those of runs with their author, others as the detectors came to see them."""
    known = [change for record in records for change in _of_run(record)]
    noticed = [change for change in _noticed(samples) if not any(_same(change, one) for one in known)]
    found = [_attributed(change, records) for change in noticed]
    # A ramp's record tells only its first and last shares; its steps, where they were seen, say more.
    whole = [change for change in known if not any(one.by.endswith(f"step of {change.by}") for one in found)]
    return sorted([*whole, *found], key=lambda change: change.at)


def _of_run(record: RunRecord) -> list[PolicyChange]:
    at = record.moments.in_force or record.moments.decided
    return [
        PolicyChange(
            at=at,
            route=shift.route,
            before=shift.before,
            after=shift.after,
            by=_author(record),
            reason=record.request_reason,
        )
        for shift in record.routes
        if shift.before != shift.after
    ]


def _author(record: RunRecord) -> str:
    return record.workflow_id + (f" ({record.requested_by})" if record.requested_by else "")


@dataclass(slots=True)
class _Route:
    """One route's shares, as each provider's watch tells its own; `open`: since when a change is being seen."""

    shares: dict[str, int] = field(default_factory=dict)
    told: dict[str, datetime] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    open: PolicyChange | None = None


def _noticed(samples: Sequence[DetectorSample]) -> list[PolicyChange]:
    routes: dict[str, _Route] = {}
    found: list[PolicyChange] = []
    for one in sorted(samples, key=lambda sample: sample.at):
        for route, share in (one.shares or {}).items():
            found += _seen(routes.setdefault(route, _Route()), one, route, share)
    return [*found, *(route.open for route in routes.values() if route.open is not None)]


def _seen(route: _Route, sample: DetectorSample, name: str, share: int) -> list[PolicyChange]:
    """Note one provider's share on the route; → the changes that are whole with it."""
    provider, done = sample.provider, list[PolicyChange]()
    if route.open is not None and sample.at - route.open.at > SAME:
        done, route.open = [route.open], None
    before = route.shares.get(provider)
    if before is not None and before != share:
        if route.open is None:
            within = sample.at - route.told[provider]
            route.open = PolicyChange(at=sample.at, route=name, before=dict(route.shares), after={}, within=within)
        route.open = replace(route.open, after={**route.shares, provider: share})
    route.shares[provider], route.told[provider] = share, sample.at
    if route.open is not None and sum(route.shares.values()) == ALL:
        done, route.open = [*done, route.open], None
    return done


def _same(noticed: PolicyChange, known: PolicyChange) -> bool:
    earliest, latest = known.at - SAME, known.at + SAME + noticed.within
    return (
        noticed.route == known.route
        and earliest <= noticed.at <= latest
        and all(known.after.get(provider, 0) == share for provider, share in noticed.after.items())
    )


def _attributed(change: PolicyChange, records: Sequence[RunRecord]) -> PolicyChange:
    """Attribute a change to the run that was under way on its route; to nobody if another took the route from it."""
    for record in records:
        ours = any(shift.route == change.route for shift in record.routes)
        if ours and record.moments.decided <= change.at <= (record.moments.closed or change.at) + SAME:
            if record.outcome is Outcome.SUPERSEDED:
                return replace(change, reason=f"while {record.workflow_id} was under way, which was superseded")
            return replace(change, by=f"a step of {_author(record)}", reason=record.request_reason)
    return change
