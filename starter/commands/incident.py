"""Commands that look at an incident, and the one that breaks the glass."""

from enum import StrEnum
from typing import Annotated

import typer

from starter.commands.options import Json, Reason, Run, StateDir, Yes, environment
from starter.report_words import Event, Format, ReportType


def add_to(app: typer.Typer) -> None:
    for command in (status, runs, watch, report, evidence, restore):
        app.command()(command)


class Dashboard(StrEnum):
    FAILOVER = "failover"


def status(
    provider: Annotated[
        str | None, typer.Option(metavar="PROVIDER", show_default=False, help="Only this one: ask it afresh.")
    ] = None,
    health_only: Annotated[
        bool, typer.Option("--health-only", help="One word: HEALTHY, UNHEALTHY or UNKNOWN. Exit code 0, 3 or 5.")
    ] = False,
    comprehensive: Annotated[
        bool, typer.Option("--comprehensive", help="Every check of --provider, or of all: control plane, completions.")
    ] = False,
    provider_health: Annotated[
        bool, typer.Option("--provider-health", help="Only the providers' health; 3 where one is not healthy.")
    ] = False,
    compact: Annotated[bool, typer.Option("--compact", help="On one line.")] = False,
    failover_status: Annotated[bool, typer.Option("--failover-status", help="Only shares and open runs.")] = False,
    dashboard: Annotated[
        Dashboard | None, typer.Option(show_default=False, help="Live, until Ctrl-C; once where it is piped.")
    ] = None,
    refresh: Annotated[str, typer.Option(metavar="DURATION", help="Of the dashboard: seconds, 90s, 5m.")] = "10",
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The providers' health, the policies in force, the share really served, and the open runs.

    Exit code 3 where users are in trouble: a provider that is down has traffic, or service is degraded.

    \b
    failoverctl status
    failoverctl status --provider bedrock --health-only
    failoverctl status --provider bedrock --comprehensive
    failoverctl status --provider-health --compact
    failoverctl status --failover-status --json
    failoverctl status --dashboard failover --refresh 10
    """
    if health_only and provider is None:
        raise typer.BadParameter("--health-only is about one provider; name it with --provider")
    if health_only and comprehensive:
        raise typer.BadParameter("give one of --health-only and --comprehensive")
    if provider is not None and (provider_health or failover_status or compact or dashboard):
        raise typer.BadParameter("--provider goes with --health-only or --comprehensive alone")
    if health_only and provider is not None:
        from starter.checking.providers import run_health_only

        return run_health_only(environment(), state, provider, json=json)
    if comprehensive or provider is not None:
        from starter.checking.providers import run_comprehensive

        return run_comprehensive(environment(), state, provider, json=json)
    if dashboard is not None:
        from starter.dashboard import run_dashboard

        return run_dashboard(environment(), state, refresh, json=json)
    from starter.status import run_status

    everything = (provider_health or compact) == failover_status
    parts = {"health": everything or provider_health or compact, "traffic": everything or failover_status}
    return run_status(environment(), state, **parts, compact=compact, json=json)


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


class Compared(StrEnum):
    BASELINE = "baseline"


def report(
    type: Annotated[ReportType, typer.Option(help="What is to be known.")] = ReportType.INCIDENT,
    event: Annotated[
        Event | None,
        typer.Option(show_default=False, help="Which runs. Default: failover; of an incident report: incident."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", show_default=False, help="By its workflow id, or a run id's beginning."),
    ] = None,
    period: Annotated[
        str | None,
        typer.Option(
            metavar="PERIOD",
            show_default=False,
            help="failover-window (the latest run; default), 24h, 7d, 2026-11-01..2026-11-25.",
        ),
    ] = None,
    compare: Annotated[
        Compared | None,
        typer.Option(show_default=False, help="Of performance-impact: with what healthy time recorded."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,…",
            show_default=False,
            help="Of failover-effectiveness: detection_time, execution_time, restoration_time, total_time, impact.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="*.md, *.html, *.json, a directory, or - . Default: named by type and time.",
        ),
    ] = None,
    format: Annotated[Format | None, typer.Option(show_default=False, help="Whatever the file is called.")] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Reports, made of the evidence of closed runs: the latest incident, unless something else is named.

    \b
    failoverctl report
    failoverctl report --type incident --event failover --output "failover-incident-$(date +%Y%m%d-%H%M%S).md"
    failoverctl report --type incident --output incident.html
    failoverctl report --type performance-impact --period failover-window --compare baseline
    failoverctl report --type failover-effectiveness --metrics "detection_time,execution_time,impact" --period 30d
    """
    from starter import reporting

    if compare is not None and type is not ReportType.PERFORMANCE_IMPACT:
        raise typer.BadParameter("--compare goes with --type performance-impact")
    if metrics is not None and type is not ReportType.FAILOVER_EFFECTIVENESS:
        raise typer.BadParameter("--metrics goes with --type failover-effectiveness")
    usual = Event.INCIDENT if type is ReportType.INCIDENT else Event.FAILOVER
    asked = reporting.Asked(
        type=type,
        event=event or usual,
        run=run,
        period=period,
        compare=compare is not None,
        metrics=metrics,
        output=output,
        format=format,
    )
    return reporting.run_report(environment(), asked, state=state, json=json)


def evidence(
    period: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", show_default=False, help="24h, 7d, 2026-11-01..2026-11-25. Default: 30d."),
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="First make records anew that are missing, from Temporal's history.")
    ] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """What is on record of closed runs, and where.

    \b
    failoverctl evidence
    failoverctl evidence --period 7d
    failoverctl evidence --recover
    """
    from starter.recovering import run_evidence

    return run_evidence(environment(), state, period=period, recover=recover, json=json)


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
