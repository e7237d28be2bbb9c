"""Commands of an incident: move traffic, look, report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from starter.commands.stack import Json, StateDir, environment


class FailoverMode(StrEnum):
    IMMEDIATE = "immediate"


def add_to(app: typer.Typer) -> None:
    app.command()(failover)
    app.command()(status)
    app.command()(report)


def failover(
    failed_provider: Annotated[
        str, typer.Option("--failed-provider", "--from", help="The provider to leave.", metavar="PROVIDER")
    ],
    target_provider: Annotated[
        str | None, typer.Option("--target-provider", "--to", help="Who takes over.", metavar="PROVIDER")
    ] = None,
    auto_select_target: Annotated[bool, typer.Option(help="Let the chain choose (so without a target too).")] = False,
    route: Annotated[list[str] | None, typer.Option(help="Only this route; may be repeated.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the report.")] = "",
    mode: Annotated[FailoverMode, typer.Option(help="How.")] = FailoverMode.IMMEDIATE,
    emergency_mode: Annotated[bool, typer.Option(help="Skip approvals and waits; never verification.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Plan, and change nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Move all traffic off a provider, now."""
    from starter.failing_over import Order, run_failover

    order = Order(
        failed=failed_provider,
        target=target_provider,
        auto_select=auto_select_target,
        routes=route or None,
        reason=reason,
        emergency=emergency_mode,
        dry_run=dry_run,
        wait=wait,
        yes=yes,
        json=json,
    )
    return run_failover(environment(), order, state)


def status(
    provider_health: Annotated[bool, typer.Option(help="Only the providers' health.")] = False,
    failover_status: Annotated[bool, typer.Option(help="Only shares and open runs.")] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The providers' health, the policies in force, the share really served, and the open runs."""
    from starter.status import run_status

    everything = provider_health == failover_status
    parts = {"health": everything or provider_health, "traffic": everything or failover_status}
    return run_status(environment(), state, **parts, json=json)


def report(
    output: Annotated[Path | None, typer.Option(help="Write the Markdown here.", show_default=False)] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The latest incident's report."""
    from starter.reporting import run_report

    return run_report(environment(), output=output, state=state, json=json)
