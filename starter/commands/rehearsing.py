"""The command that tries procedures without touching anything."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import ConfigFile, Json, environment


class ProcedureName(StrEnum):
    IMMEDIATE = "immediate"
    GRADUAL = "gradual"
    CANARY = "canary"
    FAILBACK = "failback"
    EMERGENCY = "emergency"


class FaultName(StrEnum):
    UNAVAILABLE = "unavailable"
    HANG = "hang"
    THROTTLE = "throttle"
    SLOW = "slow"
    WRONG_ANSWERS = "wrong-answers"
    EMPTY_ANSWERS = "empty-answers"
    CREDENTIALS = "credentials"
    QUOTA = "quota"


class AnswerName(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    NOBODY = "nobody"


def add_to(app: typer.Typer) -> None:
    app.command()(rehearse)


def rehearse(
    procedure: Annotated[ProcedureName | None, typer.Argument(help="What is rehearsed.", show_default=False)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every provider lost on every route, and every procedure. For CI.")
    ] = False,
    provider: Annotated[
        str | None, typer.Option(help="Who fails, or is left. Default: who has the most.", show_default=False)
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Who takes over. Default: the chain decides.", show_default=False)
    ] = None,
    route: Annotated[str | None, typer.Option(help="Default: as the procedure's own.", show_default=False)] = None,
    fault: Annotated[FaultName | None, typer.Option(help="What goes wrong with it.", show_default=False)] = None,
    fault_at: Annotated[
        str | None, typer.Option(metavar="DURATION", help="After the beginning. Default: 1m.", show_default=False)
    ] = None,
    recovers_after: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it lasts. Default: for good.", show_default=False)
    ] = None,
    fault_percent: Annotated[
        float | None, typer.Option(min=0.01, max=100, help="Of the calls that it strikes.", show_default=False)
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Faults over time, in YAML, in place of --fault.", show_default=False),
    ] = None,
    traffic: Annotated[
        list[str] | None,
        typer.Option(metavar="[ROUTE=]N", help="Users' requests a minute; may be repeated.", show_default=False),
    ] = None,
    answer: Annotated[AnswerName, typer.Option(help="What people say when they are asked.")] = AnswerName.APPROVE,
    limit: Annotated[str, typer.Option(metavar="DURATION", help="Of virtual time; then it is not over.")] = "2d",
    jobs: Annotated[
        int | None, typer.Option(min=1, max=16, help="With --all: how many at once.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page (.html) or the plot (.svg).", show_default=False),
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> int:
    """Predict a procedure with your own configuration, in virtual time. Nothing real is asked, changed or told.

    \b
    failoverctl rehearse immediate --provider bedrock --fault hang
    failoverctl rehearse failback --recovers-after 20m --output failback.html
    failoverctl rehearse --all --config failover.yaml        # exit code 3 where a route could not be saved
    """
    from starter.rehearsal.asking import Asked, run_rehearse

    asked = Asked(
        procedure=procedure.value if procedure else None,
        everything=everything,
        provider=provider,
        target=to,
        route=route,
        fault=fault.value if fault else None,
        fault_at=fault_at,
        recovers_after=recovers_after,
        fault_percent=fault_percent,
        script=script,
        traffic=traffic or (),
        answer=answer.value,
        limit=limit,
        jobs=jobs,
    )
    return run_rehearse(environment(), asked, config, output, json=json)
