"""Drills on the calendar: as configured, never at once, skipped in a blackout; on a real Temporal server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy

from failover.config import Config
from failover.config_file import parse
from starter.drilling import _next
from starter.embedded.temporal_server import start_dev_server
from starter.schedules import Applied, apply, listed
from workflows.payloads import data_converter

TEXT = """
providers: {meta: {kind: llama, model: m}, other: {kind: llama, model: m}}
routes: {chat: {distribution: {meta: 100}}, practice: {distribution: {meta: 100}}}
detection: {enabled: false}
drills:
  routes: [practice]
  blackouts: {tuesdays: {start: "00:00", end: "23:59", days: [tue], time_zone: Europe/Berlin, why: releases}}
  schedules:
    weekly: {provider: meta, days: [mon, tue], at: "10:30", time_zone: Europe/Berlin}
    often: {provider: meta, every: 12h}
    daily: {provider: meta, at: "00:05"}
"""


@pytest.fixture(scope="module")
async def client(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    log = tmp_path_factory.mktemp("drill-schedules") / "server.log"
    running = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    yield await Client.connect(running.address, data_converter=data_converter)
    await running.stop()


def config(text: str = TEXT) -> Config:
    return parse(text, "drills.yaml").config


async def test_drills_are_due_when_the_configuration_says(client: Client) -> None:
    """Applied twice they are unchanged; none begins at once; two never overlap; a failure does not end them."""
    first = await apply(client, config())
    assert {name: first[name] for name in ("drill-weekly", "drill-often", "drill-daily")} == dict.fromkeys(
        ("drill-weekly", "drill-often", "drill-daily"), Applied.CREATED
    )
    again = await apply(client, config())
    assert {done for name, done in again.items() if name.startswith("drill-")} == {Applied.UNCHANGED}
    schedules = {one.id: one for one in await listed(client, config()) if one.id.startswith("drill-")}
    assert all(one.last_at is None and not one.drift for one in schedules.values())
    weekly = schedules["drill-weekly"]
    assert weekly.calendar == "mon,tue 10:30 Europe/Berlin"
    local = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in weekly.coming]
    assert {(at.weekday(), at.hour, at.minute) for at in local} == {(0, 10, 30), (1, 10, 30)}
    assert schedules["drill-daily"].calendar == "daily 00:05 UTC"
    described = (await client.get_schedule_handle("drill-weekly").describe()).schedule
    action = described.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert (action.workflow, action.id) == ("FailoverDrill", "drill/weekly")
    assert described.policy.overlap is ScheduleOverlapPolicy.SKIP and not described.policy.pause_on_failure
    assert described.policy.catchup_window == timedelta(minutes=1)


async def test_a_change_of_the_calendar_is_applied_and_what_is_not_wanted_goes(client: Client) -> None:
    await apply(client, config())
    later = TEXT.replace('at: "10:30"', 'at: "11:30"').replace("    often: {provider: meta, every: 12h}\n", "")
    differs = {one.id: one.drift for one in await listed(client, config(later)) if one.drift}
    assert "calendar is mon,tue 10:30 Europe/Berlin, and should be mon,tue 11:30" in differs["drill-weekly"][0]
    done = await apply(client, config(later))
    assert (done["drill-weekly"], done["drill-often"]) == (Applied.UPDATED, Applied.REMOVED)


async def test_a_time_in_a_blackout_is_told_as_skipped(client: Client) -> None:
    """Before it comes: whoever reads the calendar need not know the blackouts by heart."""
    await apply(client, config())
    weekly = next(one for one in await listed(client, config()) if one.id == "drill-weekly")
    told = _next(weekly, config()).splitlines()
    for at, line in zip(weekly.coming[:3], told, strict=True):
        tuesday = at.astimezone(ZoneInfo("Europe/Berlin")).weekday() == 1
        assert ("skipped: the blackout tuesdays (releases)" in line) is tuesday
    assert config().drills.blackout(datetime(2026, 12, 1, 9, 30, tzinfo=UTC)) is not None
