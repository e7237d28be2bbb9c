"""Commands about being ready: what the last audit found, another one now, the certificates."""

import typer

from starter.commands.options import ConfigFile, Json, StateDir, environment


def add_to(app: typer.Typer) -> None:
    readiness_app = typer.Typer(invoke_without_command=True)
    readiness_app.callback()(show)
    readiness_app.command("audit")(audit)
    readiness_app.command("certificates")(certificates)
    app.add_typer(readiness_app, name="readiness")


def show(context: typer.Context, config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Would a failover of each route to each of its targets work now? What the last audit found, and what to do.

    Exit code 3 where a route has no target that is known to work.

    \b
    failoverctl readiness
    failoverctl readiness --json
    """
    if context.invoked_subcommand is not None:
        return 0
    from starter.readiness import run_show

    return run_show(environment(), config, state, json=json)


def audit(
    prove_context: bool = typer.Option(
        False, help="Send each target a prompt as long as its routes need: it costs what it costs."
    ),
    config: ConfigFile = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Look now, and wait for what is found. An audit that is running is joined.

    Exit code 3 where a route has no target that is known to work.

    \b
    failoverctl readiness audit
    """
    from starter.readiness import run_audit

    return run_audit(environment(), config, state, prove_context=prove_context, json=json)


def certificates(config: ConfigFile = None, state: StateDir = None, json: Json = False) -> int:
    """Which targets are certified for which routes, until when, and what became of the others.

    \b
    failoverctl readiness certificates
    """
    from starter.readiness import run_certificates

    return run_certificates(environment(), config, state, json=json)
