"""One run's way to its `Communications`: begun in the background, told in order, never waited for by traffic."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from activities.communications import Communicating
from failover.communications import Incident, News
from workflows import failures
from workflows.options import HELPER

OPENING = {**HELPER, "schedule_to_close_timeout": timedelta(minutes=5)}


class Outward:
    """`workflow_id`: the communications of a run that goes on as a new one; None: not begun; "": nobody is to be told."""

    def __init__(self, workflow_id: str | None = None) -> None:
        self.workflow_id = workflow_id
        self.last: asyncio.Task[None] | None = None
        self.failed: list[str] = []
        self._begun = workflow_id is not None

    def begin(self, incident: Incident, ask: Callable[[str], None]) -> None:
        """Begin to tell, once; `ask` tells people what they are asked before a support case is opened."""
        if not self._begun:
            self._begun = True
            self._after(lambda: self._open(incident, ask))

    def tell(self, news: News) -> None:
        if self._begun:
            self._after(lambda: self._tell(news))

    def _after(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.last = asyncio.create_task(self._in_turn(self.last, work))

    async def _in_turn(self, before: asyncio.Task[None] | None, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if before is not None:
            await before
        await work()

    async def _open(self, incident: Incident, ask: Callable[[str], None]) -> None:
        try:
            opened = await workflow.execute_activity_method(
                Communicating.open, incident, summary="tell outside", **OPENING
            )
        except ActivityError as error:
            self.failed.append(f"Nobody outside was told: {failures.why(error)}")
            return
        self.workflow_id = opened.workflow_id
        if opened.question:
            ask(opened.question)

    async def _tell(self, news: News) -> None:
        if not self.workflow_id:
            return
        try:
            await workflow.get_external_workflow_handle(self.workflow_id).signal("tell", news)
        except FailureError as error:
            self.failed.append(f"{self.workflow_id} could not be told: {error}")
