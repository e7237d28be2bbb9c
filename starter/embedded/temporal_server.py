"""Temporal's own servers: found on this machine, fetched, or built once into the cache; and run as children.

python -m starter.embedded.temporal_server [--test-server]      make sure that they are there
"""

import argparse
import asyncio
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from failover.errors import TemporalUnavailable
from starter.embedded.processes import Child, last_lines, start
from starter.ports import LOOPBACK, free_port, is_free
from starter.settings import Settings

CLI_MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
"""The newest that builds from the module proxy."""

TEST_SERVER = "io.temporal:temporal-test-server:1.31.0"

JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options for a server that lives for seconds: what makes Java fast later only makes it late now."""

DOWNLOADS = ("temporal.download", 443)
"""The host that the SDK fetches its servers from. Asked first: behind a firewall the SDK itself waits for minutes."""

DOWNLOAD_PATIENCE = timedelta(minutes=10)

PATIENCE = timedelta(seconds=30)
GRACE = timedelta(seconds=8)

DYNAMIC_CONFIG = (
    # By default every dispatch of a busy run costs 50 ms; the first of these without one partition stalls for 2 s.
    "history.transferProcessorMaxPollRPS=100000",
    "history.transferProcessorMaxPollHostRPS=100000",
    "history.timerProcessorMaxPollRPS=100000",
    "history.timerProcessorMaxPollHostRPS=100000",
    "history.visibilityProcessorMaxPollRPS=100000",
    # By default a timer is up to a second late.
    'history.timerProcessorMaxTimeShift="10ms"',
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "system.enableActivityEagerExecution=true",
)

Report = Callable[[str], None]
StartServer = Callable[..., Awaitable[WorkflowEnvironment]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServer:
    """A running dev server of ours. `ui_url` is None where it runs without its Web UI."""

    address: str
    ui_url: str | None
    child: Child

    async def stop(self) -> None:
        await self.child.stop(GRACE)


def find_cli(cache: Path, report: Report, *, downloads: tuple[str, int] = DOWNLOADS) -> Path:
    """The `temporal` command: on PATH, in the cache, by the SDK's download, or built with Go.

    TemporalUnavailable, with what was tried and what can be done, where there is no way.
    """
    if found := shutil.which("temporal"):
        return Path(found)
    binary = cache / "bin" / "temporal"
    if binary.exists():
        return binary
    tried = ["`temporal` is not on PATH", f"{binary} does not exist"]
    report("Looking for Temporal's dev server: the SDK's download (once; about 100 MB) …")
    if (why := download(WorkflowEnvironment.start_local, binary, downloads)) is None:
        return binary
    tried.append(why)
    if (why := _build_cli(binary, report)) is None:
        return binary
    tried.append(why)
    raise TemporalUnavailable(
        f"No Temporal server could be found or made: {'; '.join(tried)}. Install the Temporal CLI "
        "(https://docs.temporal.io/cli) or Go 1.23 or newer, or set TEMPORAL_ADDRESS to a server that runs already."
    )


def download(start_server: StartServer, binary: Path, downloads: tuple[str, int]) -> str | None:
    """Let the SDK fetch a server and start it once; → why that does not work here, or None."""
    if not _reachable(downloads):
        return f"the SDK's download needs {downloads[0]}, which cannot be reached from here"
    binary.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own: whatever lies in it afterwards is what was fetched, under any name.
    with tempfile.TemporaryDirectory(dir=binary.parent, prefix="download-") as folder:
        try:
            asyncio.run(_start_once(start_server, folder))
        except (RuntimeError, TimeoutError) as error:
            return f"the SDK's download failed ({error or 'it took too long'})"
        fetched = next(Path(folder).iterdir(), None)
        if fetched is None:
            return "the SDK's download left no server behind"
        fetched.replace(binary)
    return None


async def _start_once(start_server: StartServer, folder: str) -> None:
    async with asyncio.timeout(DOWNLOAD_PATIENCE.total_seconds()):
        async with await start_server(download_dest_dir=folder):
            pass


def _build_cli(binary: Path, report: Report) -> str | None:
    """Build with Go; → why that does not work here, or None."""
    go = shutil.which("go")
    if go is None:
        return "Go is not installed, so that it cannot be built either"
    report("Building Temporal's dev server with Go (once; two to five minutes) …")
    binary.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "GOBIN": str(binary.parent.resolve()), "GOFLAGS": ""}
    return _run([go, "install", CLI_MODULE], environ, report, "`go install`")


def find_test_server(cache: Path, report: Report, *, downloads: tuple[str, int] = DOWNLOADS) -> Path:
    """Temporal's time-skipping test server, as a command that takes a port: the SDK's download, or Maven's artifact.

    TemporalUnavailable, with what was tried and what can be done, where there is no way.
    """
    command = cache / "bin" / "temporal-test-server"
    if command.exists():
        return command
    report("Looking for Temporal's time-skipping test server: the SDK's download (once) …")
    tried = [f"{command} does not exist"]
    if (why := download(WorkflowEnvironment.start_time_skipping, command, downloads)) is None:
        return command
    tried.append(why)
    if (why := _assemble_test_server(cache / "java-test-server", command, report)) is None:
        return command
    tried.append(why)
    raise TemporalUnavailable(
        f"Temporal's time-skipping test server could not be found or made: {'; '.join(tried)}. "
        f"Install a JDK and Maven, or allow the download from {downloads[0]}; then try again."
    )


def _assemble_test_server(libraries: Path, script: Path, report: Report) -> str | None:
    """A script around Maven's artifact; → why that does not work here, or None."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        missing = " and ".join(name for name, found in (("Java", java), ("Maven", maven)) if found is None)
        return f"{missing} not installed, so that Maven's artifact is of no use"
    report("Fetching Temporal's time-skipping test server with Maven (once; about 33 MB) …")
    if (why := _fetch_test_server(maven, libraries, report)) is not None:
        return why
    script.parent.mkdir(parents=True, exist_ok=True)
    # Without --enable-time-skipping: the SDK takes a server whose clock starts locked, and unlocks it while it waits. One
    # that starts unlocked leaps before there is anything to wait for.
    script.write_text(
        f'#!/bin/sh\nexec "{java}" {JAVA_OPTIONS} -cp "{libraries.resolve()}/*" io.temporal.testserver.TestServer "$1"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return None


def _fetch_test_server(maven: str, libraries: Path, report: Report) -> str | None:
    group, artifact, version = TEST_SERVER.split(":")
    libraries.mkdir(parents=True, exist_ok=True)
    pom = libraries / "pom.xml"
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>local</groupId><artifactId>test-server</artifactId><version>1</version><dependencies><dependency>"
        f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency></dependencies></project>\n"
    )
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    options = [f"-DoutputDirectory={libraries.resolve()}", "-DincludeScope=runtime"]
    return _run([*command, *options], dict(os.environ), report, "`mvn dependency:copy-dependencies`")


@asynccontextmanager
async def time_skipping(
    server: Path, *, data_converter: DataConverter, patience: timedelta = PATIENCE
) -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping server at this path, running; a Java machine on a busy computer needs longer than the SDK gives it.

    What it and the SDK's core have to say stays apart from our own output. TemporalUnavailable, with the end of it, where
    the server does not answer within `patience`.
    """
    with tempfile.TemporaryDirectory(prefix="time-skipping-") as folder:
        log, quiet = Path(folder) / "log", Path(folder) / "server"
        quiet.write_text(f'#!/bin/sh\nexec {shlex.quote(str(server.resolve()))} "$@" >{shlex.quote(str(log))} 2>&1\n')
        quiet.chmod(stat.S_IRWXU)
        runtime = Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter="ERROR")))
        try:
            environment = await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=str(quiet),
                test_server_startup_timeout=patience,
                data_converter=data_converter,
                runtime=runtime,
            )
        except RuntimeError as error:
            said = "; ".join(last_lines(log, 3)) or "and said nothing"
            raise TemporalUnavailable(
                f"Temporal's time-skipping test server at {server} did not start ({error}): {said}."
            ) from error
        async with environment:
            yield environment


def _run(command: Sequence[str], environ: dict[str, str], report: Report, name: str) -> str | None:
    """Run to the end, saying now and then that it still goes on; → why it failed, or None."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    waited = 0
    while True:
        try:
            output, _ = process.communicate(timeout=20)
            break
        except subprocess.TimeoutExpired:
            waited += 20
            report(f"  still at it, {waited} s …")
    if process.returncode == 0:
        return None
    return f"{name} failed: {' '.join(output.split())[-400:]}"


def _reachable(where: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(where, timeout=3):
            return True
    except OSError:
        return False


async def start_dev_server(
    cli: Path,
    *,
    port: int = 0,
    ui_port: int | None = 0,
    db: Path | None,
    log: Path,
    namespace: str = "default",
    patience: timedelta = PATIENCE,
) -> DevServer:
    """A dev server that answers. `db` None: in memory. `ui_port` None: without the Web UI. 0: a free port."""
    port = port or free_port()
    ui_port = free_port() if ui_port == 0 else ui_port
    for wanted in (port, ui_port):
        if wanted and not is_free(wanted):
            raise TemporalUnavailable(f"Port {wanted} for Temporal is in use; stop what uses it, or name another port.")
    command = [str(cli), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port), "--namespace", namespace]
    command += ["--log-level", "warn", *(["--headless"] if ui_port is None else ["--ui-port", str(ui_port)])]
    command += ["--db-filename", str(db)] if db else []
    command += [flag for setting in DYNAMIC_CONFIG for flag in ("--dynamic-config-value", setting)]
    child = await start("Temporal dev server", command, log=log, environ=os.environ)
    address = f"{LOOPBACK}:{port}"
    try:
        await _answering(child, address, namespace, patience)
    except BaseException:
        await child.stop(GRACE)
        raise
    ui_url = None if ui_port is None else f"http://{LOOPBACK}:{ui_port}"
    return DevServer(address=address, ui_url=ui_url, child=child)


async def _answering(child: Child, address: str, namespace: str, patience: timedelta) -> None:
    """Wait until a client can connect and the server calls itself healthy."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            while not await _answers(address, namespace):
                if child.process.returncode is not None:
                    raise TemporalUnavailable(child.ending())
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TemporalUnavailable(
            f"Temporal's dev server does not answer at {address} after {patience.total_seconds():g} s; "
            f"its log is {child.log}."
        ) from None


async def _answers(address: str, namespace: str) -> bool:
    try:
        client = await Client.connect(address, namespace=namespace)
        return await client.service_client.check_health()
    except (RuntimeError, RPCError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-server", action="store_true", help="the time-skipping server too")
    options = parser.parse_args()
    settings = Settings.from_env(os.environ)
    cache = settings.cache_directory()

    def report(line: str) -> None:
        print(line, flush=True)

    try:
        # Tests kill and restart servers of their own, whichever one is named.
        if options.test_server or not settings.temporal_address:
            find_cli(cache, report)
        if options.test_server:
            find_test_server(cache, report)
    except TemporalUnavailable as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
