"""After-care: whether a run needs any, what the product finds out for it by itself, and the record of it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import TypeAdapter
from temporalio import activity
from temporalio.client import Client

from activities.communications import kept_in
from activities.evidence import EvidenceStore
from activities.measuring_again import Remeasurer
from activities.runs import start_or_join
from activities.samples import SampleLog
from failover import aftercare, suggestions
from failover.aftercare import CareItem, FollowUpRequest, ItemResult
from failover.analysis.findings import Analysis
from failover.config import Config
from failover.incident import RunRecord, Trigger
from failover.reports.document import Report
from failover.reports.html import html
from failover.starting import StartOrder

FILE = "aftercare.json"

AROUND = timedelta(hours=1)
"""How much of what was recorded around an incident other thresholds are tried on."""

_ITEMS = TypeAdapter(list[CareItem])


@dataclass(frozen=True, slots=True, kw_only=True)
class CareRecord:
    """How the after-care of a run stands, for its evidence."""

    request: FollowUpRequest
    items: Sequence[CareItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOrder:
    """A report of a run: `kind` is incident, performance-impact or failover-effectiveness."""

    request: FollowUpRequest
    kind: str


class Reporter(Protocol):
    """Makes reports of what is on record. Blocking; FailoverError where there is nothing to make one of."""

    def made(self, kind: str, run_id: str, now: datetime) -> Report: ...


class Analyst(Protocol):
    """Finds root causes, and keeps what it finds beside the record."""

    async def keep(self, run_id: str) -> Analysis:
        """→ what was found. FailoverError where there is nothing to find it by."""
        ...


class Aftercare:
    """The activities of follow-ups. All of them look, write reports, or start a follow-up; none moves traffic."""

    def __init__(
        self,
        config: Config,
        client: Client,
        task_queue: str,
        evidence: EvidenceStore,
        reporter: Reporter,
        samples: SampleLog | None,
        analyst: Analyst | None = None,
        remeasurer: Remeasurer | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._task_queue = task_queue
        self._evidence = evidence
        self._reporter = reporter
        self._samples = samples
        self._analyst = analyst
        self._remeasurer = remeasurer

    @activity.defn(name="aftercare.begin")
    async def begin(self, request: FollowUpRequest) -> str:
        """Start the follow-up of a run, or find it there; → its workflow id, or "" where it needs none."""
        request = request.model_copy(update={"settings": self._config.follow_up})
        if aftercare.why_none(request) is not None:
            return ""
        order = StartOrder(
            procedure=aftercare.NAME,
            workflow_id=aftercare.follow_up_id(request.workflow_id, request.run_id),
            request=request.model_dump(mode="json"),
            summary=f"after {request.workflow_id}",
        )
        return (await start_or_join(self._client, self._task_queue, order)).workflow_id

    @activity.defn(name="aftercare.report")
    async def report(self, order: ReportOrder) -> ItemResult:
        """Make a report and keep it as HTML beside the run's record; what had not ended when it closed is measured first."""
        request = order.request
        folder = await asyncio.to_thread(self._evidence.find, request.workflow_id, request.run_id)
        if folder is None:
            return ItemResult(done=False, said="There is no record of the run to make it of.")
        if self._remeasurer is not None:
            await self._remeasurer.settle(folder)
        return await asyncio.to_thread(self._report, order, folder)

    def _report(self, order: ReportOrder, folder: str) -> ItemResult:
        report = self._reporter.made(order.kind, order.request.run_id, datetime.now(UTC))
        where = self._evidence.attach(folder, f"{report.file_name}.html", html(report).encode())
        return ItemResult(done=True, said=f"{report.title}.", file=where)

    @activity.defn(name="aftercare.root_cause")
    async def root_cause(self, request: FollowUpRequest) -> ItemResult:
        """What the evidence says of the cause; what it does not say is people's to find out."""
        if self._analyst is None:
            return ItemResult(done=False, said="This worker keeps nothing that a cause could be found by.")
        analysis = await self._analyst.keep(request.run_id)
        return ItemResult(done=analysis.known, said=analysis.headline)

    @activity.defn(name="aftercare.status_page")
    async def status_page(self, request: FollowUpRequest) -> ItemResult:
        """Whether the status page was told the end, by what is kept of the telling."""
        folder = await asyncio.to_thread(self._evidence.find, request.workflow_id, request.run_id)
        told = None if folder is None else await asyncio.to_thread(kept_in, self._evidence, folder)
        return aftercare.status_page(told)

    @activity.defn(name="aftercare.next_drill")
    async def next_drill(self, request: FollowUpRequest) -> ItemResult:
        """Whether the calendar has a drill of the provider."""
        return aftercare.next_drill(request.provider, self._config.drills)

    @activity.defn(name="aftercare.thresholds")
    async def thresholds(self, request: FollowUpRequest) -> ItemResult:
        """Find which thresholds would have acted sooner, by the detectors' own samples; people decide."""
        return await asyncio.to_thread(self._thresholds, request)

    def _thresholds(self, request: FollowUpRequest) -> ItemResult:
        record = self._record(request)
        if record is None or record.verdict is None or record.trigger is Trigger.MANUAL:
            return ItemResult(done=False, said="No detector started this run: there is no threshold to judge by it.")
        since, until = record.moments.decided - AROUND, request.closed + AROUND
        kept = [one for one in self._samples.read(since) if one.at <= until] if self._samples else []
        if not kept:
            return ItemResult(
                done=False, said="The detectors' samples of this incident are not kept: nothing can be suggested."
            )
        found = suggestions.suggest(record, kept, self._config)
        if not found:
            return ItemResult(done=False, said="No other single threshold would have acted sooner on this incident.")
        return ItemResult(done=False, said="Would have acted sooner: " + "; ".join(one.said for one in found) + ".")

    def _record(self, request: FollowUpRequest) -> RunRecord | None:
        folder = self._evidence.find(request.workflow_id, request.run_id)
        return None if folder is None else self._evidence.load(folder)

    @activity.defn(name="aftercare.keep")
    async def keep(self, record: CareRecord) -> None:
        """Write how it stands beside the run's record; the last write counts."""
        await asyncio.to_thread(self._keep, record)

    def _keep(self, record: CareRecord) -> None:
        request = record.request
        folder = self._evidence.find(request.workflow_id, request.run_id)
        if folder is not None:
            lines = [aftercare.sentence(item) for item in record.items]
            content = {
                "items": _ITEMS.dump_python(list(record.items), mode="json"),
                "report": {"title": "After-care", "lines": [aftercare.summary(record.items), *lines]},
            }
            self._evidence.attach(folder, FILE, json.dumps(content, indent=2).encode())
