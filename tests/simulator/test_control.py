"""Faults, their options and lifetimes, and the counters, by way of the control API."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest

from simulator.faults import FaultKind, options_of
from simulator.server import Simulator

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "What is 1 + 1? My badge is K-4711."}]}


async def ask(llama: httpx.AsyncClient, **more: Any) -> int:
    return (await llama.post("/chat/completions", json=QUESTION | more)).status_code


async def test_addresses_and_health(control: httpx.AsyncClient, simulator: Simulator) -> None:
    """The control port says that it is up, and where every provider is."""
    assert (await control.get("/healthz")).json() == {"status": "ok"}
    providers = (await control.get("/providers")).json()
    assert providers == simulator.addresses()["providers"]
    assert providers["google"] == {"kind": "vertex", "url": simulator.urls["google"], "grpc": None}
    assert providers["meta"]["url"].endswith("/v1")


async def test_a_fault_lives_until_it_is_cleared(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """PUT puts it in force, GET shows it, DELETE ends it; other providers never notice."""
    put = await control.put("/faults/meta", json={"kind": "server_error", "status": 503})
    assert put.status_code == 200
    shown = (await control.get("/faults")).json()
    assert shown["meta"] == {"kind": "server_error", "rate": 100.0, "status": 503, "seconds": None, "calls": None}
    assert shown["bedrock"] is None
    assert await ask(llama) == 503
    await control.delete("/faults/meta")
    assert await ask(llama) == 200


async def test_all_faults_can_be_cleared_at_once(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """DELETE /faults ends every fault, and a closed port answers again."""
    await control.put("/faults/meta", json={"kind": "refused"})
    await control.put("/faults/bedrock", json={"kind": "hang"})
    assert set((await control.delete("/faults")).json().values()) == {None}
    assert await ask(llama) == 200


@pytest.mark.parametrize("kind", FaultKind)
async def test_every_kind_can_be_set_with_all_its_options(control: httpx.AsyncClient, kind: FaultKind) -> None:
    """Each kind takes the options that it names, and shows them back."""
    given = {"rate": 12.5, "status": 503, "retry_after": 3, "milliseconds": 10, "seconds": 30, "calls": 4}
    options = {name: given[name] for name in options_of(kind)}
    assert (await control.put("/faults/google", json={"kind": kind, **options})).json() == {
        "google": {"kind": kind, **options}
    }
    assert kind.description


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/faults/azure", {"kind": "hang"}, ["azure", "bedrock, google, meta, compatible"]),
        ("/faults/meta", {"kind": "explode"}, ["explode", "server_error", "control_plane_down"]),
        ("/faults/meta", {}, ["None", "server_error"]),
        ("/faults/meta", {"kind": ["hang"]}, ["hang", "server_error"]),
        ("/faults/meta", {"kind": "hang", "status": 500}, ["status", "rate, seconds, calls"]),
        ("/faults/meta", {"kind": "server_error", "status": 404}, ["404", "500 or 503"]),
        ("/faults/meta", {"kind": "server_error", "status": "503"}, ["'503'", "500 or 503"]),
        ("/faults/meta", {"kind": "throttled", "rate": 0}, ["0", "0.01 to 100"]),
        ("/faults/meta", {"kind": "throttled", "rate": True}, ["True", "0.01 to 100"]),
        ("/faults/meta", {"kind": "throttled", "rate": float("nan")}, ["nan", "0.01 to 100"]),
        ("/faults/meta", {"kind": "slow", "milliseconds": -1}, ["-1", "above 0"]),
        ("/faults/meta", {"kind": "hang", "calls": 1.5}, ["1.5", "whole number"]),
        ("/faults/meta", {"kind": "refused", "calls": 3}, ["calls", "seconds"]),
        ("/faults/meta", [], ["JSON object"]),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    control: httpx.AsyncClient, path: str, body: object, named: list[str]
) -> None:
    """422 with a sentence that names what was wrong and what is allowed, and nothing changed."""
    answer = await control.put(path, content=json.dumps(body))
    assert answer.status_code == 422
    assert all(words in answer.json()["error"] for words in named), answer.text
    assert set((await control.get("/faults")).json().values()) == {None}


async def test_clearing_an_unknown_provider_is_refused(control: httpx.AsyncClient) -> None:
    """DELETE names the providers that there are, too."""
    answer = await control.delete("/faults/azure")
    assert (answer.status_code, "bedrock" in answer.json()["error"]) == (422, True)


async def test_a_fault_can_last_for_some_calls(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """After its number of inference calls it is gone; listing models does not use them up."""
    await control.put("/faults/meta", json={"kind": "server_error", "calls": 2})
    await llama.get("/models")
    assert [await ask(llama) for _ in range(3)] == [500, 500, 200]
    assert (await control.get("/faults")).json()["meta"] is None


@pytest.mark.parametrize("kind", ["server_error", "refused"])
async def test_a_fault_can_last_for_some_time(control: httpx.AsyncClient, llama: httpx.AsyncClient, kind: str) -> None:
    """It ends by itself, and a closed port opens again."""
    await control.put("/faults/meta", json={"kind": kind, "seconds": 0.05})
    async with asyncio.timeout(5):
        while (await control.get("/faults")).json()["meta"]:
            await asyncio.sleep(0.01)
    assert await ask(llama) == 200


async def test_the_end_of_one_fault_does_not_end_the_next(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """A fault that replaced a timed one outlives the other's time."""
    await control.put("/faults/meta", json={"kind": "hang", "seconds": 0.05})
    await control.put("/faults/meta", json={"kind": "server_error"})
    await asyncio.sleep(0.1)
    assert await ask(llama) == 500


async def test_a_rate_strikes_its_share_and_the_same_calls_every_time() -> None:
    """Same seed and same order of calls: same outcomes. Another seed: others."""
    first, again, other = await outcomes(7), await outcomes(7), await outcomes(8)
    assert first == again != other
    assert 20 <= Counter(first)[429] <= 40


async def outcomes(seed: int) -> list[int]:
    headers = {"Authorization": "Bearer simulated"}
    async with Simulator({"meta": "llama"}, seed=seed, latency=timedelta()) as simulator:
        async with httpx.AsyncClient(headers=headers) as control:
            await control.put(f"{simulator.control_url}/faults/meta", json={"kind": "throttled"})
        async with httpx.AsyncClient(base_url=simulator.urls["meta"], headers=headers) as llama:
            return [await ask(llama) for _ in range(100)]


async def test_slow_answers_are_right(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """The answer comes late by what was asked for, and is the healthy one."""
    await control.put("/faults/meta", json={"kind": "slow", "milliseconds": 250})
    answer = await llama.post("/chat/completions", json=QUESTION)
    assert answer.elapsed.total_seconds() >= 0.25
    assert answer.json()["completion_message"]["content"]["text"] == "2"


async def test_a_stream_fault_spares_whole_answers(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """Only streams are cut, and only they are counted as failures."""
    await control.put("/faults/meta", json={"kind": "stream_cut"})
    assert await ask(llama) == 200
    assert (await control.get("/stats")).json()["meta"]["failures"] == {}
    await ask(llama, stream=True)
    assert (await control.get("/stats")).json()["meta"]["failures"] == {"stream_cut": 1}


async def test_the_counters_hold_no_prompt(control: httpx.AsyncClient, llama: httpx.AsyncClient) -> None:
    """Calls, streams, failures and tokens are counted per provider; what users wrote is nowhere."""
    await ask(llama, model="Llama-3.3-70B-Instruct")
    await ask(llama, stream=True)
    await control.put("/faults/meta", json={"kind": "quota"})
    await ask(llama)
    await llama.get("/models")
    await llama.post("/chat/completions", json={})
    answer = await control.get("/stats")
    meta = answer.json()["meta"]
    expected = {"inference_calls": 3, "control_plane_calls": 1, "streams": 1, "answered": 2, "malformed": 1}
    assert {name: meta[name] for name in expected} == expected
    assert meta["failures"] == {"quota": 1}
    assert meta["last"] == {"model": "m", "stream": False, "fault": "quota"}
    assert "4711" not in answer.text
    assert (await control.delete("/stats")).json()["meta"]["inference_calls"] == 0


async def test_a_request_without_credentials_is_no_call(simulator: Simulator, control: httpx.AsyncClient) -> None:
    """It is refused at the door, by inference and control plane alike, and counted apart."""
    async with httpx.AsyncClient(base_url=simulator.urls["meta"]) as stranger:
        assert await ask(stranger) == 401
        assert (await stranger.get("/models")).status_code == 401
    meta = (await control.get("/stats")).json()["meta"]
    assert (meta["without_credentials"], meta["inference_calls"], meta["control_plane_calls"]) == (2, 0, 0)
