"""Runs as Temporal knows them: is a claim's holder still there, and procedures that follow from others."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

TASK_TIMEOUT = timedelta(seconds=2)
"""Of workflow tasks: how long the work of a dead worker waits for the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """A procedure that follows from another: what it is, under which id, asked for what."""

    procedure: str
    workflow_id: str
    request: dict[str, Any]
    summary: str


class Runs:
    """What only Temporal knows."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

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

    @activity.defn(name="runs.start")
    async def start(self, order: StartOrder) -> bool:
        """Start a procedure; False where one of that id is open already, which is as good."""
        try:
            await self._client.start_workflow(
                order.procedure,
                order.request,
                id=order.workflow_id,
                task_queue=self._task_queue,
                task_timeout=TASK_TIMEOUT,
                static_summary=order.summary[:200],
            )
        except WorkflowAlreadyStartedError:
            return False
        return True
