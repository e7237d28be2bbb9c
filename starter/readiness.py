"""`failoverctl readiness`: what audits have found, an audit now, and the certificates. Reading needs no Temporal."""

import asyncio
import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.certificates import FileReadinessStore
from failover import kinds
from failover.certificates import Certificate, Wanted, why_void
from failover.config_file import LoadedConfig
from failover.errors import TemporalUnavailable
from failover.findings import Finding, Health, failed, ok, warning
from failover.readiness import OF_TARGETS, Audit, Standing
from failover.requests import ReadinessAuditRequest
from failover.units import render_duration, roughly
from starter.configuration import in_force
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.golden import load_prompt_sets
from starter.output import alarm, as_json, console, say, table
from starter.parts import readiness_store
from starter.running import DEFAULT_HOME, Stack, find
from starter.schedules import READINESS_AUDIT
from starter.settings import Settings
from workflows.queue import TASK_QUEUE
from workflows.readiness_audit import AuditResult, Progress

LOOK_AGAIN = timedelta(milliseconds=300)
"""The pause between two looks at the progress of an audit."""

_WORD = {Health.OK: "ok", Health.WARNING: "warning", Health.FAILED: "FAILED", Health.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A certificate as people see it; `void`: why it does not count now, None where it does."""

    certificate: Certificate
    void: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A deployment's configuration, and where its audits are kept."""

    settings: Settings
    stack: Stack
    loaded: LoadedConfig
    store: FileReadinessStore

    @classmethod
    def find(cls, settings: Settings, config: Path | None, state: Path | None) -> "Place":
        stack = find(settings, state)
        loaded = in_force(settings, stack, config)
        home = stack.state or state or settings.state or DEFAULT_HOME
        return cls(settings=settings, stack=stack, loaded=loaded, store=readiness_store(loaded.config, home))


def held(loaded: LoadedConfig, certificates: Sequence[Certificate], now: datetime) -> list[Held]:
    """Each certificate, and whether it counts by the models and prompts that are configured now."""
    config, sets = loaded.config, load_prompt_sets(loaded)

    def void(one: Certificate) -> str | None:
        if one.route not in sets or one.target not in config.providers:
            return "its route or target is not configured any more"
        return why_void(one, Wanted(model=config.model_id(one.target), digest=sets[one.route].digest), now)

    return [Held(certificate=one, void=void(one)) for one in certificates]


def run_show(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    place = Place.find(settings, config, state)
    return _show(place, place.store.latest(), json=json)


def _show(place: Place, audit: Audit | None, *, json: bool) -> int:
    if json:
        as_json("readiness", None if audit is None else told(audit))
    elif audit is None:
        alarm("Nothing is known yet: no audit was kept here. Run `failoverctl readiness audit`.")
    else:
        _print(audit, place.loaded.config.readiness.interval)
    return ExitCode.NOT_PROVED if audit is None or audit.stranded() else ExitCode.DONE


def told(audit: Audit) -> dict[str, object]:
    """An audit with what it comes to, for machines and pages."""
    return {
        "audit": audit,
        "score": round(audit.score, 1),
        "standings": {
            route: {
                "standing": audit.route_standing(route),
                "unprotected": [name for name in audit.unprotected(route) if name],
                "targets": {one.provider: audit.standing(one) for one in audit.of_route(route)},
            }
            for route in sorted(audit.routes)
        },
        "no_working_target": audit.stranded(),
    }


def _print(audit: Audit, interval: timedelta) -> None:
    from rich.text import Text

    rows = [
        (one.route, one.provider, audit.standing(one).value, *(_word(one.found.get(check)) for check in OF_TARGETS))
        for one in audit.targets
    ]
    head = ("route", "target", "standing", "credentials", "expiry", "model", "golden", "context", "capacity")
    table(f"Readiness: {audit.score:.0f} % of {len(audit.every())} checks passed", head, rows, whole=3)
    out = console()
    for where, check, one in audit.every():
        if one.health is not Health.OK:
            place = f"{where}: " if where else ""
            out.print(Text(f"{_WORD[one.health]:8} {place}{check}: {one.said}", style=_style(one)))
            out.print(Text(f"         → {one.repair}"))
    age = datetime.now(UTC) - audit.finished
    out.print(
        Text(f"Audit {audit.id}, {roughly(age)} ago{f', by {audit.requested_by}' if audit.requested_by else ''}.")
    )
    if age > 2 * interval:
        alarm(f"It is older than two intervals of {render_duration(interval)}: see `failoverctl schedules list`.")
    for route in audit.stranded():
        standing, condition = audit.route_standing(route).value, audit.condition(route)
        alarm(f"Route {route} has no target that is known to work{condition} ({standing}).")


def _word(finding: Finding | None) -> str:
    return "–" if finding is None else _WORD[finding.health]


def _style(finding: Finding) -> str:
    return "bold red" if finding.health is Health.FAILED else "yellow"


def run_audit(settings: Settings, config: Path | None, state: Path | None, *, prove_context: bool, json: bool) -> int:
    place = Place.find(settings, config, state)
    result = asyncio.run(_audit(place, ReadinessAuditRequest(requested_by=_me(), prove_context=prove_context)))
    audit = place.store.find(result.id)
    if audit is not None:
        return _show(place, audit, json=json)
    # The worker keeps its audits on another machine.
    if json:
        as_json("readiness-audit", result)
    else:
        rows = [(route, standing.value) for route, standing in result.standings.items()]
        table(f"Readiness: {result.score:.0f} % of {result.checks} checks passed", ("route", "standing"), rows)
        say(f"The audit {result.id} is kept where the worker's state directory is: `failoverctl readiness` there.")
    working = all(standing is Standing.READY for standing in result.standings.values())
    return ExitCode.DONE if working else ExitCode.NOT_PROVED


def _me() -> str:
    return getpass.getuser()


async def _audit(place: Place, request: ReadinessAuditRequest) -> AuditResult:
    client = await connect(place.settings, place.stack)
    try:
        run = await start_audit(client, request, 2 * place.loaded.config.readiness.timeout)
        return await _followed(run)
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not take the audit: {error.message}.") from error
    except WorkflowFailureError as error:
        why = getattr(error.cause, "cause", None) or error.cause
        raise TemporalUnavailable(f"The audit came to nothing: {why}. See the worker's log.") from error


async def start_audit(
    client: Client, request: ReadinessAuditRequest, patience: timedelta, task_queue: str = TASK_QUEUE
) -> WorkflowHandle[object, AuditResult]:
    """Start an audit by hand, or join the one that somebody has started."""
    return await client.start_workflow(
        kinds.READINESS_AUDIT,
        request,
        id=f"{READINESS_AUDIT}/by-hand",
        task_queue=task_queue,
        result_type=AuditResult,
        execution_timeout=patience,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="Would a failover of any route to any of its targets work now?",
    )


async def _followed(run: WorkflowHandle[object, AuditResult]) -> AuditResult:
    """The result; meanwhile the progress is said, where it can be had."""
    result, said = asyncio.create_task(run.result()), ""
    while not (await asyncio.wait({result}, timeout=LOOK_AGAIN.total_seconds()))[0]:
        try:
            now = await run.query("progress", result_type=Progress, rpc_timeout=timedelta(seconds=2))
        except RPCError:
            continue
        if now.total and (text := f"{now.done} of {now.total} looks done, the last at {now.last}.") != said:
            say(text)
            said = text
    return await result


def run_certificates(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    place, now = Place.find(settings, config, state), datetime.now(UTC)
    found = held(place.loaded, place.store.certificates(), now)
    if json:
        as_json("certificates", found)
        return ExitCode.DONE
    if not found:
        say("No target was ever certified here. Run `failoverctl readiness audit`.")
        return ExitCode.DONE
    rows = [
        (
            one.certificate.route,
            one.certificate.target,
            "void" if one.void else "valid",
            f"{one.certificate.issued:%Y-%m-%d %H:%M}",
            f"{one.certificate.expires:%Y-%m-%d %H:%M}",
            f"{one.certificate.suite} {one.certificate.digest}",
        )
        for one in found
    ]
    head = ("route", "target", "", "issued (UTC)", "expires (UTC)", "prompts")
    table("Certificates", head, rows, whole=3)
    for one in found:
        if one.void:
            alarm(f"{one.certificate.route} → {one.certificate.target}: {one.void}.")
    return ExitCode.DONE


def finding(loaded: LoadedConfig, store: FileReadinessStore, now: datetime) -> Finding:
    """What the doctor says of the audits: is there a fresh one, and does every route have a working target?"""
    settings, about, look = loaded.config.readiness, "readiness", "`failoverctl readiness audit`"
    audit = store.latest()
    if not settings.enabled:
        return warning(about, "audits are switched off: nobody proves targets beforehand", "set readiness.enabled")
    if audit is None:
        return warning(about, "no audit was kept here yet", look)
    age = now - audit.finished
    if age > 2 * settings.interval:
        return warning(about, f"the last audit is {roughly(age)} old", f"see to the schedule and the workers; {look}")
    if gaps := audit.gaps():
        said = f"the last audit found no working target for {', '.join(gaps)}"
        return failed(about, said, "`failoverctl readiness` says what to do")
    return ok(about, f"{audit.score:.0f} % of its checks passed {roughly(age)} ago; every route has a working target")
