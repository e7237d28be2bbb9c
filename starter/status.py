"""`failoverctl status`: health, shares and open runs, each from whoever knows it; what cannot be asked is said."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from temporalio.client import Client

from failover.automation import Hold
from failover.distribution import render
from failover.errors import FailoverError, Unavailable
from failover.health import Health, Verdict
from failover.policy import TrafficPolicy
from failover.telemetry import Telemetry
from failover.troubles import troubles
from starter.automating import hold_in
from starter.checks import Watched, last_completed, watched
from starter.configuration import load
from starter.connection import Http, connect
from starter.exit_codes import ExitCode
from starter.output import alarm, as_json, say, sentence, table
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.runs.finding import Found, open_runs
from starter.settings import Settings

WINDOW = timedelta(seconds=60)
"""The window over which the share really served is counted."""

_VERDICTS = TypeAdapter(list[Verdict])


def run_status(
    settings: Settings, state: Path | None, *, health: bool, traffic: bool, compact: bool = False, json: bool = False
) -> int:
    """Exit code: that of the last part that could not be asked, else whether something is wrong."""
    stack = find(settings, state)
    asked = asyncio.run(_look(settings, stack, health=health, traffic=traffic))
    missing = {part: answer for part, answer in asked.items() if isinstance(answer, FailoverError)}
    if json:
        as_json(
            "status", {part: {"error": str(answer)} if part in missing else answer for part, answer in asked.items()}
        )
    elif compact:
        print(_compact(asked))
    else:
        show(asked)
    for error in {str(error): error for error in missing.values()}.values():
        say(f"failoverctl: {error}")
    return code_of(asked, only_health=not traffic)


Asked = Mapping[str, Any]
"""Every part of the status: its answer, or the FailoverError that says why there is none."""


async def _look(settings: Settings, stack: Stack, *, health: bool, traffic: bool) -> Asked:
    """Every part asked at once → its answer, or why there is none."""
    questions: dict[str, Awaitable[Any]] = {"providers": verdicts(stack)}
    questions |= {"automation": hold_in(stack), "watched": _watched(settings, stack)}
    if traffic:
        questions |= {"routes": policies_of(stack), "served": served_by(stack), "runs": _runs(settings, stack)}
    answers = await asyncio.gather(*questions.values(), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, FailoverError):
            raise answer
    asked = dict(zip(questions, answers, strict=True))
    if not health:
        asked["down"] = _only_down(asked.pop("providers"))
    return asked


def _only_down(found: Any) -> Any:
    """The providers that are down, for a status that is not about health, since they must not have traffic."""
    return found if isinstance(found, FailoverError) else [verdict for verdict in found if verdict.down]


def show(asked: Asked) -> None:
    """Show all of it as tables; what could not be asked is left out."""
    for part, answer in asked.items():
        if not isinstance(answer, FailoverError):
            _SHOW[part](answer)
    for trouble in in_trouble(asked):
        alarm(trouble)


def code_of(asked: Asked, *, only_health: bool) -> int:
    """The exit code: unreachable before all else; then whether users are in trouble or, asked for health, any provider."""
    missing = max((one.exit_code for one in asked.values() if isinstance(one, FailoverError)), default=0)
    if missing:
        return missing
    if only_health:
        well = asked["providers"] and all(one.health is Health.HEALTHY for one in asked["providers"])
        return ExitCode.DONE if well else ExitCode.NOT_PROVED
    return ExitCode.NOT_PROVED if in_trouble(asked) else ExitCode.DONE


def in_trouble(asked: Asked) -> list[str]:
    """Why users are in trouble now, in sentences."""
    routes, providers = asked.get("routes"), asked.get("providers", asked.get("down"))
    if not isinstance(routes, Sequence) or not isinstance(providers, Sequence):
        return []
    return [one.sentence for one in troubles(routes, providers)]


def _compact(asked: Asked) -> str:
    """One line, for a terminal that shows it again and again."""
    found = asked["providers"]
    if isinstance(found, FailoverError):
        return f"providers: {Health.UNKNOWN.value.upper()}"
    words = [f"{one.provider} {one.health.value.upper()} ({one.condition.value.replace('_', ' ')})" for one in found]
    return "  ".join(words) or "no verdict yet"


async def verdicts(stack: Stack) -> list[Verdict]:
    """The newest verdict about each provider, from the worker."""
    async with Http("worker", stack.need("worker")) as worker:
        return _VERDICTS.validate_python(await worker.get("/verdicts"))


async def policies_of(stack: Stack) -> Sequence[TrafficPolicy]:
    async with closing(plane_of(stack)) as plane:
        return await plane.read()


async def served_by(stack: Stack) -> Telemetry:
    async with closing(plane_of(stack)) as plane:
        telemetry = await plane.observe(window=WINDOW)
    if telemetry is None:
        raise Unavailable("The gateway cannot tell what it served.")
    return telemetry


async def _runs(settings: Settings, stack: Stack) -> list[Found]:
    return await open_runs(await connect(settings, stack))


def _show_health(found: Sequence[Verdict]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            verdict.provider,
            verdict.health,
            verdict.condition.value.replace("_", " "),
            f"{max(0, round((now - verdict.at).total_seconds()))} s",
            verdict.reason,
        )
        for verdict in found
    ]
    table("Providers", ("provider", "health", "condition", "age", "why"), rows)
    if not found:
        say("The worker has no verdict yet: is the schedule applied? (`failoverctl schedules apply`)")


def _show_down(found: Sequence[Verdict]) -> None:
    if found:
        _show_health(found)


def _show_routes(policies: Sequence[TrafficPolicy]) -> None:
    rows = [
        (
            policy.route,
            render(policy.distribution),
            policy.mode.value,
            str(policy.revision),
            policy.changed_by.workflow_id or policy.changed_by.actor,
        )
        for policy in policies
    ]
    table("Routes", ("route", "distribution", "mode", "revision", "changed by"), rows, whole=2)
    for policy in policies:
        if policy.reason:
            sentence(f"{policy.route}: {policy.reason}")


def _show_served(telemetry: Telemetry) -> None:
    rows = [
        (
            window.route,
            window.provider,
            window.first_tries,
            window.tries,
            window.failed,
            f"{window.latency_p95 / timedelta(milliseconds=1):.0f} ms" if window.latency_p95 else "",
        )
        for window in telemetry.providers
    ]
    columns = ("route", "provider", "first tries", "tries", "failed", "P95")
    table(f"Served in the last {WINDOW.total_seconds():.0f} s", columns, rows)


def _show_runs(runs: Sequence[Found]) -> None:
    if not runs:
        print("No procedure is under way.")
        return
    rows = [(run.workflow_id, run.procedure, run.phase, f"{run.started_at:%H:%M:%S}", run.waits_for) for run in runs]
    table("Open runs", ("run", "procedure", "phase", "since (UTC)", "waits for"), rows)


async def _watched(settings: Settings, stack: Stack) -> Watched:
    return await watched_in(await connect(settings, stack), stack)


async def watched_in(client: Client, stack: Stack) -> Watched:
    """Ask how old the last check is; without the configuration nobody knows when one is due: then only when it ended."""
    if stack.config is None:
        return Watched(completed_at=await last_completed(client), age=None, why_red=None)
    return await watched(client, load(stack.config).config)


def _show_watched(found: Watched) -> None:
    if found.why_red is not None:
        alarm(f"{found.why_red}.")
    elif found.completed_at is not None:
        age = (datetime.now(UTC) - found.completed_at).total_seconds()
        print(f"The last health check completed {age:.0f} s ago.")


def _show_hold(hold: Hold | None) -> None:
    if hold is not None:
        alarm(f"{hold}. Nothing starts by itself.")


_SHOW: dict[str, Any] = {
    "automation": _show_hold,
    "watched": _show_watched,
    "providers": _show_health,
    "down": _show_down,
    "routes": _show_routes,
    "served": _show_served,
    "runs": _show_runs,
}
