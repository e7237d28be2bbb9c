"""What a run remembers of itself: timeline, phase, moments; what operators see of it while it goes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey, SearchAttributeUpdate

from failover.incident import Moments, Outcome, PolicyWrite, RunRecord, TimelineEntry, Trigger
from failover.policy import Change, Revision
from failover.requests import Note, RunStatus
from workflows.payloads import understand

PROCEDURE = SearchAttributeKey.for_keyword("FailoverProcedure")
PROVIDER = SearchAttributeKey.for_keyword("FailoverProvider")
ROUTES = SearchAttributeKey.for_keyword_list("FailoverRoutes")
ROUTE_COUNT = SearchAttributeKey.for_int("FailoverRouteCount")
PHASE = SearchAttributeKey.for_keyword("FailoverPhase")
OUTCOME = SearchAttributeKey.for_keyword("FailoverOutcome")
SEARCH_ATTRIBUTES: Sequence[SearchAttributeKey[Any]] = (PROCEDURE, PROVIDER, ROUTES, ROUTE_COUNT, PHASE, OUTCOME)
"""Registered by the worker at its start."""

OPENED = "failover_runs_opened_total"
OPENED_HELP = "Runs that began, by procedure; dry runs are none."

LISTED_ROUTES = 20
"""The most routes that are listed; more are only counted: a keyword list beyond 2,048 bytes terminates the run."""

DETAILS_LIMIT = 18_000
"""Bytes of current details; the server takes 20 KB."""

KEPT_ENTRIES = 500
"""The most entries of a timeline: its beginning and its end are kept; in the middle a long run says the same again."""


KEPT_WRITES = 1_000
"""The most writes of the policy that are kept, in the same way: an emergency may write for days."""


class Asked(Protocol):
    """What every request says: what started the run, who asked for it, and why."""

    @property
    def trigger(self) -> Trigger: ...

    @property
    def requested_by(self) -> str: ...

    @property
    def reason(self) -> str: ...


class Journal:
    """One run's memory. `steps` are the checklist of its current details, in order."""

    def __init__(self, procedure: str, steps: Sequence[str], checklist: Callable[[], list[str]] | None = None) -> None:
        self.procedure = procedure
        self.steps = steps
        self._checklist = checklist or self._boxes
        self.phase = "starting"
        self.provider = ""
        self.reason = ""
        self.outcome: Outcome | None = None
        self.routes: list[str] = []
        self.moments: Moments | None = None
        self.timeline: list[TimelineEntry] = []
        self.notes: list[str] = []
        self.writes: list[PolicyWrite] = []
        self.details: Callable[[], dict[str, Any]] = dict

    def open(
        self,
        provider: str,
        decided: datetime,
        first_bad: datetime | None,
        unhealthy: datetime | None,
        *,
        counted: bool = True,
    ) -> None:
        """Open the record of the run. `counted`: among the runs that metrics tell of."""
        if counted:
            # Of a replay the meter counts nothing.
            workflow.metric_meter().create_counter(OPENED, OPENED_HELP).add(1, {"procedure": self.procedure})
        self.provider = provider
        self.moments = Moments(decided=decided, first_bad=first_bad, unhealthy=unhealthy)
        self._upsert([PROCEDURE.value_set(self.procedure), PROVIDER.value_set(provider), PHASE.value_set(self.phase)])

    def concerns(self, routes: Sequence[str]) -> None:
        """The routes that this run changes."""
        self.routes = list(routes)
        self._upsert([ROUTE_COUNT.value_set(len(routes)), ROUTES.value_set(self.routes[:LISTED_ROUTES])])

    def enter(self, step: str, text: str) -> None:
        """The run goes on to a step of its checklist."""
        self.phase = step
        self.note(text)

    def announce(self, step: str, text: str) -> None:
        """The same, where people look for runs by phase: worth an event of its own."""
        if step != self.phase:
            self._upsert([PHASE.value_set(step)])
        self.enter(step, text)

    def refresh(self) -> None:
        """Show what is the case now."""
        workflow.set_current_details(self._details())

    def note(self, text: str) -> None:
        """Note one thing that happened, now."""
        self.timeline.append(TimelineEntry(at=workflow.now(), step=self.phase, text=text))
        if len(self.timeline) > KEPT_ENTRIES:
            del self.timeline[KEPT_ENTRIES // 2]
        self.refresh()

    def wrote(self, change: Change, step: str, revision: Revision | None) -> None:
        """A change of this run is in force now."""
        self.writes.append(
            PolicyWrite(
                at=workflow.now(),
                route=change.route,
                step=step,
                shares=dict(change.distribution),
                revision=str(revision or ""),
                mode=change.mode,
            )
        )
        if len(self.writes) > KEPT_WRITES:
            del self.writes[KEPT_WRITES // 2]

    def remark(self, text: str) -> None:
        """Note what people must find without reading the timeline: it stands among the notes of the report, too."""
        self.note(text)
        if text not in self.notes:
            self.notes.append(text)

    def mark(self, **moments: datetime) -> None:
        assert self.moments is not None
        self.moments = replace(self.moments, **moments)

    def close(self, outcome: Outcome, reason: str) -> Moments:
        """The run is over; → its moments."""
        self.outcome, self.reason = outcome, reason
        self.mark(closed=workflow.now())
        self.enter("closed", f"{outcome.value}: {reason}")
        self._upsert([OUTCOME.value_set(outcome.value), PHASE.value_set(self.phase)])
        assert self.moments is not None
        return self.moments

    def record(self, asked: Asked, outcome: Outcome, reason: str, command: str | None) -> RunRecord:
        """What is kept of every run; a procedure adds what it alone knows."""
        info = workflow.info()
        assert self.moments is not None
        return RunRecord(
            procedure=self.procedure,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            trigger=asked.trigger,
            requested_by=asked.requested_by,
            request_reason=asked.reason,
            provider=self.provider,
            verdict=None,
            outcome=outcome,
            reason=reason,
            command=command,
            moments=self.moments,
            timeline=self.timeline,
            notes=self.notes,
            concerns=self.routes,
            writes=self.writes,
        )

    def status(self) -> RunStatus:
        return RunStatus(
            procedure=self.procedure,
            phase=self.phase,
            provider=self.provider,
            outcome=self.outcome,
            reason=self.reason,
            routes=self.routes,
            moments=self.moments or Moments(decided=workflow.now()),
            timeline=self.timeline[-50:],
            details=self.details(),
        )

    def _upsert(self, updates: Sequence[SearchAttributeUpdate[Any]]) -> None:
        workflow.upsert_search_attributes(updates)

    def _details(self) -> str:
        """The plan as a checklist, then what happened last; shown by the Web UI as Markdown."""
        # One line each, whatever people wrote: nobody's comment may look like a step of the plan.
        happened = [f"- `{entry.at:%H:%M:%S}` {' '.join(entry.text.split())}" for entry in self.timeline[-10:]]
        told = "\n".join([*self._checklist(), "", *happened])
        return told.encode()[:DETAILS_LIMIT].decode(errors="ignore")

    def _boxes(self) -> list[str]:
        reached = self.steps.index(self.phase) if self.phase in self.steps else len(self.steps)
        boxes = [f"- [{'x' if index < reached else ' '}] {step}" for index, step in enumerate(self.steps)]
        if self.phase in self.steps:
            boxes[reached] += " ← now"
        return boxes


class Visible:
    """Base of every procedure: what can be asked of a run, and the note that others may leave with it."""

    journal: Journal

    @workflow.query
    def status(self) -> RunStatus:
        """Where the run is, and what has happened."""
        return self.journal.status()

    @workflow.query
    def timeline(self) -> list[TimelineEntry]:
        """Everything that happened, oldest first."""
        return self.journal.timeline

    @workflow.signal
    def note(self, message: RawValue) -> None:
        """Note what the run should know of: another alert about its provider, a remark by a person."""
        said = understand(message, Note)
        if isinstance(said, str):
            self.note_dropped("note", said)
        else:
            self.journal.note(f"{said.by}: {said.text}")

    def note_dropped(self, name: str, why: str) -> None:
        """A message that could not be understood is told, not obeyed."""
        self.journal.note(f"A malformed {name} message was dropped: {why}")
