"""Runs as Temporal knows them: how they begin, who is still there, and procedures that follow from others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.hold import HeldAutomation
from failover.incident import Trigger
from failover.kinds import INCIDENTS
from failover.requests import Note
from failover.starting import StartOrder as StartOrder

TASK_TIMEOUT = timedelta(seconds=2)
"""The timeout of workflow tasks: how long the work of a dead worker waits for the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRun:
    """The run that stands for an order: whether it was `started` for it, or was there and is joined."""

    workflow_id: str
    run_id: str | None
    started: bool


async def start_or_join(
    client: Client,
    task_queue: str,
    order: StartOrder,
    note: Note | None = None,
    *,
    eager: bool = False,
    memo: Mapping[str, str] | None = None,
) -> StartedRun:
    """The one way in which runs of the product's own ids begin: where one is open, it is joined, and told the note.

    `eager` has an effect only in a worker's own process, by its own client. RPCError where Temporal does not answer, and
    (NOT_FOUND) where the run that was there ended before it could be told.
    """
    try:
        handle = await client.start_workflow(
            order.procedure,
            order.request,
            id=order.workflow_id,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
            request_eager_start=eager,
            static_summary=order.summary[:200],
            memo=memo,
        )
    except WorkflowAlreadyStartedError as there:
        if note is not None:
            await client.get_workflow_handle(order.workflow_id).signal("note", note)
        return StartedRun(workflow_id=order.workflow_id, run_id=there.run_id, started=False)
    return StartedRun(workflow_id=order.workflow_id, run_id=handle.result_run_id, started=True)


class Runs:
    """What only Temporal knows."""

    def __init__(self, client: Client, task_queue: str, hold: HeldAutomation | None = None) -> None:
        self._client = client
        self._task_queue = task_queue
        self._hold = hold or HeldAutomation(None)

    @activity.defn(name="runs.is_open")
    async def is_open(self, workflow_id: str) -> bool:
        """Whether an execution of that id is open; one that Temporal does not know is not."""
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING

    async def open_incidents(self) -> list[str]:
        """Ids of the runs that move traffic, or wait to bring it back. RPCError where Temporal does not list them."""
        types = " OR ".join(f'WorkflowType = "{name}"' for name in INCIDENTS)
        query = f'ExecutionStatus = "Running" AND ({types})'
        return [run.id async for run in self._client.list_workflows(query, limit=1)]

    @activity.defn(name="runs.start")
    async def start(self, order: StartOrder) -> bool:
        """Start a procedure; False where one of that id is open already, which is as good.

        A hold stops what nobody asked for.
        """
        held = await self._hold.in_force() if order.request.get("trigger") == Trigger.AUTOMATIC else None
        if held is not None:
            raise ApplicationError(f"{held}; {order.workflow_id} is people's to start", type="Held", non_retryable=True)
        return (await start_or_join(self._client, self._task_queue, order)).started
