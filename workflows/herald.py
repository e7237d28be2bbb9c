"""Messages of a run, in order, in the background: traffic work never waits for them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.notify import Notify
from failover.communications import Incident, News, Stage, news_of
from failover.incident import Outcome, RunRecord
from failover.messages import Asked, IncidentMessage, MessageRef, closing, marked, opening, progress
from workflows import failures, signing
from workflows.options import HELPER
from workflows.outward import Outward

MessageBuilder = Callable[[str], IncidentMessage]
"""Makes a message of its key, once its thread is known."""


class Herald:
    """Tells people of one run, in one thread; and whoever is to be told outside, once the first write has been tried."""

    def __init__(self, subject: str = "", thread: MessageRef | None = None, outward: str | None = None) -> None:
        """`subject`, `thread` and `outward` are those of a run that goes on as a new one."""
        self.subject = subject
        self.thread = thread
        self.drill = False
        """Every message says that nothing is really wrong."""
        self._outward = Outward(outward)
        self._incident: Incident | None = None
        self._count = 0
        self._last: asyncio.Task[None] | None = None
        self._unfinished: list[str] = []

    @property
    def outward(self) -> str | None:
        """What the run that goes on as a new one is to be given."""
        return self._outward.workflow_id

    def opened(
        self,
        subject: str,
        text: str,
        doing: str = "failing over",
        *,
        providers: Sequence[str] = (),
        cause: str = "",
        known_down: bool = False,
        is_drill: bool = False,
    ) -> None:
        """The run has begun to move traffic; said once. `providers`: whose trouble it is; `cause`: in words for them."""
        if self.subject:
            return
        self.drill = self.drill or is_drill
        self.subject = marked(subject) if self.drill else subject
        self._incident = replace(
            _incident(subject, text, is_drill=self.drill), providers=list(providers), cause=cause, known_down=known_down
        )
        self._post(lambda key: opening(key, self.subject, text, doing, drill=self.drill))

    def moved(self) -> None:
        """The first write has been tried: from now on whoever is outside may be told, and traffic waits for nothing of it."""
        if self._incident is not None:
            self._outward.begin(self._incident, self._ask)

    def update(
        self,
        text: str,
        *,
        urgent: bool = False,
        verified: bool = False,
        asks: Asked | None = None,
        settles: Asked | None = None,
    ) -> None:
        """`verified`: traffic is proved to be where it should be."""
        self._say(text, urgent=urgent, asks=asks, settles=settles)
        self.moved()
        self._outward.tell(News(stage=Stage.UPDATED, text=text, at=workflow.now(), urgent=urgent, verified=verified))

    def closed(self, record: RunRecord) -> None:
        self._post(lambda key: closing(key, record, self.thread))
        if self._incident is None and record.outcome is Outcome.NEEDS_HUMAN:
            subject = record.subject or record.provider or record.procedure
            incident = _incident(subject, record.reason, is_drill=record.is_drill)
            self._incident = replace(incident, providers=[record.provider] if record.provider else [])
        self.moved()
        self._outward.tell(news_of(record))

    async def finish(self, patience: timedelta) -> list[str]:
        """Wait a little for what is still on its way; → what did not get through, in sentences."""
        try:
            await workflow.wait_condition(lambda: not self._on_their_way(), timeout=patience)
        except TimeoutError:
            self._unfinished.append(f"Messages were still being tried after {patience.total_seconds():g} s.")
        return [*self._unfinished, *self._outward.failed]

    def _on_their_way(self) -> bool:
        return any(task is not None and not task.done() for task in (self._last, self._outward.last))

    def _ask(self, question: str) -> None:
        self._say(question, urgent=True)

    def _say(self, text: str, *, urgent: bool = False, asks: Asked | None = None, settles: Asked | None = None) -> None:
        self._post(
            lambda key: progress(
                key, self.subject, text, self.thread, urgent=urgent, asks=asks, settles=settles, drill=self.drill
            )
        )

    def _post(self, build: MessageBuilder) -> None:
        self._count += 1
        self._last = asyncio.create_task(self._after(self._last, signing.key(self._count), build))

    async def _after(self, before: asyncio.Task[None] | None, key: str, build: MessageBuilder) -> None:
        if before is not None:
            await before
        try:
            self.thread = await workflow.execute_activity_method(
                Notify.post, build(key), summary="tell people", **HELPER
            )
        except ActivityError as error:
            self._unfinished.append(f"A message was not delivered: {failures.why(error)}")


def _incident(subject: str, text: str, *, is_drill: bool) -> Incident:
    info = workflow.info()
    return Incident(
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        procedure=info.workflow_type,
        subject=subject,
        text=text,
        at=workflow.now(),
        is_drill=is_drill,
    )
