"""Messages of a run, in order, in the background: traffic work never waits for them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.notify import Notify
from failover.incident import RunRecord
from failover.messages import Asked, IncidentMessage, MessageRef, closing, marked, opening, progress
from workflows import data_plane
from workflows.options import HELPER

MessageBuilder = Callable[[str], IncidentMessage]
"""Makes a message of its key, once its thread is known."""


class Herald:
    """Tells people of one run, in one thread."""

    def __init__(self, subject: str = "", thread: MessageRef | None = None) -> None:
        """`subject` and `thread` are those of a run that goes on as a new one."""
        self.subject = subject
        self.thread = thread
        self.drill = False
        """Every message says that nothing is really wrong."""
        self._count = 0
        self._last: asyncio.Task[None] | None = None
        self._unfinished: list[str] = []

    def opened(self, subject: str, text: str, doing: str = "failing over") -> None:
        """The run has begun to move traffic; said once."""
        if self.subject:
            return
        self.subject = marked(subject) if self.drill else subject
        self._post(lambda key: opening(key, self.subject, text, doing, drill=self.drill))

    def update(
        self, text: str, *, urgent: bool = False, asks: Asked | None = None, settles: Asked | None = None
    ) -> None:
        self._post(
            lambda key: progress(
                key, self.subject, text, self.thread, urgent=urgent, asks=asks, settles=settles, drill=self.drill
            )
        )

    def closed(self, record: RunRecord) -> None:
        self._post(lambda key: closing(key, record, self.thread))

    async def finish(self, patience: timedelta) -> list[str]:
        """Wait a little for what is still on its way; → what did not get through, in sentences."""
        if self._last is not None and not self._last.done():
            await workflow.wait([self._last], timeout=patience.total_seconds())
            if not self._last.done():
                self._unfinished.append(f"Messages were still being tried after {patience.total_seconds():g} s.")
        return self._unfinished

    def _post(self, build: MessageBuilder) -> None:
        self._count += 1
        key = f"{workflow.info().workflow_id}/{workflow.info().run_id}/{self._count}"
        self._last = asyncio.create_task(self._after(self._last, key, build))

    async def _after(self, before: asyncio.Task[None] | None, key: str, build: MessageBuilder) -> None:
        if before is not None:
            await before
        try:
            self.thread = await workflow.execute_activity_method(
                Notify.post, build(key), summary="tell people", **HELPER
            )
        except ActivityError as error:
            self._unfinished.append(f"A message was not delivered: {data_plane.why(error)}")
