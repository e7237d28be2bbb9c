"""The queue: who waits, in which order they are answered, how fast, and what becomes of those who are not."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from failover.config import Config
from failover.config.providers import Capacity
from failover.distribution import from_percents
from failover.failure import FailureKind
from failover.policy import Change, ChangedBy
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import DRAIN, listening
from gateway.store import FileStore
from providers.memory import MemoryClient

QUEUE = {"queue": {"size": 100, "timeout": "30s"}}


class Rig:
    """A gateway whose policy is written straight into its store, over providers in memory, and users in front."""

    def __init__(self, url: str, store: FileStore, providers: dict[str, MemoryClient]) -> None:
        self.url = url
        self.store = store
        self.providers = providers
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits)
        self.writes = 0

    async def switch(self, degraded: dict[str, Any] | None = None, **shares: float) -> None:
        self.writes += 1
        policy = self.store.policy("chat")
        change = Change(
            route="chat",
            decided_on=policy.revision,
            key=str(self.writes),
            distribution=dict(from_percents(shares)) if shares else dict(policy.distribution),
            degraded=degraded,
            changed_by=ChangedBy(actor="test"),
            reason="a test",
        )
        assert (await self.store.apply([change]))[0].in_force

    def fail(self, kind: FailureKind | None = FailureKind.SERVER_ERROR, *names: str) -> None:
        for name in names or self.providers:
            self.providers[name].fail_with = kind

    async def mend(self) -> None:
        """meta answers again, and a change of the policy says so: nobody waits for the next try of the queue's own."""
        self.fail(None, "meta")
        await self.switch()

    def ask(
        self, text: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> "asyncio.Task[httpx.Response]":
        body = {"model": "chat", "messages": [{"role": "user", "content": text}], **options}
        return asyncio.create_task(self.http.post("/v1/chat/completions", json=body, headers=headers))

    async def waiting(self, texts: list[str], **options: Any) -> "list[asyncio.Task[httpx.Response]]":
        """Asked one after the other, each once the one before is in the queue."""
        tasks = []
        for text in texts:
            before = await self.length()
            tasks.append(self.ask(text, **options))
            await until(self.longer_than(before))
        return tasks

    def longer_than(self, count: float) -> Callable[[], Any]:
        async def check() -> bool:
            return await self.length() > count

        return check

    async def asked(self) -> bool:
        """Whether meta was asked anything."""
        return self.providers["meta"].calls > 0

    async def figure(self, name: str) -> float:
        """The sum over all labels of one metric."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    async def length(self) -> float:
        return await self.figure("failover_queue_length")

    async def users(self) -> dict[str, Any]:
        routes = (await self.http.get("/telemetry", params={"window": "60"})).json()["routes"]
        return dict(routes[0]) if routes else {}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(config: Config, path: Path) -> AsyncIterator[Rig]:
    providers = {key: MemoryClient(key, text="Hello from memory") for key in config.providers}
    store = FileStore.open(path / "policies.json", {"chat": from_percents({"meta": 100})}, utc_now)
    app = create_app(config, providers, store, token="t", rng=random.Random(7))
    async with AsyncExitStack() as ends:
        # Those who still wait when it ends are to hear it.
        url = await ends.enter_async_context(listening(app, "127.0.0.1", 0))
        rig = Rig(url, store, providers)
        yield rig
        await ends.aclose()
        await rig.http.aclose()


@pytest.fixture
async def rig(config: Config, tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(config, tmp_path) as rig:
        yield rig


def with_capacity(config: Config, **capacity: int) -> Config:
    providers = dict(config.providers)
    providers["meta"] = providers["meta"].model_copy(update={"capacity": Capacity(**capacity)})
    return config.model_copy(update={"providers": providers})


def patient(config: Config, timeout: timedelta) -> Config:
    """As long for one try as for all of them."""
    limits = {"try_timeout": timeout, "request_timeout": timeout}
    return config.model_copy(update={"gateway": config.gateway.model_copy(update=limits)})


def numbered(count: int) -> list[str]:
    return [f"question {number}" for number in range(count)]


def answered(rig: Rig, provider: str = "meta") -> list[str]:
    """What it was asked, without repetitions, in the order of the last time."""
    heard = rig.providers[provider].heard
    return [text for index, text in enumerate(heard) if text not in heard[index + 1 :]]


async def test_nothing_that_was_accepted_into_the_queue_is_lost_silently(rig: Rig) -> None:
    """With all providers down forty wait; once one is back all are answered, in the order in which they came."""
    rig.fail()
    await rig.switch(QUEUE)
    tasks = await rig.waiting(numbered(40))
    rig.fail(None, "meta")
    answers = await asyncio.gather(*tasks)
    assert [answer.status_code for answer in answers] == [200] * 40
    assert {answer.headers["X-Failover-Source"] for answer in answers} == {"queue"}
    assert {answer.headers["X-Failover-Provider"] for answer in answers} == {"meta"}
    assert float(answers[0].headers["X-Failover-Waited"]) > 0
    assert answered(rig) == numbered(40)
    assert await rig.length() == await rig.figure("failover_queue_bytes") == 0
    users = await rig.users()
    assert (users["requests"], users["failed"], users["lost"], users["queued"]) == (40, 0, 0, 40)


async def test_the_queue_drains_at_the_declared_rate(config: Config, tmp_path: Path) -> None:
    """Twenty requests at 600 a minute take two seconds, and no second sees more than its ten and what may go at once."""
    moments: list[float] = []
    async with running(with_capacity(config, requests_per_minute=600), tmp_path) as rig:
        rig.fail()
        await rig.switch(QUEUE)
        tasks = await rig.waiting(numbered(20))
        await rig.mend()
        rig.providers["meta"].on_call = lambda: moments.append(time.monotonic())
        answers = await asyncio.gather(*tasks)
        assert [answer.status_code for answer in answers] == [200] * 20
        assert answered(rig) == numbered(20)
    assert moments[-1] - moments[0] > 19 / 10 - 0.2
    for start in moments:
        assert len([moment for moment in moments if start <= moment < start + 1]) <= 11


async def test_newcomers_keep_to_the_declared_rate_while_a_queue_is_switched_on(config: Config, tmp_path: Path) -> None:
    """Thirty at once at 600 a minute: one or two go at once, the others take their turn behind them."""
    async with running(with_capacity(config, requests_per_minute=600), tmp_path) as rig:
        await rig.switch(QUEUE)
        began = time.monotonic()
        answers = await asyncio.gather(*(rig.ask(text) for text in numbered(30)))
        assert time.monotonic() - began > 2.5
    sources = [answer.headers["X-Failover-Source"] for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert sources.count("live") <= 5
    assert sources.count("queue") == 30 - sources.count("live")


async def test_without_a_queue_a_declared_rate_holds_nobody_up(config: Config, tmp_path: Path) -> None:
    """Normal service is as it was."""
    async with running(with_capacity(config, requests_per_minute=60), tmp_path) as rig:
        answers = await asyncio.gather(*(rig.ask(text) for text in numbered(30)))
    assert {(answer.status_code, answer.headers["X-Failover-Source"]) for answer in answers} == {(200, "live")}


async def test_declared_tokens_hold_the_queue_back_too(config: Config, tmp_path: Path) -> None:
    """Each answer takes two tokens; at 600 a minute that is five answers a second."""
    async with running(with_capacity(config, tokens_per_minute=600), tmp_path) as rig:
        rig.fail()
        await rig.switch(QUEUE)
        tasks = await rig.waiting(numbered(15))
        await rig.mend()
        began = time.monotonic()
        assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
        assert time.monotonic() - began > 1.2


async def test_while_others_wait_nobody_overtakes(rig: Rig) -> None:
    """A newcomer is put at the end, though a provider might answer it at once."""
    rig.fail()
    await rig.switch(QUEUE)
    waiting = await rig.waiting(numbered(5))
    calls = rig.providers["meta"].calls
    late = (await rig.waiting(["late"]))[0]
    assert "late" not in rig.providers["meta"].heard[calls:]
    await rig.mend()
    assert (await late).headers["X-Failover-Source"] == "queue"
    await asyncio.gather(*waiting)
    assert answered(rig) == [*numbered(5), "late"]


async def test_who_was_tried_at_once_and_failed_stands_where_it_arrived(config: Config, tmp_path: Path) -> None:
    """Those who came while it was tried are behind it, though they joined before."""
    async with running(patient(config, timedelta(seconds=3)), tmp_path) as rig:
        rig.providers["meta"].hang = True
        rig.fail(FailureKind.SERVER_ERROR, "bedrock", "google")
        await rig.switch(QUEUE)
        first = rig.ask("first")
        await until(rig.asked)
        others = await rig.waiting(["second", "third"])
        assert rig.providers["meta"].heard == ["first"]
        rig.providers["meta"].hang = False
        rig.fail()
        await until(rig.longer_than(2))
        await rig.mend()
        assert {answer.status_code for answer in await asyncio.gather(first, *others)} == {200}
        assert answered(rig) == ["first", "second", "third"]


async def test_higher_classes_go_first_and_each_is_first_in_first_out(rig: Rig) -> None:
    """By the header X-Failover-Priority; normal without it."""
    rig.fail()
    await rig.switch(QUEUE)
    tasks = []
    for name in ("low", "normal", "high"):
        for number in range(2):
            tasks += await rig.waiting([f"{name} {number}"], headers={"X-Failover-Priority": name})
    tasks += await rig.waiting(["unsaid"])
    await rig.mend()
    await asyncio.gather(*tasks)
    assert answered(rig) == ["high 0", "high 1", "normal 0", "normal 1", "unsaid", "low 0", "low 1"]


async def test_an_unknown_class_is_said(rig: Rig) -> None:
    """400, with those that there are."""
    answer = await rig.ask("x", headers={"X-Failover-Priority": "urgent"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_priority")
    assert "high, normal, low" in answer.json()["error"]["message"]


async def test_a_full_queue_says_so_and_when_to_come_back(rig: Rig) -> None:
    """503 with Retry-After for the one too many, counted as failed and lost; the others keep their places."""
    rig.fail()
    await rig.switch({"queue": {"size": 3, "timeout": "30s"}})
    tasks = await rig.waiting(numbered(3))
    refused = await rig.ask("one too many")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["Retry-After"]) > 0
    users = await rig.users()
    assert (users["requests"], users["failed"], users["lost"]) == (1, 1, 1)
    await rig.mend()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}


async def test_waiting_bodies_are_bounded_in_bytes(config: Config, tmp_path: Path) -> None:
    """Over all routes together, whatever the number of those who wait."""
    room = config.gateway.queue.model_copy(update={"max_bytes": 5000})
    small = config.model_copy(update={"gateway": config.gateway.model_copy(update={"queue": room})})
    async with running(small, tmp_path) as rig:
        rig.fail()
        await rig.switch(QUEUE)
        tasks = await rig.waiting(["a" * 2000, "b" * 2000])
        refused = await rig.ask("c" * 2000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
        assert "5000" in refused.json()["error"]["message"]
        await rig.mend()
        await asyncio.gather(*tasks)
        assert await rig.figure("failover_queue_bytes") == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_waits_in_vain_is_told(rig: Rig, stream: bool) -> None:
    """503 with Retry-After after the queue's timeout, not before; counted as failed and lost."""
    rig.fail()
    await rig.switch({"queue": {"size": 10, "timeout": "700ms"}})
    began = time.monotonic()
    answer = await rig.ask("x", stream=stream)
    assert time.monotonic() - began >= 0.7
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_expired")
    assert int(answer.headers["Retry-After"]) > 0
    users = await rig.users()
    assert (users["requests"], users["failed"], users["lost"]) == (1, 1, 1)
    assert await rig.length() == 0


async def test_a_client_that_leaves_frees_its_place_at_once(rig: Rig) -> None:
    """Its bytes too; it is nobody's loss, and whoever comes next gets the place."""
    rig.fail()
    await rig.switch({"queue": {"size": 2, "timeout": "30s"}})
    tasks = await rig.waiting(numbered(2))
    tasks[0].cancel()

    async def freed() -> bool:
        return await rig.length() == 1

    await until(freed)
    next_one = (await rig.waiting(["next"]))[0]
    await rig.mend()
    assert {answer.status_code for answer in await asyncio.gather(tasks[1], next_one)} == {200}
    assert answered(rig)[-2:] == ["question 1", "next"]
    users = await rig.users()
    assert (users["requests"], users["failed"], users["lost"], users["queued"]) == (3, 0, 0, 2)


async def test_a_streaming_request_waits_and_then_streams(rig: Rig) -> None:
    """Nothing is sent until the provider's first piece; the headers tell the wait."""
    rig.fail()
    await rig.switch(QUEUE)
    task = (await rig.waiting(["x"], stream=True))[0]
    await rig.mend()
    answer = await task
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["X-Failover-Source"] == "queue"
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert '"failover": {"source": "queue"}' in answer.text
    assert (await rig.users())["queued"] == 1


async def test_on_shutdown_those_who_wait_get_an_honest_503(config: Config, tmp_path: Path) -> None:
    """At once, before the time that requests in flight have to end."""
    async with running(config, tmp_path) as rig:
        rig.fail()
        await rig.switch({**QUEUE, "template": "no answer"})
        tasks = await rig.waiting(numbered(5))
        began = time.monotonic()
    assert time.monotonic() - began < DRAIN.total_seconds() - 1
    answers = await asyncio.gather(*tasks)
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(503, "shutting_down")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}


async def test_those_who_wait_are_served_though_the_queue_is_switched_off(rig: Rig) -> None:
    """Nobody joins any more; whoever is there keeps place and time."""
    rig.fail()
    await rig.switch(QUEUE)
    tasks = await rig.waiting(numbered(10))
    await rig.switch({})
    assert (await rig.ask("newcomer")).status_code == 502
    assert await rig.length() == 10
    await rig.mend()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}


async def test_a_request_that_fails_as_the_queue_is_switched_on_joins_it(rig: Rig) -> None:
    """It was accepted before, and is not told that it came a moment too early."""
    rig.providers["meta"].hang = True
    rig.fail(FailureKind.SERVER_ERROR, "bedrock", "google")
    task = rig.ask("early")
    await until(rig.asked)
    await rig.switch(QUEUE)
    await until(rig.longer_than(0))
    rig.providers["meta"].hang = False
    answer = await task
    assert (answer.status_code, answer.headers["X-Failover-Source"]) == (200, "queue")


async def test_a_change_of_the_policy_is_new_hope(config: Config, tmp_path: Path) -> None:
    """Who is back gets the queue at once, though a try still hangs at one that is not."""
    async with running(patient(config, timedelta(seconds=20)), tmp_path) as rig:
        rig.providers["meta"].hang = True
        await rig.switch(QUEUE)
        first = rig.ask("hangs")
        await until(rig.asked)
        tasks = await rig.waiting(numbered(3))
        await rig.switch(google=100)
        answers = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert {answer.headers["X-Failover-Provider"] for answer in answers} == {"google"}
        first.cancel()


async def test_a_try_that_hangs_where_traffic_was_moved_off_is_given_up(config: Config, tmp_path: Path) -> None:
    """The head of the line does not wait for it, and is still the first to be answered, by whoever is back."""
    async with running(patient(config, timedelta(seconds=20)), tmp_path) as rig:
        rig.fail()
        await rig.switch(QUEUE)
        tasks = await rig.waiting(numbered(3))
        rig.providers["meta"].hang = True
        calls = rig.providers["meta"].calls

        async def hangs() -> bool:
            return rig.providers["meta"].calls > calls

        await until(hangs)
        rig.fail(None)
        await rig.switch(google=100)
        answers = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert {answer.headers["X-Failover-Provider"] for answer in answers} == {"google"}
        assert answered(rig, provider="google") == numbered(3)


@pytest.mark.parametrize("kind", [FailureKind.INVALID_ANSWER, FailureKind.TIMEOUT])
async def test_one_that_always_fails_does_not_block_the_others(rig: Rig, kind: FailureKind) -> None:
    """A question that no model answers keeps its place; the next in line is tried after it."""
    meta = rig.providers["meta"]
    rig.fail(kind)
    await rig.switch(QUEUE)
    tasks = await rig.waiting(["poison", *numbered(3)])

    def choose() -> None:
        for provider in rig.providers.values():
            provider.fail_with = kind if meta.heard[-1] == "poison" else None

    for provider in rig.providers.values():
        provider.on_call = None
    meta.on_call = choose
    answers = await asyncio.wait_for(asyncio.gather(*tasks[1:]), 20)
    assert {answer.status_code for answer in answers} == {200}
    assert not tasks[0].done()
    tasks[0].cancel()


async def test_a_users_own_mistake_leaves_the_queue_with_its_400(rig: Rig) -> None:
    """Nobody is held up by it."""
    rig.fail()
    await rig.switch(QUEUE)
    tasks = await rig.waiting(numbered(2))
    rig.fail(FailureKind.BAD_REQUEST)
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {400}
    assert await rig.length() == 0


async def test_a_synthetic_request_never_waits(rig: Rig) -> None:
    """It asks how the providers do now, so it is told."""
    rig.fail()
    await rig.switch({**QUEUE, "template": "no answer"})
    headers = {"X-Failover-Synthetic": "1", "Authorization": "Bearer t"}
    assert (await rig.ask("PONG?", headers=headers)).status_code == 502
    assert await rig.length() == 0


async def test_a_provider_that_asks_to_be_left_alone_is(rig: Rig) -> None:
    """While it says Retry-After, no one who waits is sent to it."""
    rig.fail(FailureKind.THROTTLED)
    for provider in rig.providers.values():
        provider.retry_after = timedelta(seconds=2)
    await rig.switch(QUEUE)
    task = (await rig.waiting(["x"]))[0]
    calls = rig.providers["meta"].calls
    rig.fail(None)
    began = time.monotonic()
    assert (await task).status_code == 200
    assert time.monotonic() - began > 1.5
    assert rig.providers["meta"].calls == calls + 1


async def test_the_metrics_tell_how_every_wait_ended(rig: Rig) -> None:
    """Answered, full, expired, left; and what waits now."""
    rig.fail()
    await rig.switch({"queue": {"size": 2, "timeout": "2500ms"}})
    tasks = await rig.waiting(numbered(2))
    await rig.ask("one too many")
    assert await rig.figure("failover_queue_bytes") > 0
    tasks[0].cancel()

    async def freed() -> bool:
        return await rig.length() == 1

    await until(freed)
    await tasks[1]
    last = (await rig.waiting(["last"]))[0]
    await rig.mend()
    await last
    text = (await rig.http.get("/metrics")).text
    for ended in ("answered", "queue_full", "queue_expired", "left"):
        line = f'failover_queue_waited_seconds_count{{ended="{ended}",failover_route="chat"}} 1.0'
        assert line in text
    assert 'failover_gateway_answers_total{failover_route="chat",source="queue"} 1.0' in text
