"""`failoverctl serve` and `failoverctl token`: their options and help."""

from typing import Annotated

import typer

from starter.commands.options import ConfigFile, ReadyFile, StateDir, environment


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(token)


def serve(
    config: ConfigFile = None,
    state: StateDir = None,
    host: Annotated[str, typer.Option(help="Host to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8085,
    ready_file: ReadyFile = None,
) -> int:
    """Run the webhook server: alerts, Slack's buttons, and the doors that drive runs over HTTP.

    \b
    failoverctl serve --config failover.yaml
    failoverctl serve --host 0.0.0.0 --port 8085
    """
    from starter.webhooks.serving import run_serve

    return run_serve(environment(), config=config, state=state, host=host, port=port, ready_file=ready_file)


def token(
    name: Annotated[str, typer.Argument(help="The operator's name, or a machine's.", metavar="NAME")],
    role: Annotated[list[str] | None, typer.Option(help="view, start, approve or override; may be repeated.")] = None,
) -> int:
    """Make a token for an operator: printed once, with the lines for the configuration that know it by its hash.

    \b
    failoverctl token anna --role approve
    failoverctl token ci --role view
    """
    from starter.webhooks.tokens import run_token

    return run_token(name, role or ["view"])
