"""The looks of an audit: vendors' own SDKs against simulated faults over HTTP, Slack's SDK against a stand-in of its API."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.testing import ActivityEnvironment

from activities.accuracy import BaselineStore, Examiner
from activities.certificates import Certificates, FileReadinessStore
from activities.notifiers.console import ConsoleNotifier
from activities.notifiers.memory import MemoryNotifier
from activities.notifiers.slack import NEEDED, SlackNotifier
from activities.probing import Prober
from activities.readiness import Auditing, AuditParts, ContextOrder, GoldenOrder
from failover.certificates import Certificate
from failover.config import Config
from failover.config_file import LoadedConfig
from failover.errors import Unavailable
from failover.findings import Health
from failover.golden import Suite
from failover.policy import Change, ChangedBy
from failover.ports import ProviderClient
from failover.readiness import Check, picture
from gateway.process import listening
from providers.factory import SimulatedEndpoint, build_clients
from providers.memory import MemoryClient
from simulator.faults import parse_fault
from simulator.server import Simulator
from starter.configuration import demo_config, load
from starter.golden import load_prompt_sets
from tests.failover.test_golden import TOOL
from tests.failover.test_readiness import audit, target
from traffic.memory import MemoryPlane

PLAIN = load(demo_config())
QUICK: dict[str, dict[str, Any]] = {
    "probe": {"timeout": "5s", "cadence": "20ms"},
    "accuracy": {"timeout": "5s"},
}
SYSTEM = "You are the assistant of a shop."


def loaded(**changes: Any) -> LoadedConfig:
    """The demo's configuration, quick, with its route as told."""
    told = PLAIN.config.model_dump(mode="json", exclude_none=True)
    told["detection"] |= {name: {**told["detection"][name], **values} for name, values in QUICK.items()}
    told["providers"]["compatible"] = {"kind": "openai", "model": "gpt-4o", "endpoint": "simulator"}
    told["failover_chains"]["bedrock"] = ["google", "meta", "compatible"]
    told["routes"]["chat"] |= changes.pop("route", {})
    return replace(PLAIN, config=Config.model_validate({**told, **changes}))


def memory_audit(known: LoadedConfig, tmp_path: Path, **more: Any) -> tuple[Auditing, MemoryPlane]:
    clients = {key: MemoryClient(key) for key in known.config.providers}
    plane = MemoryPlane({name: route.distribution for name, route in known.config.routes.items()})
    return Auditing(_parts(known, clients, plane, tmp_path, **more)), plane


def _parts(known: LoadedConfig, clients: dict[str, Any], plane: MemoryPlane, tmp_path: Path, **more: Any) -> AuditParts:
    sets = load_prompt_sets(known)
    return AuditParts(
        config=known.config,
        clients=clients,
        plane=plane,
        prober=Prober(known.config, clients),
        examiner=Examiner(known.config, clients, {}, BaselineStore(tmp_path / "baselines")),
        prompt_sets=sets,
        store=FileReadinessStore(tmp_path / "readiness"),
        **more,
    )


Fault = Callable[..., Awaitable[None]]
Simulated = tuple[Auditing, Simulator, dict[str, ProviderClient]]


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    kinds = {"bedrock": "bedrock", "google": "vertex", "meta": "llama", "compatible": "openai"}
    known = {prompt.prompt: prompt.example for prompt in armed().prompts}
    async with Simulator(kinds, knows=known) as running:
        yield running


def armed() -> Suite:
    return load_prompt_sets(loaded(route={"readiness": {"system_prompt": SYSTEM, "tools": [TOOL]}}))["chat"]


@pytest.fixture
async def simulated(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Simulated]:
    known = loaded(route={"readiness": {"system_prompt": SYSTEM, "tools": [TOOL]}})
    endpoints = {key: SimulatedEndpoint(url=url) for key, url in simulator.urls.items()}
    clients = build_clients(known.config, secrets={}, simulator=endpoints)
    yield Auditing(_parts(known, clients, MemoryPlane({"chat": {"bedrock": 10_000}}), tmp_path)), simulator, clients
    await simulator.clear_faults()
    for client in clients.values():
        await client.aclose()


PROVIDERS = ("bedrock", "google", "meta", "compatible")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_healthy_provider_passes_as_the_route_uses_it(simulated: Simulated, provider: str) -> None:
    """Credentials, model, and every golden prompt behind the system prompt, with a tool that really is called."""
    auditing, *_ = simulated
    look = await ActivityEnvironment().run(auditing.provider, provider)
    assert {look.found[check].health for check in (Check.CREDENTIALS, Check.MODEL)} == {Health.OK}
    golden = await ActivityEnvironment().run(auditing.golden, GoldenOrder(provider=provider, route="chat"))
    assert golden.health is Health.OK and "21 of 21 right" in golden.said, golden


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "check", "health"),
    [
        ("authentication", Check.CREDENTIALS, Health.FAILED),
        ("permission", Check.CREDENTIALS, Health.FAILED),
        ("model_missing", Check.MODEL, Health.FAILED),
        ("refused", Check.CREDENTIALS, Health.UNKNOWN),
        ("refused", Check.MODEL, Health.FAILED),
        ("wrong", Check.MODEL, Health.FAILED),
        ("control_plane_down", Check.MODEL, Health.WARNING),
    ],
)
async def test_faults_of_a_provider(
    simulated: Simulated, provider: str, fault: str, check: Check, health: Health
) -> None:
    """Each is found by the check that it is about, with what to do."""
    auditing, simulator, _ = simulated
    await simulator.set_fault(provider, parse_fault(fault, {}))
    look = await ActivityEnvironment().run(auditing.provider, provider)
    assert look.found[check].health is health, look
    assert look.found[check].repair


async def test_a_throttled_provider_is_not_known_to_work(simulated: Simulated) -> None:
    """A throttled probe is neither good news nor bad."""
    auditing, simulator, _ = simulated
    await simulator.set_fault("google", parse_fault("throttled", {"rate": 100}))
    look = await ActivityEnvironment().run(auditing.provider, "google")
    assert look.found[Check.MODEL].health is Health.UNKNOWN


async def test_one_failed_probe_is_no_finding(simulated: Simulated) -> None:
    """Three in a row are: a certificate is not lost over a blip."""
    auditing, simulator, _ = simulated
    await simulator.set_fault("meta", parse_fault("server_error", {"calls": 2}))
    look = await ActivityEnvironment().run(auditing.provider, "meta")
    assert look.found[Check.MODEL].health is Health.OK


@pytest.mark.parametrize(
    ("fault", "said"), [("wrong", "0 of 21 right"), ("server_error", "only 0 of 21 were answered")]
)
async def test_golden_prompts_of_a_bad_model(simulated: Simulated, fault: str, said: str) -> None:
    """Wrong answers and none are told apart."""
    auditing, simulator, _ = simulated
    await simulator.set_fault("bedrock", parse_fault(fault, {}))
    golden = await ActivityEnvironment().run(auditing.golden, GoldenOrder(provider="bedrock", route="chat"))
    assert golden.health is Health.FAILED and said in golden.said, golden


async def test_a_model_that_ignores_tools_fails(simulated: Simulated) -> None:
    """Though twenty of twenty-one answers are right, which is enough where no tool is in it."""
    auditing, simulator, _ = simulated
    knows = simulator._providers["meta"].knows
    answer = knows.pop(str(TOOL["ask"]))
    try:
        golden = await ActivityEnvironment().run(auditing.golden, GoldenOrder(provider="meta", route="chat"))
    finally:
        knows[str(TOOL["ask"])] = answer
    assert "tool-lookup-order (it calls no tool)" in golden.said
    assert golden.health is Health.FAILED and "20 of 21" in golden.said


async def test_a_window_is_proved_by_a_prompt_of_that_length(simulated: Simulated) -> None:
    """What the provider says that it read is compared with what was sent."""
    auditing, simulator, _ = simulated
    order = ContextOrder(provider="google", tokens=20_000)
    proved = await ActivityEnvironment().run(auditing.context, order)
    assert proved.health is Health.OK and "were read" in proved.said, proved
    await simulator.set_fault("google", parse_fault("server_error", {}))
    assert (await ActivityEnvironment().run(auditing.context, order)).health is Health.UNKNOWN


async def test_the_plan_names_every_route_and_whoever_may_have_to_take_over(tmp_path: Path) -> None:
    """With the model and prompts that a certificate will be of."""
    auditing, _ = memory_audit(loaded(route={"readiness": {"context_tokens": 1_100_000}}), tmp_path)
    plan = await ActivityEnvironment().run(auditing.plan)
    assert [one.provider for one in plan.targets] == ["google", "meta", "compatible", "bedrock"]
    assert plan.targets[0].model == "gemini-2.5-pro" and len(plan.targets[0].digest) == 12
    assert plan.context["chat → google"].health is Health.FAILED
    assert plan.context["chat → meta"].health is Health.FAILED


async def test_the_data_plane_is_looked_at_without_a_trace(tmp_path: Path) -> None:
    """No revision is used up; what lags or is not there fails, what does not answer is for the workflow to say."""
    known = loaded(routes={"chat": {"distribution": {"bedrock": 100}}, "new": {"distribution": {"meta": 100}}})
    auditing, plane = memory_audit(known, tmp_path)
    before = {policy.route: policy.revision for policy in await plane.read()}
    look = await ActivityEnvironment().run(auditing.traffic)
    assert {one.health for one in look.routes.values()} == {Health.OK}
    assert {policy.route: policy.revision for policy in await plane.read()} == before and plane.applied == []
    moved = Change(
        route="chat",
        decided_on=before["chat"],
        key="k",
        distribution={"meta": 10_000},
        changed_by=ChangedBy(actor="test"),
        reason="",
    )
    plane.write(moved)
    plane.laggard = True
    look = await ActivityEnvironment().run(auditing.traffic)
    assert look.routes["chat"].health is Health.FAILED and "laggard" in look.routes["chat"].said
    assert look.routes["new"].health is Health.OK


async def test_a_route_that_the_data_plane_does_not_know(tmp_path: Path) -> None:
    """Would be saved by nothing."""
    known = loaded()
    clients = {key: MemoryClient(key) for key in known.config.providers}
    auditing = Auditing(_parts(known, clients, MemoryPlane({"other": {"meta": 10_000}}), tmp_path))
    look = await ActivityEnvironment().run(auditing.traffic)
    assert look.routes["chat"].health is Health.FAILED and "does not know this route" in look.routes["chat"].said


# People


async def slack_api(request: Request) -> JSONResponse:
    members = {"U012ABCDEF": {"id": "U012ABCDEF"}, "U012ABCDEG": {"deleted": True}}
    body = {**request.query_params, **dict(parse_qsl((await request.body()).decode()))}
    if request.headers["authorization"] != "Bearer good":
        return JSONResponse({"ok": False, "error": "invalid_auth"})
    if request.path_params["method"] == "auth.test":
        return JSONResponse({"ok": True, "user": "bot"}, headers={"x-oauth-scopes": ",".join(NEEDED)})
    user = members.get(str(body.get("user")))
    return JSONResponse({"ok": True, "user": user} if user else {"ok": False, "error": "user_not_found"})


@pytest.fixture
async def slack_url() -> AsyncIterator[str]:
    app = Starlette(routes=[Route("/api/{method}", slack_api, methods=["GET", "POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        yield f"{url}/api"


def slack(url: str, token: str = "good") -> SlackNotifier:
    return SlackNotifier(token, "#ops", api_url=url, timeout=timedelta(seconds=2))


OPERATORS = {
    "anna": {"roles": ["approve"], "slack_user": "U012ABCDEF"},
    "ben": {"roles": ["approve"], "slack_user": "U012ABCDEG"},
    "cleo": {"roles": ["approve"], "slack_user": "U012ABCDEH"},
}


async def test_approvers_and_notifications_by_slacks_own_word(slack_url: str, tmp_path: Path) -> None:
    """Who has left or never was cannot be asked; nothing is posted to find that out."""
    notifier = slack(slack_url)
    known = loaded(access={"operators": OPERATORS}, route={"approvals": {"points": ["full"], "quorum": 2}})
    auditing, _ = memory_audit(known, tmp_path, channels={"slack": notifier}, directory=notifier)
    look = await ActivityEnvironment().run(auditing.people)
    assert look.notifications.health is Health.OK and "bot may post" in look.notifications.said
    asked = look.routes["chat"]
    assert asked.health is Health.FAILED and "1 of 3 approvers" in asked.said
    assert "ben: that member has left" in asked.said and "cleo: Slack knows no such member" in asked.said


async def test_a_slack_that_tells_nothing(slack_url: str, tmp_path: Path) -> None:
    """A refused token is a failure of the notifications; of the approvers nothing is known."""
    notifier = slack(slack_url, "bad")
    known = loaded(access={"operators": OPERATORS}, route={"approvals": {"points": ["full"]}})
    auditing, _ = memory_audit(known, tmp_path, channels={"slack": notifier}, directory=notifier)
    look = await ActivityEnvironment().run(auditing.people)
    assert look.notifications.health is Health.FAILED and "invalid_auth" in look.notifications.said
    assert look.routes["chat"].health is Health.UNKNOWN and "invalid_auth" in look.routes["chat"].said
    log_only, _ = memory_audit(known, tmp_path, channels={"log": ConsoleNotifier()})
    assert (await ActivityEnvironment().run(log_only.people)).notifications.health is Health.WARNING


async def test_the_worst_of_several_channels_counts(tmp_path: Path) -> None:
    """One that would not deliver is worth knowing, also beside one that would."""
    mute = MemoryNotifier()
    mute.fail = RuntimeError("as it was told")
    auditing, _ = memory_audit(loaded(), tmp_path, channels={"a": MemoryNotifier(), "b": mute})
    assert (await ActivityEnvironment().run(auditing.people)).notifications.health is Health.FAILED


# The store


def certificate(**changes: Any) -> Certificate:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {
        "route": "chat",
        "target": "google",
        "model": "gemini-2.5-pro",
        "suite": "quick",
        "digest": load_prompt_sets(PLAIN)["chat"].digest,
        "issued": at,
        "expires": at + timedelta(days=1),
        "audit": "a",
    }
    return Certificate(**{**given, **changes})


async def test_a_suite_that_changed_voids_the_certificates_of_the_old_one(tmp_path: Path) -> None:
    """The digest is of the prompts as the route uses them: another system prompt is another proof, too."""
    known = loaded(route={"automation": {"only_certified": True}})
    store = FileReadinessStore(tmp_path)
    store.keep(audit(target()), [certificate()])
    same = await Certificates(known.config, load_prompt_sets(known), store).of(["chat"])
    assert "google" not in same["chat"].lacking and same["chat"].lacking["meta"] == "it holds no certificate"
    other = loaded(route={"automation": {"only_certified": True}, "readiness": {"system_prompt": SYSTEM}})
    changed = await Certificates(other.config, load_prompt_sets(other), store).of(["chat"])
    assert "is of other prompts" in changed["chat"].lacking["google"]
    assert await Certificates(loaded().config, {}, store).of(["chat"]) == {}


async def test_certificates_that_cannot_be_read_certify_nobody(tmp_path: Path) -> None:
    """No data is not good news; and no failover waits for it."""
    known = loaded(route={"automation": {"only_certified": True, "without_certificate": "ask"}})
    (tmp_path / "certificates.json").write_text("{")
    store = FileReadinessStore(tmp_path)
    found = (await Certificates(known.config, load_prompt_sets(known), store).of(["chat"]))["chat"]
    assert found.ask and set(found.lacking.values()) == {"the certificates cannot be read"}
    with pytest.raises(Unavailable, match=r"certificates\.json cannot be read"):
        store.certificates()


def test_audits_are_kept_whole_and_not_for_ever(tmp_path: Path) -> None:
    """The newest so many; the latest is the one that is shown, and again for the same audit is once."""
    store = FileReadinessStore(tmp_path, keep_audits=2)
    assert store.latest() is None and store.certificates() == [] and store.told() is None
    for name in ("20260101T000000-a", "20260102T000000-b", "20260103T000000-c", "20260103T000000-c"):
        store.keep(replace(audit(target()), id=name), [certificate(audit=name)])
    assert store.audits() == ["20260103T000000-c", "20260102T000000-b"]
    latest = store.latest()
    assert latest is not None and picture(latest) == picture(audit(target()))
    assert [one.audit for one in store.certificates()] == ["20260103T000000-c"]
    store.keep_told(picture(latest))
    assert store.told() == picture(latest)
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be kept in"):
        FileReadinessStore(tmp_path / "file").keep(latest, [])
