"""Commands that prepare: configuration and schedules."""

from typing import Annotated

import typer

from starter.commands.stack import ConfigFile, Json, StateDir, environment


def add_to(app: typer.Typer) -> None:
    config_app = typer.Typer(help="The configuration file.", no_args_is_help=True)
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
    """Say whether the configuration can be used; if not: file, line, key, value and what is allowed."""
    from starter.showing import run_check

    return run_check(environment(), config)


def show(config: ConfigFile = None, json: Json = False) -> int:
    """Every effective value, and where it comes from."""
    from starter.showing import run_show

    return run_show(environment(), config, json=json)


def apply_schedules(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Make Temporal's schedules what the configuration says; safe to repeat."""
    from starter.scheduling import run_apply

    return run_apply(environment(), config, state, json=json)


def list_schedules(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """The schedules that there are or should be, who paused one, and how one differs from the configuration."""
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
    """Stop a schedule, with a note. Without health checks nobody watches the providers, and the status turns red."""
    from starter.scheduling import run_pause

    return run_pause(environment(), name, why, by, state, json=json)


def resume_schedule(name: ScheduleName = "health-check", state: StateDir = None, json: Json = False) -> int:
    """Let a paused schedule go on."""
    from starter.scheduling import run_resume

    return run_resume(environment(), name, state, json=json)


def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    print(f"failoverctl {installed('failover-runbook')}")
