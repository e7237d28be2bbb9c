"""`failoverctl status`: health, shares and open runs, each from whoever knows it; what cannot be asked is said."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from failover.automation import Hold
from failover.distribution import render
from failover.errors import FailoverError, Unavailable
from failover.health import Verdict
from failover.policy import TrafficPolicy
from failover.telemetry import Telemetry
from starter.automating import hold_in
from starter.checks import Watched, last_completed, watched
from starter.connection import Http, connect
from starter.output import alarm, as_json, say, table
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.runs.finding import Found, open_runs
from starter.settings import Settings
from starter.stack import load

WINDOW = timedelta(seconds=60)
"""Over which the share really served is counted."""

_VERDICTS = TypeAdapter(list[Verdict])


def run_status(settings: Settings, state: Path | None, *, health: bool, traffic: bool, json: bool) -> int:
    """Exit code: that of the last part that could not be asked, else 0."""
    stack = find(settings, state)
    asked = asyncio.run(_ask(settings, stack, health=health, traffic=traffic))
    missing = {part: answer for part, answer in asked.items() if isinstance(answer, FailoverError)}
    if json:
        as_json(
            "status", {part: {"error": str(answer)} if part in missing else answer for part, answer in asked.items()}
        )
    else:
        for part, answer in asked.items():
            if part not in missing:
                _SHOW[part](answer)
    for error in {str(error): error for error in missing.values()}.values():
        say(f"failoverctl: {error}")
    return max((error.exit_code for error in missing.values()), default=0)


async def _ask(settings: Settings, stack: Stack, *, health: bool, traffic: bool) -> dict[str, Any]:
    """Every part asked at once → its answer, or why there is none."""
    questions: dict[str, Awaitable[Any]] = {}
    if health:
        questions["providers"] = verdicts(stack)
    questions |= {"automation": hold_in(stack), "watched": _watched(settings, stack)}
    if traffic:
        questions |= {"routes": _policies(stack), "served": _served(stack), "runs": _runs(settings, stack)}
    answers = await asyncio.gather(*questions.values(), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, FailoverError):
            raise answer
    return dict(zip(questions, answers, strict=True))


async def verdicts(stack: Stack) -> list[Verdict]:
    """The newest verdict about each provider, from the worker."""
    async with Http("worker", stack.need("worker")) as worker:
        return _VERDICTS.validate_python(await worker.get("/verdicts"))


async def _policies(stack: Stack) -> Sequence[TrafficPolicy]:
    async with closing(plane_of(stack)) as plane:
        return await plane.read()


async def _served(stack: Stack) -> Telemetry:
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


def _show_routes(policies: Sequence[TrafficPolicy]) -> None:
    rows = [
        (
            policy.route,
            render(policy.distribution),
            policy.mode.value,
            str(policy.revision),
            policy.changed_by.workflow_id or policy.changed_by.actor,
            policy.reason,
        )
        for policy in policies
    ]
    table("Routes", ("route", "distribution", "mode", "revision", "changed by", "why"), rows, whole=2)


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
    config = load(stack.config).config if stack.config else None
    client = await connect(settings, stack)
    if config is None:
        completed = await last_completed(client)
        return Watched(completed_at=completed, age=None, why_red=None)
    return await watched(client, config)


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
    "routes": _show_routes,
    "served": _show_served,
    "runs": _show_runs,
}
