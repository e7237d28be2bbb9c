"""Commands that prepare: configuration and schedules."""

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


def list_schedules(state: StateDir = None, json: Json = False) -> int:
    """The schedules that Temporal knows."""
    from starter.scheduling import run_list

    return run_list(environment(), state, json=json)


def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    print(f"failoverctl {installed('failover-runbook')}")
