"""What a command costs before it does anything: a process, its imports, its answer."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import table
from bench.incidents import healthy
from starter.configuration import demo_config
from starter.embedded.stack import ANY_PORTS, StackPlan, running
from starter.settings import Settings


async def commands(cli: Path, settings: Settings, times: int) -> None:
    """`failoverctl --help`, and `status` against a whole stack; the floor is Python doing nothing."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state"
        plan = StackPlan(config=demo_config(), state=state, durable=False, cli=cli, ports=ANY_PORTS)
        async with running(plan, settings, lambda _: None) as up:
            await healthy(up)
            ctl = ("-m", "starter")
            asked = {
                "python -c pass": ("-c", "pass"),
                "failoverctl --help": (*ctl, "--help"),
                "failoverctl status --help": (*ctl, "status", "--help"),
                "failoverctl status": (*ctl, "status", "--state", str(state)),
                "failoverctl status --json": (*ctl, "status", "--state", str(state), "--json"),
            }
            rows = [(name, [await wall(*arguments) for _ in range(times)]) for name, arguments in asked.items()]
    table("Commands, wall time (a whole stack beside them)", rows, "ms")


async def wall(*arguments: str) -> float:
    """Milliseconds until the process has ended."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return 1000 * (time.perf_counter() - began)
