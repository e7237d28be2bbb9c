"""The codec server as the real command line, and a browser with the Web UI in it, ask it."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from failover.config import Config
from failover.roles import hashed
from gateway.process import listening
from starter import worker_parts as composition
from starter.codec.encryption import AesGcm
from starter.codec.server import MOST_BYTES, create_app
from starter.configuration import demo_config, load
from starter.webhooks.guard import Guard
from tests.codec.conftest import NEW, OLD, STRANGE, Encrypted, Temporal

UI = "https://temporal.example.com"

SECRET = "hunter2-of-the-incident"

VERA = {"authorization": "Bearer vera's token"}


def config(**access: Any) -> Config:
    told = load(demo_config()).config
    operators = {"vera": {"roles": ["view"], "token": hashed("vera's token"), "proxy_name": "CN=vera"}}
    return Config.model_validate(told.model_dump() | {"access": {"operators": operators} | access})


@asynccontextmanager
async def serving(guarded: bool = True, **access: Any) -> AsyncIterator[httpx.AsyncClient]:
    guard = Guard(config(**access), {}, "the-stack's-own-token") if guarded else None
    app = create_app(AesGcm([NEW, OLD]), guard, [UI])
    async with (
        listening(app, "127.0.0.1", 0) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        yield http


def told(*texts: str) -> dict[str, Any]:
    """As Temporal's tools send payloads."""
    encoding = base64.b64encode(b"json/plain").decode()
    return {
        "payloads": [
            {"metadata": {"encoding": encoding}, "data": base64.b64encode(json.dumps(text).encode()).decode()}
            for text in texts
        ]
    }


async def test_the_command_line_reads_and_writes_through_it(
    encrypted: Encrypted, temporal: Temporal, parts: composition.Parts, task_queue: str
) -> None:
    """`temporal workflow show` and `start` with --codec-endpoint; without a token it shows nothing."""
    client = await encrypted(NEW)
    async with serving() as http, composition.build_worker(client, parts, task_queue=task_queue):
        endpoint = ("--codec-endpoint", str(http.base_url).rstrip("/"))
        known = (*endpoint, "--codec-auth", VERA["authorization"])
        start = ("workflow", "start", "--type", "ImmediateFailover", "--task-queue", task_queue)
        asked = json.dumps({"failed_provider": "bedrock", "reason": SECRET})
        code, output = await temporal(*start, "--workflow-id", task_queue, "--input", asked, *known)
        assert code == 0, output
        assert (await client.get_workflow_handle(task_queue).result())["outcome"] == "COMPLETED"
        show = ("workflow", "show", "--workflow-id", task_queue, "--output", "json")
        code, output = await temporal(*show, *known)
        assert code == 0, output
        readable = base64.b64encode(asked.encode()).decode()
        assert readable in output
        for as_nobody in ((), endpoint, (*endpoint, "--codec-auth", "Bearer nobody's")):
            _, output = await temporal(*show, *as_nobody)
            assert SECRET not in output
            assert readable not in output


async def test_what_is_encoded_is_decoded_and_the_undecryptable_stays() -> None:
    """In order; one that cannot be opened leaves the others readable, and says why in its metadata."""
    async with serving() as http:
        sealed = (await http.post("/encode", json=told("one", "two"), headers=VERA)).json()
        assert sealed != told("one", "two")
        assert (await http.post("/decode", json=sealed, headers=VERA)).json() == told("one", "two")
        [strange] = MessageToDict(
            Payloads(payloads=await AesGcm([STRANGE]).encode([Payload(data=b"hunter2")])),
            preserving_proto_field_name=True,
        )["payloads"]
        mixed = {"payloads": [*sealed["payloads"], strange]}
        one, two, left = (await http.post("/decode", json=mixed, headers=VERA)).json()["payloads"]
        assert {"payloads": [one, two]} == told("one", "two")
        assert left["data"] == strange["data"]
        assert "not configured here" in base64.b64decode(left["metadata"]["encryption-problem"]).decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer nobody's"}, 401),
        ({"x-client-cert": "CN=vera"}, 401),
        (VERA, 200),
        ({"authorization": "Bearer the-stack's-own-token"}, 200),
    ],
    ids=["nobody", "unknown", "a header of no proxy", "an operator", "the stack's token"],
)
async def test_only_operators_are_told(headers: Mapping[str, str], status: int) -> None:
    """Any role will do; nobody else learns what payloads say."""
    async with serving() as http:
        for path in ("/decode", "/encode"):
            answer = await http.post(path, json=told("one"), headers=dict(headers))
            assert answer.status_code == status


async def test_a_proxy_that_checked_a_certificate_says_who_asks() -> None:
    """mTLS ends there; only its own connections are believed."""
    for network, status in (("127.0.0.1/32", 200), ("10.0.0.0/8", 401)):
        async with serving(proxy_header="X-Client-Cert", proxy_networks=[network]) as http:
            answer = await http.post("/decode", json=told("one"), headers={"x-client-cert": "CN=vera"})
            assert answer.status_code == status


async def test_a_browser_lets_the_web_ui_read_and_nobody_elses_page() -> None:
    """Leave is given before, and stands on answers and refusals alike; other origins get none."""
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-namespace",
    }
    async with serving() as http:
        asked = await http.options("/decode", headers=preflight | {"origin": UI})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == UI
        assert asked.headers["access-control-allow-credentials"] == "true"
        for headers, status in ((VERA, 200), ({}, 401)):
            answer = await http.post("/decode", json=told("one"), headers=headers | {"origin": UI})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, UI)
        other = await http.options("/decode", headers=preflight | {"origin": "https://evil.example.com"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers
        answer = await http.post("/decode", json=told("one"), headers=VERA | {"origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b'{"payloads": ["hunter2"]}', "application/json", 422),
        (b'{"hunter2": 1}', "application/json", 422),
        (b"[" * 50_000, "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"x" * (MOST_BYTES + 1), "application/json", 413),
    ],
    ids=["empty", "no payload", "unknown field", "deep", "no text", "a form", "too long"],
)
async def test_what_is_no_payload_is_a_sentence(body: bytes, kind: str, status: int) -> None:
    """Never a 500, and nothing that was sent is repeated."""
    async with serving() as http:
        answer = await http.post("/decode", content=body, headers=VERA | {"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert "hunter2" not in answer.text


async def test_asking_nobody_is_for_names_of_this_machine() -> None:
    """A page of another name that leads to loopback is refused, whatever it asks."""
    async with serving(guarded=False) as http:
        assert (await http.post("/decode", json=told("one"))).json() == told("one")
        rebound = await http.post("/decode", json=told("one"), headers={"host": "evil.example.com"})
        assert rebound.status_code == 400


async def ctl(*arguments: str, keys: str | None) -> tuple[int, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAILOVER_CODEC")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", *arguments),
        env=environ | ({"FAILOVER_CODEC_KEYS": keys} if keys else {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


KEYS = f"{NEW.id}:{base64.b64encode(NEW.secret).decode()}"


@pytest.mark.parametrize(
    ("arguments", "keys", "said"),
    [
        ((), None, "FAILOVER_CODEC_KEYS is not set"),
        ((), "a:short", "32 random bytes"),
        (("--ask-nobody", "--host", "0.0.0.0"), KEYS, "for loopback only"),
        (("--origin", "*"), KEYS, "give the Web UI's own"),
        (("--origin", "temporal.example.com"), KEYS, "give the Web UI's own"),
    ],
)
async def test_a_server_that_would_be_open_or_useless_does_not_start(
    arguments: tuple[str, ...], keys: str | None, said: str
) -> None:
    """Exit 2 and a sentence, at once."""
    code, output = await asyncio.wait_for(ctl("codec-server", *arguments, "--port", "0", keys=keys), timeout=60)
    assert (code, said in output) == (2, True), output


async def test_the_server_is_a_process_that_ends_when_told(tmp_path: Path) -> None:
    """On loopback, by the keys of its environment."""
    ready = tmp_path / "ready.json"
    command = ["codec-server", "--port", "0", "--ask-nobody", "--ready-file", str(ready)]
    environ = {**os.environ, "FAILOVER_CODEC_KEYS": KEYS}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "starter", *command, env=environ)
    try:
        async with asyncio.timeout(60):
            while not ready.exists():
                await asyncio.sleep(0.05)
        url = json.loads(ready.read_text())["url"]
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            sealed = (await http.post("/encode", json=told("one"))).json()
            assert (await http.post("/decode", json=sealed)).json() == told("one")
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), timeout=20) == 0
