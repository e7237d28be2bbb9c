"""A real worker in a process of its own, that kills itself (SIGKILL) once, just before or just after an activity.

python mortal_worker.py TEMPORAL GATEWAY TOKEN TASK_QUEUE CONFIG STATE [ACTIVITY before|after]
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

import worker as composition
from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.console import ConsoleNotifier
from providers.memory import MemoryClient
from starter.stack import load
from traffic.gateway import GatewayPlane
from workflows.payloads import data_converter


class DieOnce(ClientInterceptor, Interceptor):
    """Kills the process around the first execution of one activity; the marker outlives the process."""

    def __init__(self, activity: str, moment: str, marker: Path) -> None:
        self.activity, self.moment, self.marker = activity, moment, marker

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Around(next, self)

    def strike(self, activity: str, moment: str) -> None:
        if (activity, moment) == (self.activity, self.moment) and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)


class _Around(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, death: DieOnce) -> None:
        super().__init__(next)
        self._death = death

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = getattr(input.fn, "__temporal_activity_definition").name
        self._death.strike(name, "before")
        result = await super().execute_activity(input)
        self._death.strike(name, "after")
        return result


async def main(temporal: str, gateway: str, token: str, task_queue: str, config: str, state: str, *death: str) -> None:
    loaded = load(Path(config)).config
    interceptors = [DieOnce(death[0], death[1], Path(state) / "struck")] if death else []
    client = await Client.connect(temporal, data_converter=data_converter, interceptors=interceptors)
    await composition.register_search_attributes(client)
    parts = composition.Parts(
        config=loaded,
        clients={key: MemoryClient(key) for key in loaded.providers},
        plane=GatewayPlane(gateway, token=token),
        notifier=ConsoleNotifier(),
        evidence=EvidenceStore(Path(state) / "incidents"),
        board=VerdictBoard(),
    )
    stop = composition.stop_on_signals()
    async with composition.build_worker(client, parts, task_queue=task_queue):
        print("polling", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
