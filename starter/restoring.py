"""`failoverctl restore`: break-glass. The last good policy of each route named, straight to the policy store, without Temporal.

What was good is `starter.last_good`. A provider known to be down gets no more traffic by it, unless the operator names the
distribution.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client

from failover.distribution import Distribution, Shares, parse, render
from failover.emergency import NAME
from failover.errors import DataPlaneUnavailable, FailoverError, RequestError, Unavailable
from failover.health import Verdict
from failover.policy import Change, ChangedBy, ChangeResult, Mode, TrafficPolicy
from failover.ports import TrafficPlane
from failover.ramp import why_not_rise
from failover.restoration import lagging
from starter.arguments import operator
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.last_good import Good, last_good
from starter.output import as_json, confirm, say
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.runs.finding import executions
from starter.settings import Settings
from starter.status import verdicts

ATTEMPTS = 5
"""The most tries against whoever writes at the same time; each is decided on what is in force then."""

OBEYED_WITHIN = timedelta(seconds=10)

ASK_TEMPORAL = 3.0
"""Seconds: whether it answers decides nothing that must wait."""

KNOWN_FOR = timedelta(seconds=60)
"""How old a verdict may be to hold traffic back by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`degraded`: every route in degraded service, beside those named."""

    routes: Sequence[str]
    degraded: bool
    to: str | None
    normal: bool
    reason: str
    yes: bool
    json: bool
    state: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was written. `unknown`: what could not be known when it was decided. `verified` None: nobody could tell."""

    route: str
    before: Shares
    after: Shares
    why: str
    revision: str
    released_claim: str | None
    mode: Mode
    verified: bool | None
    instances: int = 0
    unknown: Sequence[str] = field(default_factory=list)


def run_restore(settings: Settings, wanted: Wanted) -> int:
    stack = find(settings, wanted.state)
    restored, failed = asyncio.run(_restore_all(settings, stack, wanted))
    if wanted.json:
        one = len(wanted.routes) == 1 and not wanted.degraded and not failed
        as_json("restored", restored[0] if one else {"routes": restored, "failed": failed})
    else:
        print("\n".join(line for one in restored for line in _sentences(one)), flush=True)
    if failed:
        return ExitCode.NEEDS_HUMAN
    return ExitCode.DONE if all(one.verified for one in restored) else ExitCode.NEEDS_HUMAN


async def _restore_all(settings: Settings, stack: Stack, wanted: Wanted) -> tuple[list[Restored], dict[str, str]]:
    """What was written, and which routes could not be and why: one that fails holds no other up.

    A name that is not known changes nothing at all.
    """
    restored, failed = list[Restored](), dict[str, str]()
    async with closing(plane_of(stack)) as plane:
        routes = await _named(plane, wanted)
        temporal = await _temporal(settings, stack)
        for route in routes:
            try:
                restored.append(await _restore(settings, stack, plane, temporal, route, wanted))
            except FailoverError as error:
                if len(routes) == 1:
                    raise
                failed[route] = str(error)
                say(f"Route {route} is not restored: {error}")
    return restored, failed


async def _named(plane: TrafficPlane, wanted: Wanted) -> list[str]:
    policies = {policy.route: policy for policy in await plane.read()}
    unknown = [route for route in wanted.routes if route not in policies]
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise RequestError(f"There is no route {names}; the routes are {', '.join(policies)}. Nothing was changed.")
    degraded = [policy.route for policy in policies.values() if wanted.degraded and policy.mode is Mode.DEGRADED]
    routes = list(dict.fromkeys([*wanted.routes, *degraded]))
    if not routes and not wanted.degraded:
        raise RequestError(f"Name the routes to restore, or --degraded; the routes are {', '.join(policies)}.")
    if not routes:
        say("No route is in degraded service: there is nothing to restore.")
    return routes


async def _restore(
    settings: Settings, stack: Stack, plane: TrafficPlane, temporal: Client | None, route: str, wanted: Wanted
) -> Restored:
    found = await _policy(plane, route)
    unknown: list[str] = []
    named_by_hand = Good(distribution=dict(parse(wanted.to)), why="as you named it") if wanted.to else None
    good = named_by_hand or await last_good(settings, stack, found, temporal, unknown)
    good = await _without_the_down(stack, wanted, found, good, unknown)
    mode = await _mode(temporal, wanted, found, unknown)
    confirm(_question(found, good, mode), yes=wanted.yes)
    return await _write(plane, found, wanted, good, mode, unknown)


async def _temporal(settings: Settings, stack: Stack) -> Client | None:
    """Connect to Temporal; None if it does not answer soon: nothing here needs it."""
    try:
        async with asyncio.timeout(ASK_TEMPORAL):
            return await connect(settings, stack)
    except (TimeoutError, Unavailable):
        return None


async def _policy(plane: TrafficPlane, route: str) -> TrafficPolicy:
    policies = await plane.read()
    found = next((policy for policy in policies if policy.route == route), None)
    if found is None:
        known = ", ".join(policy.route for policy in policies)
        raise RequestError(f"There is no route {route!r}; the routes are {known}. Nothing was changed.")
    return found


# What may be written


async def _without_the_down(stack: Stack, wanted: Wanted, found: TrafficPolicy, good: Good, unknown: list[str]) -> Good:
    """Hold what stands if it would send more to a provider known to be down; what the operator names is obeyed."""
    down = await _down(stack, unknown)
    why = why_not_rise(found.distribution, good.distribution, down)
    if why is None:
        return good
    if wanted.to is not None:
        say(f"Mind: {why}.")
        return good
    held = f"held as it stands, not {render(good.distribution)}: {why} (--to {render(good.distribution)} overrules)"
    return Good(distribution=found.distribution, why=held)


async def _down(stack: Stack, unknown: list[str]) -> dict[str, str]:
    try:
        known: Sequence[Verdict] = await verdicts(stack)
    except FailoverError:
        unknown.append("which providers are down: no worker tells")
        return {}
    now = datetime.now(UTC)
    return {one.provider: one.reason for one in known if one.down and now - one.at <= KNOWN_FOR}


async def _mode(temporal: Client | None, wanted: Wanted, found: TrafficPolicy, unknown: list[str]) -> Mode | None:
    """The mode: NORMAL if degraded service is to end, its run gone or the operator saying so. None: as it is."""
    if found.mode is Mode.NORMAL:
        return None
    if wanted.normal:
        return Mode.NORMAL
    going_on = await _emergency_is_open(temporal)
    if going_on is None:
        unknown.append(
            "whether the emergency is still under way: Temporal does not answer. Degraded service stays; --normal ends it"
        )
        return None
    if going_on:
        say("An emergency is under way, so degraded service stays; --normal ends it all the same.")
        return None
    return Mode.NORMAL


async def _emergency_is_open(temporal: Client | None) -> bool | None:
    """Whether an emergency is open; None if nobody tells."""
    if temporal is None:
        return None
    try:
        async with asyncio.timeout(ASK_TEMPORAL):
            return bool(await executions(temporal, f'ExecutionStatus = "Running" AND WorkflowType = "{NAME}"', 1))
    except (TimeoutError, Unavailable):
        return None


# The write


async def _write(
    plane: TrafficPlane, found: TrafficPolicy, wanted: Wanted, good: Good, mode: Mode | None, unknown: list[str]
) -> Restored:
    """Write on the revision of now, until it is taken: whoever decided on an older one is refused from then on."""
    key = f"restore/{uuid.uuid4().hex[:12]}"
    for attempt in range(ATTEMPTS):
        before = await _policy(plane, found.route)
        [result] = await plane.apply([_change(f"{key}/{attempt}", before, wanted, good.distribution, mode)])
        if result.in_force and result.policy is not None:
            restored = _restored(before, result, good, unknown)
            return await _verified(plane, restored, result.policy)
    raise DataPlaneUnavailable(
        f"Somebody changes route {found.route} all the time: {ATTEMPTS} writes were refused ({result.reason}) "
        "End that first, or run this again."
    )


def _change(key: str, before: TrafficPolicy, wanted: Wanted, distribution: Distribution, mode: Mode | None) -> Change:
    return Change(
        route=before.route,
        decided_on=before.revision,
        key=key,
        distribution=dict(distribution),
        mode=mode,
        degraded=None if mode is None else {},
        claim="",
        changed_by=ChangedBy(actor=operator(), step="restore"),
        reason=wanted.reason or "restored by hand",
    )


def _restored(before: TrafficPolicy, result: ChangeResult, good: Good, unknown: Sequence[str]) -> Restored:
    assert result.policy is not None
    return Restored(
        route=before.route,
        before=before.distribution,
        after=result.policy.distribution,
        why=good.why,
        revision=str(result.policy.revision),
        released_claim=before.claim,
        mode=result.policy.mode,
        verified=None,
        unknown=list(unknown),
    )


async def _verified(plane: TrafficPlane, restored: Restored, policy: TrafficPolicy) -> Restored:
    """Whether every live instance obeys it; one that does not within seconds is said to lag."""
    deadline = datetime.now(UTC) + OBEYED_WITHIN
    while True:
        try:
            instances = await plane.obeyed()
        except DataPlaneUnavailable as error:
            return replace(restored, unknown=[*restored.unknown, f"whether it is obeyed: {error}"])
        behind = lagging([policy], instances)
        if not behind:
            return replace(restored, verified=True, instances=len(instances))
        if datetime.now(UTC) >= deadline:
            return replace(restored, verified=False, unknown=[*restored.unknown, *behind])
        await asyncio.sleep(0.2)


# Telling


def _question(found: TrafficPolicy, good: Good, mode: Mode | None) -> str:
    claim = f" The claim of {found.claim} is released." if found.claim else ""
    degraded = " Degraded service ends." if mode is Mode.NORMAL else ""
    return (
        f"Route {found.route} is at {render(found.distribution)}. Write {render(good.distribution)} "
        f"({good.why})?{claim}{degraded}"
    )


def _sentences(restored: Restored) -> list[str]:
    proved = {
        True: f"obeyed by {restored.instances} instance{'' if restored.instances == 1 else 's'}",
        False: "NOT obeyed everywhere",
        None: "not proved",
    }
    lines = [
        f"Route {restored.route}: {render(restored.before)} → {render(restored.after)}, {restored.why}.",
        f"Revision {restored.revision}, {proved[restored.verified]}; service is {restored.mode.value}.",
    ]
    if restored.released_claim:
        lines.append(f"The claim of {restored.released_claim} is released: its next write is refused.")
    return [*lines, *(f"Not known: {one}." for one in restored.unknown)]
