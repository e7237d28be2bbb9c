"""Commands that run the stack or a part of it, and those that break it on purpose."""

from pathlib import Path
from typing import Annotated

import typer

from starter.commands.options import ConfigFile, Json, Port, ReadyFile, StateDir, environment


def add_to(app: typer.Typer) -> None:
    app.command()(dev)
    app.command()(demo)
    app.command()(gateway)
    app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(simulator)
    app.command()(fault)


def dev(
    config: ConfigFile = None,
    state: StateDir = None,
    ready_file: ReadyFile = None,
    temporal_port: Port = None,
    ui_port: Port = None,
    gateway_port: Port = None,
    webhooks_port: Port = None,
) -> int:
    """Run the whole stack in the foreground until Ctrl-C.

    Without --config, three simulated providers. With --state, Temporal's database and the policies are kept there
    across runs; without, everything starts afresh.

    \b
    failoverctl dev
    failoverctl dev --state ./production --config production.yaml
    """
    from starter.embedded.dev import run_dev

    ports = {"temporal": temporal_port, "ui": ui_port, "gateway": gateway_port, "webhooks": webhooks_port}
    return run_dev(environment(), config=config, state=state, ready_file=ready_file, ports=ports)


def demo(
    fault: Annotated[str, typer.Option(help="What breaks; see `failoverctl fault --help`.")] = "server_error",
    provider: Annotated[str, typer.Option(help="Which provider breaks.")] = "bedrock",
    config: ConfigFile = None,
    rate: Annotated[float, typer.Option(min=1, max=200, help="Users' requests a second.")] = 20,
    without_detection: Annotated[bool, typer.Option(help="Watch nothing: the demo must then fail.")] = False,
    keep_open: Annotated[bool, typer.Option(help="Keep the stack up at the end, until Ctrl-C.")] = False,
    output: Annotated[Path | None, typer.Option(help="Where the incident report goes.", show_default=False)] = None,
    json: Json = False,
) -> int:
    """One real incident, end to end: traffic, a fault, detection, failover, proof, report.

    Exits 0 only if the outcome expected for that fault was seen and the runbook's targets were met.

    \b
    failoverctl demo
    failoverctl demo --fault hang --provider google
    """
    from starter.demo.run import DemoOptions, run_demo

    options = DemoOptions(
        fault=fault,
        provider=provider,
        config=config,
        rate=rate,
        detection=not without_detection,
        keep_open=keep_open,
        output=output,
        json=json,
    )
    return run_demo(environment(), options)


def gateway(
    config: ConfigFile = None,
    state: StateDir = None,
    host: Annotated[str, typer.Option(help="Host to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8080,
    ready_file: ReadyFile = None,
) -> int:
    """Run the gateway alone: the data plane that users' requests go through.

    \b
    failoverctl gateway --config failover.yaml --port 8080
    """
    from starter.alone import run_gateway

    return run_gateway(environment(), config=config, state=state, host=host, port=port, ready_file=ready_file)


def simulator(context: typer.Context) -> int:
    """Run the provider simulator alone; its options are what `python -m simulator --help` lists.

    \b
    failoverctl simulator --provider mine=llama --port mine=9101
    """
    from starter.alone import run_simulator

    return run_simulator(context.args)


def fault(
    provider: Annotated[str, typer.Argument(help="A simulated provider; or `clear`, or `list`.", metavar="PROVIDER")],
    kind: Annotated[str | None, typer.Argument(help="What breaks (after `clear`: whose).", metavar="KIND")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Another option of the fault, as name=number.")] = None,
    rate: Annotated[float | None, typer.Option(help="Percent of the calls that it strikes.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long it lasts.")] = None,
    calls: Annotated[int | None, typer.Option(help="How many calls it lasts.")] = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Break a simulated provider, or heal it.

    \b
    failoverctl fault bedrock server_error --seconds 30
    failoverctl fault clear [PROVIDER]
    failoverctl fault list              (faults in force, and the kinds there are)
    """
    from starter.faults import run_fault

    named = {"rate": rate, "seconds": seconds, "calls": calls}
    return run_fault(environment(), provider, kind, options=option or [], named=named, state=state, json=json)
