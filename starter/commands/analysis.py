"""Commands about why: the analysis of an incident, and the deploys that it knows of."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import ConfigFile, Json, StateDir, environment


def add_to(app: typer.Typer) -> None:
    app.command()(analyze)
    deploys_app = typer.Typer(help="Deploys, which an analysis looks at.", no_args_is_help=True)
    deploys_app.command("note")(note)
    deploys_app.command("list")(listed)
    app.add_typer(deploys_app, name="deploys")


class Event(StrEnum):
    FAILOVER = "failover"


def analyze(
    event: Annotated[Event, typer.Option(help="What is analysed.")] = Event.FAILOVER,
    root_cause_analysis: Annotated[
        bool, typer.Option("--root-cause-analysis", help="The runbook's word; an analysis is always that.")
    ] = False,
    include_logs: Annotated[
        bool, typer.Option("--include-logs", help="Show the log lines that belong to it; nothing secret is shown.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            show_default=False,
            help="By its workflow id, or a run id's beginning. Default: the latest failover.",
        ),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Of *.log. Default: the state directory's.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no status page now.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the Markdown here.", show_default=False)] = None,
    config: ConfigFile = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Why it happened: claims ranked by evidence, what changed before, what it was not, and what is not known.

    \b
    failoverctl analyze --event failover --root-cause-analysis --include-logs
    failoverctl analyze --run failover/bedrock --output cause.md
    """
    from starter.analyzing import Wanted, run_analyze

    wanted = Wanted(
        run=run,
        include_logs=include_logs or logs is not None,
        logs=logs,
        offline=offline,
        output=output,
        config=config,
        state=state,
        json=json,
    )
    return run_analyze(environment(), wanted)


def note(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="What was deployed.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Which version of it.")],
    at: Annotated[
        str | None, typer.Option(metavar="TIME", show_default=False, help="Such as 2026-01-31T12:00:00Z. Default: now.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who did it. Default: you.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Note a deploy. It starts nothing; the next analysis knows of it. Twice is once.

    \b
    failoverctl deploys note gateway v1.4.2 --by ci
    """
    from starter.analyzing import run_note

    return run_note(environment(), service, version, at=at, by=by, state=state, json=json)


def listed(state: StateDir = None, json: Json = False) -> int:
    """The deploys that were noted, oldest first.

    \b
    failoverctl deploys list
    failoverctl deploys list --json
    """
    from starter.analyzing import run_list

    return run_list(environment(), state=state, json=json)
