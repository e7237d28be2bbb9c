"""The audit on a real server, and what automatic failovers make of its certificates."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.accuracy import BaselineStore, Examiner
from activities.certificates import FileReadinessStore
from activities.notifiers.memory import MemoryNotifier
from failover.certificates import Certificate
from failover.completion import Answer, Completion
from failover.config.detection import Detection
from failover.config.procedures import Procedures
from failover.failure import FailureKind
from failover.findings import Health
from failover.incident import Outcome
from failover.readiness import Audit, Check, Standing
from failover.requests import ReadinessAuditRequest, RunResult
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.golden import load_prompt_sets
from starter.readiness import start_audit
from tests.workflows.conftest import SHORT
from traffic.memory import MemoryPlane
from workflows.readiness_audit import AuditResult

LOADED = load(demo_config())
SETS = load_prompt_sets(LOADED)
KNOWN = {prompt.prompt: prompt.example for prompt in SETS["chat"].prompts}


@dataclass
class Deployment:
    """A worker's parts, and what tests do with them."""

    client: Client
    task_queue: str
    parts: composition.Parts

    @property
    def store(self) -> FileReadinessStore:
        assert isinstance(self.parts.readiness, FileReadinessStore)
        return self.parts.readiness

    @property
    def plane(self) -> MemoryPlane:
        assert isinstance(self.parts.plane, MemoryPlane)
        return self.parts.plane

    @property
    def said(self) -> list[str]:
        assert isinstance(self.parts.notifier, MemoryNotifier)
        return [message.text for message in self.parts.notifier.messages]

    def provider(self, name: str) -> MemoryClient:
        found = self.parts.clients[name]
        assert isinstance(found, MemoryClient)
        return found

    async def audit(self, **asked: Any) -> tuple[AuditResult, Audit]:
        run = await start_audit(
            self.client, ReadinessAuditRequest(**asked), timedelta(minutes=5), task_queue=self.task_queue
        )
        result = await run.result()
        audit = self.store.find(result.id)
        assert audit is not None
        return result, audit

    async def failover(self, **request: Any) -> tuple[RunResult, list[str]]:
        """An automatic failover of bedrock → its result and timeline."""
        run = await self.client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock", "trigger": "automatic", **request},
            id=f"failover-{self.task_queue}",
            task_queue=self.task_queue,
            result_type=RunResult,
        )
        result = await run.result()
        return result, [entry["text"] for entry in await run.query("timeline")]


Make = Callable[..., composition.Parts]


def deployment(client: Client, task_queue: str, make_parts: Make, tmp_path: Path, **automation: Any) -> Deployment:
    detection = Detection.model_validate(
        {"probe": {"cadence": "10ms", "timeout": "1s"}, "automation": {"deadline": "30s", **automation}}
    )
    made = make_parts(detection=detection, procedures=Procedures.model_validate(SHORT))
    for one in made.clients.values():
        assert isinstance(one, MemoryClient)
        one.knows = dict(KNOWN)
    parts = replace(
        made,
        examiner=Examiner(made.config, made.clients, {}, BaselineStore(tmp_path / "baselines")),
        prompt_sets=SETS,
        readiness=FileReadinessStore(tmp_path / "readiness"),
        reachable={"memory": made.notifier},  # type: ignore[dict-item]
    )
    return Deployment(client, task_queue, parts)


Deploy = Callable[..., Awaitable[Deployment]]


@pytest.fixture
async def deploy(temporal_client: Client, task_queue: str, make_parts: Make, tmp_path: Path) -> AsyncIterator[Deploy]:
    """deploy(only_certified=True): a worker whose automatic runs heed that."""
    async with AsyncExitStack() as held:

        async def start(**automation: Any) -> Deployment:
            made = deployment(temporal_client, task_queue, make_parts, tmp_path, **automation)
            await held.enter_async_context(composition.build_worker(temporal_client, made.parts, task_queue=task_queue))
            return made

        yield start


@pytest.fixture
async def deployed(deploy: Deploy) -> Deployment:
    return await deploy()


async def test_a_deployment_that_is_ready(deployed: Deployment) -> None:
    """Every target is certified, all that stands against the deployment is told once, and no traffic is touched."""
    result, audit = await deployed.audit(requested_by="anna")
    assert result.standings == {"chat": Standing.READY} and audit.requested_by == "anna"
    assert {audit.standing(one) for one in audit.targets} == {Standing.READY}
    assert {one.target for one in deployed.store.certificates()} == {"bedrock", "google", "meta"}
    assert all(one.digest == SETS["chat"].digest for one in deployed.store.certificates())
    assert deployed.plane.applied == []
    assert result.told and ["1 must agree" in text for text in deployed.said] == [True]
    again, _ = await deployed.audit()
    assert not again.told and len(deployed.said) == 1 and again.id != result.id


async def test_what_changes_is_told_and_a_failed_target_loses_its_certificate(deployed: Deployment) -> None:
    """First one of three, then all of them: that is urgent; and told again when they are back. A message that was not
    delivered is told by the next audit."""
    await deployed.audit()
    deployed.provider("google").fail_with = FailureKind.AUTHENTICATION
    _, audit = await deployed.audit()
    google = next(one for one in audit.targets if one.provider == "google")
    assert audit.standing(google) is Standing.NOT_READY and audit.stranded() == []
    assert google.found[Check.GOLDEN].health is Health.UNKNOWN  # Nobody asks on who is refused already.
    assert "chat → google is not ready: credentials: " in deployed.said[-1]
    void = {one.target for one in deployed.store.certificates() if one.withdrawn}
    assert void == {"google"}
    for name in ("bedrock", "meta"):
        deployed.provider(name).fail_with = FailureKind.MODEL_UNAVAILABLE
    notifier = deployed.parts.notifier
    assert isinstance(notifier, MemoryNotifier)
    before = len(deployed.said)
    result, _ = await deployed.audit()
    assert result.standings == {"chat": Standing.NOT_READY} and len(deployed.said) == before + 1
    assert "route chat has no working target" in deployed.said[-1] and notifier.messages[-1].urgent
    for name in deployed.parts.clients:
        deployed.provider(name).fail_with = None
    await deployed.audit()
    assert "route chat has a working target again" in deployed.said[-1] and not notifier.messages[-1].urgent


async def test_nobody_takes_over_from_the_only_one_that_is_well(deployed: Deployment) -> None:
    """Bedrock serves most of the route; that it is well itself helps nobody when it fails."""
    await deployed.audit()
    for name in ("google", "meta"):
        deployed.provider(name).fail_with = FailureKind.AUTHENTICATION
    result, audit = await deployed.audit()
    assert result.standings == {"chat": Standing.NOT_READY} and audit.unprotected("chat") == ["bedrock"]
    assert "route chat has no working target if bedrock fails (not ready)" in deployed.said[-1]


async def test_wrong_answers_and_a_short_window(deployed: Deployment) -> None:
    """A model that answers probes and nothing else is no target; the context is proved only where that was asked for."""
    deployed.provider("meta").knows = {}
    _, audit = await deployed.audit()
    meta = next(one for one in audit.targets if one.provider == "meta")
    assert meta.found[Check.MODEL].health is Health.OK and meta.found[Check.GOLDEN].health is Health.FAILED
    assert Check.CONTEXT not in meta.found


class Narrow(MemoryClient):
    """Refuses what is longer than its window."""

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        if len(completion.messages[-1].text) > 20_000:
            raise self._error(FailureKind.BAD_REQUEST)
        return await super().invoke(completion, timeout=timeout)


async def test_a_window_is_proved_for_each_length_that_routes_need(
    temporal_client: Client, task_queue: str, make_parts: Make, tmp_path: Path
) -> None:
    """Too narrow for one route, and wide enough for the other: there it is as ready as before, and certified."""
    made = deployment(temporal_client, task_queue, make_parts, tmp_path)
    chat, narrow = made.parts.config.routes["chat"], Narrow("google")
    narrow.knows = dict(KNOWN)
    routes = {
        name: chat.model_copy(update={"readiness": chat.readiness.model_copy(update={"context_tokens": tokens})})
        for name, tokens in {"chat": 1_000, "long": 10_000}.items()
    }
    made.plane.put("long", chat.distribution)
    made.parts = replace(
        made.parts,
        config=made.parts.config.model_copy(update={"routes": routes}),
        clients={**made.parts.clients, "google": narrow},
        prompt_sets={"chat": SETS["chat"], "long": SETS["chat"]},
    )
    async with composition.build_worker(temporal_client, made.parts, task_queue=task_queue):
        _, audit = await made.audit(prove_context=True)
    proved = {one.route: one.found[Check.CONTEXT] for one in audit.targets if one.provider == "google"}
    assert {route: found.health for route, found in proved.items()} == {"chat": Health.OK, "long": Health.FAILED}
    assert "about 1000 tokens" in proved["chat"].said and "about 10000 tokens" in proved["long"].said
    certified = {(one.route, one.target) for one in made.store.certificates()}
    assert ("chat", "google") in certified and ("long", "google") not in certified


async def test_what_could_not_be_looked_at_is_unknown(deployed: Deployment) -> None:
    """The data plane does not answer: nobody knows whether a change would be taken, so nobody is certified anew."""
    deployed.plane.unavailable = True
    result, audit = await deployed.audit()
    assert result.standings == {"chat": Standing.UNPROVEN}
    found = audit.routes["chat"][Check.DATA_PLANE]
    assert found.health is Health.UNKNOWN and "was told not to answer" in found.said
    assert deployed.store.certificates() == []
    assert "route chat has no working target (unproven)" in deployed.said[-1]


async def test_an_audit_ends_in_time(
    temporal_client: Client, task_queue: str, make_parts: Make, tmp_path: Path
) -> None:
    """A provider that hangs costs its own answer; what is not there by then is unknown, and the rest is kept."""
    made = deployment(temporal_client, task_queue, make_parts, tmp_path)
    config = made.parts.config
    short = config.readiness.model_copy(update={"timeout": timedelta(seconds=2)})
    slow = config.detection.model_copy(
        update={"probe": config.detection.probe.model_copy(update={"timeout": timedelta(minutes=1)})}
    )
    made.parts = replace(made.parts, config=config.model_copy(update={"readiness": short, "detection": slow}))
    made.provider("google").hang = True
    async with composition.build_worker(temporal_client, made.parts, task_queue=task_queue):
        result, audit = await asyncio.wait_for(made.audit(), 20)
    google = next(one for one in audit.targets if one.provider == "google")
    assert google.found[Check.MODEL].health is Health.UNKNOWN
    assert audit.standing(google) is Standing.UNPROVEN
    assert result.standings == {"chat": Standing.READY}


# What automatic failovers make of certificates


async def test_an_automatic_failover_goes_to_the_certified(deploy: Deploy) -> None:
    """Google is next in the chain and well, and its prompts were not answered rightly yesterday."""
    deployed = await deploy(only_certified=True)
    deployed.provider("google").knows = {}
    await deployed.audit()
    result, timeline = await deployed.failover()
    assert result.outcome is Outcome.COMPLETED and result.routes[0].target == "meta"
    assert any("google is passed over: it holds no certificate" in text for text in timeline)
    assert deployed.plane.distribution("chat")["google"] == 2000


async def test_people_are_not_bound_by_certificates(deploy: Deploy) -> None:
    """Who starts it by hand gets the chain."""
    deployed = await deploy(only_certified=True)
    deployed.provider("google").knows = {}
    await deployed.audit()
    result, _ = await deployed.failover(trigger="manual")
    assert result.routes[0].target == "google"


async def test_another_is_taken_and_said_so_where_no_certified_one_is_well(deploy: Deploy) -> None:
    """In the timeline, the message and the report; traffic never waits for a certificate."""
    deployed = await deploy(only_certified=True)
    result, timeline = await deployed.failover()
    remark = "chat: google is taken without a certificate: it holds no certificate"
    assert result.outcome is Outcome.COMPLETED and result.routes[0].target == "google"
    assert remark in timeline
    assert any(remark in text for text in deployed.said)
    record = deployed.parts.evidence.latest()
    assert record is not None and record.notes == [remark]


async def test_people_are_asked_where_that_is_configured(deploy: Deploy) -> None:
    """Nothing is moved until somebody agrees; then it is, as that person's run, without another question."""
    deployed = await deploy(only_certified=True, without_certificate="ask")
    result, timeline = await deployed.failover()
    assert result.outcome is Outcome.HELD and "People are asked by the run" in result.reason
    assert deployed.plane.distribution("chat")["bedrock"] == 7000
    assert any("to google" in text for text in timeline)
    asking = deployed.client.get_workflow_handle("proposal/failover/bedrock/uncertified")
    digest = (await asking.query("status"))["details"]["approval"]["digest"]
    await asking.execute_update("approve", {"actor": "anna", "step": "start", "digest": digest})
    await asking.result()
    agreed = deployed.client.get_workflow_handle("failover/bedrock/uncertified", result_type=RunResult)
    assert (await agreed.result()).routes[0].target == "google"
    assert deployed.plane.distribution("chat")["bedrock"] == 0


async def test_a_certified_target_needs_no_question(deploy: Deploy) -> None:
    """With certificates, everything is as automatic as ever."""
    deployed = await deploy(only_certified=True, without_certificate="ask")
    await deployed.audit()
    result, _ = await deployed.failover()
    assert result.outcome is Outcome.COMPLETED and result.routes[0].target == "google"


async def test_an_automatic_ramp_says_whom_it_takes_without_a_certificate(deploy: Deploy) -> None:
    """And takes the certified where it has the choice: meta before google."""
    deployed = await deploy(only_certified=True)
    deployed.provider("google").knows = {}
    deployed.plane.requests = 1000
    await deployed.audit()
    run = await deployed.client.start_workflow(
        "GradualFailover",
        {"route": "chat", "failed_provider": "bedrock", "trigger": "automatic"},
        id=f"gradual-{deployed.task_queue}",
        task_queue=deployed.task_queue,
        result_type=RunResult,
    )
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED, result
    assert deployed.plane.distribution("chat") == {"bedrock": 0, "meta": 7000, "google": 3000}
    record = deployed.parts.evidence.latest()
    assert record is not None and "chat: google is taken without a certificate" in "; ".join(
        [f"chat: {n}" for n in record.notes]
    )


async def test_a_certificate_runs_out_in_virtual_time(
    time_skipping_env: WorkflowEnvironment, task_queue: str, make_parts: Make, tmp_path: Path
) -> None:
    """Certified now; 25 hours later, without another audit, nobody is: the clock is the run's, not the machine's."""
    made = deployment(time_skipping_env.client, task_queue, make_parts, tmp_path, only_certified=True)
    async with composition.build_worker(time_skipping_env.client, made.parts, task_queue=task_queue):
        await made.audit()
        certificates = {one.target: one for one in made.store.certificates()}
        assert _lifetime(certificates["google"]) == timedelta(hours=24)
        _, timeline = await made.failover(dry_run=True)
        assert not any("certificate" in text for text in timeline)
        await time_skipping_env.sleep(timedelta(hours=25))
        made.task_queue, queue = task_queue, task_queue
        run = await made.client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock", "trigger": "automatic", "dry_run": True},
            id=f"later-{queue}",
            task_queue=queue,
            result_type=RunResult,
        )
        assert (
            "google is taken without a certificate: its certificate expired 1 h 0 min ago"
            in (await run.result()).reason
        )


def _lifetime(one: Certificate) -> timedelta:
    return one.expires - one.issued
