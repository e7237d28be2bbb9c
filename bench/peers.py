"""Users' loss beside HAProxy and nginx: the same OpenAI-compatible upstreams, weights, timeouts and retries.

Neither can speak to Bedrock or Vertex, so here every provider is OpenAI-compatible. Both retry a request elsewhere; neither
takes a provider out of a route for good, and HAProxy 2.6 knows no retry on 429.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml

from bench.figures import facts
from bench.incidents import SLOW, healthy, put_back, set_fault
from simulator.faults import FaultKind, parse_fault
from simulator.server import Simulator
from starter.configuration import demo_config
from starter.demo.users import Got, Users
from starter.embedded.processes import start
from starter.embedded.stack import ANY_PORTS, StackPlan, running
from starter.ports import LOOPBACK, free_port
from starter.settings import Settings

WEIGHTS = {"bedrock": 70, "google": 20, "meta": 10}
FAULTS: dict[FaultKind, dict[str, float]] = {
    FaultKind.SERVER_ERROR: {},
    FaultKind.HANG: {},
    FaultKind.THROTTLED: {"rate": 30},
}
RATE, SECONDS = 50.0, 20.0

Inject = Callable[[], Awaitable[None]]
Calls = Callable[[], Awaitable[dict[str, int]]]

HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 5s
  retries 2
  retry-on conn-failure empty-response response-timeout 500 502 503 504
  option redispatch 1
  option http-buffer-request
frontend users
  bind {listen}
  default_backend providers
backend providers
  balance random
{servers}
"""

NGINX = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream providers {{
{servers}
  }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://providers; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_connect_timeout 1s; proxy_read_timeout 5s;
      proxy_next_upstream error timeout http_500 http_502 http_503 http_504 http_429 non_idempotent;
      proxy_next_upstream_tries 3;
    }}
  }}
}}
"""


async def peers(cli: Path, settings: Settings) -> None:
    """Ours, and whichever of HAProxy and nginx is installed."""
    rows = [await ours(cli, settings, kind) for kind in FAULTS]
    for name, program in (("HAProxy", "haproxy"), ("nginx", "nginx")):
        binary = shutil.which(program)
        if binary is None:
            rows.append((name, "not installed", "", "", "", "", ""))
            continue
        rows += [await theirs(name, binary, kind) for kind in FAULTS]
    head = ("", "fault", "requests", "failed or cut", "slow > 1 s", "steady after", "asked at bedrock, last 10 s")
    facts(
        f"Users' loss beside others: {RATE:g} requests a second for {SECONDS:g} s, OpenAI-compatible upstreams",
        head,
        rows,
    )


async def ours(cli: Path, settings: Settings, kind: FaultKind) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as directory:
        told = yaml.safe_load(demo_config().read_text())
        told["providers"] = {name: {"kind": "openai", "model": "m", "endpoint": "simulator"} for name in WEIGHTS}
        config = Path(directory) / "bench.yaml"
        config.write_text(yaml.safe_dump(told))
        plan = StackPlan(config=config, state=Path(directory) / "state", durable=False, cli=cli, ports=ANY_PORTS)
        async with running(plan, settings, lambda _: None) as up:
            await healthy(up)
            await put_back(up)

            async def inject() -> None:
                await set_fault(up, kind, **FAULTS[kind])

            async def calls() -> dict[str, int]:
                async with httpx.AsyncClient(trust_env=False) as control:
                    stats = (await control.get(f"{up.addresses.simulator}/stats")).json()
                return {name: stats.get("providers", stats)[name]["inference_calls"] for name in WEIGHTS}

            users = Users(f"{up.addresses.gateway}/v1", "chat", rate=RATE)
            return ("ours", kind.value, *(await watched(users, inject, calls)))


async def theirs(name: str, binary: str, kind: FaultKind) -> tuple[str, ...]:
    latency = timedelta(milliseconds=120)
    async with (
        Simulator(dict.fromkeys(WEIGHTS, "openai"), latency=latency) as simulator,
        proxy(name, binary, simulator) as url,
    ):

        async def inject() -> None:
            await simulator.set_fault("bedrock", parse_fault(kind, FAULTS[kind]))

        async def calls() -> dict[str, int]:
            stats = simulator.stats()
            return {key: int(stats[key]["inference_calls"]) for key in WEIGHTS}

        users = Users(f"{url}/v1", "m", rate=RATE)
        return (name, kind.value, *(await watched(users, inject, calls)))


async def watched(users: Users, inject: Inject, calls: Calls) -> tuple[str, ...]:
    """Three seconds as it was, then the fault; what users got, and where the last ten seconds' calls went."""
    async with users.coming():
        await asyncio.sleep(3)
        await inject()
        began = datetime.now(UTC)
        await asyncio.sleep(SECONDS - 10)
        before = await calls()
        await asyncio.sleep(10)
        after = await calls()
    asked = [one for one in users.asked if one.at >= began]
    bad = [one for one in asked if one.got is not Got.OK or one.latency > SLOW]
    steady = max((one.at for one in bad), default=began) - began
    late = {name: after[name] - before[name] for name in WEIGHTS}
    return (
        str(len(asked)),
        str(sum(one.got is not Got.OK for one in asked)),
        str(sum(one.latency > SLOW for one in asked)),
        f"{steady.total_seconds():.1f} s",
        f"{100 * late['bedrock'] / max(1, sum(late.values())):.0f} %",
    )


@asynccontextmanager
async def proxy(name: str, binary: str, simulator: Simulator) -> AsyncIterator[str]:
    """HAProxy or nginx over the simulator's providers, on a free port."""
    with tempfile.TemporaryDirectory() as directory:
        listen = f"{LOOPBACK}:{free_port()}"
        upstreams = {key: url.removeprefix("http://").removesuffix("/v1") for key, url in simulator.urls.items()}
        if name == "HAProxy":
            servers = "\n".join(f"  server {key} {at} weight {WEIGHTS[key]}" for key, at in upstreams.items())
            text, options = HAPROXY.format(listen=listen, servers=servers), ["-db", "-f"]
        else:
            servers = "\n".join(f"    server {at} weight={WEIGHTS[key]};" for key, at in upstreams.items())
            text, options = NGINX.format(listen=listen, servers=servers, directory=directory), ["-p", directory, "-c"]
        config = Path(directory) / "proxy.conf"
        config.write_text(text)
        async with AsyncExitStack() as held:
            child = await start(
                name, [binary, *options, str(config)], log=Path(directory) / "proxy.log", environ=os.environ
            )
            held.push_async_callback(child.stop, timedelta(seconds=2))
            await listening(listen)
            yield f"http://{listen}"


async def listening(address: str) -> None:
    host, _, port = address.partition(":")
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
