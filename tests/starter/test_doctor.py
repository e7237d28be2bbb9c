"""The doctor: each thing that a failover needs, there and missing, and nothing changed by looking."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client

from activities.accuracy import BaselineStore
from activities.checks import data_plane, people, providers
from activities.hold import HeldAutomation
from activities.notifiers.slack import NEEDED
from failover.accuracy import Examination, Score, baseline_of
from failover.automation import Hold
from failover.config import Config
from failover.config.detection import Detection, Source
from failover.config.notifications import Slack
from failover.config.providers import Provider
from failover.errors import DataPlaneUnavailable
from failover.failure import FailureKind
from failover.findings import Finding, Health
from failover.telemetry import ProviderWindow
from gateway.app import create_app as create_gateway
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.checks import Watched
from starter.cli import run
from starter.configuration import demo_config, load
from starter.doctor import temporal
from starter.doctor.run import examined
from starter.embedded.temporal_server import start_dev_server
from starter.golden import load_suites
from starter.schedules import apply, pause, remove
from starter.search_attributes import register_search_attributes
from starter.worker_health import Readiness, create_app
from starter.worker_metrics import WorkerMetrics
from tests.gateway.conftest import TOKEN
from traffic.gateway import GatewayPlane
from traffic.memory import MemoryPlane, MemorySource
from workflows.payloads import data_converter
from workflows.queue import TASK_QUEUE

LOADED = load(demo_config())
CONFIG = LOADED.config
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Parts = composition.Parts


def of(found: list[Finding], about: str) -> Finding:
    return next(one for one in found if one.about == about)


@pytest.fixture(scope="module")
async def server(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server of its own: schedule and task queue are always the same."""
    log = tmp_path_factory.mktemp("doctor") / "server.log"
    running = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    yield await Client.connect(running.address, data_converter=data_converter)
    await running.stop()


async def test_a_temporal_where_nothing_was_set_up(server: Client) -> None:
    """Each thing that is missing is a failure, with what to do."""
    found = await temporal.examine(server, CONFIG)
    assert {one.about for one in found if one.health is Health.FAILED} == {
        "search attributes",
        "workers for workflows",
        "workers for activities",
        "schedule health-check",
        "schedule readiness-audit",
        "health checks",
    }
    assert of(found, "temporal").health is Health.OK and of(found, "namespace").health is Health.OK
    assert "`failoverctl schedules apply`" in of(found, "schedule health-check").repair
    assert "failover-worker" in of(found, "workers for workflows").repair
    assert all(one.repair for one in found if one.health is not Health.OK)


async def test_a_temporal_where_everything_works(server: Client, make_parts: Callable[..., Parts]) -> None:
    """A worker polls, the schedule is as wanted, a check has completed; a pause is a failure with its note."""
    detection = Detection.model_validate({"schedule_interval": "1s", "probe": {"cadence": "200ms"}})
    parts = make_parts(detection=detection)
    await register_search_attributes(server)
    async with composition.build_worker(server, parts, task_queue=TASK_QUEUE):
        await apply(server, parts.config)
        try:
            async with asyncio.timeout(30):
                while bad := [
                    one for one in await temporal.examine(server, parts.config) if one.health is Health.FAILED
                ]:
                    await asyncio.sleep(0.2)
            assert bad == []
            await pause(server, "health-check", by="anna", why="a migration")
            found = of(await temporal.examine(server, parts.config), "schedule health-check")
            assert found.health is Health.FAILED and found.said.endswith("a migration")
            async with asyncio.timeout(30):
                while of(await temporal.examine(server, parts.config), "health checks").health is Health.OK:
                    await asyncio.sleep(0.2)
        finally:
            await remove(server)


async def test_a_healthy_data_plane_is_found_so_and_is_not_changed() -> None:
    """Reading, obedience, permission to write and the clock; no revision moves."""
    plane = MemoryPlane({name: route.distribution for name, route in CONFIG.routes.items()})
    before = plane.policy("chat")
    found = await data_plane.examine(plane, CONFIG)
    assert [one for one in found if one.health is not Health.OK] == []
    assert plane.policy("chat") == before and not plane.applied


@pytest.mark.parametrize(
    ("trouble", "value", "about", "words"),
    [
        ("laggard", True, "instances", "laggard (chat)"),
        ("skew", timedelta(seconds=5), "clock skew", "ahead of ours"),
        ("skew", timedelta(seconds=-5), "clock skew", "behind ours"),
        ("blind", True, "clock skew", "cannot tell"),
    ],
)
async def test_what_is_wrong_with_a_data_plane(trouble: str, value: Any, about: str, words: str) -> None:
    """An instance that lags, clocks that differ, counters that tell nothing."""
    plane = MemoryPlane({name: route.distribution for name, route in CONFIG.routes.items()})
    plane.forget()  # The laggard obeys what was first in force.
    setattr(plane, trouble, value)
    found = of(await data_plane.examine(plane, CONFIG), about)
    assert found.health is not Health.OK and words in found.said and found.repair


async def test_a_route_that_the_data_plane_does_not_know() -> None:
    """It is named."""
    found = await data_plane.examine(MemoryPlane({"other": {"meta": 10000}}), CONFIG)
    assert of(found, "routes").said == "the data plane does not know chat"


async def test_a_data_plane_that_does_not_answer() -> None:
    """One finding, with what to do, instead of a crash."""
    plane = MemoryPlane({})
    plane.unavailable = True
    (found,) = await examined("data plane", lambda: data_plane.examine(plane, CONFIG), "start it")
    assert (found.health, found.repair) == (Health.FAILED, "start it")
    with pytest.raises(DataPlaneUnavailable):
        await plane.read()


@pytest.mark.parametrize(("token", "health"), [(TOKEN, Health.OK), ("wrong", Health.FAILED)])
async def test_a_real_gateway_takes_changes_only_with_its_token(token: str, health: Health, tmp_path: Path) -> None:
    """Looked at without a change."""
    initial = {name: route.distribution for name, route in CONFIG.routes.items()}
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    app = create_gateway(CONFIG, {key: MemoryClient(key) for key in CONFIG.providers}, store, token=TOKEN)
    async with listening(app, "127.0.0.1", 0) as url:
        plane = GatewayPlane(url, token=token)
        before = dict(store.policies)
        found = of(await data_plane.examine(plane, CONFIG), "writable")
        await plane.aclose()
    assert found.health is health and dict(store.policies) == before
    assert health is Health.OK or "FAILOVER_API_TOKEN" in found.repair


@pytest.mark.parametrize(
    ("kind", "health", "repair"),
    [
        (None, Health.OK, ""),
        (FailureKind.AUTHENTICATION, Health.FAILED, "credentials"),
        (FailureKind.PERMISSION, Health.FAILED, "use the model"),
        (FailureKind.MODEL_UNAVAILABLE, Health.FAILED, "providers.bedrock.model"),
        (FailureKind.SERVER_ERROR, Health.FAILED, "status page"),
        (FailureKind.THROTTLED, Health.WARNING, "rate limit"),
    ],
)
async def test_providers(kind: FailureKind | None, health: Health, repair: str) -> None:
    """A real completion through the exact model; what is wrong says how to repair it."""
    clients = {key: MemoryClient(key) for key in CONFIG.providers}
    clients["bedrock"].fail_with = kind
    found = await providers.examine(CONFIG, clients)
    bedrock = of(found, "provider bedrock")
    assert bedrock.health is health and repair in bedrock.repair
    assert CONFIG.model_id("bedrock") in bedrock.said
    assert of(found, "provider google").health is Health.OK


async def test_a_red_control_plane_is_a_warning() -> None:
    """Inference is what counts."""
    clients = {"bedrock": MemoryClient("bedrock")}
    clients["bedrock"].control_plane_up = False
    (found,) = await providers.examine(CONFIG, clients)
    assert found.health is Health.WARNING


def test_baselines(tmp_path: Path) -> None:
    """Missing, fresh and old."""
    suites, store = load_suites(LOADED), BaselineStore(tmp_path)
    score, quick = Score(asked=20, answered=20, passed=19), suites["quick"]
    for key, old in (("bedrock", timedelta(days=1)), ("google", timedelta(days=31))):
        found = Examination(
            provider=key,
            model=CONFIG.model_id(key),
            suite="quick",
            digest=quick.digest,
            at=NOW - old,
            took=timedelta(0),
            score=score,
        )
        store.keep(baseline_of(found, "anna"))
    findings = {one.about: one for one in providers.baselines(CONFIG, suites, store, NOW)}
    healths = {about: one.health for about, one in findings.items()}
    assert healths == {
        "baseline bedrock": Health.OK,
        "baseline google": Health.WARNING,
        "baseline meta": Health.WARNING,
    }
    assert "19 of 20 (quick), 31d old, by anna" in findings["baseline google"].said


async def test_sources() -> None:
    """One that tells, one that is silent, one that does not answer."""
    settings = Source.model_validate({"kind": "prometheus", "url": "http://x", "providers": {"meta": "m"}})
    config = CONFIG.model_copy(
        update={"detection": CONFIG.detection.model_copy(update={"sources": dict.fromkeys("abc", settings)})}
    )
    made = {name: MemorySource() for name in "abc"}
    made["a"].windows = [ProviderWindow(provider="meta", route="", tries=7, first_tries=0)]
    made["c"].unavailable = True
    found = await providers.sources(config, made)
    assert [one.health for one in found] == [Health.OK, Health.WARNING, Health.FAILED]


def test_secrets_are_named_and_never_shown() -> None:
    """Every variable that the configuration names."""
    config = Config(
        providers={"meta": Provider(kind="llama", model="m", api_key_env="LLAMA_API_KEY")},
        routes=CONFIG.model_validate(
            {
                "providers": {"meta": {"kind": "llama", "model": "m"}},
                "routes": {"chat": {"distribution": {"meta": 100}}},
            }
        ).routes,
    )
    (missing,) = people.secrets(config, {})
    assert missing.about == "secret LLAMA_API_KEY" and "providers.meta.api_key_env" in missing.said
    (there,) = people.secrets(config, {"LLAMA_API_KEY": "very-secret"})
    assert there.health is Health.OK and "very-secret" not in there.said


def test_whose_alerts_are_taken_is_said() -> None:
    """A sender without its secret is refused; with none at all, what to set is named, and nothing is shown."""
    (nobody,) = people.senders(CONFIG, {})
    assert nobody.health is Health.WARNING and "ALERTMANAGER_WEBHOOK_TOKEN (alertmanager)" in nobody.repair
    (one,) = people.senders(CONFIG, {"ALERTMANAGER_WEBHOOK_TOKEN": "very-secret"})
    assert one.health is Health.OK and "alertmanager" in one.said and "grafana" not in one.said
    assert "very-secret" not in one.said


@dataclass
class SlackStandIn:
    """Answers auth.test."""

    scopes: str = ",".join(NEEDED)
    error: str | None = None
    calls: list[str] = field(default_factory=list)

    async def call(self, request: Request) -> JSONResponse:
        self.calls.append(request.path_params["method"])
        body = {"ok": False, "error": self.error} if self.error else {"ok": True, "user": "failover"}
        return JSONResponse(body, headers={"x-oauth-scopes": self.scopes})


@pytest.mark.parametrize(
    ("scopes", "error", "health", "words"),
    [
        (",".join(NEEDED), None, Health.OK, "failover may post"),
        ("chat:write", None, Health.FAILED, "lacks channels:read, channels:history"),
        ("", "invalid_auth", Health.FAILED, "invalid_auth"),
    ],
)
async def test_slack(scopes: str, error: str | None, health: Health, words: str) -> None:
    """The token and its scopes, by the unmodified SDK; nothing is posted."""
    stand_in = SlackStandIn(scopes=scopes, error=error)
    app = Starlette(routes=[Route("/api/{method}", stand_in.call, methods=["GET", "POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        (found,) = await people.slack(Slack(api_url=f"{url}/api"), {"SLACK_BOT_TOKEN": "xoxb-secret"})
    assert found.health is health and words in found.said and "xoxb" not in f"{found}"
    assert stand_in.calls == ["auth.test"]


async def test_no_slack_is_a_warning() -> None:
    """Messages go to the log then."""
    (found,) = await people.slack(Slack(), {})
    assert found.health is Health.WARNING and "chat:write" in found.repair
    (found,) = await people.slack(Slack(api_url="http://127.0.0.1:9"), {"SLACK_BOT_TOKEN": "x"})
    assert found.health is Health.FAILED and "does not answer" in found.said


def test_a_hold_is_a_warning() -> None:
    """Nobody should find out in the incident."""
    held = Hold(by="anna", why="a migration", since=NOW)
    assert people.hold(held).health is Health.WARNING and "anna: a migration" in people.hold(held).said
    assert people.hold(None).health is Health.OK


def test_the_command_finds_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a stack: each part says so, and the exit code is 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failover.yaml").write_text(
        "providers: {a: {kind: openai, model: m, endpoint: 'http://127.0.0.1:9'}}\nroutes: {chat: {distribution: {a: 100}}}\n"
    )
    assert run(["doctor", "--config", "failover.yaml"]) == 1
    shown = capsys.readouterr().out
    for about in ("temporal", "data plane", "automation", "provider a"):
        assert f"FAILED   {about}: " in shown, shown
    assert "baseline a: none" in shown and "ok       configuration" in shown


async def test_readiness_turns_red_when_checks_stop_and_shows_the_hold(
    temporal_client: Client, make_parts: Callable[..., Parts], task_queue: str
) -> None:
    """A worker that has just begun gives the checks time; a hold is shown, and is no reason not to be ready."""
    plane = MemoryPlane({"chat": {"meta": 10000}})
    plane.held = Hold(by="anna", why="a migration", since=NOW)
    short = make_parts(detection=Detection.model_validate({"schedule_interval": "100ms", "probe": {"cadence": "50ms"}}))
    parts = {"patient": make_parts(), "red": short}
    async with composition.build_worker(temporal_client, parts["red"], task_queue=task_queue) as worker:
        async with asyncio.timeout(10):
            while not worker.is_running:
                await asyncio.sleep(0.02)
        told: dict[str, Any] = {}
        for name, made in parts.items():
            readiness = Readiness(temporal_client, worker, made.config, HeldAutomation(plane))
            if name == "red":
                readiness._since -= timedelta(hours=1)
                checks = await readiness.watched()
                assert isinstance(checks, Watched)
            async with listening(
                create_app(readiness, made.board, "http://unused", WorkerMetrics(made.config, made.board, ())),
                "127.0.0.1",
                0,
            ) as url:
                async with httpx.AsyncClient(trust_env=False) as http:
                    answer = await http.get(f"{url}/readyz")
                told[name] = (answer.status_code, answer.json())
    assert told["patient"][0] == 200 and told["patient"][1]["automation_hold"]["by"] == "anna"
    assert told["red"][0] == 503 and "No health check completes" in told["red"][1]["reason"]
