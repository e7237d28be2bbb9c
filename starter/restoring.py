"""`failoverctl restore`: break-glass. The last good policy of a route, straight to the policy store, without Temporal.

Last good is, in this order: what the operator names; what the run that changed the route last found, where its record says
that it did not end well; what that run, or the last one on record, ended with; the configured distribution. A provider
known to be down gets no more traffic by it, unless the operator names the distribution.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.evidence import EvidenceStore
from failover.config import Config
from failover.distribution import Distribution, Shares, parse, render
from failover.errors import DataPlaneUnavailable, FailoverError, RequestError, TemporalUnavailable
from failover.health import Verdict
from failover.incident import Outcome, RunRecord
from failover.policy import Change, ChangedBy, ChangeResult, Mode, TrafficPolicy
from failover.ports import TrafficPlane
from failover.ramp import why_not_rise
from failover.restoration import lagging
from starter.arguments import operator
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.output import as_json, confirm, say
from starter.parts import EVIDENCE, closing, plane_of
from starter.running import Stack, find
from starter.settings import Settings
from starter.showing import named
from starter.stack import load
from starter.status import verdicts

ATTEMPTS = 5
"""Against whoever writes at the same time; each is decided on what is in force then."""

OBEYED_WITHIN = timedelta(seconds=10)

ASK_TEMPORAL = 3.0
"""Seconds: whether it answers decides nothing that must wait."""

KNOWN_FOR = timedelta(seconds=60)
"""How old a verdict may be to hold traffic back by it."""

GOOD_ENDS = (Outcome.COMPLETED, Outcome.ROLLED_BACK, Outcome.ABORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    route: str
    to: str | None
    normal: bool
    reason: str
    yes: bool
    json: bool
    state: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A distribution, and why it is taken to be the last good one."""

    distribution: Shares
    why: str


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
    restored = asyncio.run(_restore(settings, stack, wanted))
    if wanted.json:
        as_json("restored", restored)
    else:
        print("\n".join(_sentences(restored)), flush=True)
    return ExitCode.DONE if restored.verified else ExitCode.NEEDS_HUMAN


async def _restore(settings: Settings, stack: Stack, wanted: Wanted) -> Restored:
    async with closing(plane_of(stack)) as plane:
        found = await _policy(plane, wanted.route)
        unknown: list[str] = []
        good = _last_good(settings, stack, wanted, found, unknown)
        good = await _without_the_down(stack, wanted, found, good, unknown)
        mode = await _mode(settings, stack, wanted, found, unknown)
        confirm(_question(found, good, mode), yes=wanted.yes)
        return await _write(plane, wanted, good, mode, unknown)


async def _policy(plane: TrafficPlane, route: str) -> TrafficPolicy:
    policies = await plane.read()
    found = next((policy for policy in policies if policy.route == route), None)
    if found is None:
        known = ", ".join(policy.route for policy in policies)
        raise RequestError(f"There is no route {route!r}; the routes are {known}. Nothing was changed.")
    return found


# What is good


def _last_good(settings: Settings, stack: Stack, wanted: Wanted, found: TrafficPolicy, unknown: list[str]) -> Good:
    if wanted.to is not None:
        return Good(distribution=dict(parse(wanted.to)), why="as you named it")
    record = _record_of(stack, found, unknown)
    if record is not None:
        return record
    config = _config(settings, stack)
    if config is None or wanted.route not in config.routes:
        raise RequestError(
            f"Nothing tells what was good on route {wanted.route!r}: no run is on record, and no configuration is at "
            "hand. Name it with --to. Nothing was changed."
        )
    return Good(distribution=config.routes[wanted.route].distribution, why="the configured distribution")


def _record_of(stack: Stack, found: TrafficPolicy, unknown: list[str]) -> Good | None:
    store = EvidenceStore((stack.state or stack.home) / EVIDENCE)
    records = [record for folder in store.list()[:200] if (record := _load(store, folder, unknown))]
    about = [record for record in records if any(shift.route == found.route for shift in record.routes)]
    about.sort(key=_ended, reverse=True)
    author = found.changed_by.workflow_id
    mine = next((one for one in about if one.workflow_id == author and _ended(one) >= found.changed_at), None)
    if mine is not None:
        return _of_author(mine, found.route)
    if author:
        unknown.append(f"what {author}, which changed the route last, had found: it has left no record")
    if not about:
        return None
    shift = next(shift for shift in about[0].routes if shift.route == found.route)
    return Good(distribution=shift.after, why=f"what {about[0].workflow_id}, the last run on record, ended with")


def _of_author(record: RunRecord, route: str) -> Good:
    shift = next(shift for shift in record.routes if shift.route == route)
    if record.outcome in GOOD_ENDS:
        return Good(distribution=shift.after, why=f"what {record.workflow_id} ended with: {record.outcome.value}")
    return Good(distribution=shift.before, why=f"what {record.workflow_id} found; it ended {record.outcome.value}")


def _load(store: EvidenceStore, folder: Path, unknown: list[str]) -> RunRecord | None:
    try:
        return store.load(folder)
    except (OSError, ValueError):
        unknown.append(f"what the record in {folder} says: it cannot be read")
        return None


def _ended(record: RunRecord) -> datetime:
    return record.moments.closed or record.moments.decided


def _config(settings: Settings, stack: Stack) -> Config | None:
    try:
        return load(stack.config or named(settings, None)).config
    except FailoverError:
        return None


async def _without_the_down(stack: Stack, wanted: Wanted, found: TrafficPolicy, good: Good, unknown: list[str]) -> Good:
    """Held as it stands where it would send more to a provider known to be down; what the operator names is obeyed."""
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


async def _mode(
    settings: Settings, stack: Stack, wanted: Wanted, found: TrafficPolicy, unknown: list[str]
) -> Mode | None:
    """NORMAL where degraded service is to end: its run is gone, or the operator says so. None: as it is."""
    if found.mode is Mode.NORMAL:
        return None
    if wanted.normal:
        return Mode.NORMAL
    try:
        async with asyncio.timeout(ASK_TEMPORAL):
            going_on = await _emergency_is_open(settings, stack)
    except (TimeoutError, FailoverError):
        unknown.append(
            "whether the emergency is still under way: Temporal does not answer. Degraded service stays; --normal ends it"
        )
        return None
    if going_on:
        say("An emergency is under way, so degraded service stays; --normal ends it all the same.")
        return None
    return Mode.NORMAL


async def _emergency_is_open(settings: Settings, stack: Stack) -> bool:
    from temporalio.service import RPCError

    from failover.emergency import NAME
    from starter.runs.finding import executions

    try:
        client = await connect(settings, stack)
        return bool(await executions(client, f'ExecutionStatus = "Running" AND WorkflowType = "{NAME}"', 1))
    except RPCError as error:
        raise TemporalUnavailable(str(error)) from error


# The write


async def _write(plane: TrafficPlane, wanted: Wanted, good: Good, mode: Mode | None, unknown: list[str]) -> Restored:
    """On the revision of now, until it is taken: whoever decided on an older one is refused from then on."""
    key = f"restore/{uuid.uuid4().hex[:12]}"
    for attempt in range(ATTEMPTS):
        before = await _policy(plane, wanted.route)
        [result] = await plane.apply([_change(f"{key}/{attempt}", before, wanted, good.distribution, mode)])
        if result.in_force and result.policy is not None:
            restored = _restored(before, result, good, unknown)
            return await _verified(plane, restored, result.policy)
    raise DataPlaneUnavailable(
        f"Somebody changes route {wanted.route} all the time: {ATTEMPTS} writes were refused ({result.reason}) "
        "End that first, or run this again."
    )


def _change(key: str, before: TrafficPolicy, wanted: Wanted, distribution: Distribution, mode: Mode | None) -> Change:
    return Change(
        route=wanted.route,
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
