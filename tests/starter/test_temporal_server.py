"""Temporal's servers: found in the order that is promised, made once, and told about in words where there is no way."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from failover.errors import TemporalUnavailable
from starter.embedded.temporal_server import (
    JAVA_OPTIONS,
    StartServer,
    download,
    find_cli,
    find_test_server,
    start_dev_server,
)
from starter.ports import LOOPBACK, free_port, is_free

ROOT = Path(__file__).parents[2]

QUICK = {
    "history.transferProcessorMaxPollRPS=100000",
    "history.transferProcessorMaxPollHostRPS=100000",
    "history.timerProcessorMaxPollRPS=100000",
    "history.timerProcessorMaxPollHostRPS=100000",
    "history.visibilityProcessorMaxPollRPS=100000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "system.enableActivityEagerExecution=true",
}
"""Written out: without any one of them runs take ten times as long, and nothing else would notice."""

Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts shell scripts on a PATH that holds nothing else."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return put


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def unreachable() -> tuple[str, int]:
    return LOOPBACK, free_port()


@pytest.fixture
def reachable() -> Iterator[tuple[str, int]]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()


def fetching(*, leaves: str | None = None, fails: str | None = None) -> StartServer:
    """Stands where the SDK starts a server that it has fetched."""

    async def begin(*, download_dest_dir: str) -> WorkflowEnvironment:
        if fails:
            raise RuntimeError(fails)
        if leaves:
            (Path(download_dest_dir) / "server-sdk-python-1.35.0").write_text(leaves)
        return cast(WorkflowEnvironment, _running())

    return begin


@asynccontextmanager
async def _running() -> AsyncIterator[None]:
    yield


def test_the_command_on_path_comes_first(install: Install, tmp_path: Path, said: list[str]) -> None:
    """Even beside one in the cache; nothing is fetched, and nothing said."""
    cached = tmp_path / "cache" / "bin" / "temporal"
    cached.parent.mkdir(parents=True)
    cached.touch()
    ours = install("temporal", "")
    assert find_cli(tmp_path / "cache", said.append) == ours
    assert said == []


def test_what_the_sdk_fetched_becomes_the_command(tmp_path: Path, reachable: tuple[str, int]) -> None:
    """Under whatever name it came; its neighbours in the cache stay what they are."""
    (tmp_path / "bin").mkdir()
    other = tmp_path / "bin" / "temporal-test-server"
    other.write_text("another server")
    command = tmp_path / "bin" / "temporal"
    assert download(fetching(leaves="fetched"), command, reachable) is None
    assert command.read_text() == "fetched"
    assert other.read_text() == "another server"
    assert sorted(file.name for file in command.parent.iterdir()) == ["temporal", "temporal-test-server"]


@pytest.mark.parametrize(
    ("start_server", "why"),
    [
        (fetching(fails="no such version"), "download failed (no such version)"),
        (fetching(), "left no server behind"),
    ],
)
def test_a_download_that_fails_says_why(
    tmp_path: Path, reachable: tuple[str, int], start_server: StartServer, why: str
) -> None:
    """As a reason, so that the next way is tried; half a download does not stay."""
    answer = download(start_server, tmp_path / "bin" / "temporal", reachable)
    assert answer is not None
    assert why in answer
    assert list((tmp_path / "bin").iterdir()) == []


def test_the_server_is_built_with_go_once(
    install: Install, tmp_path: Path, unreachable: tuple[str, int], said: list[str]
) -> None:
    """Where there is no download; the second time it is simply there."""
    install("go", 'echo "$@" > "$GOBIN/temporal"')
    built = find_cli(tmp_path / "cache", said.append, downloads=unreachable)
    assert built == tmp_path / "cache" / "bin" / "temporal"
    assert built.read_text().strip() == "install github.com/temporalio/cli/cmd/temporal@v1.5.1"
    assert any("Building" in line and "once" in line for line in said)
    said.clear()
    assert find_cli(tmp_path / "cache", said.append, downloads=unreachable) == built
    assert said == []


def test_where_nothing_works_every_attempt_is_told(
    install: Install, tmp_path: Path, unreachable: tuple[str, int], said: list[str]
) -> None:
    """In their order, each with its reason, and what can be done."""
    install("go", "echo 'go: no network' >&2; exit 1")
    with pytest.raises(TemporalUnavailable) as refusal:
        find_cli(tmp_path / "cache", said.append, downloads=unreachable)
    words = str(refusal.value)
    parts = ("not on PATH", "does not exist", "cannot be reached", "go: no network", "TEMPORAL_ADDRESS")
    places = [words.index(part) for part in parts]
    assert places == sorted(places)


def test_without_go_it_is_said(install: Install, tmp_path: Path, unreachable: tuple[str, int], said: list[str]) -> None:
    """As one of the reasons."""
    with pytest.raises(TemporalUnavailable, match="Go is not installed"):
        find_cli(tmp_path / "cache", said.append, downloads=unreachable)


def test_the_test_server_is_made_of_mavens_artifact_once(
    install: Install, tmp_path: Path, unreachable: tuple[str, int], said: list[str]
) -> None:
    """A command that takes a port and lets its clock leap."""
    install("mvn", "")
    install("java", 'echo "$@"')
    command = find_test_server(tmp_path / "cache", said.append, downloads=unreachable)
    ran = subprocess.run([str(command), "7777"], capture_output=True, text=True, check=True).stdout.split()
    assert ran[:-4] == JAVA_OPTIONS.split() and ran[-4] == "-cp"
    assert ran[-2:] == ["io.temporal.testserver.TestServer", "7777"]
    said.clear()
    assert find_test_server(tmp_path / "cache", said.append, downloads=unreachable) == command
    assert said == []


@pytest.mark.parametrize(
    ("programs", "why"),
    [
        ({}, "Java and Maven not installed"),
        ({"java": ""}, "Maven not installed"),
        ({"java": "", "mvn": "echo 'Could not transfer artifact'; exit 1"}, "Could not transfer artifact"),
    ],
)
def test_where_no_test_server_can_be_made_it_is_told(
    install: Install,
    tmp_path: Path,
    unreachable: tuple[str, int],
    said: list[str],
    programs: dict[str, str],
    why: str,
) -> None:
    """The download's reason and Maven's."""
    for name, script in programs.items():
        install(name, script)
    with pytest.raises(TemporalUnavailable, match=why) as refusal:
        find_test_server(tmp_path / "cache", said.append, downloads=unreachable)
    assert "cannot be reached" in str(refusal.value)
    assert not (tmp_path / "cache" / "bin" / "temporal-test-server").exists()


def test_a_named_server_needs_no_other(tmp_path: Path) -> None:
    """With TEMPORAL_ADDRESS nothing is looked for, fetched or built."""
    environ = {"PATH": str(tmp_path), "FAILOVER_CACHE": str(tmp_path / "cache"), "TEMPORAL_ADDRESS": "temporal:7233"}
    command = [sys.executable, "-m", "starter.embedded.temporal_server"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "cache").exists()


async def test_the_test_servers_clock_leaps(time_skipping_env: WorkflowEnvironment) -> None:
    """A day passes in no time on the server that was found or made."""
    before = await time_skipping_env.get_current_time()
    async with asyncio.timeout(10):
        await time_skipping_env.sleep(timedelta(days=1))
    assert await time_skipping_env.get_current_time() - before >= timedelta(days=1)


async def test_a_dev_server_answers_in_a_session_of_its_own(temporal_cli: Path, tmp_path: Path) -> None:
    """With every setting that makes it quick, and its port free again after its end."""
    server = await start_dev_server(temporal_cli, ui_port=None, db=None, log=tmp_path / "server.log")
    try:
        client = await Client.connect(server.address)
        assert await client.service_client.check_health()
        pid = server.child.process.pid
        assert os.getsid(pid) == pid
        if sys.platform == "linux":
            flags = (Path("/proc") / str(pid) / "cmdline").read_text().split("\0")
            assert {after for flag, after in pairwise(flags) if flag == "--dynamic-config-value"} == QUICK
        assert server.ui_url is None
    finally:
        await server.stop()
    assert is_free(int(server.address.rpartition(":")[2]))


async def test_a_port_in_use_is_refused_in_words(tmp_path: Path, reachable: tuple[str, int]) -> None:
    """Before anything is started."""
    with pytest.raises(TemporalUnavailable, match=f"Port {reachable[1]} for Temporal is in use"):
        await start_dev_server(tmp_path / "never-run", port=reachable[1], db=None, log=tmp_path / "server.log")


async def test_a_server_that_ends_at_once_is_told_with_its_last_words(install: Install, tmp_path: Path) -> None:
    """At once, not after all patience."""
    cli = install("temporal", "echo 'database is locked' >&2; exit 3")
    with pytest.raises(TemporalUnavailable, match=r"exit code 3[\s\S]*database is locked"):
        await start_dev_server(cli, ui_port=None, db=None, log=tmp_path / "server.log")


@pytest.mark.parametrize("listening", [True, False])
async def test_a_server_that_never_answers_is_given_up_and_ended(
    install: Install, tmp_path: Path, listening: bool
) -> None:
    """Whether it listens in silence or not at all."""
    pid = tmp_path / "pid"
    listen = (
        "import os, socket, sys, time, pathlib\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        f"server = socket.create_server(('127.0.0.1', port)) if {listening} else None\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "silent.py").write_text(listen)
    cli = install("temporal", f'exec "{sys.executable}" "{tmp_path / "silent.py"}" "$@"')
    starting: Any = start_dev_server(
        cli, ui_port=None, db=None, log=tmp_path / "server.log", patience=timedelta(seconds=2)
    )
    async with asyncio.timeout(20):
        with pytest.raises(TemporalUnavailable, match=r"does not answer at .* after 2 s"):
            await starting
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
