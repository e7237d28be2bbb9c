"""The operators' door: fenced, authenticated, kept."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from failover.config import Config
from failover.errors import BadInput, ConfigError
from failover.policy import Change, ChangedBy, ChangeStatus
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening, run
from gateway.store import FileStore, sole_user
from providers.memory import MemoryClient

BODY = {"distribution": {"google": 100}, "reason": "a test"}


async def etag(gateway: Any) -> str:
    return str((await gateway.http.get("/policies/chat")).headers["ETag"])


async def test_a_change_needs_the_token(gateway: Any) -> None:
    """401 without, and with a wrong one; nothing is changed."""
    match = {"If-Match": await etag(gateway)}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert (await gateway.http.put("/policies/chat", json=BODY, headers={**match, **headers})).status_code == 401
        assert (await gateway.http.post("/policies", json={"changes": []}, headers=headers)).status_code == 401
    assert gateway.store.policy("chat").revision.number == 1


async def test_a_stale_if_match_is_refused_with_the_current_revision(gateway: Any) -> None:
    """412, with what is in force and by whom; and 428 without any."""
    stale = await etag(gateway)
    assert (await gateway.put(bedrock=100)).status_code == 200
    refused = await gateway.http.put("/policies/chat", json=BODY, headers={**gateway.operator, "If-Match": stale})
    assert refused.status_code == 412
    assert refused.json()["result"]["policy"]["revision"]["number"] == 2
    assert (await gateway.http.put("/policies/chat", json=BODY, headers=gateway.operator)).status_code == 428
    assert gateway.store.policy("chat").distribution == {"bedrock": 10000}


async def test_a_repeated_key_changes_nothing(gateway: Any) -> None:
    """The second answer is the first's; the same key with another body is refused."""
    headers = {**gateway.operator, "If-Match": await etag(gateway), "Idempotency-Key": "once"}
    first = await gateway.http.put("/policies/chat", json=BODY, headers=headers)
    second = await gateway.http.put("/policies/chat", json=BODY, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["ETag"] == second.headers["ETag"]
    other = {**BODY, "distribution": {"meta": 100}}
    assert (await gateway.http.put("/policies/chat", json=other, headers=headers)).status_code == 412


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"distribution": {"google": 90}, "reason": "x"}, "sums to 90 %"),
        ({"distribution": {"nobody": 100}, "reason": "x"}, "'nobody' is no provider"),
        ({"distribution": {"google": 100}}, "reason"),
        ({"distribution": "google", "reason": "x"}, "distribution"),
        ({"distribution": {"google": 100}, "reason": "x", "extra": 1}, "extra"),
    ],
)
async def test_a_change_that_cannot_be_meant_is_refused_in_words(gateway: Any, body: dict[str, Any], said: str) -> None:
    """422, and nothing is changed."""
    headers = {**gateway.operator, "If-Match": await etag(gateway)}
    answer = await gateway.http.put("/policies/chat", json=body, headers=headers)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
    assert gateway.store.policy("chat").revision.number == 1


async def test_more_changes_than_fit_are_refused_whole(gateway: Any) -> None:
    """Five hundred in one call, each with its own result; one more, or one unknown provider among them: none."""
    policy = (await gateway.http.get("/policies/chat")).json()

    def change(number: int, provider: str = "google") -> dict[str, Any]:
        return {
            "route": "chat",
            "decided_on": policy["revision"],
            "key": f"k{number}",
            "distribution": {provider: 100},
            "changed_by": {"actor": "test"},
            "reason": "a test",
        }

    async def post(changes: list[dict[str, Any]]) -> httpx.Response:
        answer: httpx.Response = await gateway.http.post(
            "/policies", json={"changes": changes}, headers=gateway.operator
        )
        return answer

    assert (await post([change(n) for n in range(501)])).status_code == 422
    assert (await post([change(1), change(2, "nobody")])).status_code == 422
    assert gateway.store.policy("chat").revision.number == 1
    answer = await post([change(n) for n in range(500)])
    assert [result["status"] for result in answer.json()["results"]] == ["applied"] + ["refused"] * 499


async def test_a_key_that_was_overtaken_is_said(gateway: Any) -> None:
    """Repeated after somebody else's change, it changes nothing and tells who was there since."""
    headers = {**gateway.operator, "If-Match": await etag(gateway), "Idempotency-Key": "once"}
    assert (await gateway.http.put("/policies/chat", json=BODY, headers=headers)).status_code == 200
    assert (await gateway.put(meta=100)).status_code == 200
    again = await gateway.http.put("/policies/chat", json=BODY, headers=headers)
    assert again.status_code == 412
    assert again.json()["result"]["status"] == "superseded"
    assert gateway.store.policy("chat").distribution == {"meta": 10000}


async def test_a_refusal_names_the_key_of_the_change_in_force(gateway: Any) -> None:
    """So that whoever was refused can see that it was its own."""
    headers = {**gateway.operator, "If-Match": await etag(gateway), "Idempotency-Key": "mine"}
    assert (await gateway.http.put("/policies/chat", json=BODY, headers=headers)).status_code == 200
    refused = await gateway.http.put("/policies/chat", json=BODY, headers={**headers, "Idempotency-Key": "other"})
    assert refused.status_code == 412
    assert refused.json()["result"]["policy"]["key"] == "mine"


async def test_not_ready_until_every_route_has_a_policy(config: Config, tmp_path: Path) -> None:
    """503 with the routes that have none."""
    store = FileStore.open(tmp_path / "policies.json", {"chat": {"bedrock": 10000}}, utc_now)
    app = create_app(config, {}, store, token=None)
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["routes_without_policy"] == ["other"]


async def test_our_own_mistake_is_an_openai_error(gateway: Any) -> None:
    """500 in the form that clients can read, telling nothing of what broke."""

    def break_down() -> None:
        raise RuntimeError("something private")

    gateway.providers["meta"].on_call = break_down
    await gateway.put(meta=100)
    answer = await gateway.http.post(
        "/v1/chat/completions", json={"model": "chat", "messages": [{"role": "user", "content": "x"}]}
    )
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "private" not in answer.text


async def test_unknown_routes_and_bad_windows_are_said(gateway: Any) -> None:
    """With the routes that there are."""
    answer = await gateway.http.get("/policies/nope")
    assert answer.status_code == 404
    assert "chat, other" in answer.json()["error"]["message"]
    for query in ({"window": "soon"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}):
        assert (await gateway.http.get("/telemetry", params=query)).status_code == 422
    for window in ("0", "99999999999999999999"):
        assert (await gateway.http.get("/telemetry", params={"window": window})).status_code == 200


async def test_without_a_token_only_loopback_may_change(config: Config, tmp_path: Path) -> None:
    """A gateway that others can reach takes no changes from anybody."""
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    clients = {key: MemoryClient(key) for key in config.providers}
    for loopback, status in ((True, 422), (False, 401)):
        app = create_app(config, clients, store, token=None, loopback=loopback)
        async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url) as http:
            assert (await http.post("/policies", json={"changes": []})).status_code == status


async def test_a_port_in_use_is_said(gateway: Any, config: Config) -> None:
    """With the way out."""
    port = int(gateway.url.rpartition(":")[2])
    app = create_app(config, {}, gateway.store, token=None)
    with pytest.raises(BadInput, match="--port"):
        async with listening(app, "127.0.0.1", port):
            pass


def test_a_store_is_never_made_anew_in_silence(config: Config, tmp_path: Path) -> None:
    """What cannot be read is said; what is made anew has another epoch; new routes join, old ones stay."""
    path = tmp_path / "policies.json"
    first = FileStore.open(path, {"chat": {"bedrock": 10000}}, utc_now)
    again = FileStore.open(path, {"chat": {"google": 10000}, "new": {"meta": 10000}}, utc_now)
    assert again.policy("chat") == first.policy("chat")
    assert again.policy("new").distribution == {"meta": 10000}
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        FileStore.open(path, {}, utc_now)
    path.unlink()
    anew = FileStore.open(path, {"chat": {"bedrock": 10000}}, utc_now)
    assert anew.policy("chat").revision.epoch != first.policy("chat").revision.epoch


SERVER = """
import asyncio, sys
from pathlib import Path
from failover.config_file import parse
from gateway.process import run
from providers.memory import MemoryClient
config = parse(Path(sys.argv[1]).read_text(), "test.yaml").config
clients = {key: MemoryClient(key) for key in config.providers}
asyncio.run(run(config, clients, host="127.0.0.1", port=0, state=Path(sys.argv[2]), token="t",
    ready=lambda url: print(url, flush=True)))
"""


async def test_kill_9_of_the_gateway_keeps_its_policy(tmp_path: Path) -> None:
    """What was answered is on the disk."""
    (tmp_path / "test.yaml").write_text((Path(__file__).with_name("conftest.py")).read_text().split('"""')[3])
    command = [sys.executable, "-c", SERVER, str(tmp_path / "test.yaml"), str(tmp_path)]
    for expected in ({"bedrock": 70.0, "google": 20.0, "meta": 10.0}, {"google": 100.0}):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=Path.cwd())
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        async with httpx.AsyncClient(base_url=url) as http:
            policy = await http.get("/policies/chat")
            assert policy.json()["distribution"] == expected
            headers = {"Authorization": "Bearer t", "If-Match": policy.headers["ETag"]}
            assert (await http.put("/policies/chat", json=BODY, headers=headers)).status_code == 200
        process.kill()
        await process.wait()


async def test_two_gateways_never_keep_one_file(config: Config, tmp_path: Path) -> None:
    """The second one refuses to start and says what to do; the end of the first frees it."""
    with sole_user(tmp_path / "policies.lock"), pytest.raises(ConfigError, match="FAILOVER_REDIS_URL"):
        await run(config, {}, host="127.0.0.1", port=0, state=tmp_path, token=None, ready=lambda _: None)
    with sole_user(tmp_path / "policies.lock"):
        pass


async def test_a_change_that_cannot_be_kept_is_not_obeyed(gateway: Any, tmp_path: Path) -> None:
    """503 with a sentence; the same key may come again once the disk is back."""
    headers = {**gateway.operator, "If-Match": await etag(gateway), "Idempotency-Key": "once"}
    shutil.rmtree(tmp_path)
    refused = await gateway.http.put("/policies/chat", json=BODY, headers=headers)
    assert refused.status_code == 503
    assert "cannot be written" in refused.json()["error"]["message"]
    assert gateway.store.policy("chat").revision.number == 1
    tmp_path.mkdir()
    assert (await gateway.http.put("/policies/chat", json=BODY, headers=headers)).status_code == 200


async def test_a_change_that_is_given_up_is_kept_whole_before_the_next_is_decided(tmp_path: Path) -> None:
    """Whoever decided on the revision before is refused, though the first one's caller is gone."""
    store = FileStore.open(tmp_path / "policies.json", {"chat": {"bedrock": 10000}}, utc_now)
    revision = store.policy("chat").revision

    def change(provider: str) -> Change:
        author = ChangedBy(actor="test")
        shares = {provider: 10000}
        return Change(
            route="chat", decided_on=revision, key=provider, distribution=shares, changed_by=author, reason="a test"
        )

    given_up = asyncio.create_task(store.apply([change("google")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up.cancel()
    result = (await store.apply([change("meta")]))[0]
    assert result.status is ChangeStatus.REFUSED
    again = FileStore.open(tmp_path / "policies.json", {}, utc_now)
    assert again.policy("chat") == store.policy("chat")
    assert again.policy("chat").distribution == {"google": 10000}
