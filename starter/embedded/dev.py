"""`failoverctl dev`: the whole stack in the foreground."""

from collections.abc import Mapping
from pathlib import Path

from failover.errors import FailoverError
from starter.configuration import demo_config, load
from starter.embedded.stack import RunningStack, StackPlan, running, temporal_cli
from starter.foreground import ENDED_BY_SIGNAL, until_signal
from starter.output import say, table
from starter.running import DEFAULT_HOME, write_atomically
from starter.settings import Settings


def run_dev(
    settings: Settings,
    *,
    config: Path | None,
    state: Path | None,
    ready_file: Path | None,
    ports: Mapping[str, int | None],
) -> int:
    """Run a stack until Ctrl-C or SIGTERM → 0; FailoverError if a part does not come up, or ends by itself."""
    kept = state or settings.state
    plan = StackPlan(
        config=config or settings.config or demo_config(),
        state=kept or DEFAULT_HOME / "dev",
        durable=kept is not None,
        cli=temporal_cli(settings, say),
        ports=ports,
        webhooks=True,
    )
    code = until_signal(_run(plan, settings, ready_file))
    return 0 if code == ENDED_BY_SIGNAL else code


async def _run(plan: StackPlan, settings: Settings, ready_file: Path | None) -> int:
    async with running(plan, settings, say) as stack:
        _show(stack, plan)
        if ready_file:
            write_atomically(ready_file, stack.addresses.as_json())
        try:
            broken = await stack.until_broken()
        finally:
            if ready_file:
                ready_file.unlink(missing_ok=True)
        raise FailoverError(f"{broken}\nThe stack ends with it; nothing was restarted.")


def _show(stack: RunningStack, plan: StackPlan) -> None:
    told = stack.addresses
    config = load(plan.config).config
    route = next(iter(config.routes))
    rows = [
        ("Temporal", told.temporal),
        ("Temporal Web UI", told.temporal_ui or "as your Temporal server has it"),
        ("Gateway", told.gateway),
        ("Simulator", told.simulator or "not running: no provider points at it"),
        ("Worker health", told.worker),
        ("Webhooks", told.webhooks or "not running"),
        *([("Console", f"{told.webhooks}/console/")] if told.webhooks and config.console.enabled else []),
        ("State and logs", told.state),
        ("OpenAI base_url", f"{told.gateway}/v1"),
    ]
    table("The stack is up", ("part", "address"), rows)
    print(
        f"Try: curl -s {told.gateway}/v1/chat/completions -H 'content-type: application/json' \\\n"
        f'       -d \'{{"model": "{route}", "messages": [{{"role": "user", "content": "hello"}}]}}\'\n'
        "Ctrl-C ends it.",
        flush=True,
    )
