"""Closed runs as the console remembers them."""

from dataclasses import replace
from pathlib import Path

from activities.evidence import EvidenceStore
from failover.incident import Impact, MeasuredAgain, Moments
from starter.console.incidents import Incidents
from tests.activities.test_restoration import T0, record

UNSETTLED = Impact(requests=10, failed=0, lost=0, baseline_p95=None, after_p95=None, pending=30)


async def test_figures_that_were_measured_again_are_shown(tmp_path: Path) -> None:
    """Also by a server that had read the record before."""
    store = EvidenceStore(tmp_path)
    store.keep(replace(record(), impact=UNSETTLED, moments=Moments(decided=T0, closed=T0)))
    incidents, [folder] = Incidents(store), store.list()
    assert (await incidents.one(folder)).impact == UNSETTLED
    settled = replace(UNSETTLED, requests=40, lost=30, pending=0)
    store.measured_again(folder, MeasuredAgain(at=T0, impact=settled, course=[]))
    assert (await incidents.one(folder)).impact == settled
    assert [one.impact for _, one in await incidents.all()] == [settled]
