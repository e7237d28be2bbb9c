"""Commands that prepare or set: configuration, a route's shares and service, schedules."""

from typing import Annotated

import typer

from starter.commands.moving import manner
from starter.commands.options import (
    Approval,
    ConfigFile,
    DryRun,
    Json,
    OneRoute,
    Reason,
    StateDir,
    Yes,
    environment,
)


def add_to(app: typer.Typer) -> None:
    config_app = typer.Typer(help="The configuration file, and what is set for a route.", no_args_is_help=True)
    config_app.command("set")(set_route)
    config_app.command()(check)
    config_app.command()(show)
    app.add_typer(config_app, name="config")
    schedules_app = typer.Typer(help="Temporal Schedules.", no_args_is_help=True)
    schedules_app.command("apply")(apply_schedules)
    schedules_app.command("list")(list_schedules)
    schedules_app.command("pause")(pause_schedule)
    schedules_app.command("resume")(resume_schedule)
    app.add_typer(schedules_app, name="schedules")
    app.command()(version)


def check(config: ConfigFile = None) -> int:
    """Say whether the configuration can be used; if not: file, line, key, value and what is allowed.

    \b
    failoverctl config check
    failoverctl config check --config production.yaml
    """
    from starter.showing import run_check

    return run_check(environment(), config)


def show(config: ConfigFile = None, json: Json = False) -> int:
    """Every effective value, and where it comes from.

    \b
    failoverctl config show
    failoverctl config show --json
    """
    from starter.showing import run_show

    return run_show(environment(), config, json=json)


def apply_schedules(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Make Temporal's schedules what the configuration says; safe to repeat.

    \b
    failoverctl schedules apply
    """
    from starter.scheduling import run_apply

    return run_apply(environment(), config, state, json=json)


def list_schedules(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """The schedules that there are or should be, who paused one, and how one differs from the configuration.

    \b
    failoverctl schedules list
    """
    from starter.scheduling import run_list

    return run_list(environment(), config, state, json=json)


ScheduleName = Annotated[str, typer.Argument(metavar="[SCHEDULE]", help="Its id.")]


def pause_schedule(
    why: Annotated[str, typer.Option(help="Why; it stands in the schedule's note.")],
    name: ScheduleName = "health-check",
    by: Annotated[str | None, typer.Option(help="Who. Default: you.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Stop a schedule, with a note. Without health checks nobody watches the providers, and the status turns red.

    \b
    failoverctl schedules pause --why "a migration of Bedrock"
    failoverctl schedules pause readiness-audit --why "providers are being moved"
    """
    from starter.scheduling import run_pause

    return run_pause(environment(), name, why, by, state, json=json)


def resume_schedule(name: ScheduleName = "health-check", state: StateDir = None, json: Json = False) -> int:
    """Let a paused schedule go on.

    \b
    failoverctl schedules resume
    failoverctl schedules resume readiness-audit
    """
    from starter.scheduling import run_resume

    return run_resume(environment(), name, state, json=json)


def version() -> None:
    """Print the version.

    \b
    failoverctl version
    """
    from importlib.metadata import version as installed

    print(f"failoverctl {installed('failover-runbook')}")


def set_route(
    traffic_distribution: Annotated[
        str | None,
        typer.Option(metavar="DISTRIBUTION", show_default=False, help='Such as "bedrock:0,google:80,meta:20".'),
    ] = None,
    transition_duration: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", show_default=False, help="In equal steps over it. Without: one verified step."
        ),
    ] = None,
    cache_mode: Annotated[
        str | None, typer.Option(metavar="emergency|on|off", show_default=False, help="Answers that were given before.")
    ] = None,
    cache_ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", show_default=False, help="How long they are fresh.")
    ] = None,
    serve_stale: Annotated[
        str | None, typer.Option(metavar="true|false", show_default=False, help="Older ones too, when nobody answers.")
    ] = None,
    request_queuing: Annotated[
        str | None,
        typer.Option(metavar="enabled|disabled", show_default=False, help="Let requests wait when nobody answers."),
    ] = None,
    queue_size: Annotated[int | None, typer.Option(min=1, show_default=False, help="How many may wait.")] = None,
    queue_timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", show_default=False, help="How long each may.")
    ] = None,
    route: OneRoute = None,
    reason: Reason = "",
    approval: Approval = None,
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Set a route's shares, or its cache and queue. Each is a run, fenced and on record.

    Providers that a distribution leaves out get 0 %.

    \b
    failoverctl config set --traffic-distribution "bedrock:0,google:80,meta:20" --transition-duration 300
    failoverctl config set --cache-mode emergency --cache-ttl 7200 --serve-stale true
    failoverctl config set --request-queuing enabled --queue-size 10000 --queue-timeout 300
    """
    from starter.procedures.gradual import Shares
    from starter.procedures.service import Service, run_set

    shares = None
    if traffic_distribution is not None:
        shares = Shares(
            distribution=traffic_distribution,
            transition=transition_duration,
            route=route,
            reason=reason,
            approvals=approval or (),
            dry_run=dry_run,
        )
    service = Service(
        cache_mode=cache_mode,
        cache_ttl=cache_ttl,
        serve_stale=serve_stale,
        queuing=request_queuing,
        queue_size=queue_size,
        queue_timeout=queue_timeout,
        route=route,
        reason=reason,
        dry_run=dry_run,
    )
    return run_set(environment(), shares, service, manner(wait=wait, yes=yes, json=json, state=state))
