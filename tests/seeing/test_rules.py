"""The shipped rules by Prometheus's own tools, and that what deploy/ has is what the command writes."""

import json
import re
import subprocess
from pathlib import Path

import yaml

from starter.cli import run
from starter.dashboards.rules import chosen, known_alerts, rules_text
from tests.seeing.conftest import ROOT, program

DEPLOY = ROOT / "deploy" / "prometheus"


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, cwd=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    """And the example configuration that names them."""
    promtool("check", "rules", "failover.rules.yaml")
    promtool("check", "config", "prometheus.yaml")


def test_alerts_fire_when_they_should_and_not_before() -> None:
    """Series written down, evaluated by Prometheus's engine."""
    promtool("test", "rules", "failover.rules.test.yaml")


def test_every_alert_is_tested() -> None:
    """By name, in promtool's file, with labels and texts."""
    tested = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", (DEPLOY / "failover.rules.test.yaml").read_text())
    assert set(tested) == set(known_alerts())


def test_every_alert_says_what_to_do() -> None:
    """A sentence, a remedy, and a section of the documentation that exists."""
    headings = re.findall(r"(?m)^#+ `?(\w+)`?$", (ROOT / "docs" / "observing.md").read_text())
    for group in yaml.safe_load(rules_text())["groups"]:
        for rule in (rule for rule in group["rules"] if "alert" in rule):
            assert set(rule["annotations"]) == {"summary", "remedy", "runbook"}
            assert rule["annotations"]["runbook"] == f"docs/observing.md#{rule['alert']}"
            assert rule["alert"] in headings
            assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_deploy_has_what_the_command_writes(tmp_path: Path) -> None:
    """Written anew: failoverctl dashboard create --output deploy/grafana/failover.json."""
    assert run(["dashboard", "create", "--output", str(tmp_path / "failover.json")]) == 0
    assert (tmp_path / "failover.rules.yaml").read_text() == (DEPLOY / "failover.rules.yaml").read_text()
    shipped = json.loads((ROOT / "deploy" / "grafana" / "failover.json").read_text())
    assert json.loads((tmp_path / "failover.json").read_text()) == shipped


def test_chosen_alerts_and_how_long_an_outage_may_last(tmp_path: Path) -> None:
    """All that records stays; of the alerts, both of the chosen names, with the given patience."""
    from datetime import timedelta

    file = tmp_path / "chosen.yaml"
    file.write_text(chosen(["extended_outage"], timedelta(minutes=45)))
    promtool("check", "rules", str(file))
    recording, alerts = yaml.safe_load(file.read_text())["groups"]
    assert recording == yaml.safe_load(rules_text())["groups"][0]
    assert [(rule["alert"], rule["for"]) for rule in alerts["rules"]] == [("extended_outage", "45m")] * 2
