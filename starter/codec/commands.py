"""`failoverctl codec-server`: its options and help."""

from typing import Annotated

import typer

from starter.commands.options import ConfigFile, ReadyFile, StateDir, environment


def add_to(app: typer.Typer) -> None:
    app.command("codec-server")(codec_server)


def codec_server(
    config: ConfigFile = None,
    state: StateDir = None,
    host: Annotated[str, typer.Option(help="Host to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8086,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Of Temporal's Web UI, whose pages may ask; may be repeated.", show_default=False),
    ] = None,
    ask_nobody: Annotated[
        bool, typer.Option("--ask-nobody", help="Decode for everybody on this machine; on loopback only.")
    ] = False,
    ready_file: ReadyFile = None,
) -> int:
    """Decode for Temporal's Web UI and command line what FAILOVER_CODEC_KEYS encrypt.

    Whoever asks is an operator with any role, by token or by a trusted proxy's word.

    \b
    failoverctl codec-server --origin https://temporal.example.com
    temporal workflow show -w failover/bedrock --codec-endpoint http://127.0.0.1:8086 --codec-auth "Bearer $TOKEN"
    """
    from starter.codec.serving import run_codec_server

    return run_codec_server(
        environment(),
        config=config,
        state=state,
        host=host,
        port=port,
        origins=origin or ["http://localhost:8233", "http://127.0.0.1:8233"],
        ask_nobody=ask_nobody,
        ready_file=ready_file,
    )
