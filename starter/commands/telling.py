"""Commands about what is told outside: look at it, and answer whether a support case is opened."""

from enum import StrEnum
from typing import Annotated

import typer

from starter.commands.options import Actor, Comment, Json, StateDir, Yes, environment

Run = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="Id of the run that it is about. Default: the newest.", show_default=False),
]


class Vendor(StrEnum):
    AWS = "aws-support"
    GOOGLE = "google-support"


Of = Annotated[
    Vendor | None, typer.Option("--channel", help="Only this one's. Default: all that wait.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    telling = typer.Typer(help="Who outside is told of incidents, and support cases.", no_args_is_help=True)
    for command in (show, approve, decline):
        telling.command()(command)
    app.add_typer(telling, name="communications")


def show(run: Run = None, state: StateDir = None, json: Json = False) -> int:
    """Who was told what of an incident, what was opened for it, and what did not get through.

    \b
    failoverctl communications show
    failoverctl communications show failover/bedrock
    """
    from starter.telling import run_show

    return run_show(environment(), state, run, json=json)


def approve(
    run: Run = None,
    channel: Of = None,
    comment: Comment = "",
    actor: Actor = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Open the support cases that wait for a word.

    \b
    failoverctl communications approve failover/bedrock
    """
    from starter.telling import run_word

    return run_word(environment(), state, run, "approve", channel, comment, actor, yes=yes, json=json)


def decline(
    run: Run = None,
    channel: Of = None,
    comment: Comment = "",
    actor: Actor = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Open no support case for this incident.

    \b
    failoverctl communications decline failover/bedrock
    """
    from starter.telling import run_word

    return run_word(environment(), state, run, "decline", channel, comment, actor, yes=True, json=json)
