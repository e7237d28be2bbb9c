"""The data plane: does it answer, is every route there and obeyed, may we change it, do our clocks agree."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from failover.config import Config
from failover.errors import RequestError
from failover.findings import Finding, failed, ok, warning
from failover.policy import Change, ChangedBy, ChangeStatus, Revision, TrafficPolicy
from failover.ports import TrafficPlane
from failover.units import milliseconds

SKEW = timedelta(seconds=2)
"""More than that, and windows of counters no longer are what they say."""


async def examine(plane: TrafficPlane, config: Config) -> list[Finding]:
    policies = await plane.read()
    missing = sorted(set(config.routes) - {policy.route for policy in policies})
    found = [ok("data plane", f"it answers, with {len(policies)} routes")]
    if missing:
        repair = "restart the gateways with this configuration"
        found.append(failed("routes", f"the data plane does not know {', '.join(missing)}", repair))
    return [*found, *await _obeyed(plane, policies), await _writable(plane, policies), await _clock(plane)]


async def _obeyed(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> list[Finding]:
    instances = await plane.obeyed()
    if not instances:
        return [failed("instances", "no live instance of the data plane reports", "start a gateway")]
    behind = sorted(
        f"{name} ({policy.route})"
        for name, revisions in instances.items()
        for policy in policies
        if revisions.get(policy.route) != str(policy.revision)
    )
    if behind:
        return [
            failed(
                "instances", f"not on the policy in force: {', '.join(behind)}", "look at their logs, or restart them"
            )
        ]
    return [ok("instances", f"{len(instances)} obey the policies in force")]


async def _writable(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> Finding:
    """A change that was decided on a revision that never was: refused by whoever would take a good one."""
    if not policies:
        return failed("writable", "there is no route that could be changed", "start a gateway with routes")
    policy = policies[0]
    never = Change(
        route=policy.route,
        decided_on=Revision(policy.revision.epoch, 0),
        key=f"doctor/{datetime.now(UTC).isoformat()}",
        distribution=policy.distribution,
        changed_by=ChangedBy(actor="doctor"),
        reason="failoverctl doctor looks whether changes are taken; this one cannot be",
    )
    try:
        (result,) = await plane.apply([never])
    except RequestError as error:
        return failed("writable", str(error), "set FAILOVER_API_TOKEN to the gateway's token")
    if result.status is not ChangeStatus.REFUSED:
        return failed(
            "writable", f"a change on a stale revision was {result.status.value}", "do not use this data plane"
        )
    return ok("writable", "it takes our changes (a stale one was refused, as it must be; nothing was changed)")


async def _clock(plane: TrafficPlane) -> Finding:
    before = datetime.now(UTC)
    telemetry = await plane.observe(window=timedelta(seconds=60))
    if telemetry is None:
        return warning(
            "clock skew",
            "the data plane cannot tell what it serves",
            "see to its counters: nothing is verified without",
        )
    middle = before + (datetime.now(UTC) - before) / 2
    skew = telemetry.at - middle
    if abs(skew) > SKEW:
        said = f"the data plane's clock is {milliseconds(abs(skew))} ms {'ahead of' if skew > timedelta(0) else 'behind'} ours"
        return failed("clock skew", said, "synchronise both machines (NTP)")
    return ok("clock skew", f"{milliseconds(abs(skew))} ms between the data plane and this machine")
