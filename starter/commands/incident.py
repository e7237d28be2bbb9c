"""Commands that look at an incident, and the one that breaks the glass."""

from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import Json, Reason, Run, StateDir, Yes, environment


def add_to(app: typer.Typer) -> None:
    for command in (status, runs, watch, report, restore):
        app.command()(command)


def status(
    provider_health: Annotated[bool, typer.Option(help="Only the providers' health.")] = False,
    failover_status: Annotated[bool, typer.Option(help="Only shares and open runs.")] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The providers' health, the policies in force, the share really served, and the open runs.

    \b
    failoverctl status
    failoverctl status --provider-health
    failoverctl status --failover-status --json
    """
    from starter.status import run_status

    everything = provider_health == failover_status
    parts = {"health": everything or provider_health, "traffic": everything or failover_status}
    return run_status(environment(), state, **parts, json=json)


def runs(
    recent: Annotated[int, typer.Option(min=0, max=1000, help="How many closed ones.")] = 10,
    dry_runs: Annotated[bool, typer.Option("--dry-runs", help="Those that changed nothing, too.")] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """What goes on, whom it waits for, and how the last ones ended.

    \b
    failoverctl runs
    failoverctl runs --recent 0
    """
    from starter.runs.listing import run_list

    return run_list(environment(), state, recent=recent, dry=dry_runs, json=json)


def watch(run: Run = None, state: StateDir = None, json: Json = False) -> int:
    """One run, live, until it is over; the exit code tells its outcome. Ctrl-C leaves the run alone.

    \b
    failoverctl watch
    failoverctl watch canary/chat
    failoverctl watch canary/chat --json      (one JSON object a line)
    """
    from starter.runs.watching import run_watch

    return run_watch(environment(), run, state, json=json)


def report(
    output: Annotated[Path | None, typer.Option(help="Write the Markdown here.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The latest incident's report.

    \b
    failoverctl report
    failoverctl report --output incident.md
    """
    from starter.reporting import run_report

    return run_report(environment(), output=output, state=state, json=json)


def restore(
    routes: Annotated[list[str] | None, typer.Argument(metavar="ROUTE...", help="The routes to restore.")] = None,
    degraded: Annotated[bool, typer.Option("--degraded", help="Every route that is in degraded service.")] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="DISTRIBUTION", help="What was good, such as bedrock:70,google:30.", show_default=False),
    ] = None,
    normal: Annotated[bool, typer.Option("--normal", help="End degraded service, whoever set it.")] = False,
    reason: Reason = "",
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Break the glass: write routes' last good policies without Temporal, and release their claims.

    For a run that takes no more orders, and for when Temporal is down: whatever still wants to write is refused then.
    It says what it wrote, and what it could not know.

    \b
    failoverctl restore chat
    failoverctl restore chat --yes
    failoverctl restore chat --to bedrock:70,google:20,meta:10
    failoverctl restore chat search --yes
    failoverctl restore --degraded --yes
    """
    from starter.restoring import Wanted, run_restore

    wanted = Wanted(
        routes=routes or [],
        degraded=degraded,
        to=to,
        normal=normal,
        reason=reason,
        yes=yes,
        json=json,
        state=state,
    )
    return run_restore(environment(), wanted)
