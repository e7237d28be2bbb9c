"""Break-glass over several routes at once: what an emergency leaves degraded is restored by the one command it prints."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from failover import emergency
from failover.config_file import parse
from failover.distribution import render
from failover.policy import Change, ChangedBy, Mode, TrafficPolicy
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from tests.starter.conftest import CONFIG, TOKEN, Desk
from traffic.gateway import GatewayPlane

pytestmark = pytest.mark.timeout(180)

ROUTES = ("chat", "mail", "search")

AWAY = "127.0.0.1:1"
"""Where no Temporal is."""


@pytest.fixture
async def desk_of_three(desk_without_worker: Desk) -> AsyncIterator[Desk]:
    """The desk, before a gateway of three routes; all of them are degraded."""
    desk = desk_without_worker
    route = next(line for line in CONFIG.splitlines() if line.startswith("  chat:"))
    lines = CONFIG.replace(route, "\n".join(route.replace("chat", name) for name in ROUTES))
    (desk.home / "failover.yaml").write_text(lines)
    config = parse(lines, "desk.yaml").config
    shares = {name: config.routes[name].distribution for name in ROUTES}
    store = FileStore.open(desk.home / "three.json", shares, utc_now)
    app = create_app(config, desk.providers, store, token=TOKEN)
    async with listening(app, "127.0.0.1", 0) as url:
        plane = GatewayPlane(url, token=TOKEN)
        await plane.apply([_degraded(policy) for policy in await plane.read()])
        yield replace(desk, plane=plane, store=store, environ=desk.environ | {"FAILOVER_GATEWAY_URL": url})
        await plane.aclose()


def _degraded(policy: TrafficPolicy) -> Change:
    return Change(
        route=policy.route,
        decided_on=policy.revision,
        key="emergency/1",
        distribution={"meta": 10_000},
        mode=Mode.DEGRADED,
        degraded={"banner": "late"},
        claim="emergency",
        changed_by=ChangedBy(actor="failover", workflow_id="emergency", step="degrade"),
        reason="an emergency",
    )


async def degraded(desk: Desk) -> list[str]:
    return [policy.route for policy in await desk.plane.read() if policy.mode is Mode.DEGRADED]


async def ctl(desk: Desk, *argv: str) -> tuple[int, str, str]:
    done = await desk.ctl(*argv, FAILOVER_GATEWAY_URL=desk.environ["FAILOVER_GATEWAY_URL"], TEMPORAL_ADDRESS=AWAY)
    return done.code, done.out, done.err


@pytest.mark.parametrize("routes", [ROUTES, ()], ids=["named", "too many to name"])
async def test_the_command_that_an_emergency_prints_restores_all_of_it(
    desk_of_three: Desk, routes: tuple[str, ...]
) -> None:
    """As it is printed, and `--normal`, since no Temporal tells here that the emergency is over."""
    argv = emergency.command(routes).split()[1:]
    code, out, err = await ctl(desk_of_three, *argv, "--normal")
    assert code == 0, err
    assert await degraded(desk_of_three) == []
    policies = await desk_of_three.plane.read()
    assert {render(policy.distribution) for policy in policies} == {"bedrock:70,google:20,meta:10"}
    assert [policy.claim for policy in policies] == [None] * 3
    assert all(f"Route {name}: meta:100 → bedrock:70" in out for name in ROUTES)


async def test_only_what_is_named_is_touched(desk_of_three: Desk) -> None:
    code, _, err = await ctl(desk_of_three, "restore", "chat", "search", "--normal", "--yes")
    assert code == 0, err
    assert await degraded(desk_of_three) == ["mail"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["chat", "chet", "mial"], "There is no route 'chet', 'mial'; the routes are chat"), ([], "Name the routes")],
)
async def test_a_name_that_is_not_known_changes_nothing_at_all(desk_of_three: Desk, argv: list[str], said: str) -> None:
    code, _, err = await ctl(desk_of_three, "restore", *argv, "--normal", "--yes")
    assert code == 2 and said in err
    assert await degraded(desk_of_three) == ["chat", "mail", "search"]


async def test_nothing_degraded_is_nothing_to_do(desk_of_three: Desk) -> None:
    assert (await ctl(desk_of_three, "restore", "--degraded", "--normal", "--yes"))[0] == 0
    code, out, err = await ctl(desk_of_three, "restore", "--degraded", "--yes")
    assert code == 0 and "there is nothing to restore" in err + out
