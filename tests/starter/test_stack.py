"""The embedded stack as a user runs it: `failoverctl dev`, the commands beside it, and its end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]

UNCHANGED = "Schedule health-check: unchanged.\nSchedule readiness-audit: unchanged.\n"

FREE_PORTS = ("--temporal-port=0", "--ui-port=0", "--gateway-port=0", "--webhooks-port=0")

pytestmark = pytest.mark.timeout(180)


class Dev:
    """A `failoverctl dev` in a directory of its own."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.ready_file = home / "ready.json"
        self.output = home / "output.txt"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVER_", "TEMPORAL_"))}
        self.environ = {**environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "starter", "dev", f"--ready-file={self.ready_file}", *options]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=home, env=self.environ, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    async def ready(self) -> dict[str, Any]:
        async with asyncio.timeout(90):
            while not self.ready_file.exists():
                assert self.process.poll() is None, self.output.read_text()
                await asyncio.sleep(0.05)
        told: dict[str, Any] = json.loads(self.ready_file.read_text())
        return told

    def children(self) -> dict[int, str]:
        """Process id → command line, of every direct child."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == self.process.pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            return await asyncio.to_thread(self.process.wait)

    def ctl(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Another command, run in the same directory."""
        command = [sys.executable, "-m", "starter", *argv]
        return subprocess.run(
            command, cwd=self.home, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )

    def status(self) -> dict[str, Any]:
        asked = self.ctl("status", "--json")
        assert asked.returncode == 0, asked.stderr
        answer: dict[str, Any] = json.loads(asked.stdout)["data"]
        return answer


def _parent(entry: Path) -> int | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[1])


async def none_left(children: Mapping[int, str]) -> None:
    """Wait until none of them runs."""
    async with asyncio.timeout(10):
        while alive := [line for pid, line in children.items() if _parent(Path(f"/proc/{pid}")) is not None]:
            await asyncio.sleep(0.05)
    assert alive == []


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def begin(*options: str) -> Dev:
        started.append(Dev(tmp_path, *options))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


async def test_dev_serves_tells_and_ends_cleanly(dev: Callable[..., Dev], http: httpx.AsyncClient) -> None:
    """Everything answers once the ready file is there; the commands find it; SIGTERM ends all of it with exit 0."""
    stack = dev(*FREE_PORTS)
    told = await stack.ready()
    expected = {"temporal", "temporal_ui", "gateway", "simulator", "worker", "task_queue", "namespace", "state"}
    expected.add("webhooks")
    assert set(told) == expected and told["task_queue"] == "failover"
    children = stack.children()
    assert len(children) == 5, children

    question = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    answer = await http.post(f"{told['gateway']}/v1/chat/completions", json=question)
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"]
    assert (await http.get(told["temporal_ui"])).status_code == 200
    assert (await http.get(f"{told['worker']}/readyz")).status_code == 200
    assert (await http.get(f"{told['webhooks']}/readyz")).status_code == 200
    token = (Path(told["state"]) / "api-token").read_text()
    alert = {"provider": "nobody", "trigger": "unavailable"}
    nobody = await http.post(f"{told['webhooks']}/webhooks/generic", json=alert)
    assert nobody.status_code == 401
    known = await http.post(
        f"{told['webhooks']}/webhooks/generic", json=alert, headers={"Authorization": f"Bearer {token}"}
    )
    assert known.status_code == 200 and "no provider of this deployment" in known.text
    for words in (told["gateway"], told["webhooks"], told["temporal"], "curl", f"{told['gateway']}/v1"):
        assert words in stack.output.read_text()

    refused = await http.post(f"{told['gateway']}/policies", json={"changes": []})
    assert refused.status_code == 401, "a generated token guards changes"

    schedules = stack.ctl("schedules", "list", "--json")
    assert schedules.returncode == 0 and json.loads(schedules.stdout)["data"][0]["id"] == "health-check"
    assert stack.ctl("schedules", "apply").stdout == UNCHANGED
    assert "server_error" in stack.ctl("fault", "meta", "server_error", "--calls", "1", "--json").stdout
    wrong = stack.ctl("fault", "bedrock", "flood")
    assert wrong.returncode == 2 and "throttled" in wrong.stderr
    assert stack.ctl("fault", "clear").returncode == 0
    async with asyncio.timeout(30):
        while len((status := stack.status())["providers"]) < 3:
            await asyncio.sleep(0.1)
    assert status["routes"][0]["distribution"] == {"bedrock": 70, "google": 20, "meta": 10}
    again = stack.ctl("dev", *FREE_PORTS)
    assert again.returncode == 2 and "already running" in again.stderr

    stack.process.send_signal(signal.SIGTERM)
    assert await stack.ended() == 0, stack.output.read_text()
    await none_left(children)
    assert not stack.ready_file.exists()
    assert stack.ctl("status").returncode == 5


async def test_a_part_that_dies_ends_the_stack_and_is_named(dev: Callable[..., Dev]) -> None:
    """Which part, how, and its log; nothing is restarted, nothing is left behind, and the exit code tells."""
    stack = dev(*FREE_PORTS)
    await stack.ready()
    children = stack.children()
    gateway = next(pid for pid, line in children.items() if "gateway" in line)
    os.kill(gateway, signal.SIGKILL)
    assert await stack.ended() == 1
    output = stack.output.read_text()
    assert "The gateway was killed by signal 9" in output and "logs/gateway.log" in output
    await none_left(children)


async def test_nothing_outlives_a_stack_that_is_killed(dev: Callable[..., Dev]) -> None:
    """kill -9 of dev takes every part with it, Temporal's server included."""
    stack = dev(*FREE_PORTS)
    await stack.ready()
    children = stack.children()
    stack.process.kill()
    await stack.ended()
    await none_left(children)


async def test_ctrl_c_while_it_starts_is_a_clean_end(dev: Callable[..., Dev]) -> None:
    """No traceback, exit 0, nothing left."""
    stack = dev(*FREE_PORTS)
    async with asyncio.timeout(30):
        while not (children := stack.children()):
            await asyncio.sleep(0.02)
    stack.process.send_signal(signal.SIGINT)
    assert await stack.ended() == 0, stack.output.read_text()
    assert "Traceback" not in stack.output.read_text()
    await none_left(children)


async def test_a_port_in_use_is_a_sentence(dev: Callable[..., Dev]) -> None:
    """Said before anything is started, with exit code 2."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        stack = dev("--temporal-port=0", "--ui-port=0", f"--gateway-port={port}")
        assert await stack.ended() == 2
    assert f"Port {port} for the gateway is in use" in stack.output.read_text()


async def test_kept_state_survives_a_restart(dev: Callable[..., Dev], http: httpx.AsyncClient) -> None:
    """With --state, policies and Temporal's runs are there again; the port may be another."""
    first = dev(*FREE_PORTS, "--state=kept")
    told = await first.ready()
    token = (first.home / "kept" / "api-token").read_text()
    policy = await http.get(f"{told['gateway']}/policies/chat")
    moved = await http.put(
        f"{told['gateway']}/policies/chat",
        json={"distribution": {"google": 100}, "reason": "a test"},
        headers={"If-Match": policy.headers["etag"], "Authorization": f"Bearer {token}"},
    )
    assert moved.status_code == 200
    first.process.send_signal(signal.SIGTERM)
    assert await first.ended() == 0
    second = dev(*FREE_PORTS, "--state=kept")
    told = await second.ready()
    kept = (await http.get(f"{told['gateway']}/policies/chat")).json()
    assert {name for name, share in kept["distribution"].items() if share} == {"google"}
    assert second.ctl("schedules", "apply", "--state=kept").stdout == UNCHANGED
    second.process.send_signal(signal.SIGTERM)
    assert await second.ended() == 0
