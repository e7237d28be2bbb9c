"""The end of a demo: what was seen against what was expected, the indicators, the report, the links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from failover.incident import RunRecord, TimelineEntry
from failover.kpis import Kpi, measure
from failover.reports.incident import as_figures, incident
from failover.reports.markdown import markdown
from failover.reports.performance import impact_kpis
from starter.demo.expectations import Check, Expectation, Seen, judge
from starter.demo.users import Experience, Got
from starter.output import as_json, table
from starter.reporting import write
from starter.running import Addresses
from starter.runs.following import web_link

MET = {True: "met", False: "MISSED", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that the demo ends with. `kpis` is empty where nothing was to be moved; `links` by what they show."""

    fault_at: datetime
    checks: Sequence[Check]
    kpis: Sequence[Kpi]
    excused: Mapping[str, str]
    users: Experience
    record: RunRecord | None
    report: Path | None
    links: Mapping[str, str]

    @property
    def good(self) -> bool:
        """The expected outcome was seen, and every target met that the fault leaves in reach."""
        return all(check.met for check in self.checks) and all(
            kpi.met is True or kpi.name in self.excused for kpi in self.kpis
        )


def conclude(
    expectation: Expectation,
    seen: Seen,
    addresses: Addresses,
    output: Path | None,
    fault_at: datetime,
    users: Experience,
) -> Result:
    """Judge, and write the report where there is something to report."""
    record = seen.record
    report = None
    if record is not None:
        told = incident(record)
        report = output or Path(addresses.state) / "reports" / f"{told.file_name}.md"
        write(report, markdown(told))
    return Result(
        fault_at=fault_at,
        checks=judge(expectation, seen),
        kpis=measure(record) if record and expectation.moves else [],
        excused=excused(expectation, record),
        users=users,
        record=record,
        report=report,
        links=_links(addresses, record),
    )


def excused(expectation: Expectation, record: RunRecord | None) -> dict[str, str]:
    """Indicators that are not held against the run, and why: out of its reach, or not known until all requests end."""
    out_of_reach = {kpi.value: why for kpi, why in expectation.excused.items()}
    if record is None or record.impact is None or record.impact.settled:
        return out_of_reach
    unknown = [kpi.name for kpi in impact_kpis(record) if kpi.met is None]
    return {**dict.fromkeys(unknown, "requests of that time had not ended when the run closed"), **out_of_reach}


def _links(addresses: Addresses, record: RunRecord | None) -> dict[str, str]:
    ui = addresses.temporal_ui
    if ui is None:
        return {}
    links = {}
    if record:
        links["failover"] = web_link(ui, addresses.namespace, record.workflow_id, record.run_id)
    return {**links, "all runs": f"{ui}/namespaces/{addresses.namespace}/workflows"}


def tell(result: Result, *, json: bool, links: bool) -> None:
    """Timeline, indicators, checks, report; `links` only while they lead somewhere."""
    if json:
        as_json("demo", _machine(result))
        return
    if result.record:
        entries = [(_after(entry, result.fault_at), entry.step, entry.text) for entry in result.record.timeline]
        table("Timeline", ("after the fault", "step", "what happened"), entries)
    if result.kpis:
        rows = [(kpi.name, kpi.render(), kpi.render_target(), _met(kpi, result)) for kpi in result.kpis]
        table("Key performance indicators", ("indicator", "this run", "target", ""), rows)
    table("Expected", ("", "what was seen"), [("yes" if check.met else "NO", check.text) for check in result.checks])
    print(f"Users since the fault: {_felt(result.users)}.")
    if result.report:
        print(f"Incident report: {result.report}")
    for name, link in result.links.items() if links else ():
        print(f"Web UI, {name}: {link}")
    print("The demo went as it should." if result.good else "The demo did NOT go as it should.", flush=True)


def _met(kpi: Kpi, result: Result) -> str:
    if kpi.met is not True and kpi.name in result.excused:
        return f"{MET[kpi.met]}, not counted: {result.excused[kpi.name]}"
    return MET[kpi.met]


def _after(entry: TimelineEntry, fault_at: datetime) -> str:
    return f"{(entry.at - fault_at).total_seconds():+.1f} s"


def _felt(users: Experience) -> str:
    kinds = ", ".join(f"{users.got.get(got, 0)} {got.value}" for got in Got)
    return f"{users.requests} requests, {kinds}"


def _machine(result: Result) -> dict[str, object]:
    return {
        "good": result.good,
        "fault_at": result.fault_at,
        "checks": result.checks,
        "kpis": [as_figures(kpi) for kpi in result.kpis],
        "excused": result.excused,
        "users": {"requests": result.users.requests, **{got.value: result.users.got.get(got, 0) for got in Got}},
        "timeline": list(result.record.timeline) if result.record else [],
        "report": result.report,
        "links": result.links,
    }
