"""Temporal as the webhook server sees it: bounded calls, and one sentence where it does not answer."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.runs import StartedRun, StartOrder, start_or_join
from failover.errors import TemporalUnavailable, Unavailable
from failover.requests import Note
from workflows.journal import LISTED_ROUTES, PROVIDER, ROUTE_COUNT, ROUTES

T = TypeVar("T")

ALERT, ASKED = "alert", "routes"
"""Keys of the memo in which a run keeps the alert that it was started for, and the routes, divided by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A run as Temporal describes it.

    `routes` are those that it was asked for or moves, `provider` the one that it is about; empty where that is not known.
    """

    workflow_id: str
    run_id: str
    open: bool
    closed_at: datetime | None
    alert: str
    provider: str
    routes: Sequence[str]


class Temporal:
    """Every call ends within `timeout`; TemporalUnavailable where it does not, or nobody is there."""

    def __init__(self, client: Client, task_queue: str, timeout: timedelta) -> None:
        self.client = client
        self.task_queue = task_queue
        self._timeout = timeout

    async def find(self, workflow_id: str) -> Seen | None:
        """The newest run of an id; None where there never was one that Temporal still knows."""
        try:
            found = await self.bounded(self.client.get_workflow_handle(workflow_id).describe())
        except RPCError:
            return None
        memo = await _memo(found)
        asked = str(memo.get(ASKED, ""))
        return Seen(
            workflow_id=workflow_id,
            run_id=found.run_id,
            open=found.status is WorkflowExecutionStatus.RUNNING,
            closed_at=found.close_time,
            alert=str(memo.get(ALERT, "")),
            provider=found.typed_search_attributes.get(PROVIDER) or "",
            routes=asked.split(",") if asked else _moved(found),
        )

    async def start(self, order: StartOrder, alert: str) -> StartedRun:
        memo = {ALERT: alert, ASKED: ",".join(order.request.get("routes") or ())}
        return await self.bounded(start_or_join(self.client, self.task_queue, order, memo=memo))

    async def tell(self, workflow_id: str, note: Note) -> bool:
        """Leave a note; False where no run of that id is open."""
        try:
            await self.bounded(self.client.get_workflow_handle(workflow_id).signal("note", note))
        except RPCError:
            return False
        return True

    async def why_not(self) -> str | None:
        """Why Temporal cannot be used now; None where it can."""
        try:
            await self.bounded(self.client.service_client.check_health())
        except (TemporalUnavailable, RPCError) as error:
            return str(error)
        return None

    async def bounded(self, call: Coroutine[Any, Any, T]) -> T:
        """The call's result. RPCError only where Temporal itself answered that there is no such run."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await call
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower():
                raise
            raise _unavailable(error.message) from error
        except ApplicationError as error:
            # Only our own converter raises it here: the answer is encrypted, and not for this process.
            raise Unavailable(f"What Temporal keeps of it cannot be read here ({error.message})") from error
        except (TimeoutError, RPCTimeoutOrCancelledError) as error:
            raise _unavailable(f"no answer within {self._timeout.total_seconds():g} s") from error
        except RuntimeError as error:
            # A client that connects at its first call tells in this way that it could not.
            raise _unavailable(str(error)) from error


async def _memo(found: WorkflowExecutionDescription) -> Mapping[str, Any]:
    """The memo of a run; empty if the key that encrypted it is gone: then the run's attributes speak alone."""
    try:
        return await found.memo()
    except ApplicationError:
        return {}


def _moved(found: WorkflowExecutionDescription) -> Sequence[str]:
    attributes = found.typed_search_attributes
    routes = attributes.get(ROUTES) or ()
    return routes if (attributes.get(ROUTE_COUNT) or 0) <= LISTED_ROUTES else ()


def _unavailable(why: str) -> TemporalUnavailable:
    return TemporalUnavailable(f"Temporal does not answer ({' '.join(why.split())[:160]}); try again.")
