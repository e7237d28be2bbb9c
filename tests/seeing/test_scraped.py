"""Every query of the dashboard and of the rules has an answer from a real Prometheus that scraped the real processes."""

import re
from typing import Any

import httpx
import pytest
import yaml

from starter.dashboards.panels import SECTIONS, overview
from starter.dashboards.rules import known_alerts, rules_text
from tests.seeing.conftest import Scraped

pytestmark = pytest.mark.timeout(300)

GRAFANA = {"$__rate_interval": "30s", "$__range": "10m", "$route": ".*"}
"""What Grafana puts in the place of its variables."""

_SELECTOR = re.compile(r"\b(failover_\w+)(\{[^}]*\})?")
_RECORDED = re.compile(r"failover:[\w:]+")


@pytest.fixture(scope="module")
async def incident(scraped: Scraped) -> Scraped:
    """Bedrock breaks, and the traffic is moved; then somebody switches degraded service on; a stranger rings."""
    told = scraped.stack.addresses
    # The counters are born at zero and scraped before anything happens: only then is an increase one.
    await scraped.until("failover_runs_closed_total == 0")
    await scraped.until('failover_provider_health{health="healthy"} == 1')
    await scraped.until("failover_runs_opened_total == 0")
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.put(f"{told.simulator}/faults/bedrock", json={"kind": "server_error"})
        stranger = await http.post(f"{told.webhooks}/webhooks/alertmanager", json={})
        assert stranger.status_code == 401
    await scraped.until('failover_provider_health{failover_provider="bedrock", health="unhealthy"} == 1')
    await scraped.until(
        'failover_runs_closed_total{procedure="ImmediateFailover", trigger="automatic", outcome="COMPLETED"} == 1'
    )
    request = {"reason": "a test of what is seen"}
    await scraped.client.start_workflow("MultiProviderEmergency", request, id="emergency", task_queue=told.task_queue)
    await scraped.until('failover_policy_mode{failover_mode="degraded"} == 1')
    await scraped.until('failover_runs_open{procedure="MultiProviderEmergency"} == 1')
    await scraped.until(
        'increase(failover_webhook_deliveries_total{status="401"}[1m]) or failover_webhook_deliveries_total'
    )
    await scraped.until("failover:user_latency:p95_rate5m > 0")
    return scraped


def dashboard_queries() -> list[str]:
    panels = [*overview(known_alerts()), *(panel for section in SECTIONS.values() for panel in section)]
    return [query for panel in panels for query in panel.queries.values()]


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(rules_text())["groups"] for rule in group["rules"] if kind in rule]


def filled(query: str) -> str:
    for variable, value in GRAFANA.items():
        query = query.replace(variable, value)
    return query


NEEDS_AN_ALERT = 'ALERTS{alertstate="firing"'
"""An alert fires after minutes; promtool's tests have the clock for it."""


async def test_every_query_of_the_dashboard_has_an_answer(incident: Scraped) -> None:
    """After one incident, from what was really scraped; a query that is misspelt is answered by nothing."""
    asked = [
        filled(query) for query in dashboard_queries() if not query.startswith(f"max by (alertname) ({NEEDS_AN_ALERT}")
    ]
    empty = [query for query in asked if not await incident.ask(query)]
    assert empty == []


async def test_every_recording_rule_records(incident: Scraped) -> None:
    """The one that must not be is empty, since the failover worked."""
    found = {rule["record"]: await incident.ask(rule["record"]) for rule in rules("record")}
    assert [name for name, samples in found.items() if not samples] == ["failover:route_share_on_unhealthy:ratio"]


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
async def test_what_an_alert_looks_at_is_there(incident: Scraped, rule: dict[str, Any]) -> None:
    """Each metric of its condition is recorded by a rule, or exported with the labels that the condition names."""
    recorded = set(_RECORDED.findall(rule["expr"]))
    exported = _SELECTOR.findall(_RECORDED.sub("", rule["expr"]))
    assert recorded or exported
    assert recorded <= {one["record"] for one in rules("record")}
    for name, matchers in exported:
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
        asked = name + "{" + ", ".join(f'{label}!=""' for label in labels) + "}"
        assert await incident.ask(asked), asked


async def test_the_figures_are_the_runs(incident: Scraped) -> None:
    """One run, its four times, and targets to hold against them."""
    opened = await incident.ask('sum(failover_runs_opened_total{procedure="ImmediateFailover"})')
    assert [sample["value"][1] for sample in opened] == ["1"]
    counted = await incident.ask('failover_kpi_seconds_count{procedure="ImmediateFailover"} == 1')
    assert {sample["metric"]["kpi"] for sample in counted} == {"detection", "execution", "restoration", "total"}
    targets = {one["metric"]["kpi"]: one["value"][1] for one in await incident.ask("failover_kpi_target_seconds")}
    assert targets == {"detection": "30", "execution": "30", "restoration": "120", "total": "300"}
    sent = await incident.ask('failover_notifications_total{result="sent"} > 0')
    assert sent


async def test_labels_are_bounded(incident: Scraped) -> None:
    """No run, no request and no reason of anybody becomes a label."""
    told = incident.stack.addresses
    seen: dict[str, set[str]] = {}
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in (told.worker, told.gateway, told.webhooks):
            text = (await http.get(f"{url}/metrics")).text
            for line in text.splitlines():
                if line.startswith("failover_"):
                    for label, value in re.findall(r'(\w+)="([^"]*)"', line):
                        seen.setdefault(label, set()).add(value)
    free = {"le", "namespace", "task_queue", "service_name", "workflow_type"}
    words = {label: values for label, values in seen.items() if label not in free}
    assert words["failover_provider"] == {"bedrock", "google", "meta"}
    assert words["failover_route"] == {"chat"}
    assert all(len(values) <= 20 for values in words.values()), words
    assert not any("/" in value or len(value) > 40 for values in words.values() for value in values), words
