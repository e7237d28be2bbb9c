"""The data plane: does it answer, is every route there and obeyed, may we change it, do our clocks agree."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from failover.config import Config
from failover.errors import RequestError
from failover.findings import Finding, failed, ok, warning
from failover.policy import Change, ChangedBy, ChangeResult, ChangeStatus, Revision, TrafficPolicy
from failover.ports import TrafficPlane
from failover.readiness import worst
from failover.units import count, milliseconds

SKEW = timedelta(seconds=2)
"""The most that the clocks may differ; beyond it, windows of counters no longer are what they say."""


BATCH = 500
"""Changes that a data plane takes in one call."""


async def examine(plane: TrafficPlane, config: Config) -> list[Finding]:
    policies = await plane.read()
    missing = sorted(set(config.routes) - {policy.route for policy in policies})
    found = [ok("data plane", f"it answers, with {count(len(policies), 'route')}")]
    if missing:
        repair = "restart the gateways with this configuration"
        found.append(failed("routes", f"the data plane does not know {', '.join(missing)}", repair))
    return [*found, *await _obeyed(plane, policies), await _writable(plane, policies[:1]), await _clock(plane)]


async def _obeyed(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> list[Finding]:
    instances = await plane.obeyed()
    if not instances:
        return [failed("instances", "no live instance of the data plane reports", "start a gateway")]
    behind = sorted(f"{name} ({route})" for route, names in laggards(instances, policies).items() for name in names)
    if behind:
        return [
            failed(
                "instances", f"not on the policy in force: {', '.join(behind)}", "look at their logs, or restart them"
            )
        ]
    return [ok("instances", f"{len(instances)} obey the policies in force")]


def laggards(instances: Mapping[str, Mapping[str, str]], policies: Sequence[TrafficPolicy]) -> dict[str, list[str]]:
    """Route → instances that obey another policy of it than the one in force."""
    found = {
        policy.route: [name for name, obeyed in instances.items() if obeyed.get(policy.route) != str(policy.revision)]
        for policy in policies
    }
    return {route: names for route, names in found.items() if names}


async def _writable(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> Finding:
    if not policies:
        return failed("writable", "there is no route that could be changed", "start a gateway with routes")
    return worst((await writable(plane, policies)).values()) or failed(
        "writable", "nothing was answered", "see its log"
    )


async def writable(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> dict[str, Finding]:
    """Route → whether a change of it would be taken: by one that was decided on a revision that never was.

    It is refused by whoever would take a good one, so that nothing is changed and no revision is used up.
    """
    batches = [policies[start : start + BATCH] for start in range(0, len(policies), BATCH)]
    return {route: one for batch in batches for route, one in (await _tried(plane, batch)).items()}


async def _tried(plane: TrafficPlane, policies: Sequence[TrafficPolicy]) -> dict[str, Finding]:
    at = datetime.now(UTC).isoformat()
    try:
        results = await plane.apply([_never(policy, at) for policy in policies])
    except RequestError as error:
        refused = failed("writable", str(error), "set FAILOVER_API_TOKEN to the gateway's token")
        return dict.fromkeys((policy.route for policy in policies), refused)
    return {policy.route: _refused(result) for policy, result in zip(policies, results, strict=True)}


def _never(policy: TrafficPolicy, at: str) -> Change:
    return Change(
        route=policy.route,
        decided_on=Revision(policy.revision.epoch, 0),
        key=f"looked/{at}",
        distribution=policy.distribution,
        changed_by=ChangedBy(actor="failoverctl"),
        reason="a look whether changes are taken; this one cannot be",
    )


def _refused(result: ChangeResult) -> Finding:
    if result.status is not ChangeStatus.REFUSED:
        said = f"a change on a stale revision was {result.status.value}"
        return failed("writable", said, "do not use this data plane")
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
