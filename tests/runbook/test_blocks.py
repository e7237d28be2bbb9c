"""Every bash block of the runbook, in bash, with our program's name: what it says, how it exits, what it does to traffic."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
"""Blocks are long, and machines are busy."""

RUNBOOK = "tsx quality-gates-cli.ts "

MOVED = {"google": 9000, "meta": 1000, "bedrock": 0}
"""As a failover of Bedrock leaves it."""


def check(ran: Any, expected: Sequence[tuple[str, int, str]]) -> None:
    """Command by command: how it begins, its exit code, what its answer must match."""
    seen = [f"{one.command} → {one.code}\n{one.out}{one.err}" for one in ran.commands]
    assert len(ran.commands) == len(expected), "\n".join([*seen, *ran.ends])
    for one, (begins, code, said) in zip(ran.commands, expected, strict=True):
        shown = "\n".join([f"{one.command} → {one.code}\n{one.out}{one.err}", *ran.ends])
        assert one.command.startswith(begins), shown
        assert one.code == code, shown
        assert re.search(said, one.out + (one.err if code == 2 else "")), shown


async def test_the_copy_is_whole(every_block: list[str]) -> None:
    """44 commands of the runbook's program, in 23 blocks."""
    assert len(every_block) == 23
    assert sum(block.count(RUNBOOK.strip()) for block in every_block) == 44


HEALTHY = [("status --provider bedrock --health-only", 0, r"\AHEALTHY\n\Z")] + [
    (f"status --provider {name} --health-only", 0, r"\AHEALTHY\n\Z") for name in ("google", "meta")
]


async def test_the_health_check_script(found: Any, every_block: list[str]) -> None:
    """Healthy, nothing happens; three rounds of a failing provider, and it is failed over; silence is no failure."""
    ran = await found.bash(every_block[0])
    check(ran, HEALTHY)
    assert ran.out.count("is healthy") == 3 and await found.shares() == "bedrock:70,google:20,meta:10"
    await found.fault("bedrock")
    down = ("status --provider bedrock --health-only", 3, r"\AUNHEALTHY\n\Z")
    for _ in range(2):
        check(await found.bash(every_block[0]), [down, *HEALTHY[1:]])
        assert await found.shares() == "bedrock:70,google:20,meta:10"
    ran = await found.bash(every_block[0])
    check(ran, [down, ("rollback --provider bedrock", 0, "COMPLETED"), *HEALTHY[1:]])
    assert "Triggering failover for bedrock" in ran.out
    assert await found.shares() == "google:90,meta:10,bedrock:0"


async def test_manual_triggers(found: Any, every_block: list[str]) -> None:
    """A failover by its other name, then shares set over a transition."""
    ran = await found.bash(every_block[1])
    check(
        ran, [("rollback --provider bedrock --target-provider google", 0, "COMPLETED"), ("config set", 0, "COMPLETED")]
    )
    assert await found.shares() == "google:80,meta:20,bedrock:0"


async def test_an_automated_failover(found: Any, every_block: list[str]) -> None:
    """The chain chooses; the status is good again, though the provider is still down."""
    await found.fault("bedrock")
    await found.known_down("bedrock")
    ran = await found.bash(every_block[2])
    check(ran, [("failover --failed-provider bedrock", 0, "COMPLETED"), ("status --failover-status", 0, "google:90")])
    assert await found.shares() == "google:90,meta:10,bedrock:0"


async def test_a_manual_emergency_failover(found: Any, every_block: list[str]) -> None:
    """Look, move, validate."""
    ran = await found.bash(every_block[3])
    check(
        ran,
        [
            ("status --provider-health", 0, "bedrock +HEALTHY"),
            ("failover --failed-provider bedrock --target-provider google", 0, "COMPLETED"),
            ("validate --post-failover", 0, r"(?s)obeyed by every.*failover/bedrock ended as COMPLETED.*PASSED"),
        ],
    )
    assert await found.shares() == "google:90,meta:10,bedrock:0"


async def test_a_gradual_failover(found: Any, every_block: list[str]) -> None:
    """Three phases, looked at between them."""
    ran = await found.bash(every_block[4])
    step = ("config set --traffic-distribution", 0, "COMPLETED")
    look = ("monitor --duration 2 --metrics error_rate,latency", 0, r"(?s)error_rate .*latency P95.*\nPASSED")
    check(ran, [step, look, step, look, step])
    assert await found.shares() == "google:70,meta:30,bedrock:0"


async def test_a_canary(found: Any, every_block: list[str]) -> None:
    """5 percent, then the loop to all of it, each step validated."""
    ran = await found.bash(every_block[5])
    loop = [("canary --update-traffic", 0, "canary/chat"), ("validate --canary-health", 0, "PASSED")]
    check(
        ran,
        [
            ("canary --source-provider bedrock", 0, "canary/chat is under way"),
            ("monitor --canary-mode", 0, r"(?s)google.*PASSED"),
            *loop * 5,
        ],
    )
    assert ran.code == 0
    await found.until_shares("google:90,meta:10,bedrock:0")


async def test_a_canary_that_fails_is_rolled_back(found: Any, every_block: list[str]) -> None:
    """The target breaks in the first wait of the loop: the block rolls back and exits 1."""
    breaks = "curl() { :; }; failoverctl fault google server_error >/dev/null"
    ran = await found.bash(every_block[5], RUNBOOK_ON_SLEEP=breaks)
    ours = [one for one in ran.commands if not one.command.startswith("fault")]
    assert [one.code for one in ours if one.command == "validate --canary-health"] == [3], ran.out
    assert (ours[-1].command, ours[-1].code) == ("canary --rollback", 0), ran.out
    assert ran.code == 1 and "Canary validation failed, rolling back" in ran.out
    await found.until_shares("bedrock:70,google:20,meta:10")


@pytest.mark.parametrize(
    ("number", "checks", "failover", "after"),
    [
        (
            6,
            [
                ("status --provider bedrock --comprehensive", 0, r"(?s)ListFoundationModels.*PASSED"),
                ("status --provider bedrock --health-only", 0, r"\AHEALTHY\n"),
            ],
            "failover --from bedrock --to google",
            "google:90,meta:10,bedrock:0",
        ),
        (
            7,
            [
                ("status --provider google --comprehensive", 0, r"(?s)GetPublisherModel.*PASSED"),
                ("status --provider google --health-only", 0, r"\AHEALTHY\n"),
            ],
            "failover --from google --to bedrock",
            "bedrock:90,meta:10,google:0",
        ),
        (
            8,
            [("status --provider meta --comprehensive", 0, r"(?s)GET /models.*PASSED")],
            "failover --from meta --to bedrock",
            "bedrock:80,google:20,meta:0",
        ),
    ],
)
async def test_a_providers_own_procedure(
    found: Any, every_block: list[str], number: int, checks: list[Any], failover: str, after: str
) -> None:
    """The vendor's checks, and the failover by its other flags."""
    check(await found.bash(every_block[number]), [*checks, (failover, 0, "COMPLETED")])
    assert await found.shares() == after


async def test_monitoring(found: Any, every_block: list[str]) -> None:
    """What goes on, the providers on one line, what users get."""
    ran = await found.bash(every_block[9])
    health = r"\Abedrock HEALTHY \(healthy\)  google HEALTHY \(healthy\)  meta HEALTHY \(healthy\)\n\Z"
    check(
        ran,
        [
            ("monitor --failover-mode", 0, r"(?s)throughput .*/s .*bedrock:70,google:20,meta:10 \(normal\).*\nPASSED"),
            ("status --provider-health --compact", 0, health),
            ("monitor --user-impact", 0, r"limit error_rate>2%(?s:.*)PASSED"),
        ],
    )
    assert await found.shares() == "bedrock:70,google:20,meta:10"


async def test_success_validation(found: Any, every_block: list[str]) -> None:
    """Users and providers against healthy time, the model by itself, and a hundred requests through the route."""
    found.healthy_time()
    ran = await found.bash(every_block[10])
    check(
        ran,
        [
            (
                "validate --post-failover --check-all-providers --performance-baseline",
                0,
                r"(?s)PASS +chat users baseline.*baseline\s+P95\s+10000\s+ms.*bedrock probe.*PASSED",
            ),
            ("offline --model-id current-active-model", 0, r"(?s)bedrock quick suite.*100\.0 % right.*PASSED"),
            ("canary --validation-mode", 0, r"(?s)100\.0 % of 100 requests got a.*good answer.*\(96\.\d.*PASSED"),
        ],
    )
    assert await found.shares() == "bedrock:70,google:20,meta:10"


async def test_an_automated_failback(found: Any, every_block: list[str]) -> None:
    """The provider is watched, then gets its traffic back by itself."""
    await found.set(MOVED)
    ran = await found.bash(every_block[11])
    check(
        ran,
        [
            ("monitor --provider bedrock --recovery-mode", 0, r"(?s)100\.0 % of \d+ probes.*PASSED"),
            ("failback --original-provider bedrock", 0, "failback/chat is under way"),
        ],
    )
    await found.until_shares("bedrock:70,google:20,meta:10")


async def test_a_manual_failback(found: Any, every_block: list[str]) -> None:
    """Checks, golden prompts, and the loop to all of it."""
    await found.set(MOVED)
    ran = await found.bash(every_block[12])
    loop = [("config set", 0, "COMPLETED"), ("validate --performance-check", 0, "PASSED")]
    check(
        ran,
        [
            ("status --provider bedrock --comprehensive", 0, "PASSED"),
            ("validate --provider bedrock --test-suite comprehensive", 0, r"(?s)100\.0 % right.*PASSED"),
            *loop * 5,
        ],
    )
    assert await found.shares() == "bedrock:100,google:0,meta:0"


async def test_a_manual_failback_stops_where_users_suffer(found: Any, every_block: list[str]) -> None:
    """Nobody answers any more after the first step: no further step is taken."""
    await found.set(MOVED)
    breaks = "for p in bedrock google meta; do failoverctl fault $p server_error >/dev/null; done; /bin/sleep 1"
    ran = await found.bash(every_block[12], RUNBOOK_ON_SLEEP=breaks)
    ours = [one for one in ran.commands if not one.command.startswith("fault")]
    assert [one.code for one in ours[2:]] == [0, 3], ran.out
    assert "Performance validation failed, stopping failback" in ran.out
    assert await found.shares() == "google:90,bedrock:10,meta:0"


async def test_an_outage_of_everybody(found: Any, every_block: list[str]) -> None:
    """Degraded service, its cache and queue as the runbook has them, and people told."""
    for provider in ("bedrock", "google", "meta"):
        await found.fault(provider)
    await found.known_down("bedrock", "google", "meta")
    ran = await found.bash(every_block[13])
    check(
        ran,
        [
            ("emergency --mode multi-provider-outage", 0, "emergency is under way"),
            ("config set --cache-mode emergency", 0, "COMPLETED"),
            ("config set --request-queuing enabled", 0, "COMPLETED"),
            ("notify #ops-alerts", 0, "Told #ops-alerts"),
        ],
    )
    policy = await found.policy()
    assert policy.mode.value == "degraded" and await found.shares() == "bedrock:70,google:20,meta:10"
    assert (policy.degraded["cache"], policy.degraded["queue"]) == (
        {"ttl": "2h", "serve_stale": True},
        {"size": 10000, "timeout": "5m"},
    )
    [told] = found.slack
    assert (told["channel"], told["text"]) == ("#ops-alerts", " CRITICAL: Multi-provider AI outage detected")


async def test_the_dashboard(found: Any, every_block: list[str]) -> None:
    """The dashboard and its alerts as files; one sober picture where it is piped."""
    ran = await found.bash(every_block[16])
    picture = r"(?s)Providers.*bedrock.*Routes.*bedrock:70,google:20,meta:10.*No procedure is under way"
    made = r"Dashboard: ai-provider-failover\.json \(provider_health, failover_events, recovery_time\)"
    check(ran, [("dashboard create", 0, made), ("status --dashboard failover", 0, picture)])
    assert (found.home / "ai-provider-failover.rules.yaml").read_text().count("alert: failover_failure") == 2
    assert "\x1b" not in ran.out and max(map(len, ran.commands[1].out.splitlines())) <= 100


async def test_service_is_verified(found: Any, every_block: list[str]) -> None:
    """After a failover, everything about it and about those who serve now."""
    assert (await found.ctl("failover --from bedrock")).code == 0
    ran = await found.bash(every_block[17])
    said = r"(?s)failover/bedrock ended as COMPLETED.*chat questions.*google control plane.*PASSED"
    check(ran, [("validate --post-failover --comprehensive", 0, said)])
    assert await found.shares() == "google:90,meta:10,bedrock:0"


async def test_reports_of_a_failover(found: Any, every_block: list[str]) -> None:
    """The incident in a file of its time, its impact beside the baseline, and how well it went."""
    found.healthy_time()
    assert (await found.ctl("failover --from bedrock")).code == 0
    ran = await found.bash(every_block[18])
    check(ran, [("report --type incident --event failover --output failover-incident-", 0, r"\A\Z")])
    [kept] = found.home.glob("failover-incident-*.md")
    assert re.search(r"(?s)Handled.*## Key performance.*google:90,meta:10.*failover/bedrock", kept.read_text())
    kept.unlink()
    impact = (
        r"(?s)^## Impact against targets.*^## Users in each.*^## Against the baselines.*users of route chat \| 10000 ms"
    )
    ran = await found.bash(every_block[20])
    check(ran, [("report --type performance-impact", 0, f"(?m){impact}")])
    ran = await found.bash(every_block[22])
    rates = r"(?s)manual failover \| 100\.0 % \| 1 of 1 .*\| detection \|.*\| degradation \|"
    check(ran, [("report --type failover-effectiveness", 0, rates)])
    assert "restoration" not in ran.out
    assert {path.name.rsplit("-", 2)[0] for path in found.home.glob("*.md")} == {
        "performance-impact",
        "failover-effectiveness",
    }


async def test_the_root_cause_is_investigated(found: Any, every_block: list[str]) -> None:
    """Of a real failover, which followed a real fault: the right cause first, with the lines of the logs."""
    await found.fault("bedrock", "authentication")
    await found.known_down("bedrock")
    assert (await found.ctl("failover --from bedrock")).code == 0
    ran = await found.bash(every_block[21])
    said = (
        r"(?s)\ARoot cause of failover/bedrock .*\nbedrock refused our credentials.* Evidence: strong"
        r".*1\. bedrock refused our credentials.*not our own network.*Log lines of that time.*gateway warning: a try failed"
    )
    check(ran, [("analyze --event failover --root-cause-analysis --include-logs", 0, said)])
    assert max(map(len, ran.commands[0].out.splitlines())) <= 100


async def test_without_an_incident_there_is_no_root_cause(found: Any) -> None:
    said = await found.ctl("analyze --event failover --root-cause-analysis --include-logs")
    assert said.code == 2 and "There is no incident in" in said.err, said


def test_the_other_blocks_hold_no_command_of_ours(every_block: list[str]) -> None:
    """Support cases and the status page: their vendors' own programs."""
    assert [number for number, block in enumerate(every_block) if RUNBOOK not in block] == [14, 15, 19]


async def test_a_real_process_says_the_same(found: Any) -> None:
    """What the blocks run through a process that forks is what a shell would start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "status", "--provider", "bedrock", "--health-only"),
        env={**found.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"HEALTHY\n")


async def test_a_person_records_a_baseline(found: Any) -> None:
    """It is what the model answers now, of this suite, by who took it; it is listed from then on."""
    said = await found.ctl("baseline record google --by anna --json")
    told = json.loads(said.out)["data"]
    assert (said.code, told["recorded_by"], told["score"]["passed"]) == (0, "anna", 20), (said.out, said.err)
    listed = json.loads((await found.ctl("baseline list --json")).out)["data"]
    assert told in listed


async def test_the_answer_for_machines_is_alone_on_stdout(found: Any) -> None:
    """Also where a first baseline is recorded, which the log tells."""
    shutil.rmtree(Path(found.stack.addresses.state) / "baselines", ignore_errors=True)
    said = await found.ctl("offline --model-id gemini-pro --quick-validation --json")
    told = json.loads(said.out)
    assert (said.code, told["kind"], told["data"]["passed"]) == (0, "offline", True), said.out
