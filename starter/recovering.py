"""`failoverctl evidence`: what is on record; and records made anew from Temporal's history, while it still has it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError

from activities.evidence import EvidenceStore
from activities.traffic import Written
from failover.errors import TemporalUnavailable
from failover.incident import Moments, Outcome, PolicyWrite, RunRecord, TimelineEntry, Trigger
from failover.policy import Change
from failover.reports.period import parse_period
from failover.reports.words import about, clock
from failover.requests import RunResult, RunStatus
from starter.connection import connect
from starter.output import as_json, say, table
from starter.parts import evidence_of
from starter.running import find
from starter.runs.finding import RECENT, executions
from starter.runs.following import Run, ask
from starter.settings import Settings

KEEP = "evidence.keep"
APPLY = "traffic.apply"

AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRecord:
    """One line of the list."""

    workflow_id: str
    run_id: str
    procedure: str
    about: str
    outcome: str
    decided: datetime
    took_seconds: float | None
    files: Sequence[str]


def run_evidence(settings: Settings, state: Path | None, *, period: str | None, recover: bool, json: bool) -> int:
    stack = find(settings, state)
    store = evidence_of(settings, stack)
    if recover:
        made = asyncio.run(_recover_all(settings, state, store))
        say(
            f"{len(made)} made anew from Temporal's history."
            if made
            else "Nothing was missing that Temporal still knows."
        )
    within = parse_period(period or "30d", datetime.now(UTC))
    rows = [_row(store, folder, record) for folder, record in store.records(within.since, within.until)]
    if json:
        as_json("evidence", {"where": store.where, "runs": rows})
    else:
        cells = [
            (clock(one.decided), one.procedure, one.about, one.outcome, one.workflow_id, _took(one)) for one in rows
        ]
        table(
            f"On record in {store.where}", ("decided", "procedure", "about", "outcome", "run", "took"), cells, whole=1
        )
    return 0


def _row(store: EvidenceStore, folder: str, record: RunRecord) -> OnRecord:
    closed, decided = record.moments.closed, record.moments.decided
    return OnRecord(
        workflow_id=record.workflow_id,
        run_id=record.run_id,
        procedure=record.procedure,
        about=about(record),
        outcome=record.outcome.value,
        decided=decided,
        took_seconds=(closed - decided).total_seconds() if closed else None,
        files=store.files(folder),
    )


def _took(one: OnRecord) -> str:
    return f"{one.took_seconds:.1f} s" if one.took_seconds is not None else "–"


async def _recover_all(settings: Settings, state: Path | None, store: EvidenceStore) -> list[RunRecord]:
    client = await connect(settings, find(settings, state))
    return await recover(client, store)


async def recover(client: Client, store: EvidenceStore) -> list[RunRecord]:
    """Every closed run that Temporal knows and that has no record gets one → those that were made."""
    kept = await asyncio.to_thread(store.list)
    closed = await executions(client, RECENT)
    missing = [run for run in closed if await asyncio.to_thread(_is_missing, store, run, kept)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(run: WorkflowExecution) -> RunRecord | None:
        async with turn:
            record = await made_anew(client, run)
        if record is not None:
            await asyncio.to_thread(store.keep, record)
        return record

    return [record for record in await asyncio.gather(*map(one, missing)) if record is not None]


def _is_missing(store: EvidenceStore, run: WorkflowExecution, kept: Sequence[str]) -> bool:
    try:
        return store.find(run.id, run.run_id, among=kept) is None
    except ValueError:
        return True  # It is there and cannot be read.


async def made_anew(client: Client, run: WorkflowExecution) -> RunRecord | None:
    """The record that the run itself meant to keep; of one that was stopped before, what its history tells.

    None for a run that changed nothing and kept nothing: a dry run, or one that could not even begin.
    """
    request: Payloads | None = None
    scheduled: dict[int, HistoryEvent] = {}
    results: dict[int, HistoryEvent] = {}
    async for event in _events(client, run):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            request = event.workflow_execution_started_event_attributes.input
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled[event.event_id] = event
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            results[event.activity_task_completed_event_attributes.scheduled_event_id] = event
    for event in scheduled.values():
        attributes = event.activity_task_scheduled_event_attributes
        if attributes.activity_type.name == KEEP:
            record: RunRecord = await _decoded(client, attributes.input, RunRecord)
            return replace(record, notes=[*record.notes, "This record was made anew from Temporal's history."])
    writes = await _writes(client, scheduled, results)
    return await _of_stopped(client, run, writes, await _asked_for(client, request)) if writes else None


async def _events(client: Client, run: WorkflowExecution) -> AsyncIterator[HistoryEvent]:
    try:
        async for event in client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history_events():
            yield event
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not tell the history of {run.id}: {error.message}.") from error


async def _decoded(client: Client, payloads: Payloads, shape: Any) -> Any:
    [value] = await client.data_converter.decode(payloads.payloads, [shape])
    return value


async def _asked_for(client: Client, request: Payloads | None) -> Mapping[str, Any]:
    """The request as it was sent."""
    if request is None or not request.payloads:
        return {}
    [asked] = await client.data_converter.decode(request.payloads)
    return asked if isinstance(asked, dict) else {}


async def _writes(
    client: Client, scheduled: dict[int, HistoryEvent], results: dict[int, HistoryEvent]
) -> list[PolicyWrite]:
    """What came into force, by what was asked for and what became of it."""
    found: list[PolicyWrite] = []
    for number, event in scheduled.items():
        attributes = event.activity_task_scheduled_event_attributes
        if attributes.activity_type.name != APPLY or number not in results:
            continue
        done = results[number]
        changes = await _decoded(client, attributes.input, list[Change])
        written = await _decoded(client, done.activity_task_completed_event_attributes.result, list[Written])
        at = done.event_time.ToDatetime(tzinfo=UTC)
        found += [
            PolicyWrite(
                at=at,
                route=change.route,
                step=change.changed_by.step or "write",
                shares=change.distribution,
                revision=str(result.revision or ""),
                mode=change.mode,
            )
            for change, result in zip(changes, written, strict=True)
            if result.in_force
        ]
    return found


async def _of_stopped(
    client: Client, run: WorkflowExecution, writes: Sequence[PolicyWrite], asked: Mapping[str, Any]
) -> RunRecord:
    """A run that moved traffic and never closed itself. What it said of itself is told where a worker answers for it."""
    handle: Run = client.get_workflow_handle(run.id, run_id=run.run_id, result_type=RunResult)
    status: RunStatus | None = await ask(handle, "status", RunStatus)
    timeline = await ask(handle, "timeline", list[TimelineEntry])
    ended = run.status.name if run.status else "unknown"
    moments = status.moments if status else Moments(decided=run.start_time)
    return RunRecord(
        procedure=run.workflow_type,
        workflow_id=run.id,
        run_id=run.run_id,
        trigger=Trigger(asked.get("trigger", Trigger.MANUAL.value)),
        requested_by=str(asked.get("requested_by", "")),
        request_reason=str(asked.get("reason", "")),
        provider=status.provider if status else "",
        verdict=None,
        outcome=Outcome.NEEDS_HUMAN,
        reason=f"The run was ended from outside ({ended}) before it could close itself; the traffic is as it left it.",
        command=None,
        moments=replace(moments, in_force=moments.in_force or writes[0].at, closed=moments.closed or run.close_time),
        timeline=timeline or (),
        notes=["This record was made anew from Temporal's history; what users got is not in it."],
        subject=", ".join(dict.fromkeys(write.route for write in writes)),
        concerns=list(dict.fromkeys(write.route for write in writes)),
        writes=writes,
    )
