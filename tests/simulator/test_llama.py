"""An httpx client against the simulated Llama API."""

import json
from typing import Any

import httpx
import pytest

from simulator.server import Simulator


def body(text: str = "What is 50 - 8?", **more: Any) -> dict[str, Any]:
    return {"model": "Llama-3.3-70B-Instruct", "messages": [{"role": "user", "content": text}], **more}


async def events(llama: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await llama.post("/chat/completions", json=body("Tell me about the sea.", stream=True))
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_completion_has_metas_own_shape(llama: httpx.AsyncClient) -> None:
    """The message is not under OpenAI's choices, and the counts are metrics."""
    answer = (await llama.post("/chat/completions", json=body())).json()
    assert answer["completion_message"]["content"] == {"type": "text", "text": "42"}
    assert answer["completion_message"]["stop_reason"] == "stop"
    assert {metric["metric"]: metric["value"] for metric in answer["metrics"]}["num_total_tokens"] == 5


async def test_a_completion_stops_at_the_maximum_of_tokens(llama: httpx.AsyncClient) -> None:
    """An answer longer than asked for is cut, and says so."""
    answer = await llama.post("/chat/completions", json=body("Tell me about the sea.", max_completion_tokens=2))
    assert answer.json()["completion_message"]["stop_reason"] == "length"


async def test_a_stream_goes_from_start_to_metrics(llama: httpx.AsyncClient) -> None:
    """start, at least four times progress, complete with the reason, metrics."""
    stream = [event["event"] for event in await events(llama)]
    kinds = [event["event_type"] for event in stream]
    assert (kinds[0], kinds[-2:]) == ("start", ["complete", "metrics"])
    assert kinds.count("progress") >= 4
    assert stream[-2]["stop_reason"] == "stop"


async def test_models_are_listed(llama: httpx.AsyncClient) -> None:
    """The list has the fields that Meta's client reads, and one model can be read by its id."""
    [first, *_] = (await llama.get("/models")).json()["data"]
    assert set(first) == {"id", "created", "object", "owned_by"}
    assert (await llama.get(f"/models/{first['id']}")).json() == first
    assert (await llama.get("/models/unheard-of")).status_code == 404


@pytest.mark.parametrize(
    ("kind", "options", "status"),
    [
        ("server_error", {}, 500),
        ("server_error", {"status": 503}, 503),
        ("throttled", {"rate": 100}, 429),
        ("quota", {}, 429),
        ("authentication", {}, 401),
        ("permission", {}, 403),
        ("model_not_ready", {}, 503),
        ("model_missing", {}, 404),
        ("region_down", {}, 503),
        ("capacity", {}, 503),
    ],
)
async def test_a_refusal_has_its_status(
    llama: httpx.AsyncClient, inject: Any, kind: str, options: dict[str, Any], status: int
) -> None:
    """The status is the documented one, and the body says it again."""
    await inject("meta", kind, **options)
    answer = await llama.post("/chat/completions", json=body())
    assert answer.status_code == answer.json()["status"] == status
    assert (await llama.get("/models")).status_code == (503 if kind == "region_down" else 200)


async def test_a_hang_and_a_closed_port_are_transport_errors(
    llama: httpx.AsyncClient, inject: Any, simulator: Simulator
) -> None:
    """Neither ever has a status, on a connection that was open before either; the same port comes back."""
    assert (await llama.post("/chat/completions", json=body())).is_success
    await inject("meta", "hang")
    with pytest.raises(httpx.ReadTimeout):
        await llama.post("/chat/completions", json=body())
    await inject("meta", "refused")
    with pytest.raises(httpx.ConnectError):
        await llama.post("/chat/completions", json=body())
    await simulator.clear_fault("meta")
    assert (await llama.post("/chat/completions", json=body())).is_success


async def test_streams_break_in_two_ways(llama: httpx.AsyncClient, inject: Any) -> None:
    """Cut: two pieces and nothing more. Failed: the same two, and an error event."""
    await inject("meta", "stream_cut")
    cut = await events(llama)
    assert [event["event"]["event_type"] for event in cut] == ["start", "progress", "progress"]
    await inject("meta", "stream_error")
    failed = await events(llama)
    assert len(failed) == 4
    assert failed[-1]["error"]["status"] == 500


async def test_useless_answers_are_successes(llama: httpx.AsyncClient, inject: Any) -> None:
    """Empty, wrong and unparseable answers all come with 200."""
    await inject("meta", "empty")
    answer = await llama.post("/chat/completions", json=body())
    assert answer.json()["completion_message"]["content"]["text"] == ""
    await inject("meta", "wrong")
    answer = await llama.post("/chat/completions", json=body())
    assert "42" not in answer.json()["completion_message"]["content"]["text"]
    await inject("meta", "garbage")
    answer = await llama.post("/chat/completions", json=body())
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()
