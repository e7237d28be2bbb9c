"""Golden prompts put to providers: real clients against the simulator, baselines on disk, and what the watch makes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.accuracy import FIRST_RUN, BaselineStore, Examiner
from failover.accuracy import Quality, Score
from failover.completion import Answer, Completion
from failover.config import Config
from failover.config.detection import Detection, Probe
from failover.config.procedures import Gating, Procedures
from failover.errors import RequestError
from failover.failure import FailureKind
from failover.golden import Suite
from failover.ports import ProviderClient
from providers.factory import SimulatedEndpoint, build_clients
from providers.memory import MemoryClient
from simulator.faults import Fault, FaultKind
from simulator.server import Simulator
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.examining import examine
from starter.golden import load_suites
from starter.settings import Settings
from traffic.memory import MemoryPlane

LOADED = load(demo_config())
SUITES = load_suites(LOADED)
KNOWS = {prompt.prompt: prompt.example for suite in SUITES.values() for prompt in suite.prompts}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    kinds = {key: provider.kind for key, provider in LOADED.config.providers.items()}
    async with Simulator(kinds, knows=KNOWS, latency=timedelta(0)) as running:
        yield running


@pytest.fixture
async def clients(simulator: Simulator) -> AsyncIterator[dict[str, ProviderClient]]:
    endpoints = {key: SimulatedEndpoint(url=url, grpc=None) for key, url in simulator.urls.items()}
    built = dict(build_clients(LOADED.config, secrets={}, simulator=endpoints))
    yield built
    for client in built.values():
        await client.aclose()


@pytest.fixture
def baselines(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def with_accuracy(config: Config, **changes: object) -> Config:
    accuracy = config.detection.accuracy.model_copy(update=changes)
    return config.model_copy(update={"detection": config.detection.model_copy(update={"accuracy": accuracy})})


class Knowing(MemoryClient):
    """Answers golden prompts as their examples do, but for those that `forgets` names."""

    def __init__(self, key: str, suites: list[Suite]) -> None:
        super().__init__(key)
        self.prompts = {prompt.prompt: prompt for suite in suites for prompt in suite.prompts}
        self.forgets: set[str] = set()
        self.together = self.most_together = 0
        self.asked: list[str] = []

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        prompt = self.prompts.get(completion.messages[-1].text)
        if prompt is None:
            return await super().invoke(completion, timeout=timeout)
        self.asked.append(prompt.id)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0.001)
        self.together -= 1
        self.text = "I would rather talk about lighthouses." if prompt.id in self.forgets else prompt.example
        try:
            return await super().invoke(completion, timeout=timeout)
        finally:
            self.text = "PONG"

    def forget(self, suite: str, count: int) -> None:
        self.forgets |= {prompt.id for prompt in SUITES[suite].prompts[:count]}


@pytest.mark.parametrize("provider", ["bedrock", "google", "meta"])
async def test_a_suite_runs_through_each_providers_own_client(
    provider: str, clients: dict[str, ProviderClient], simulator: Simulator, baselines: BaselineStore
) -> None:
    """The vendors' SDKs, the exact model; a healthy provider knows everything, one that talks nonsense nothing."""
    examiner = Examiner(LOADED.config, clients, SUITES, baselines)
    found = await examiner.examine(provider, "quick")
    assert found.score == Score(asked=20, answered=20, passed=20), found.misses
    assert simulator.stats()[provider]["last"]["model"].endswith(LOADED.config.model_id(provider))
    await simulator.set_fault(provider, Fault(kind=FaultKind.WRONG))
    assert (await examiner.examine(provider, "quick")).score == Score(asked=20, answered=20, passed=0)


async def test_a_refused_prompt_is_no_wrong_answer(
    clients: dict[str, ProviderClient], simulator: Simulator, baselines: BaselineStore
) -> None:
    """A provider that fails is for the probes to condemn; of its accuracy nothing is known, and no baseline is kept."""
    await simulator.set_fault("bedrock", Fault(kind=FaultKind.SERVER_ERROR))
    found = await Examiner(LOADED.config, clients, SUITES, baselines).assess("bedrock")
    assert found.quality is Quality.UNKNOWN
    assert found.score == Score(asked=20, answered=0, passed=0)
    assert "bedrock: server error" in found.reason
    assert baselines.list() == []


async def test_prompts_are_bounded_in_number_and_in_time(baselines: BaselineStore) -> None:
    """At most `concurrency` at once; one that hangs is unanswered after `timeout`."""
    client = Knowing("bedrock", [SUITES["quick"]])
    config = with_accuracy(LOADED.config, concurrency=3, timeout=timedelta(milliseconds=50))
    examiner = Examiner(config, {"bedrock": client}, SUITES, baselines)
    assert (await examiner.examine("bedrock", "quick")).score.passed == 20
    assert client.most_together == 3
    client.hang = True
    found = await examiner.examine("bedrock", "quick", size=4)
    assert found.score == Score(asked=4, answered=0, passed=0)
    assert found.first_failure is not None and "no whole answer within 50 ms" in found.first_failure


async def test_the_first_complete_run_is_the_baseline_and_stays_it(baselines: BaselineStore) -> None:
    """Also of the suite that settles doubts: in a doubt it would be too late. A worse run never replaces it."""
    client = Knowing("bedrock", list(SUITES.values()))
    examiner = Examiner(LOADED.config, {"bedrock": client}, SUITES, baselines)
    assert (await examiner.assess("bedrock")).quality is Quality.GOOD
    kept = {baseline.suite: baseline for baseline in baselines.list()}
    assert {name: one.score.passed for name, one in kept.items()} == {"quick": 20, "comprehensive": 60}
    assert kept["quick"].recorded_by == FIRST_RUN
    client.forget("quick", 8)
    assert (await examiner.assess("bedrock")).quality is Quality.DEGRADED
    assert {baseline.suite: baseline for baseline in baselines.list()} == kept


@pytest.mark.parametrize(
    ("forgotten", "quality", "suite", "asked"),
    [
        ({"quick": 1}, Quality.GOOD, "quick", 20),
        ({"quick": 3}, Quality.GOOD, "comprehensive", 80),
        ({"quick": 3, "comprehensive": 10}, Quality.DEGRADED, "comprehensive", 80),
        ({"quick": 8}, Quality.DEGRADED, "quick", 20),
    ],
)
async def test_a_doubt_is_settled_by_the_comprehensive_suite(
    forgotten: dict[str, int], quality: Quality, suite: str, asked: int, baselines: BaselineStore
) -> None:
    """One miss is none, three of twenty are a doubt, and sixty prompts more say what is true."""
    client = Knowing("bedrock", list(SUITES.values()))
    examiner = Examiner(LOADED.config, {"bedrock": client}, SUITES, baselines)
    await examiner.assess("bedrock")
    client.asked.clear()
    for name, count in forgotten.items():
        client.forget(name, count)
    found = await examiner.assess("bedrock")
    assert (found.quality, found.suite, len(client.asked)) == (quality, suite, asked), found.reason


async def test_a_doubt_makes_no_baseline(baselines: BaselineStore) -> None:
    """Without a baseline of the suite that would settle it, a doubt stays one: a worse model must not become the measure."""
    client = Knowing("bedrock", list(SUITES.values()))
    examiner = Examiner(LOADED.config, {"bedrock": client}, SUITES, baselines)
    await examiner.record_baseline("bedrock", "quick", "anna")
    client.forget("quick", 3)
    assert (await examiner.assess("bedrock")).quality is Quality.DOUBTFUL
    assert [baseline.suite for baseline in baselines.list()] == ["quick"]


async def test_where_people_record_baselines_nothing_is_concluded_without_one(baselines: BaselineStore) -> None:
    """And one that they record replaces the one before."""
    client = Knowing("bedrock", list(SUITES.values()))
    config = with_accuracy(LOADED.config, baseline="people")
    examiner = Examiner(config, {"bedrock": client}, SUITES, baselines)
    found = await examiner.assess("bedrock")
    assert found.quality is Quality.UNKNOWN and "no baseline" in found.reason
    client.forget("quick", 8)
    assert (await examiner.record_baseline("bedrock", "quick", "anna")).score.passed == 12
    assert (await examiner.assess("bedrock")).quality is Quality.GOOD
    client.fail_with = FailureKind.THROTTLED
    with pytest.raises(RequestError, match="No baseline of bedrock was recorded"):
        await examiner.record_baseline("bedrock", "quick", "anna")
    assert [baseline.recorded_by for baseline in baselines.list()] == ["anna"]


async def test_a_baseline_is_of_one_model_and_one_version_of_a_suite(baselines: BaselineStore) -> None:
    """Another model, or a suite that was changed, has none; an unreadable file counts as none."""
    examiner = Examiner(LOADED.config, {"bedrock": Knowing("bedrock", list(SUITES.values()))}, SUITES, baselines)
    baseline = await examiner.record_baseline("bedrock", "quick", "anna")
    quick = SUITES["quick"]
    assert baselines.find("bedrock", baseline.model, quick) == baseline
    assert baselines.find("bedrock", "another", quick) is None
    assert baselines.find("google", baseline.model, quick) is None
    changed = quick.model_copy(update={"prompts": quick.prompts[:-1]})
    assert baselines.find("bedrock", baseline.model, changed) is None
    baselines.keep(baseline).write_text("{")
    assert baselines.find("bedrock", baseline.model, quick) is None


@pytest.mark.parametrize(("provider", "suite"), [("nobody", "quick"), ("bedrock", "nothing")])
async def test_what_is_not_there_is_refused(provider: str, suite: str, baselines: BaselineStore) -> None:
    """With what there is."""
    examiner = Examiner(LOADED.config, {"bedrock": Knowing("bedrock", [])}, SUITES, baselines)
    with pytest.raises(RequestError, match=r"there (is|are) "):
        await examiner.examine(provider, suite)


async def test_commands_examine_by_one_function(simulator: Simulator, tmp_path: Path) -> None:
    """The whole suite becomes a baseline; a part of it is a sample, compared with none; a miss names its prompt."""
    settings, progress = Settings(simulator_url=simulator.control_url), list[int]()
    whole = await examine(settings, LOADED, tmp_path, "meta", "quick", told=progress.append)
    assert whole.assessment.quality is Quality.GOOD and progress == list(range(1, 21))
    part = await examine(settings, LOADED, tmp_path, "google", "quick", size=5)
    assert part.examination.score == Score(asked=5, answered=5, passed=5)
    assert part.assessment.quality is Quality.UNKNOWN
    assert [one.provider for one in BaselineStore(tmp_path / "baselines").list()] == ["meta"]
    await simulator.set_fault("meta", Fault(kind=FaultKind.WRONG))
    worse = await examine(settings, LOADED, tmp_path, "meta", "quick")
    assert worse.assessment.quality is Quality.DEGRADED
    assert worse.examination.misses[0].prompt == "capital-france"


MakeParts = Callable[..., composition.Parts]


@pytest.fixture
def watched(make_parts: MakeParts, baselines: BaselineStore) -> composition.Parts:
    """A worker whose providers know every golden prompt, asked twice a second."""
    probe = Probe.model_validate({"cadence": "100ms", "timeout": "1s"})
    accuracy = LOADED.config.detection.accuracy.model_copy(update={"cadence": timedelta(milliseconds=500)})
    detection = Detection(
        schedule_interval=timedelta(seconds=5), probe=probe, accuracy=accuracy, cool_down=timedelta(0)
    )
    canary = {"initial_hold": "200ms", "step_hold": "200ms"}
    gating = Gating.model_validate({"sample_interval": "100ms", "window": "1s", "minimum_requests": 1})
    made = make_parts(detection=detection, procedures=Procedures.model_validate({"canary": canary, "gating": gating}))
    clients: dict[str, ProviderClient] = {key: Knowing(key, list(SUITES.values())) for key in made.clients}
    return replace(made, clients=clients, examiner=Examiner(made.config, clients, SUITES, baselines))


async def test_a_worse_model_is_left_by_a_canary(
    temporal_client: Client, task_queue: str, watched: composition.Parts, baselines: BaselineStore
) -> None:
    """Every probe is answered well all the while; the canary goes to the first of the chain that is well."""
    bedrock, plane = watched.clients["bedrock"], watched.plane
    assert isinstance(bedrock, Knowing) and isinstance(plane, MemoryPlane)
    async with composition.build_worker(temporal_client, watched, task_queue=task_queue):
        check = await temporal_client.start_workflow("HealthCheck", {}, id=f"check-{task_queue}", task_queue=task_queue)
        canary = temporal_client.get_workflow_handle("canary/chat")
        try:
            async with asyncio.timeout(20):
                while len(baselines.list()) < 6:
                    await asyncio.sleep(0.05)
                bedrock.forget("quick", 8)
                while plane.distribution("chat")["bedrock"] == 7000:
                    await asyncio.sleep(0.05)
            assert plane.applied[0].changed_by.workflow_id == "canary/chat"
            assert plane.distribution("chat")["google"] > 2000
            assert plane.distribution("chat")["meta"] == 1000
            assert "CanaryFailover" in str((await canary.describe()).workflow_type)
        finally:
            for run in (check, canary):
                try:
                    await run.terminate()
                except RPCError:
                    continue


async def test_a_baseline_that_cannot_be_kept_does_not_stop_the_watch(
    temporal_client: Client, task_queue: str, watched: composition.Parts, tmp_path: Path
) -> None:
    """A file where the directory should be: nothing is concluded, and the probes go on."""
    (tmp_path / "baselines").write_text("not a directory")
    bedrock = watched.clients["bedrock"]
    assert isinstance(bedrock, Knowing)
    async with composition.build_worker(temporal_client, watched, task_queue=task_queue):
        check = await temporal_client.start_workflow("HealthCheck", {}, id=f"check-{task_queue}", task_queue=task_queue)
        try:
            async with asyncio.timeout(20):
                while len(bedrock.asked) < 40 or bedrock.calls < len(bedrock.asked) + 10:
                    await asyncio.sleep(0.05)
            attempts = [activity.attempt for activity in (await check.describe()).raw_description.pending_activities]
            assert attempts and set(attempts) == {1}
        finally:
            await check.terminate()


def test_an_old_assessment_condemns_nobody_for_ever() -> None:
    """Three cadences without a new one, and it is no longer believed."""
    from failover.accuracy import Assessment
    from failover.health import Condition, ProbeHistory, judge
    from failover.health import Probe as Probed

    now, settings = datetime(2026, 1, 1, tzinfo=UTC), Detection()
    probe = Probed(provider="bedrock", at=now, latency=timedelta(0))
    for old, condition in ((1, Condition.DEGRADED_QUALITY), (4, Condition.HEALTHY)):
        found = Assessment(
            provider="bedrock",
            suite="quick",
            at=now - old * settings.accuracy.cadence,
            quality=Quality.DEGRADED,
            reason="12 of 20",
            score=Score(asked=20, answered=20, passed=12),
        )
        history = ProbeHistory(last=probe, good_at=now, assessment=found)
        assert judge("bedrock", history, {}, settings, now).condition is condition
