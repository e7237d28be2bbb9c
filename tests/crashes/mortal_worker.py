"""Real workers, each in a process of its own, that kill themselves (SIGKILL) around activities, and are begun anew.

python mortal_worker.py TEMPORAL GATEWAY TOKEN CONFIG STATE QUEUE...

One worker a queue. While STATE/QUEUE/armed says `SITUATION MOMENT` (before or after), the worker dies once around every
activity that it meets: the marks it leaves in STATE/QUEUE/struck outlive it, and the next worker goes on from there. While
STATE/QUEUE/down exists, no provider answers it.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.console import ConsoleNotifier
from failover.failure import FailureKind
from failover.policy import Change
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import load
from traffic.gateway import GatewayPlane
from workflows.payloads import data_converter


class Mortal(ClientInterceptor, Interceptor):
    """Kills the process around activities, as the armed file says."""

    def __init__(self, state: Path) -> None:
        self._armed = state / "armed"
        self._struck = state / "struck"

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Around(next, self.strike)

    def strike(self, activity: str, moment: str) -> None:
        if not self._armed.exists():
            return
        situation, when = self._armed.read_text().split()
        mark = self._struck / f"{situation} {activity}"
        if when == moment and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)


class _Around(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, strike: Callable[[str, str], None]) -> None:
        super().__init__(next)
        self._strike = strike

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = _name(input)
        self._strike(name, "before")
        result = await super().execute_activity(input)
        self._strike(name, "after")
        return result


def _name(input: ExecuteActivityInput) -> str:
    """The activity's; a write is another one in every step."""
    name: str = getattr(input.fn, "__temporal_activity_definition").name
    given = input.args[0] if input.args else None
    if isinstance(given, list) and given and isinstance(given[0], Change):
        return f"{name} {given[0].changed_by.step}"
    return name


async def work(temporal: str, gateway: str, token: str, config: str, state: Path, queue: str) -> None:
    loaded = load(Path(config)).config
    client = await Client.connect(temporal, data_converter=data_converter, interceptors=[Mortal(state)])
    plane = GatewayPlane(gateway, token=token)
    parts = composition.Parts(
        config=loaded,
        clients={key: _provider(key, state / "down") for key in loaded.providers},
        plane=plane,
        notifier=ConsoleNotifier(),
        evidence=EvidenceStore(state / "incidents"),
        board=VerdictBoard(),
        drills=plane,
    )
    async with composition.build_worker(client, parts, task_queue=queue):
        await asyncio.Event().wait()


def _provider(key: str, down: Path) -> MemoryClient:
    client = MemoryClient(key)

    def look() -> None:
        client.fail_with = FailureKind.SERVER_ERROR if down.exists() else None

    client.on_call = look
    return client


def nurse(temporal: str, gateway: str, token: str, config: str, state: str, *queues: str) -> None:
    """Keep one worker a queue alive. Forked from here they need no second to start; nothing here has threads yet."""
    children: dict[int, str] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def bear(queue: str) -> None:
        child = os.fork()
        if child:
            children[child] = queue
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            asyncio.run(work(temporal, gateway, token, config, Path(state) / queue, queue))
        except Exception:  # noqa: BLE001 (told, and the nurse ends)
            traceback.print_exc()
        os._exit(1)

    try:
        for queue in queues:
            bear(queue)
        while True:
            child, status = os.wait()
            queue = children.pop(child)
            if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                sys.exit(f"the worker of {queue} ended by itself: {status}")
            bear(queue)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    nurse(*sys.argv[1:])
