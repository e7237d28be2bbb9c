"""Options that many commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from starter.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration file.", show_default=False)]
StateDir = Annotated[Path | None, typer.Option("--state", help="State directory.", show_default=False)]
ReadyFile = Annotated[Path | None, typer.Option("--ready-file", help="Written once everything answers.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, show_default=False, help="0: any free one.")]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Plan, and change nothing.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the policy, the messages and the report.")]
OneRoute = Annotated[
    str | None, typer.Option("--route", help="Default: the only one, or default_route.", show_default=False)
]
Approval = Annotated[
    list[str] | None,
    typer.Option(
        "--approval",
        metavar="POINT",
        help="Also ask people: first_shift, each_step, full, doubtful_rollback; may be repeated.",
        show_default=False,
    ),
]
EmergencyMode = Annotated[bool, typer.Option("--emergency-mode", help="Skip approvals and waits; never verification.")]
Percents = Annotated[
    str | None, typer.Option(help="The steps, such as 10,25,50,75,100.", metavar="P,P,…", show_default=False)
]
StepDuration = Annotated[
    str | None, typer.Option(help="Of each of them: seconds, 90s, 5m.", metavar="DURATION", show_default=False)
]

Run = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="Id of the run; may be left out where only one is open.", show_default=False),
]
Comment = Annotated[str, typer.Option(help="Why; it stands in the timeline.")]
Actor = Annotated[str | None, typer.Option(help="Who orders it. Default: you.", show_default=False)]
OrderId = Annotated[
    str | None, typer.Option("--id", help="Of this order: given again, it changes nothing.", show_default=False)
]


def environment() -> Settings:
    """The one place where commands read the environment."""
    return Settings.from_env(os.environ)
