"""`failoverctl drill schedule`, `list` and `show`."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from activities.drilling import PassedDrills
from activities.evidence import EvidenceStore
from failover.config import Config
from failover.drill import NAME
from failover.errors import BadInput, RequestError
from failover.incident import RunRecord
from failover.kpis import measure
from failover.reports.incident import as_figures, incident
from failover.reports.markdown import markdown
from failover.units import render_duration
from starter.configuration import in_force
from starter.connection import connect
from starter.logs import configure
from starter.output import alarm, as_json, say, table
from starter.parts import evidence_of
from starter.reporting import write
from starter.running import Stack, find
from starter.schedules import DRILL, Listed, apply, listed
from starter.settings import Settings

SHOWN = 3
"""The number of a schedule's next times that are shown."""

_RECORD = TypeAdapter(RunRecord)


def run_schedule(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    stack = find(settings, state)
    wanted = in_force(settings, stack, config).config
    if not wanted.drills.schedules:
        say("drills.schedules names no drill, so none is due by itself. docs/drills.md shows how to write one.")
    schedules = asyncio.run(_apply(settings, stack, wanted))
    if json:
        rows = [
            {"schedule": one.id, "paused": one.paused, "next": [_due(at, wanted) for at in one.coming]}
            for one in schedules
        ]
        as_json("drill-schedules", rows)
        return 0
    table("Drills that are due by themselves", ("schedule", "when", "next (UTC)"), _rows(schedules, wanted))
    for one in schedules:
        for said in (*([one.note] if one.note else ()), *one.drift):
            alarm(f"{one.id}: {said}.")
    return 0


async def _apply(settings: Settings, stack: Stack, config: Config) -> list[Listed]:
    client = await connect(settings, stack)
    await apply(client, config)
    return [one for one in await listed(client, config) if one.id.startswith(DRILL)]


def _rows(schedules: Sequence[Listed], config: Config) -> list[tuple[str, str, str]]:
    return [
        (one.id, render_duration(one.every) if one.every else one.calendar, _next(one, config)) for one in schedules
    ]


def _next(schedule: Listed, config: Config) -> str:
    if schedule.paused:
        return "paused"
    due = (_due(at, config) for at in schedule.coming[:SHOWN])
    return "\n".join(f"{one['at']:%Y-%m-%d %H:%M}{_skipped(one['skipped'])}" for one in due) or "none"


def _skipped(why: object) -> str:
    return f", skipped: {why}" if why else ""


def _due(at: datetime, config: Config) -> dict[str, object]:
    return {"at": at, "skipped": config.drills.blackout(at)}


def run_list(settings: Settings, recent: int, state: Path | None, *, json: bool) -> int:
    configure("console", "warning")  # The answer alone is for stdout.
    store = _store(settings, state)
    drills = _drills(store)[:recent]
    passed = asyncio.run(PassedDrills(store).known())
    if json:
        as_json("drills", {"drills": [_told(record) for record in drills], "passed": passed})
        return 0
    rows = [
        (
            f"{record.moments.decided:%Y-%m-%d %H:%M:%S}",
            record.outcome.value,
            record.subject or record.provider,
            ", ".join(f"{kpi.name} {kpi.render()}" for kpi in measure(record)[:4] if kpi.value is not None),
        )
        for record in drills
    ]
    table("Drills, newest first", ("decided (UTC)", "outcome", "route: provider", "indicators"), rows, whole=2)
    for provider, at in sorted(passed.items()):
        print(f"{provider}: a drill passed last on {at:%Y-%m-%d %H:%M} UTC.")
    return 0


def _told(record: RunRecord) -> dict[str, object]:
    return {
        "workflow_id": record.workflow_id,
        "run_id": record.run_id,
        "decided": record.moments.decided,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "provider": record.provider,
        "routes": [shift.route for shift in record.routes],
        "kpis": [as_figures(kpi) for kpi in measure(record)],
    }


def run_show(settings: Settings, drill: str | None, output: Path | None, state: Path | None, *, json: bool) -> int:
    configure("console", "warning")  # The answer alone is for stdout.
    record = _the_one(_drills(_store(settings, state)), drill)
    if output:
        write(output, markdown(incident(record)))
        say(f"Report of {record.workflow_id} written to {output}.")
    if json:
        rows = [as_figures(kpi) for kpi in measure(record)]
        as_json("drill", {"record": _RECORD.dump_python(record, mode="json"), "kpis": rows})
    elif not output:
        print(markdown(incident(record)), end="")
    return 0


def _the_one(drills: Sequence[RunRecord], named: str | None) -> RunRecord:
    found = next((one for one in drills if named in (None, one.workflow_id, one.run_id)), None)
    if found is not None:
        return found
    if named is None:
        raise BadInput("No drill is on record here; run one with `failoverctl drill run`, or name another --state.")
    raise RequestError(f"No drill {named!r} is on record; `failoverctl drill list` shows those there are.")


def _store(settings: Settings, state: Path | None) -> EvidenceStore:
    return evidence_of(settings, find(settings, state))


def _drills(store: EvidenceStore) -> list[RunRecord]:
    return [record for _, record in store.records() if record.procedure == NAME]
