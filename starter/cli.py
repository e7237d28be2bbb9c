"""failoverctl: the operators' command line.

Commands are declared under `starter.commands`; what does their work is imported when it is asked for: help is instant.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from failover.errors import FailoverError
from starter.codec import commands as codec
from starter.commands import (
    aftercare,
    analysis,
    checking,
    detection,
    drills,
    driving,
    incident,
    moving,
    readiness,
    rehearsing,
    seeing,
    setup,
    stack,
    telling,
)
from starter.exit_codes import ExitCode
from starter.webhooks import commands as webhooks

MALFORMED = "MalformedInput"
"""The error type of `workflows.payloads.MALFORMED`, repeated since help must not import that module."""

app = typer.Typer(
    name="failoverctl",
    help="Run the AI provider failover runbook: detect, move traffic, prove it, write it down.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    incident,
    checking,
    moving,
    driving,
    stack,
    setup,
    detection,
    webhooks,
    codec,
    aftercare,
    analysis,
    telling,
    seeing,
    readiness,
    drills,
    rehearsing,
)
for commands in COMMANDS:
    commands.add_to(app)


def run_app(argv: Sequence[str]) -> int:
    """Do what the arguments say → exit code; what goes wrong is raised."""
    code = app(list(argv), prog_name="failoverctl", standalone_mode=False)
    return code if isinstance(code, int) else ExitCode.DONE


def run(argv: Sequence[str]) -> int:
    """Do what the arguments say → exit code. Every expected error is a sentence on stderr."""
    try:
        return run_app(argv)
    except FailoverError as error:
        print(f"failoverctl: {error}", file=sys.stderr)
        return error.exit_code
    except typer.Exit as leaving:
        return int(leaving.exit_code)
    except typer.Abort:
        print("failoverctl: nothing was done.", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        print("failoverctl: interrupted; a run that was started goes on.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:
        if getattr(error, "type", None) == MALFORMED:
            # What Temporal keeps could not be read here: most often, it is encrypted and FAILOVER_CODEC_KEYS lacks its key.
            print(f"failoverctl: what Temporal keeps cannot be read here. {error}", file=sys.stderr)
            return ExitCode.FAILED
        usage = _usage_error(error)
        if usage is None:
            raise
        return usage


def _usage_error(error: Exception) -> int | None:
    """A mistake in the arguments, shown as the parser shows it; None where it is something else."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if show is None or not isinstance(code, int):
        return None
    show()
    return code


def _mend_streams() -> None:
    """An order must not fail, or seem to, because its answer cannot be shown: a closed stream (as under cron) swallows
    what is printed, and a terminal that knows no arrow shows a question mark.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (it stays open)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> NoReturn:
    _mend_streams()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our pipe left (`| head`); that is its right.
        code = 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"failoverctl: the answer could not be written: {error.strerror}.", file=sys.stderr)
        code = ExitCode.FAILED
    sys.stderr.flush()
    # The SDK's native threads may abort while the interpreter is taken down; an exit code must not depend on it.
    os._exit(code)
