"""Degraded service beside the queue: what may be switched on, remembered answers, banner, templates, and what is counted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from failover.config import Config
from failover.config.gateway import AnswerCache
from failover.failure import FailureKind
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient

STALE = {"cache": {"ttl": "1ms", "serve_stale": True}}
FRESH = {"cache": {"ttl": "2h"}}


async def ask(gateway: Any, text: str = "hello", headers: dict[str, str] | None = None, **options: Any) -> Any:
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], **options}
    return await gateway.http.post("/v1/chat/completions", json=body, headers=headers)


async def switch(gateway: Any, degraded: Any, **other: Any) -> httpx.Response:
    found = await gateway.http.get("/policies/chat")
    body = {"distribution": found.json()["distribution"], "reason": "a test", "degraded": degraded, **other}
    headers = {**gateway.operator, "If-Match": found.headers["ETag"]}
    answer: httpx.Response = await gateway.http.put("/policies/chat", json=body, headers=headers)
    return answer


def fail(gateway: Any, kind: FailureKind | None = FailureKind.SERVER_ERROR) -> None:
    for provider in gateway.providers.values():
        provider.fail_with = kind


def calls(gateway: Any) -> int:
    return sum(provider.calls for provider in gateway.providers.values())


def text_of(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


async def users(gateway: Any) -> dict[str, Any]:
    return dict((await gateway.telemetry(window="60"))["routes"][0])


# What may be switched on

BAD = [
    ({"cache": {"ttl": "soon"}}, "degraded.cache.ttl"),
    ({"cache": {"ttl": 0}}, "degraded.cache.ttl"),
    ({"cache": {"ttl": "9" * 30 + "d"}}, "degraded.cache.ttl"),
    ({"cache": "on"}, "degraded.cache"),
    ({"queue": {"size": 0}}, "degraded.queue.size"),
    ({"queue": {"timeout": "-5s"}}, "degraded.queue.timeout"),
    ({"queue": {"length": 5}}, "degraded.queue.length"),
    ({"banner": ""}, "degraded.banner"),
    ({"template": 5}, "degraded.template"),
    ({"cach": {}}, "degraded.cach"),
    ([], "degraded"),
]


@pytest.mark.parametrize(("degraded", "field"), BAD)
async def test_a_mapping_that_cannot_be_meant_is_refused_by_its_fields_name(
    gateway: Any, degraded: Any, field: str
) -> None:
    """422 through both doors, and nothing is changed: not even what stood beside it in the same call."""
    answer = await switch(gateway, degraded)
    assert answer.status_code == 422
    assert f"{field}: " in answer.json()["error"]["message"]
    first, second = (change(gateway.store, route, {}) for route in ("other", "chat"))
    second["degraded"] = degraded
    answer = await gateway.http.post("/policies", json={"changes": [first, second]}, headers=gateway.operator)
    assert answer.status_code == 422
    assert f"changes.1.{field}: " in answer.json()["error"]["message"]
    assert [gateway.store.policy(route).revision.number for route in ("chat", "other")] == [1, 1]


def change(store: FileStore, route: str, degraded: Any) -> dict[str, Any]:
    revision = store.policy(route).revision
    return {
        "route": route,
        "decided_on": {"epoch": revision.epoch, "number": revision.number},
        "key": f"a change of {route}",
        "distribution": {"meta": 100},
        "degraded": degraded,
        "changed_by": {"actor": "test"},
        "reason": "a test",
    }


async def test_it_is_obeyed_in_any_mode(gateway: Any) -> None:
    """An operator may switch on a cache alone; the mode is a label, and a change that says nothing of it keeps it."""
    assert (await switch(gateway, FRESH)).status_code == 200
    assert gateway.store.policy("chat").mode.value == "normal"
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    assert (await ask(gateway)).headers["X-Failover-Source"] == "cache"
    assert (await gateway.put(meta=100)).status_code == 200
    assert (await ask(gateway)).headers["X-Failover-Source"] == "cache"
    assert (await switch(gateway, {})).json()["degraded"] == {}
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    assert (await switch(gateway, None, mode="degraded")).status_code == 200
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    assert 'failover_policy_mode{failover_mode="degraded",failover_route="chat"} 1.0' in await metrics(gateway)


async def metrics(gateway: Any) -> str:
    return str((await gateway.http.get("/metrics")).text)


async def test_normal_service_says_nothing_new_in_the_body(gateway: Any) -> None:
    """Only a header tells the source."""
    answer = await ask(gateway)
    assert set(answer.json()) == {"id", "object", "created", "model", "choices", "usage"}
    assert answer.headers["X-Failover-Source"] == "live"
    assert "Age" not in answer.headers


# Remembered answers


async def test_what_was_answered_in_normal_service_is_served_when_everything_breaks(gateway: Any) -> None:
    """Marked as stale, with its age; the official client reads it like any other."""
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    fail(gateway)
    assert (await ask(gateway)).status_code == 502
    await switch(gateway, STALE)
    await asyncio.sleep(0.01)
    answer = await ask(gateway)
    assert (answer.status_code, text_of(answer)) == (200, "Hello from memory")
    assert answer.headers["X-Failover-Source"] == "stale"
    assert int(answer.headers["Age"]) >= 0
    assert "X-Failover-Provider" not in answer.headers
    assert answer.json()["failover"]["source"] == "stale"
    said = await gateway.users.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "hello"}], extra_headers={"Authorization": ""}
    )
    assert said.choices[0].message.content == "Hello from memory"


async def test_a_fresh_one_is_served_before_any_provider_is_asked(gateway: Any) -> None:
    await switch(gateway, FRESH)
    await ask(gateway)
    before = calls(gateway)
    answer = await ask(gateway)
    assert answer.headers["X-Failover-Source"] == "cache"
    assert calls(gateway) == before


async def test_a_provider_comes_before_a_stale_one(gateway: Any) -> None:
    """And its new answer is remembered in place of the old."""
    await switch(gateway, STALE)
    await ask(gateway)
    for provider in gateway.providers.values():
        provider.text = "something newer"
    await asyncio.sleep(0.005)  # what is remembered has outlived its millisecond
    assert text_of(await ask(gateway)) == "something newer"
    fail(gateway)
    assert text_of(await ask(gateway)) == "something newer"


async def test_old_answers_are_not_served_unless_that_is_switched_on(gateway: Any) -> None:
    await switch(gateway, {"cache": {"ttl": "1ms"}})
    await ask(gateway)
    fail(gateway)
    await asyncio.sleep(0.01)
    assert (await ask(gateway)).status_code == 502


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({"user": "anna"}, {"user": "bert"}),
        ({"user": "anna"}, {}),
        ({"safety_identifier": "anna"}, {"safety_identifier": "bert"}),
        ({"headers": {"Authorization": "Bearer anna"}}, {"headers": {"Authorization": "Bearer bert"}}),
        ({"temperature": 0}, {"temperature": 1}),
        ({"seed": 1}, {"seed": 2}),
        ({"max_tokens": 5}, {}),
        ({"text": "hello"}, {"text": "hello "}),
    ],
)
async def test_nobody_gets_an_answer_to_another_question_or_another_user(
    gateway: Any, mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """The same words in somebody else's name are another question."""
    await switch(gateway, FRESH)
    await ask(gateway, **mine)
    assert (await ask(gateway, **theirs)).headers["X-Failover-Source"] == "live"
    assert (await ask(gateway, **mine)).headers["X-Failover-Source"] == "cache"


async def test_streams_are_neither_remembered_nor_answered_from_memory(gateway: Any) -> None:
    await switch(gateway, FRESH)
    await ask(gateway, stream=True)
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    assert (await ask(gateway, stream=True)).headers["X-Failover-Source"] == "live"


async def test_a_synthetic_request_is_always_answered_by_a_provider(gateway: Any) -> None:
    """It is asked to learn whether they answer; neither memory nor a template tells that, and it teaches neither."""
    synthetic = {"X-Failover-Synthetic": "1", **gateway.operator}
    await switch(gateway, {**FRESH, "template": "no answer"})
    for _ in range(2):
        assert (await ask(gateway, headers=synthetic)).headers["X-Failover-Source"] == "live"
    fail(gateway)
    assert (await ask(gateway, headers=synthetic)).status_code == 502


@pytest.fixture
async def small(config: Config, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that may remember so many bytes; a cache is switched on."""
    cache = AnswerCache(max_bytes=request.param)
    bounded = config.model_copy(update={"gateway": config.gateway.model_copy(update={"cache": cache})})
    store = FileStore.open(tmp_path / "policies.json", {"chat": {"meta": 10000}, "other": {"meta": 10000}}, utc_now)
    app = create_app(bounded, {"meta": MemoryClient("meta", text="x" * 1000)}, store, token=None)
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        body = {"changes": [change(store, "chat", FRESH)]}
        assert (await http.post("/policies", json=body)).status_code == 200
        yield http


async def sources(http: httpx.AsyncClient, texts: list[str]) -> list[str]:
    told = []
    for text in texts:
        body = {"model": "chat", "messages": [{"role": "user", "content": text}]}
        told.append((await http.post("/v1/chat/completions", json=body)).headers["X-Failover-Source"])
    return told


@pytest.mark.parametrize("small", [10_000], indirect=True)
async def test_what_is_remembered_is_bounded_in_bytes(small: httpx.AsyncClient) -> None:
    """The least recently used goes first."""
    assert await sources(small, [str(number) for number in range(20)]) == ["live"] * 20
    text = (await small.get("/metrics")).text
    held = float(text.split("\nfailover_cache_bytes ")[1].split("\n")[0])
    assert 1000 < held <= 10_000
    assert await sources(small, ["19", "0"]) == ["cache", "live"]


@pytest.mark.parametrize("small", [0], indirect=True)
async def test_nothing_is_remembered_where_nothing_may_be(small: httpx.AsyncClient) -> None:
    assert await sources(small, ["a", "a"]) == ["live", "live"]


# Banner and templates


async def test_the_banner_comes_with_every_answer(gateway: Any) -> None:
    """In a header that any text survives, and as a field of the body, also of a stream."""
    banner = "Störung – 100 %\nnothing else breaks"
    await switch(gateway, {"banner": banner})
    answer = await ask(gateway)
    assert unquote(answer.headers["X-Failover-Banner"]) == banner
    assert answer.json()["failover"] == {"source": "live", "banner": banner}
    stream = await gateway.users.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "x"}], stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].model_extra["failover"]["banner"] == banner
    assert all("failover" not in (chunk.model_extra or {}) for chunk in chunks[1:])


async def test_a_template_is_a_proper_completion(gateway: Any) -> None:
    """Whole and streamed, for the official client; marked, and in nobody's name."""
    fail(gateway)
    await switch(gateway, {"template": "We cannot answer now."})
    question: Any = [{"role": "user", "content": "x"}]
    said = await gateway.users.chat.completions.create(model="chat", messages=question)
    assert (said.choices[0].message.content, said.choices[0].finish_reason) == ("We cannot answer now.", "stop")
    assert said.usage.total_tokens == 0
    stream = await gateway.users.chat.completions.create(
        model="chat", messages=question, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "We cannot answer now."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    answer = await ask(gateway)
    assert answer.headers["X-Failover-Source"] == "template"
    assert "X-Failover-Provider" not in answer.headers


async def test_a_template_is_the_last_resort(gateway: Any) -> None:
    """After a provider and after a stale answer; where a queue has no place, at once."""
    await switch(gateway, {**STALE, "template": "no answer", "queue": {"size": 1, "timeout": "200ms"}})
    assert (await ask(gateway)).headers["X-Failover-Source"] == "live"
    fail(gateway)
    await asyncio.sleep(0.01)
    assert (await ask(gateway)).headers["X-Failover-Source"] == "stale"
    assert (await ask(gateway, "another")).headers["X-Failover-Source"] == "template"


# What is counted


async def test_a_template_is_not_a_good_answer(gateway: Any) -> None:
    """Not an error either: accepted, and never usefully answered, so that it counts as lost."""
    fail(gateway)
    await switch(gateway, {"template": "no answer"})
    await ask(gateway)
    told = await users(gateway)
    assert (told["requests"], told["failed"], told["lost"], told["templates"]) == (1, 0, 1, 1)
    assert told["latency_p95"] is None
    tries = (await gateway.telemetry(window="60"))["providers"]
    assert all(sum(one["failures"].values()) == one["tries"] == 1 for one in tries)


async def test_answers_from_memory_are_told_apart(gateway: Any) -> None:
    """In telemetry and in the metrics; they are no tries of any provider."""
    await switch(gateway, FRESH)
    await ask(gateway)
    await ask(gateway)
    fail(gateway)
    await switch(gateway, STALE)
    await asyncio.sleep(0.01)
    await ask(gateway)
    await ask(gateway, "nobody knows")
    told = await users(gateway)
    assert (told["requests"], told["failed"], told["cached"], told["stale"]) == (4, 1, 1, 1)
    text = await metrics(gateway)
    for found, count in (("fresh", 1), ("stale", 1), ("miss", 2)):
        assert f'failover_cache_lookups_total{{failover_route="chat",found="{found}"}} {count}.0' in text
    for source, count in (("live", 1), ("cache", 1), ("stale", 1)):
        assert f'failover_gateway_answers_total{{failover_route="chat",source="{source}"}} {count}.0' in text
    assert "\nfailover_cache_entries 1.0" in text


async def test_a_policy_of_another_version_is_normal_service(config: Config, tmp_path: Path) -> None:
    """A store may hold what this gateway cannot mean: users are served as if nothing were switched on."""
    path = tmp_path / "policies.json"
    FileStore.open(path, {"chat": {"meta": 10000}, "other": {"meta": 10000}}, utc_now)
    path.write_text(path.read_text().replace('"degraded":{}', '"degraded":{"from the future":1}'))
    store = FileStore.open(path, {}, utc_now)
    assert store.policy("chat").degraded == {"from the future": 1}
    app = create_app(config, {"meta": MemoryClient("meta")}, store, token=None)
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert await sources(http, ["a", "a"]) == ["live", "live"]
