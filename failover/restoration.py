"""Is the service good again, from the users' side? Judged on what users got and on what the route answers when asked."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from failover.config.routes import Targets
from failover.distribution import WHOLE
from failover.incident import Impact, Sample
from failover.policy import Mode, TrafficPolicy
from failover.telemetry import RouteWindow, Telemetry
from failover.units import milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One synthetic request through a route: who served it and what was wrong with the answer (None: it made sense)."""

    route: str
    served_by: str | None
    complaint: str | None


def judge_sample(
    telemetry: Telemetry,
    asked: Sequence[Asked],
    targets: Mapping[str, Targets],
    evacuated: str,
    moved: Collection[str],
) -> Sample:
    """One reading of the routes named in `targets`. No users and no answer to a question is not good news.

    `moved`: the routes off which the provider `evacuated` was moved.
    """
    windows = [window for window in telemetry.routes if window.route in targets and window.requests]
    complaints = [
        *(f"route {ask.route}: {ask.complaint}" for ask in asked if ask.complaint),
        *(
            f"route {ask.route} was served by {evacuated}"
            for ask in asked
            if ask.served_by == evacuated and ask.route in moved
        ),
        *(complaint for window in windows if (complaint := why_not_good(window, targets[window.route]))),
    ]
    if not windows and not asked:
        complaints.append("no user came and nothing was asked: there is no data")
    first_tries: dict[str, int] = {}
    for tries in telemetry.providers:
        if tries.route in targets:
            first_tries[tries.provider] = first_tries.get(tries.provider, 0) + tries.first_tries
    return Sample(
        at=telemetry.at,
        window=telemetry.at - telemetry.since,
        requests=sum(window.requests for window in windows),
        failed=sum(window.failed for window in windows),
        lost=sum(window.lost for window in windows),
        empty=sum(window.empty for window in windows),
        latency_p95=worst_p95(windows),
        first_tries=first_tries,
        good=not complaints,
        reason="; ".join(complaints[:5]) or "users' side within the targets",
    )


def why_not_good(window: RouteWindow, targets: Targets) -> str | None:
    """Why users of a route are not served as they should be; None where they are."""
    bad = window.failed + window.empty + window.templates
    success = 100 * (window.requests - bad) / window.requests
    if success < targets.success_percent:
        detail = f" ({window.empty} without content)" if window.empty else ""
        return (
            f"route {window.route}: {success:.1f} % of {window.requests} requests succeeded{detail}, "
            f"target {targets.success_percent:g} %"
        )
    if window.latency_p95 is not None and window.latency_p95 > targets.response_time:
        return f"route {window.route}: P95 {milliseconds(window.latency_p95)} ms, target {milliseconds(targets.response_time)} ms"
    return None


def worst_p95(windows: Sequence[RouteWindow]) -> timedelta | None:
    return max((window.latency_p95 for window in windows if window.latency_p95 is not None), default=None)


def impact(during: Telemetry, before: Telemetry | None, after: Telemetry, routes: Collection[str]) -> Impact:
    """What users felt: `during` from the first bad sample on, latency `before` it and `after` the change."""

    def of(telemetry: Telemetry | None) -> list[RouteWindow]:
        return [window for window in telemetry.routes if window.route in routes] if telemetry else []

    untimed = {when: _untimed(of(telemetry)) for when, telemetry in (("before", before), ("after", after))}
    return Impact(
        requests=sum(window.requests for window in of(during)),
        failed=sum(window.failed for window in of(during)),
        lost=sum(window.lost for window in of(during)),
        baseline_p95=None if untimed["before"] else worst_p95(of(before)),
        after_p95=None if untimed["after"] else worst_p95(of(after)),
        pending=sum(window.pending for window in of(during)),
        untimed=sum(untimed.values()),
    )


P95_SLACK = 0.05
"""The share of requests that may still be open: were they the slowest, the P95 would be among the ended ones."""


def _untimed(windows: Sequence[RouteWindow]) -> int:
    """How many have not ended of the routes whose P95 they could change."""
    return sum(one.pending for one in windows if one.pending > P95_SLACK * (one.requests + one.pending))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must be in force on a route after a step, and which provider may get no first try there.

    `strict`: first tries must go to everybody in about the shares that are in force, not merely miss the evacuated one.
    """

    route: str
    share: Mapping[str, int]
    evacuated: str | None
    mode: Mode | None = None
    strict: bool = False


def contradictions(telemetry: Telemetry, expected: Sequence[Expectation]) -> list[str]:
    """First tries where they should not go: the data plane stored the policy and does not obey it."""
    evacuated = {expectation.route: expectation.evacuated for expectation in expected}
    stray = [
        f"route {window.route}: {window.first_tries} first tries still went to {window.provider}"
        for window in telemetry.providers
        if window.first_tries and evacuated.get(window.route) == window.provider
    ]
    return [*stray, *(odd for one in expected if one.strict for odd in _odd_shares(telemetry, one))]


IMPROBABLE = 5
"""Standard deviations by which a served share may differ from the one in force before it is no chance any more."""


def _odd_shares(telemetry: Telemetry, expectation: Expectation) -> list[str]:
    tries = telemetry.first_tries(expectation.route)
    total = sum(tries.values())
    odd = []
    for name in sorted({*tries, *expectation.share}):
        share = expectation.share.get(name, 0) / WHOLE
        slack = IMPROBABLE * math.sqrt(total * share * (1 - share)) + (1 if share else 0)
        if abs(tries.get(name, 0) - total * share) > slack:
            odd.append(
                f"route {expectation.route}: {name} got {tries.get(name, 0)} of {total} first tries, "
                f"where {100 * share:g} % are in force"
            )
    return odd


def lagging(policies: Iterable[TrafficPolicy], obeyed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Live instances of the data plane that do not obey a policy yet, in sentences."""
    return [
        f"instance {instance} still obeys {revisions.get(policy.route, 'nothing')} of route {policy.route}"
        for policy in policies
        for instance, revisions in obeyed.items()
        if revisions.get(policy.route) != str(policy.revision)
    ]


def enough_tries(telemetry: Telemetry, expected: Sequence[Expectation], needed: int) -> bool:
    """Whether every route that has users saw enough first tries to tell."""
    counts = {expectation.route: 0 for expectation in expected}
    for window in telemetry.providers:
        if window.route in counts:
            counts[window.route] += window.first_tries
    return all(count >= needed for count in counts.values())


def busy_routes(telemetry: Telemetry | None, routes: Collection[str]) -> set[str]:
    """The routes that users have been asking."""
    return (
        {window.route for window in telemetry.routes if window.requests and window.route in routes}
        if telemetry
        else set()
    )
