"""Commands that make what others look at."""

from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import Json, environment


def add_to(app: typer.Typer) -> None:
    dashboards = typer.Typer(help="Grafana dashboards and Prometheus alerts.", no_args_is_help=True)
    dashboards.command("create")(create)
    app.add_typer(dashboards, name="dashboard")


def create(
    name: Annotated[str, typer.Option(help="Its title; the same name is the same dashboard.")] = "AI Provider Failover",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,…",
            show_default=False,
            help="provider_health, failover_events, recovery_time, traffic_shares, error_rate, kpis, notifications. "
            "Default: all.",
        ),
    ] = None,
    alerts: Annotated[
        str | None,
        typer.Option(metavar="A,A,…", show_default=False, help="failover_failure, extended_outage, … Default: all."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(show_default=False, help="The dashboard's file; the rules' is beside it. Default: by its name."),
    ] = None,
    extended_outage: Annotated[str, typer.Option(metavar="DURATION", help="What is down for longer is one.")] = "30m",
    grafana: Annotated[
        str | None, typer.Option(metavar="URL", show_default=False, help="Make or update it there, too.")
    ] = None,
    token_env: Annotated[str, typer.Option(metavar="NAME", help="Variable with Grafana's token.")] = "GRAFANA_TOKEN",
    folder: Annotated[
        str | None, typer.Option(metavar="UID", show_default=False, help="Of Grafana's, to put it into.")
    ] = None,
    json: Json = False,
) -> int:
    """Write a Grafana dashboard and its Prometheus alert rules; push the dashboard to a Grafana.

    \b
    failoverctl dashboard create --name "AI Provider Failover" \\
        --metrics "provider_health,failover_events,recovery_time" --alerts "failover_failure,extended_outage"
    failoverctl dashboard create --output deploy/grafana/failover.json
    GRAFANA_TOKEN=… failoverctl dashboard create --grafana https://grafana.example.com
    """
    from starter.dashboards.creating import Wanted, run_create

    wanted = Wanted(
        name=name,
        metrics=metrics,
        alerts=alerts,
        output=output,
        outage=extended_outage,
        grafana=grafana,
        token_env=token_env,
        folder=folder,
    )
    return run_create(environment(), wanted, json=json)
