"""Measuring a run once more: requests that had not ended when it closed have, and the data plane still remembers them."""

import asyncio
from datetime import UTC, datetime

import structlog

from activities.evidence import EvidenceStore
from activities.restoration import MINUTE, ImpactOrder, Restoration
from failover.course import slice_of
from failover.errors import FailoverError
from failover.incident import Impact, MeasuredAgain, RunRecord, Slice
from failover.ports import TrafficPlane
from failover.telemetry import floored

log = structlog.get_logger(__name__)


class Remeasurer:
    """Settles the figures of a run; what cannot be settled stays unknown."""

    def __init__(self, restoration: Restoration, plane: TrafficPlane, evidence: EvidenceStore) -> None:
        self._restoration = restoration
        self._plane = plane
        self._evidence = evidence

    async def settle(self, folder: str) -> None:
        """Measure again what is not settled, and keep it beside the record. Never raises for what does not answer."""
        try:
            record = await asyncio.to_thread(self._evidence.load, folder)
            if record.impact is None or record.impact.settled:
                return
            impact = await self._impact(record)
            if impact is not None and not _is_less(impact, record.impact):
                course = await asyncio.gather(*(self._read(one, record) for one in record.course))
                again = MeasuredAgain(at=datetime.now(UTC), impact=impact, course=course)
                await asyncio.to_thread(self._evidence.measured_again, folder, again)
        except FailoverError as error:
            log.warning("a run could not be measured again", folder=folder, why=str(error))

    async def _impact(self, record: RunRecord) -> Impact | None:
        """Measure the impact anew; None if the data plane forgot a part: half of it would be worse than what is known."""
        moments = record.moments
        order = ImpactOrder(
            routes=[shift.route for shift in record.routes],
            first_bad=moments.first_bad or moments.decided,
            in_force=moments.in_force or moments.decided,
            restored=moments.restored or moments.closed or moments.decided,
            to_the_end=True,
        )
        if not await self._restoration.is_remembered(floored(order.first_bad) - MINUTE):
            return None
        return await self._restoration.impact(order)

    async def _read(self, one: Slice, record: RunRecord) -> Slice:
        """The slice anew, where some of its requests had not ended."""
        if not one.pending or not await self._restoration.is_remembered(one.since):
            return one
        telemetry = await self._plane.observe(since=one.since, until=one.until)
        anew = one if telemetry is None else slice_of(telemetry, one.since, one.until, record.concerns)
        return one if _is_less(anew, one) else anew


def _is_less(anew: Impact | Slice, known: Impact | Slice) -> bool:
    """Whether a data plane that began anew since counts less: what has ended once stays ended, and somebody was there."""
    return anew.requests < known.requests or not (anew.requests or anew.pending)
