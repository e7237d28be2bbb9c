"""Commands that measure and judge, at an operator's desk: what cannot be meant, what cannot be told, what is for machines."""

import json
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("status --health-only", "name it with --provider"),
        ("status --provider azure --health-only", "There is no provider 'azure'; the providers are bedrock"),
        ("status --provider bedrock --compact", "goes with --health-only or --comprehensive alone"),
        ("status --dashboard failover --refresh 0", "a second is the least"),
        ("monitor --duration soon", "--duration: 'soon' is no duration"),
        ("monitor --duration 0", "nothing to see"),
        ("monitor --metrics joy", "there is no metric 'joy'"),
        ("monitor --alert-threshold error_rate", "is no limit"),
        ("monitor --alert-threshold error_rate>lots", "'lots' is no value of error_rate: it is no number"),
        ("monitor --recovery-mode", "name it with --provider"),
        ("monitor --recovery-mode --user-impact", "give one of"),
        ("monitor --provider azure", "There is no provider 'azure'"),
        ("monitor --success-threshold 101%", "is no percent"),
        ("monitor --route chet", "There is no route 'chet'"),
        ("validate --test-suite quick", "name it with --provider"),
        ("validate --provider bedrock --post-failover", "asks one provider by itself"),
        ("validate --canary-health --performance-check", "a validation of its own"),
        ("validate --provider bedrock --performance-baseline", "asks one provider by itself"),
        ("report --type incident --compare baseline", "goes with --type performance-impact"),
        ("report --metrics impact", "goes with --type failover-effectiveness"),
        ("offline --model-id gpt-2", "no provider serves 'gpt-2'"),
        ("canary --validation-mode --rollback", "move nothing"),
        ("canary --sample-size 10", "--validation-mode"),
        ("canary --validation-mode --sample-size 10001", "no sample any more"),
        ("notify #ops-alerts ", "Missing argument 'TEXT'"),
        ("baseline record azure", "There is no provider 'azure'"),
        ("baseline record bedrock --suite none", "'none' is no suite of golden prompts"),
        ("failover --from ☃", "--failed-provider: '☃' is no name"),
    ],
)
async def test_what_cannot_be_meant(desk_without_worker: Any, argv: str, words: str) -> None:
    """A usage error, at once, that says what may be."""
    done = await desk_without_worker.ctl(*argv.split())
    assert done.code == 2 and words in " ".join(done.err.split()), (done.code, done.err)


async def test_a_gateway_that_does_not_answer_is_no_verdict(desk_without_worker: Any) -> None:
    """Neither proved nor disproved: unreachable."""
    nowhere = {"FAILOVER_GATEWAY_URL": "http://127.0.0.1:1"}
    for argv in ("monitor --duration 1s", "validate", "canary --validation-mode --sample-size 1 --route chat"):
        done = await desk_without_worker.ctl(*argv.split(), **nowhere)
        assert done.code == (3 if argv.startswith("canary") else 5), (argv, done.out, done.err)


async def test_no_canary_is_no_health(desk: Any) -> None:
    """Where none runs and none ended there is nothing to judge: refused, with what to do."""
    done = await desk.ctl("monitor", "--canary-mode", "--duration", "1s", "--route", "chat")
    assert done.code == 4 and "No canary is under way" in done.err, (done.code, done.err)


async def test_monitor_for_machines(desk: Any) -> None:
    """A JSON object a line, the last one the verdict."""
    done = await desk.ctl("monitor", "--duration", "1s", "--metrics", "error_rate,latency", "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and [line["kind"] for line in lines[-2:]] == ["monitor-sample", "monitor"]
    assert lines[0]["data"]["error_rate"] == 0 and lines[0]["data"]["requests"] > 0
    assert lines[-1]["data"]["passed"] is True
    assert {check["judgement"] for check in lines[-1]["data"]["checks"]} == {"pass"}


async def test_validate_for_machines(desk: Any) -> None:
    """What was looked at, and whether it decides."""
    done = await desk.ctl("validate", "--post-failover", "--json")
    checks = {check["about"]: check for check in done.data["checks"]}
    assert done.code == 0 and done.data["passed"] is True, done.out
    assert checks["chat failover"]["decides"] is False and "no failover" in checks["chat failover"]["said"]
    assert checks["chat questions"]["judgement"] == "pass"


async def test_without_a_token_nobody_is_told_and_that_is_said(desk_without_worker: Any) -> None:
    """The console is the notifier where nothing else is configured."""
    done = await desk_without_worker.ctl("notify", "#ops-alerts", "all is lost", SLACK_BOT_TOKEN="")
    assert done.code == 0 and "SLACK_BOT_TOKEN is not set" in done.err
