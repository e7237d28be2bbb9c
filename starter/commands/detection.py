"""Commands about what starts by itself: hold it, look at it, replay it."""

from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import ConfigFile, Json, StateDir, environment


def add_to(app: typer.Typer) -> None:
    automation_app = typer.Typer(help="What starts without a person.", no_args_is_help=True)
    automation_app.command("hold")(hold)
    automation_app.command("resume")(resume)
    automation_app.command("show")(show)
    app.add_typer(automation_app, name="automation")
    baseline_app = typer.Typer(help="What golden prompts are compared with.", no_args_is_help=True)
    baseline_app.command("record")(record_baseline)
    baseline_app.command("list")(list_baselines)
    app.add_typer(baseline_app, name="baseline")
    app.command()(replay)
    app.command()(doctor)


def hold(
    why: Annotated[str, typer.Option(help="Why; it is shown wherever the hold is.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME", show_default=False, help="2h, or 2026-01-31T12:00:00Z. Default: until resume."
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who. Default: you.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Stop everything that starts by itself, at once. What people start goes on.

    \b
    failoverctl automation hold --why "a migration of Bedrock" --until 2h
    """
    from starter.automating import run_hold

    return run_hold(environment(), why, until, by, state, json=json)


def resume(state: StateDir = None, json: Json = False) -> int:
    """End the hold. What it kept back and is still due starts within a probe's cadence.

    \b
    failoverctl automation resume
    """
    from starter.automating import run_resume

    return run_resume(environment(), state, json=json)


def show(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """The hold, and what may start by itself for each route and verdict.

    \b
    failoverctl automation show
    failoverctl automation show --json
    """
    from starter.automating import run_show

    return run_show(environment(), config, state, json=json)


def record_baseline(
    provider: Annotated[str, typer.Argument(help="Whom to examine now.")],
    suite: Annotated[
        str | None, typer.Option(show_default=False, help="Default: the one that the health check asks.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who. Default: you.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Put the golden prompts to a provider that you know to be good: later answers are compared with these.

    \b
    failoverctl baseline record bedrock
    failoverctl baseline record bedrock --suite comprehensive --by anna
    """
    from starter.baselines import run_record

    return run_record(environment(), state, provider, suite, by, json=json)


def list_baselines(state: StateDir = None, json: Json = False) -> int:
    """Every baseline: of which model and suite, how good, how old, by whom.

    \b
    failoverctl baseline list
    """
    from starter.baselines import run_list

    return run_list(environment(), state, json=json)


def replay(
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The configuration to try.")],
    since: Annotated[
        str | None,
        typer.Option(metavar="DURATION", show_default=False, help="Only the last 90s, 5m, 24h. Default: all."),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Default: those of the state directory.")
    ] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """What another policy would have started, by what the detectors recorded, against what was started.

    \b
    failoverctl replay --policy new.yaml --since 24h
    """
    from starter.replaying import run_replay

    return run_replay(environment(), policy, since, samples, state, json=json)


def doctor(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Look at everything that a failover will need, and say how to repair what is missing. Nothing is changed.

    Exit code 1 where something failed.

    \b
    failoverctl doctor
    failoverctl doctor --json
    """
    from starter.doctor.run import run_doctor

    return run_doctor(environment(), config, state, json=json)
