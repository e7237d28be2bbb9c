"""Faults that a drill injects: for one route and provider, by whoever may, no longer than the claim and the clock allow."""

import random
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest

from failover.config.drills import FaultKind
from failover.errors import ProviderError
from failover.failure import FailureKind
from failover.policy import Change, ChangedBy, TrafficPolicy
from gateway.faults import Faults
from tests.gateway.conftest import CONFIG, Gateway

DRILL = "drill/other"

BODY: dict[str, Any] = {"kind": "server_error", "drill": DRILL, "seconds": 30}


@pytest.fixture
def config() -> Any:
    from failover.config_file import parse

    return parse(f"{CONFIG}drills: {{routes: [other]}}\n", "test.yaml").config


async def claim(gateway: Gateway, route: str = "other", claimant: str = DRILL) -> TrafficPolicy:
    policy = gateway.store.policy(route)
    change = Change(
        route=route,
        decided_on=policy.revision,
        key=f"{claimant}/{policy.revision}",
        distribution=policy.distribution,
        claim=claimant,
        evict_claim=policy.claim,
        changed_by=ChangedBy(actor="test"),
        reason="a test",
    )
    (result,) = await gateway.store.apply([change])
    assert result.policy is not None and result.in_force, result.reason
    return result.policy


async def put(gateway: Gateway, route: str = "other", provider: str = "meta", **body: Any) -> httpx.Response:
    return await gateway.http.put(f"/faults/{route}/{provider}", json=BODY | body, headers=gateway.operator)


async def test_only_the_route_is_broken_and_the_provider_never_hears_of_it(gateway: Gateway) -> None:
    """The next of the chain answers; on another route the provider does; the tries are counted as made up."""
    await claim(gateway)
    assert (await put(gateway)).is_success
    answer = await gateway.users.chat.completions.with_raw_response.create(
        model="other", messages=[{"role": "user", "content": "hello"}]
    )
    assert answer.headers["x-failover-provider"] == "bedrock"
    assert gateway.providers["meta"].calls == 0
    told = await gateway.telemetry(window="60")
    meta = next(one for one in told["providers"] if one["provider"] == "meta")
    assert (meta["failures"], meta["injected"], meta["first_failures"]) == (
        {"server_error": 1},
        {"server_error": 1},
        {},
    )
    metrics = (await gateway.http.get("/metrics")).text
    real = [line for line in metrics.splitlines() if 'failure="server_error"' in line and 'synthetic="false"' in line]
    assert real == []


async def test_a_stream_is_broken_before_its_first_byte(gateway: Gateway) -> None:
    await claim(gateway)
    await put(gateway)
    stream = await gateway.users.chat.completions.create(
        model="other", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert gateway.providers["meta"].calls == 0


async def test_a_fault_ends_with_the_claim(gateway: Gateway) -> None:
    """Whoever takes the route from the drill ends it by the same write."""
    await claim(gateway)
    await put(gateway)
    assert len((await gateway.http.get("/faults")).json()["faults"]) == 1
    await claim(gateway, claimant="gradual/other")
    assert (await gateway.http.get("/faults")).json()["faults"] == []
    await gateway.users.chat.completions.create(model="other", messages=[{"role": "user", "content": "hello"}])
    assert gateway.providers["meta"].calls == 1


@pytest.mark.parametrize(
    ("route", "provider", "body", "status", "words"),
    [
        ("other", "meta", {"drill": "drill/another"}, 409, "must hold the claim"),
        ("chat", "meta", {}, 422, "is live"),
        ("chat", "meta", {"percent": 50}, 422, "live_percent_limit"),
        ("other", "meta", {"percent": 5}, 422, "drilled whole"),
        ("other", "nobody", {}, 422, "no provider"),
        ("nowhere", "meta", {}, 422, "no route"),
        ("other", "meta", {"kind": "fire"}, 422, "kind"),
        ("other", "meta", {"seconds": 301}, 422, "seconds"),
        ("other", "meta", {"seconds": 0}, 422, "seconds"),
    ],
)
async def test_what_may_not_be_broken_is_not(
    route: str, provider: str, body: dict[str, Any], status: int, words: str, gateway: Gateway
) -> None:
    await claim(gateway)
    answer = await put(gateway, route, provider, **body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert (await gateway.http.get("/faults")).json()["faults"] == []


async def test_without_the_token_nothing_is_broken_or_healed(gateway: Gateway) -> None:
    await claim(gateway)
    assert (await gateway.http.put("/faults/other/meta", json=BODY)).status_code == 401
    await put(gateway)
    assert (await gateway.http.delete("/faults/other")).status_code == 401
    assert len((await gateway.http.get("/faults")).json()["faults"]) == 1
    await gateway.http.delete("/faults/other", params={"drill": "drill/another"}, headers=gateway.operator)
    assert len((await gateway.http.get("/faults")).json()["faults"]) == 1
    await gateway.http.delete("/faults/other", params={"drill": DRILL}, headers=gateway.operator)
    assert (await gateway.http.get("/faults")).json()["faults"] == []


async def test_a_probe_through_the_route_is_answered_by_the_one_it_names(gateway: Gateway) -> None:
    """Whatever the weights say; within the drill, also where only a little is; and nobody else tries for it."""
    policy = await claim(gateway, "chat")
    headers = {**gateway.operator, "X-Failover-Synthetic": "1", "X-Failover-Only": "meta"}
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}

    async def probe() -> httpx.Response:
        return await gateway.http.post("/v1/chat/completions", json=body, headers=headers)

    assert (await probe()).headers["x-failover-provider"] == "meta"
    assert (await put(gateway, "chat", percent=0.001)).is_success
    failed = await probe()
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "server_error")
    assert gateway.providers["bedrock"].calls == gateway.providers["google"].calls == 0
    headers["X-Failover-Only"] = "nobody"
    assert (await probe()).status_code == 400
    assert gateway.store.policy("chat").revision == policy.revision


async def test_a_user_cannot_choose_the_provider(gateway: Gateway) -> None:
    """The header means nothing without the token."""
    raw = await gateway.users.chat.completions.with_raw_response.create(
        model="other",
        messages=[{"role": "user", "content": "hello"}],
        extra_headers={"X-Failover-Synthetic": "1", "X-Failover-Only": "bedrock"},
    )
    assert raw.headers["x-failover-provider"] == "meta"


async def test_where_everybody_is_broken_the_user_is_told(gateway: Gateway) -> None:
    await claim(gateway)
    for name in gateway.providers:
        await put(gateway, provider=name, kind="authentication")
    with pytest.raises(openai.InternalServerError, match="authentication"):
        await gateway.users.chat.completions.create(model="other", messages=[{"role": "user", "content": "hello"}])


async def test_a_fault_that_nobody_renews_is_gone(gateway: Gateway) -> None:
    """By the clock, whatever became of the drill; renewing puts that off; only so many percent are struck."""
    policy, now = await claim(gateway), [0.0]
    faults = Faults(lambda: now[0], random.Random(1))

    async def struck(*, always: bool = False) -> bool:
        try:
            await faults.strike(policy, "meta", timedelta(seconds=1), always=always)
        except ProviderError as error:
            return error.failure.kind is FailureKind.NETWORK
        return False

    def set_(percent: float | None = None) -> None:
        lasts = timedelta(seconds=10)
        faults.put("other", "meta", kind=FaultKind.NETWORK, percent=percent, drill=DRILL, lasts=lasts)

    set_()
    now[0] = 9.9
    assert await struck()
    set_()
    now[0] = 19.8
    assert await struck() and len(faults.alive({"other": policy})) == 1
    now[0] = 20.0
    assert not await struck() and faults.alive({"other": policy}) == {}
    set_(percent=5)
    count = sum([await struck() for _ in range(1000)])
    assert 20 < count < 90 and await struck(always=True)
