"""The twins of the commands that only read: the same words in a world that is bad, and another answer and exit code."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
"""Blocks are long, and machines are busy."""

BEDROCK_IS_DOWN = [
    ("status --provider bedrock --health-only", r"\AUNHEALTHY\n\Z"),
    ("status --failover-status", r"bedrock is down and has 70 % of route chat"),
    ("status --provider-health", r"bedrock +UNHEALTHY +unavailable"),
    ("status --provider-health --compact", r"\Abedrock UNHEALTHY \(unavailable\)  google HEALTHY"),
    ("status --provider bedrock --comprehensive", r"(?s)FAIL +bedrock completion.*NOT PASSED: 2 failed"),
    ("status --dashboard failover --refresh 10", r"bedrock is down and has 70 % of route chat"),
    ("monitor --provider bedrock --recovery-mode --duration 30", r"(?s)FAIL +bedrock recovery +0\.0 % of.*NOT PASSED"),
    ("offline --model-id current-active-model --quick-validation", r"(?s)FAIL +bedrock quick suite +only 0 of 20"),
    (
        "validate --provider bedrock --test-suite comprehensive",
        r"(?s)FAIL +bedrock comprehensive suite.*only 0 of 60.*NOT PASSED: 3 failed",
    ),
]
"""Users hardly notice: their requests are tried again elsewhere."""

NOBODY_ANSWERS = [
    (
        "monitor --duration 2 --metrics error_rate,latency",
        r"(?s)ALERT +error_rate 100\.0 %.*FAIL +users.*limit\s+error_rate>2%",
    ),
    (
        'monitor --failover-mode --duration 10 --metrics "error_rate,latency,throughput,success_rate"',
        r"(?s)bedrock:70,google:20,meta:10 \(normal\).*ALERT +success_rate 0\.0 %.*limit\s+success_rate<95%",
    ),
    (
        'monitor --user-impact --duration 15 --alert-threshold "error_rate>2%"',
        r"(?s)ALERT +error_rate 100\.0 % \([\d.]+ to 100\.0\) of \d+ requests,\s+limit\s+error_rate>2%.*NOT PASSED",
    ),
    ("validate --post-failover", r"(?s)FAIL +chat users.*FAIL +chat questions.*NOT PASSED"),
    (
        "validate --post-failover --check-all-providers --performance-baseline",
        r"(?s)INCONCLUSIVE +chat users baseline +no baseline\s+is\s+recorded.*NOT PASSED",
    ),
    ("validate --post-failover --comprehensive", r"(?s)FAIL +meta control plane|FAIL +meta completion"),
    ("validate --performance-check", r"(?s)FAIL +chat users +success_rate 0\.0 %"),
    (
        "canary --validation-mode --sample-size 100 --success-threshold 95%",
        r"(?s)FAIL +chat answers +0\.0 % of 100 requests.*\(0\.0 to.*3\.7",
    ),
]

A_TARGET_FAILS = [
    ("monitor --canary-mode --duration 5 --success-threshold 98%", r"(?s)FAIL +tries of route chat at google.*98%"),
    ("validate --canary-health", r"(?s)FAIL +google in canary/chat|FAIL +canary/chat +it ended as ROLLED_BACK"),
]


async def check(found: Any, twins: list[tuple[str, str]]) -> None:
    """Exit code 3, its own words, and nothing of the traffic policy is touched."""
    before = await found.policy()
    for command, words in twins:
        said = await found.ctl(command)
        shown = f"{command} → {said.code}\n{said.out}{said.err}"
        assert said.code == 3, shown
        assert re.search(words, said.out), shown
    assert (await found.policy()).revision == before.revision


async def test_bedrock_is_down_and_has_traffic(found: Any) -> None:
    """Everything that speaks of the provider says so; the model that is most used does not answer."""
    await found.fault("bedrock")
    await found.known_down("bedrock")
    await check(found, BEDROCK_IS_DOWN)


async def test_nobody_answers_users(found: Any) -> None:
    """Everything that speaks of the service says so."""
    for provider in ("bedrock", "google", "meta"):
        await found.fault(provider)
    await found.known_down("bedrock", "google", "meta")
    await check(found, NOBODY_ANSWERS)


@pytest.mark.parametrize("type", ["incident", "performance-impact", "failover-effectiveness"])
async def test_nothing_to_report_of(found: Any, type: str) -> None:
    """It says where it looked, and writes nothing."""
    said = await found.ctl(f"report --type {type}")
    assert said.code == 2 and "on record in" in said.err, said
    assert not list(found.home.glob("*.md"))


async def test_the_target_of_a_canary_fails(found: Any) -> None:
    """A few of its tries are enough, whatever users see of them."""
    start = "canary --source-provider bedrock --target-provider google --traffic-percentage 5 --duration 300"
    assert (await found.ctl(start)).code == 0
    await found.fault("google", rate=40)
    for command, words in A_TARGET_FAILS:
        said = await found.ctl(command)
        shown = f"{command} → {said.code}\n{said.out}{said.err}"
        assert said.code == 3 and re.search(words, said.out), shown


async def test_no_data_is_not_good_news(found: Any) -> None:
    """A provider without traffic gives no figures: that is not proved, and said so."""
    await found.set({"bedrock": 9000, "google": 1000, "meta": 0})
    said = await found.ctl("monitor --provider meta --duration 2")
    assert said.code == 3 and "could not tell" in said.out and "requests, 5 are needed to tell" in said.out, said.out


def test_every_command_that_reads_has_its_twin(every_block: list[str]) -> None:
    """25 commands only read; one of them comes later, four speak of what is over, and one stands in the book twice."""
    text = "\n".join(every_block).replace("\\\n", " ")
    typed = [" ".join(one.split()) for one in re.findall(r"quality-gates-cli\.ts ([^\n;)']*)", text)]
    reads = [
        one
        for one in typed
        if re.match(r"(status|monitor|validate|offline|report|analyze|dashboard|canary --validation-mode)\b", one)
    ]
    assert len(reads) == 25
    # What a report or an analysis says is about an incident that is over: it judges nothing, and has no bad world of its own.
    later = [one for one in reads if re.match(r"report|analyze|dashboard", one)]
    assert len(later) == 5
    twins = {command for command, _ in (*BEDROCK_IS_DOWN, *NOBODY_ANSWERS, *A_TARGET_FAILS)}
    assert {one.replace("$provider", "bedrock") for one in reads} - set(later) == twins
