"""`rehearse --all`: could every route be saved from every provider, and every procedure be carried out?"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from failover.config import Config
from failover.errors import TemporalUnavailable
from failover.rehearsal import (
    ConfigFinding,
    Everything,
    Rehearsed,
    Row,
    as_rehearsed,
    impatient,
    unmeetable,
    why_not_happy,
    why_not_saved,
)
from failover.world import World
from starter.rehearsal.clock import leaps
from starter.rehearsal.people import Answer
from starter.rehearsal.running import Procedure, Wanted, rehearse, server, usual_script

LOST = "lost provider"

EMERGENCY_LIMIT = timedelta(minutes=40)
"""The time for an emergency: everybody is well again after 21 minutes; what is not normal by then will not be."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One rehearsal, and the rows that it answers: of each route that it speaks for."""

    wanted: Wanted
    routes: Sequence[str]
    what: str


def jobs_by_default() -> int:
    """The number of servers at once; each is a Java machine that likes a core, and so does the worker at it."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))


async def rehearse_all(test_server: Path, config: Config, jobs: int, report: Report) -> Everything:
    """The rows in the order of the configuration, however many servers there are."""
    began = time.monotonic()
    planned = list(_planned(config))
    told = await _side_by_side(test_server, config, planned, jobs, report)
    rows = [row for job, one in zip(planned, told, strict=True) for row in _rows(config, job, one)]
    own = [
        *impatient(config),
        *chain.from_iterable(unmeetable(config, route) for route in config.routes),
    ]
    findings = list(dict.fromkeys([*own, *(row.finding for row in rows if row.finding is not None)]))
    return Everything(rows=rows, findings=findings, wall_seconds=time.monotonic() - began, assumed=told[-1].assumed[-1])


def _planned(config: Config) -> Iterator[_Job]:
    for provider in config.providers:
        routes = [name for name, route in config.routes.items() if route.distribution.get(provider)]
        if routes:
            script = usual_script(Procedure.IMMEDIATE, config, provider, None)
            wanted = Wanted(procedure=Procedure.IMMEDIATE, provider=provider, script=script, answer=Answer.APPROVE)
            yield _Job(wanted=wanted, routes=routes, what=LOST)
    for alike in _alike(config):
        route = alike[0]
        shares = config.routes[route].distribution
        largest = max(shares, key=lambda name: shares[name])
        for procedure in (Procedure.GRADUAL, Procedure.CANARY, Procedure.FAILBACK):
            if config.chain(route, largest):
                limit = max(timedelta(hours=6), 3 * config.procedures.failback.recovery_watch)
                wanted = Wanted(procedure=procedure, provider=largest, route=route, answer=Answer.APPROVE, limit=limit)
                yield _Job(wanted=wanted, routes=alike, what=procedure.value)
    script = usual_script(Procedure.EMERGENCY, config, "", None)
    everybody = Wanted(
        procedure=Procedure.EMERGENCY,
        provider=next(iter(config.providers)),
        script=script,
        answer=Answer.APPROVE,
        limit=EMERGENCY_LIMIT,
    )
    yield _Job(wanted=everybody, routes=list(config.routes), what=Procedure.EMERGENCY.value)


def _alike(config: Config) -> list[list[str]]:
    """Group routes that differ in nothing but their names: one rehearsal speaks for all of them."""
    groups: dict[str, list[str]] = {}
    for name, route in config.routes.items():
        groups.setdefault(f"{config.rehearsal.traffic(name)} {route.model_dump_json()}", []).append(name)
    return list(groups.values())


async def _side_by_side(
    test_server: Path, config: Config, planned: Sequence[_Job], jobs: int, report: Report
) -> list[Rehearsed]:
    """The clock of a server is one for all who use it: each server has one rehearsal at a time."""
    done = 0

    async with AsyncExitStack() as held:
        free: asyncio.Queue[WorkflowEnvironment] = asyncio.Queue()
        for _ in range(min(jobs, len(planned))):
            free.put_nowait(await held.enter_async_context(server(test_server, config)))

        async def one(job: _Job) -> Rehearsed:
            nonlocal done
            environment = await free.get()
            try:
                if not await leaps(environment):
                    environment = await held.enter_async_context(server(test_server, config))
                try:
                    told = await rehearse(environment, config, job.wanted)
                except TemporalUnavailable:
                    environment = await held.enter_async_context(server(test_server, config))
                    told = await rehearse(environment, config, job.wanted)
            finally:
                free.put_nowait(environment)
            done += 1
            report(f"{done} of {len(planned)}: {job.what} of {job.wanted.subject}: {told.outcome}")
            return told

        return list(await asyncio.gather(*(one(job) for job in planned)))


def _rows(config: Config, job: _Job, told: Rehearsed) -> list[Row]:
    world = World(as_rehearsed(config, "PONG"), told.began, told.script)
    return [_row(world, job, told, route) for route in job.routes]


def _row(world: World, job: _Job, told: Rehearsed, route: str) -> Row:
    provider = "all of them" if job.wanted.procedure is Procedure.EMERGENCY else job.wanted.provider
    if job.what == LOST:
        finding = why_not_saved(world, told, route, provider) or _only_by_people(told, route, provider)
    else:
        finding = why_not_happy(told, route)
    return Row(
        what=job.what,
        route=route,
        provider=provider,
        outcome=told.outcome,
        seconds=_seconds(told, job),
        finding=finding,
        how=finding.problem if finding else told.reason,
    )


def _seconds(told: Rehearsed, job: _Job) -> float:
    """The seconds from a lost provider's first bad sample to users served well; of a procedure, all of its seconds."""
    moments = told.record.moments if told.record else None
    if job.what == LOST and moments and moments.restored and moments.first_bad:
        return (moments.restored - moments.first_bad).total_seconds()
    start = moments.decided if moments else told.began
    return (told.ended - start).total_seconds()


def _only_by_people(told: Rehearsed, route: str, provider: str) -> ConfigFinding | None:
    """The finding that a route is saved, but by nobody unless a person starts it, or agrees; None if it saves itself."""
    if told.detected is not None and told.detected.procedure == Procedure.IMMEDIATE.value and not told.detected.asks:
        return None
    return ConfigFinding(
        about=f"{route} without {provider}",
        problem="it would be saved by people only: " + (" ".join(told.notes) or "they are asked first"),
        remedy="set detection.enabled, detection.triggers and detection.automation to act, where that is not meant",
        grave=False,
    )
