"""`failoverctl dashboard create`: files, and a Grafana that speaks the documented API."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import bargauge, stat, statetimeline, timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.prometheus import Dataquery
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.process import listening
from starter.dashboards.panels import SECTIONS, dashboard, uid
from starter.dashboards.rules import known_alerts
from tests.seeing.conftest import command
from tests.starter.conftest import Done

RUNBOOK = (
    *("dashboard", "create", "--name", "AI Provider Failover"),
    *("--metrics", "provider_health,failover_events,recovery_time", "--alerts", "failover_failure,extended_outage"),
)


@dataclass
class Grafana:
    """A stand-in: dashboards by uid, versions, a token, as https://grafana.com/docs says of /api/dashboards."""

    url: str = ""
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    meanwhile: bool = False
    """Somebody saves it between the look and the write."""

    async def by_uid(self, request: Request) -> JSONResponse:
        if refusal := self._refusal(request):
            return refusal
        uid = request.path_params["uid"]
        if uid not in self.dashboards:
            return JSONResponse({"message": "Dashboard not found"}, 404)
        found = dict(self.dashboards[uid])
        if self.meanwhile:
            self.dashboards[uid]["version"] += 1
        return JSONResponse({"dashboard": found, "meta": {"folderUid": self.folders.get(uid, "")}})

    async def save(self, request: Request) -> JSONResponse:
        if refusal := self._refusal(request):
            return refusal
        body = await request.json()
        given = body["dashboard"]
        there = self.dashboards.get(given["uid"])
        if there is not None and not body.get("overwrite") and given.get("version") != there["version"]:
            said = "The dashboard has been changed by someone else"
            return JSONResponse({"message": said, "status": "version-mismatch"}, 412)
        if there is None and given.get("id") is not None:
            return JSONResponse({"message": "Dashboard not found"}, 404)
        version = there["version"] + 1 if there else 1
        self.dashboards[given["uid"]] = {**given, "id": 7, "version": version}
        self.folders[given["uid"]] = body.get("folderUid", "")
        url = f"/d/{given['uid']}/ai-provider-failover"
        return JSONResponse({"id": 7, "uid": given["uid"], "url": url, "status": "success", "version": version})

    def _refusal(self, request: Request) -> JSONResponse | None:
        given = request.headers.get("authorization")
        if given == "Bearer viewer":
            return JSONResponse({"message": "You'll need additional permissions to perform this action."}, 403)
        return None if given == "Bearer editor" else JSONResponse({"message": "Invalid API key"}, 401)


@pytest.fixture
async def grafana() -> AsyncIterator[Grafana]:
    stand_in = Grafana()
    app = Starlette(
        routes=[
            Route("/api/dashboards/uid/{uid}", stand_in.by_uid),
            Route("/api/dashboards/db", stand_in.save, methods=["POST"]),
        ]
    )
    async with listening(app, "127.0.0.1", 0) as url:
        stand_in.url = url
        yield stand_in


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def push(grafana: Grafana, token: str, *more: str) -> Done:
    return await command(*RUNBOOK, "--grafana", grafana.url, *more, GRAFANA_TOKEN=token)


async def test_the_runbooks_command_writes_both_files(tmp_path: Path) -> None:
    """Names by default from the title; the chosen sections and no others."""
    done = await command(*RUNBOOK)
    assert done.code == 0, done.err
    made = json.loads((tmp_path / "ai-provider-failover.json").read_text())
    rows = [panel["title"] for panel in made["panels"] if panel["type"] == "row"]
    assert rows == ["Provider health", "Failover events", "Recovery time"]
    rules = (tmp_path / "ai-provider-failover.rules.yaml").read_text()
    assert rules.count("alert: failover_failure") == 2 and "alert: worker_down" not in rules
    assert "ai-provider-failover.json" in done.out and max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "provider_health,uptime"], "--metrics does not know 'uptime'; known are provider_health, "),
        (["--alerts", "outage"], "--alerts does not know 'outage'; known are failover_failure, extended_outage, "),
        (["--metrics", " , "], "--metrics names none; known are"),
        (["--name", "???"], "has no letter and no digit"),
        (["--extended-outage", "soon"], "--extended-outage: "),
        (["--grafana", "http://127.0.0.1:1"], "a service account's token in GRAFANA_TOKEN, which is not set"),
    ],
)
async def test_what_cannot_be_meant_writes_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    """One sentence, exit code 2, no file."""
    done = await command("dashboard", "create", *options)
    assert (done.code, said in done.err) == (2, True), done.err
    assert list(tmp_path.iterdir()) == []


async def test_grafana_gets_it_and_gets_it_again(grafana: Grafana) -> None:
    """Made once, then brought up to date in the folder where somebody put it."""
    first = await push(grafana, "editor", "--folder", "oncall")
    assert first.code == 0 and f"{grafana.url}/d/ai-provider-failover/ai-provider-failover (made)" in first.out
    again = await push(grafana, "editor")
    assert again.code == 0 and "(updated, version 2)" in again.out, again.err
    assert list(grafana.dashboards) == ["ai-provider-failover"]
    assert grafana.folders == {"ai-provider-failover": "oncall"}


async def test_somebody_elses_dashboard_is_left_alone(grafana: Grafana) -> None:
    """The same address without our tag."""
    theirs = {"uid": "ai-provider-failover", "title": "Mine", "tags": [], "version": 3}
    grafana.dashboards["ai-provider-failover"] = dict(theirs)
    done = await push(grafana, "editor")
    assert done.code == 2 and "was not made by failoverctl and is left alone" in done.err
    assert grafana.dashboards["ai-provider-failover"] == theirs


async def test_a_change_meanwhile_is_not_overwritten(grafana: Grafana) -> None:
    """Grafana's own version check decides."""
    await push(grafana, "editor")
    grafana.meanwhile = True
    done = await push(grafana, "editor")
    assert done.code == 2 and "somebody changed it meanwhile" in done.err


@pytest.mark.parametrize(
    ("token", "said"),
    [("stale", "Invalid API key; put a service account's token into GRAFANA_TOKEN"), ("viewer", "the role Editor")],
)
async def test_a_refusal_says_what_helps(grafana: Grafana, token: str, said: str) -> None:
    """And never the token."""
    done = await push(grafana, token)
    assert done.code == 2 and said in done.err
    assert "Bearer" not in done.out + done.err


async def test_a_grafana_that_is_not_there_costs_no_file(tmp_path: Path) -> None:
    """The files are written all the same, and it is said."""
    done = await command(*RUNBOOK, "--grafana", "http://127.0.0.1:1", GRAFANA_TOKEN="editor")
    assert done.code not in (0, 2) and "Grafana does not answer at http://127.0.0.1:1" in done.err
    assert (tmp_path / "ai-provider-failover.json").exists()


def test_the_dashboard_is_one_by_grafanas_own_models() -> None:
    """Read by them and written again, nothing of it is lost: no field is misspelt, and none has a wrong shape."""
    made = dashboard("AI Provider Failover", list(SECTIONS), known_alerts())
    again = _written(Dashboard.from_json(json.loads(json.dumps(made))))
    assert _lost(made, again) == []
    for panel in (panel for panel in made["panels"] if panel["type"] != "row"):
        options = _OPTIONS[panel["type"]].from_json(panel["options"])
        assert _lost(panel["options"], _written(options)) == [], panel["title"]
        for target in panel["targets"]:
            assert _lost(target, _written(Dataquery.from_json(target))) == [], panel["title"]


_OPTIONS: Mapping[str, Any] = {
    "stat": stat.Options,
    "bargauge": bargauge.Options,
    "state-timeline": statetimeline.Options,
    "timeseries": timeseries.Options,
}
"""What a dashboard's own model leaves to each kind of panel."""


def _written(model: Any) -> Any:
    return json.loads(json.dumps(model, cls=JSONEncoder))


def _lost(given: Any, kept: Any, where: str = "") -> list[str]:
    if isinstance(given, Mapping):
        if not isinstance(kept, Mapping):
            return [where]
        return [
            one
            for key, value in given.items()
            # What is null, or empty, is left out when written.
            for one in (_lost(value, kept[key], f"{where}.{key}") if key in kept else [f"{where}.{key}"] * bool(value))
        ]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(given) != len(kept):
            return [where]
        return [one for n, (a, b) in enumerate(zip(given, kept, strict=True)) for one in _lost(a, b, f"{where}[{n}]")]
    return [] if given == kept else [where]


def test_panels_do_not_overlap() -> None:
    """And none sticks out."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard("x", list(SECTIONS), known_alerts())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_a_name_is_an_address() -> None:
    """At most 40 characters, as Grafana wants them."""
    assert uid("AI Provider Failover") == "ai-provider-failover"
    assert len(uid("x" * 100)) == 40
