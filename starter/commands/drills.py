"""Commands that practise a failover."""

from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import ConfigFile, DryRun, Json, Reason, StateDir, Yes, environment


def add_to(app: typer.Typer) -> None:
    drill_app = typer.Typer(help="Failovers practised with a failure that is made up.", no_args_is_help=True)
    drill_app.command("run")(run)
    drill_app.command("plan")(plan)
    drill_app.command("schedule")(schedule)
    drill_app.command("list")(list_drills)
    drill_app.command("show")(show)
    app.add_typer(drill_app, name="drill")


Provider = Annotated[
    str | None, typer.Option(help="Whose failure is practised. Default: who has most of the route.", show_default=False)
]
Route = Annotated[str | None, typer.Option(help="Default: the only drill route.", show_default=False)]
Fault = Annotated[
    str, typer.Option(help="What breaks: server_error, network, timeout, authentication or invalid_answer.")
]
Also = Annotated[
    list[str] | None, typer.Option(help="Another provider that fails with it; may be repeated.", show_default=False)
]
Percent = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT", show_default=False, help="Of a live route: how much of the provider's traffic is drilled."
    ),
]
DespiteBlackout = Annotated[bool, typer.Option("--despite-blackout", help="Also in a blackout window.")]


def run(
    provider: Provider = None,
    route: Route = None,
    fault: Fault = "server_error",
    also: Also = None,
    percent: Percent = None,
    despite_blackout: DespiteBlackout = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option(help="Follow the drill to its end.")] = True,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Break a provider for one route in the gateway, and see it noticed, left and put back. The provider is not touched.

    Exit code 0 where it PASSED, 3 where it FAILED, 7 where something real interrupted it, 8 where it was aborted.

    \b
    failoverctl drill run --provider bedrock
    failoverctl drill run --provider bedrock --fault timeout --also google
    failoverctl drill run --provider bedrock --route chat --percent 2     (a live route; stopped where users suffer)
    """
    from starter.commands.moving import manner
    from starter.procedures.drill import Drill, run_drill

    asked = Drill(
        provider=provider,
        route=route,
        fault=fault,
        also=also or (),
        percent=percent,
        despite_blackout=despite_blackout,
        reason=reason,
        dry_run=dry_run,
    )
    return run_drill(environment(), asked, manner(wait=wait, yes=yes, json=json, state=state))


def plan(
    provider: Provider = None,
    route: Route = None,
    fault: Fault = "server_error",
    also: Also = None,
    percent: Percent = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """What a drill would do, step by step. Nothing is changed.

    \b
    failoverctl drill plan --provider bedrock
    """
    return run(
        provider=provider, route=route, fault=fault, also=also, percent=percent, dry_run=True, state=state, json=json
    )


def schedule(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Put the drills of `drills.schedules` on Temporal's calendar, and show when they are due, and when skipped.

    \b
    failoverctl drill schedule
    """
    from starter.drilling import run_schedule

    return run_schedule(environment(), config, state, json=json)


def list_drills(
    recent: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The last drills and how they ended; and which provider passed one when.

    \b
    failoverctl drill list
    """
    from starter.drilling import run_list

    return run_list(environment(), recent, state, json=json)


def show(
    drill: Annotated[
        str | None,
        typer.Argument(metavar="[DRILL]", help="Its workflow or run id. Default: the last one.", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the report here.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """A drill's report: outcome, indicators against targets, timeline.

    \b
    failoverctl drill show
    failoverctl drill show drill/practice --output drill.md
    """
    from starter.drilling import run_show

    return run_show(environment(), drill, output, state, json=json)
