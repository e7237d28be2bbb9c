"""Temporal's own servers: found on this machine, fetched, or built once into the cache; and run as children.

python -m starter.temporal_server [--test-server]      make sure that they are there
"""

import argparse
import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from failover.errors import TemporalUnavailable
from starter.ports import LOOPBACK, free_port, is_free
from starter.processes import Child, start
from starter.settings import Settings

CLI_MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
"""The newest that builds from the module proxy."""

TEST_SERVER = "io.temporal:temporal-test-server:1.31.0"

DOWNLOADS = ("temporal.download", 443)
"""Where the SDK fetches its servers from."""

PATIENCE = timedelta(seconds=30)
GRACE = timedelta(seconds=8)

DYNAMIC_CONFIG = (
    # By default every dispatch of a busy run costs 50 ms; the first of these without one partition stalls for 2 s.
    "history.transferProcessorMaxPollRPS=100000",
    "history.transferProcessorMaxPollHostRPS=100000",
    "history.timerProcessorMaxPollRPS=100000",
    "history.timerProcessorMaxPollHostRPS=100000",
    "history.visibilityProcessorMaxPollRPS=100000",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "system.enableActivityEagerExecution=true",
)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServer:
    """A running dev server of ours. `ui_url` is None where it runs without its Web UI."""

    address: str
    ui_url: str | None
    child: Child

    async def stop(self) -> None:
        await self.child.stop(GRACE)


def find_cli(cache: Path, report: Report) -> Path:
    """The `temporal` command: on PATH, in the cache, by the SDK's download, or built with Go.

    TemporalUnavailable, with what was tried and what can be done, where there is no way.
    """
    if found := shutil.which("temporal"):
        return Path(found)
    binary = cache / "bin" / "temporal"
    if binary.exists():
        return binary
    tried = ["`temporal` is not on PATH", f"{binary} does not exist"]
    for attempt in (_download_cli, _build_cli):
        if (why := attempt(binary, report)) is None:
            return binary
        tried.append(why)
    raise TemporalUnavailable(
        f"No Temporal server could be found or made: {'; '.join(tried)}. Install the Temporal CLI "
        "(https://docs.temporal.io/cli) or Go 1.23 or newer, or set TEMPORAL_ADDRESS to a server that runs already."
    )


def _download_cli(binary: Path, report: Report) -> str | None:
    """Fetch with the SDK's own means; → why that does not work here, or None."""
    if not _reachable(DOWNLOADS):
        return f"the SDK's download needs {DOWNLOADS[0]}, which cannot be reached from here"
    report("Fetching Temporal's dev server (once; about 100 MB) …")
    binary.parent.mkdir(parents=True, exist_ok=True)

    async def fetch() -> None:
        async with await WorkflowEnvironment.start_local(download_dest_dir=str(binary.parent)):
            pass

    try:
        asyncio.run(fetch())
    except RuntimeError as error:
        return f"the SDK's download failed ({error})"
    fetched = max(binary.parent.glob("temporal-*"), key=lambda path: path.stat().st_mtime, default=None)
    if fetched is None:
        return "the SDK's download left no server behind"
    fetched.replace(binary)
    return None


def _build_cli(binary: Path, report: Report) -> str | None:
    """Build with Go; → why that does not work here, or None."""
    go = shutil.which("go")
    if go is None:
        return "Go is not installed, so that it cannot be built either"
    report("Building Temporal's dev server with Go (once; two to five minutes) …")
    binary.parent.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "GOBIN": str(binary.parent.resolve()), "GOFLAGS": ""}
    return _run([go, "install", CLI_MODULE], environ, report, "`go install`")


def find_test_server(cache: Path, report: Report) -> Path:
    """Temporal's time-skipping test server, as a command that takes a port. By the SDK's download, or Maven's artifact."""
    script = cache / "bin" / "temporal-test-server"
    if script.exists():
        return script
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        raise TemporalUnavailable(
            "The time-skipping test server needs Java and Maven (once, to fetch it); install a JDK and Maven, then try again."
        )
    report("Fetching Temporal's time-skipping test server with Maven (once; about 33 MB) …")
    libraries = cache / "java-test-server"
    why = _fetch_test_server(maven, libraries, report)
    if why is not None:
        raise TemporalUnavailable(f"The time-skipping test server could not be fetched: {why}.")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        "#!/bin/sh\n"
        f'exec "{java}" -cp "{libraries.resolve()}/*" io.temporal.testserver.TestServer "$1" --enable-time-skipping\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


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
        await _answering(child, address, namespace)
    except BaseException:
        await child.stop(GRACE)
        raise
    ui_url = None if ui_port is None else f"http://{LOOPBACK}:{ui_port}"
    return DevServer(address=address, ui_url=ui_url, child=child)


async def _answering(child: Child, address: str, namespace: str) -> None:
    """Until a client can connect and the namespace is there."""
    deadline = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    while True:
        if child.process.returncode is not None:
            raise TemporalUnavailable(child.ending())
        try:
            client = await Client.connect(address, namespace=namespace)
            if await client.service_client.check_health():
                return
        except RuntimeError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise TemporalUnavailable(f"Temporal's dev server does not answer at {address}: {error}") from error
        await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test-server", action="store_true", help="the time-skipping server too")
    options = parser.parse_args()
    cache = Settings.from_env(os.environ).cache_directory()

    def report(line: str) -> None:
        print(line, flush=True)

    try:
        if "TEMPORAL_ADDRESS" not in os.environ:
            find_cli(cache, report)
        if options.test_server:
            find_test_server(cache, report)
    except TemporalUnavailable as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
