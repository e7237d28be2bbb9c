"""The Grafana dashboard: one section a metric, each panel a question with its query.

Queries need only what the processes export, not the recording rules: the dashboard stands by itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from failover import kinds

SCHEMA = 39
"""The schema version of the dashboard's JSON; Grafana 10.4 and later read it."""

TAG = "failover-runbook"
"""Marks dashboards as ours: no other is ever overwritten."""

_WIDTH = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_USERS = 'failover_synthetic="false", failover_route=~"$route"'
_IMMEDIATE = f'procedure="{kinds.IMMEDIATE}"'
_RATE = "[$__rate_interval]"
_BAD = "failed|lost|empty|template"
_OK, _WARN, _BAD_COLOUR, _NEUTRAL = "green", "orange", "red", "text"

_HEALTH = {0: ("unknown", _WARN), 1: ("healthy", _OK), 2: ("down", _BAD_COLOUR), 3: ("disputed", _WARN)}
_MODE = {0: ("normal", _OK), 1: ("degraded", _BAD_COLOUR)}
_FIRING = {1: ("firing", _BAD_COLOUR)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question. `queries` by legend; `steps` colour from a value on; `states` name values."""

    title: str
    about: str
    kind: str
    queries: Mapping[str, str]
    unit: str = "short"
    width: int = 8
    steps: Sequence[tuple[float, str]] = ()
    states: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    most: float | None = None


def _rated(succeeded: str) -> str:
    return f'sum by (rate) (increase(failover_runs_rated_total{{succeeded=~"{succeeded}"}}[$__range]))'


def _last(unit: str) -> str:
    chosen = f'failover_last_run_kpi_value{{{_IMMEDIATE}, unit="{unit}"}}'
    return f"max by (kpi) (last_over_time({chosen}[$__range]))"


SECTIONS: Mapping[str, Sequence[Panel]] = {
    "provider_health": (
        Panel(
            title="Provider health",
            about="What the health checks say. Unknown: no verdict that is fresh enough to be believed.",
            kind="state-timeline",
            queries={
                "{{failover_provider}}": 'max by (failover_provider) (failover_provider_health{health="healthy"})'
                ' + 2 * max by (failover_provider) (failover_provider_health{health="unhealthy"})'
            },
            width=16,
            states=_HEALTH,
        ),
        Panel(
            title="Age of the newest verdict",
            about="Checks that no longer complete are worse news than any that they could bring.",
            kind="timeseries",
            queries={
                "{{failover_provider}}": "time() - max by (failover_provider) "
                "(failover_provider_verdict_timestamp_seconds)",
                "last completed check": "min(failover_health_check_age_seconds)",
            },
            unit="s",
        ),
    ),
    "failover_events": (
        Panel(
            title="Runs that began and ended",
            about="By procedure; ended ones by outcome.",
            kind="timeseries",
            queries={
                "{{procedure}} began": f"sum by (procedure) (increase(failover_runs_opened_total{_RATE})) > 0",
                "{{procedure}} {{outcome}}": "sum by (procedure, outcome) "
                f"(increase(failover_runs_closed_total{_RATE})) > 0",
            },
        ),
        Panel(
            title="Oldest open run",
            about="How long an incident has been under way.",
            kind="timeseries",
            queries={"{{procedure}}": "max by (procedure) (failover_run_open_seconds) > 0"},
            unit="s",
        ),
        Panel(
            title="Policy changes",
            about="Every write of traffic or mode, whoever made it.",
            kind="timeseries",
            queries={
                "{{failover_route}}": "max by (failover_route) "
                f'(changes(failover_policy_revision{{failover_route=~"$route"}}{_RATE}))'
            },
        ),
        Panel(
            title="Service of the routes",
            about="Degraded: cache, queue and templates stand in for the providers.",
            kind="state-timeline",
            queries={
                "{{failover_route}}": "max by (failover_route) "
                '(failover_policy_mode{failover_mode="degraded", failover_route=~"$route"})'
                ' or max by (failover_route) (failover_policy_revision{failover_route=~"$route"}) * 0'
            },
            width=24,
            states=_MODE,
        ),
    ),
    "recovery_time": (
        Panel(
            title="The last immediate failover",
            about="Detection, execution, restoration and total, in seconds.",
            kind="bargauge",
            queries={"{{kpi}}": _last("seconds")},
            unit="s",
        ),
        Panel(
            title="Recovery time, P95",
            about="Of the immediate failovers in the time shown.",
            kind="bargauge",
            queries={
                "{{kpi}}": "histogram_quantile(0.95, sum by (kpi, le) "
                f"(increase(failover_kpi_seconds_bucket{{{_IMMEDIATE}}}[$__range])))"
            },
            unit="s",
        ),
        Panel(
            title="Recovery time over time",
            about="Indicators of the last immediate failover, as they changed.",
            kind="timeseries",
            queries={
                "{{kpi}}": f'max by (kpi) (failover_last_run_kpi_value{{{_IMMEDIATE}, unit="seconds"}})',
                "target of {{kpi}}": "max by (kpi) (failover_kpi_target_seconds)",
            },
            unit="s",
        ),
    ),
    "traffic_shares": (
        Panel(
            title="Share by policy",
            about="What the data plane was told.",
            kind="timeseries",
            queries={
                "{{failover_route}}: {{failover_provider}}": "max by (failover_route, failover_provider) "
                '(failover_policy_share_ratio{failover_route=~"$route"})'
            },
            unit="percentunit",
            width=12,
            most=1,
        ),
        Panel(
            title="Share really served",
            about="First tries of users, before any retry.",
            kind="timeseries",
            queries={
                "{{failover_route}}: {{failover_provider}}": "sum by (failover_route, failover_provider) "
                f'(rate(failover_gateway_tries_total{{first="true", {_USERS}}}{_RATE}))'
                " / on (failover_route) group_left () (sum by (failover_route) "
                f'(rate(failover_gateway_tries_total{{first="true", {_USERS}}}{_RATE})) > 0)'
            },
            unit="percentunit",
            width=12,
            most=1,
        ),
    ),
    "error_rate": (
        Panel(
            title="Requests without a good answer",
            about="Users' side: failed after all tries, cut, empty, or told a template.",
            kind="timeseries",
            queries={
                "{{failover_route}}": "sum by (failover_route) (rate(failover_gateway_requests_total"
                f'{{outcome=~"{_BAD}", failover_route=~"$route"}}{_RATE}))'
                " / (sum by (failover_route) (rate(failover_gateway_requests_total"
                f'{{outcome!="left", failover_route=~"$route"}}{_RATE})) > 0)'
            },
            unit="percentunit",
            steps=((0, _OK), (0.05, _BAD_COLOUR)),
        ),
        Panel(
            title="Failed tries by provider",
            about="Before any retry: what a retry hides from users is an outage all the same.",
            kind="timeseries",
            queries={
                "{{failover_provider}}": "sum by (failover_provider) (rate(failover_gateway_tries_total"
                f'{{failure!="", {_USERS}}}{_RATE})) / on (failover_provider) (sum by (failover_provider) '
                f"(rate(failover_gateway_tries_total{{{_USERS}}}{_RATE})) > 0)"
            },
            unit="percentunit",
        ),
        Panel(
            title="P95 of answers, and requests",
            about="Of users' requests that were answered.",
            kind="timeseries",
            queries={
                "P95 {{failover_route}}": "histogram_quantile(0.95, sum by (failover_route, le) "
                f'(rate(failover_gateway_request_seconds_bucket{{failover_route=~"$route"}}{_RATE})))'
            },
            unit="s",
        ),
    ),
    "kpis": (
        Panel(
            title="Part of its target that the last one took",
            about="1 is the target: beyond it, the indicator was missed.",
            kind="bargauge",
            queries={"{{kpi}}": f"{_last('seconds')} / on (kpi) max by (kpi) (failover_kpi_target_seconds)"},
            unit="percentunit",
            steps=((0, _OK), (1, _BAD_COLOUR)),
        ),
        Panel(
            title="Targets met",
            about="Of the immediate failovers in the time shown that measured it.",
            kind="bargauge",
            queries={
                "{{kpi}}": f'sum by (kpi) (increase(failover_kpi_judged_total{{{_IMMEDIATE}, met="yes"}}[$__range]))'
                f' / (sum by (kpi) (increase(failover_kpi_judged_total{{{_IMMEDIATE}, met=~"yes|no"}}[$__range])) > 0)'
            },
            unit="percentunit",
            steps=((0, _BAD_COLOUR), (1, _OK)),
        ),
        Panel(
            title="Success rates",
            about="As reports count them; the runbook wants 95 % (automated), 99 % (manual) and 98 % (failback).",
            kind="bargauge",
            queries={"{{rate}}": f"{_rated('yes')} / ({_rated('yes|no')} > 0)"},
            unit="percentunit",
            steps=((0, _BAD_COLOUR), (0.95, _OK)),
        ),
    ),
    "notifications": (
        Panel(
            title="Messages to people",
            about="By whether they went out; every attempt counts.",
            kind="timeseries",
            queries={"{{result}}": f"sum by (result) (increase(failover_notifications_total{_RATE}))"},
            width=12,
        ),
        Panel(
            title="Alerts received",
            about="Deliveries to the webhook server, by sender and answer.",
            kind="timeseries",
            queries={
                "{{sender}} {{status}}": f"sum by (sender, status) (increase(failover_webhook_deliveries_total{_RATE}))"
            },
            width=12,
        ),
    ),
}


def overview(alerts: Sequence[str]) -> Sequence[Panel]:
    """The first row: is it handled, and what do I need to do?"""
    chosen = f'alertname=~"{"|".join(alerts)}"'
    zero = "or vector(0)"
    return (
        Panel(
            title="Alerts",
            about="Firing now; each has its remedy in its annotations.",
            kind="stat",
            queries={"firing": f'count(ALERTS{{alertstate="firing", {chosen}}}) {zero}'},
            width=4,
            steps=((0, _OK), (1, _BAD_COLOUR)),
        ),
        Panel(
            title="Waiting for people",
            about="`failoverctl runs` says for what.",
            kind="stat",
            queries={"runs": f"sum(max by (procedure) (failover_runs_waiting_for_people)) {zero}"},
            width=4,
            steps=((0, _OK), (1, _WARN)),
        ),
        Panel(
            title="Runs under way",
            about="Procedures that go on by themselves, and those that wait.",
            kind="stat",
            queries={"runs": f"sum(max by (procedure) (failover_runs_open)) {zero}"},
            width=4,
            steps=((0, _NEUTRAL),),
        ),
        Panel(
            title="Last health check",
            about="Ago. Red where nobody watches.",
            kind="stat",
            queries={"age": "min(failover_health_check_age_seconds)"},
            unit="s",
            width=4,
            steps=((0, _OK), (90, _BAD_COLOUR)),
        ),
        Panel(
            title="Which alerts",
            about="As Prometheus evaluates the rules that came with this dashboard.",
            kind="state-timeline",
            queries={"{{alertname}}": f'max by (alertname) (ALERTS{{alertstate="firing", {chosen}}})'},
            states=_FIRING,
        ),
    )


def dashboard(name: str, metrics: Sequence[str], alerts: Sequence[str]) -> dict[str, Any]:
    """Grafana's JSON model of these sections, to be imported by hand or by its API."""
    rows = [("", overview(alerts)), *((metric.replace("_", " ").capitalize(), SECTIONS[metric]) for metric in metrics)]
    return {
        "uid": uid(name),
        "title": name,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "10s",
        "timezone": "utc",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "templating": {"list": _variables()},
        "annotations": {"list": [_annotation(alerts)]},
        "panels": _laid_out(rows),
    }


def uid(name: str) -> str:
    """The same name is the same dashboard: at most 40 characters, as Grafana wants them."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "route",
            "type": "query",
            "label": "Route",
            "datasource": _DATASOURCE,
            "query": "label_values(failover_policy_revision, failover_route)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _annotation(alerts: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "Alerts",
        "enable": True,
        "iconColor": _BAD_COLOUR,
        "datasource": _DATASOURCE,
        "expr": f'max by (alertname) (ALERTS{{alertstate="firing", alertname=~"{"|".join(alerts)}"}})',
    }


def _laid_out(rows: Sequence[tuple[str, Sequence[Panel]]]) -> list[dict[str, Any]]:
    """Panels from left to right, in rows of their sections."""
    laid: list[dict[str, Any]] = []
    top = 0
    for title, panels in rows:
        if title:
            laid.append(
                {
                    "id": len(laid) + 1,
                    "type": "row",
                    "title": title,
                    "collapsed": False,
                    "panels": [],
                    "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
                }
            )
            top += 1
        left, height = 0, 8 if title else 4
        for panel in panels:
            if left + panel.width > _WIDTH:
                left, top = 0, top + height
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            laid.append(_panel(panel, len(laid) + 1, place))
            left += panel.width
        top += height
    return laid


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    # Tables of the last values: what is now, or over the time shown, and no curve.
    instant = panel.kind in ("stat", "bargauge")
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "gridPos": dict(place),
        "datasource": _DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": query,
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps = panel.steps or ((0, _OK),)
    # Grafana wants the first step without a value: everything below the second.
    thresholds = [{"value": value if index else None, "color": colour} for index, (value, colour) in enumerate(steps)]
    found: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": thresholds},
        "color": {"mode": "thresholds" if panel.steps or panel.states else "palette-classic"},
    }
    if panel.most is not None:
        found["max"] = panel.most
    if panel.states:
        named = {str(value): {"text": text, "color": colour} for value, (text, colour) in panel.states.items()}
        found["mappings"] = [{"type": "value", "options": named}]
    return found


def _options(panel: Panel) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "stat":
            return {"reduceOptions": last, "colorMode": "background", "graphMode": "none", "textMode": "value"}
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
        case "state-timeline":
            return {"mergeValues": True, "showValue": "auto", "rowHeight": 0.9, "alignValue": "left"}
        case _:
            return {
                "tooltip": {"mode": "multi", "sort": "desc"},
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            }
