"""Every number of the runbook, beside the key that holds it: in the shipped file and in the defaults alike."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from failover.config import Config
from failover.config_file import LoadedConfig, parse

SHIPPED = Path(__file__).parents[2] / "failover.yaml"

MINIMAL = """
providers:
  bedrock: {kind: bedrock, model: claude-3-5-sonnet-v2, region: us-east-1}
routes:
  chat:
    distribution: {bedrock: 100}
"""

RUNBOOK: list[tuple[str, str, Any]] = [
    ("Provider Unavailability: HTTP 5xx errors > 5%", "detection.server_errors.percent", 5),
    ("High Latency: P95 > 3000ms", "detection.latency.p95", timedelta(milliseconds=3000)),
    ("High Latency: for 5 minutes", "detection.latency.window", timedelta(minutes=5)),
    ("Quota Exhaustion: Rate limiting errors > 10%", "detection.throttling.percent", 10),
    ("Quality Degradation: Accuracy drop > 10%", "detection.accuracy_drop_points", 10),
    ("Health check script (runs every 30 seconds)", "detection.schedule_interval", timedelta(seconds=30)),
    ("HEALTH_THRESHOLD=3", "detection.failure_threshold", 3),
    ("redis-cli SET failover:$provider:failures EX 300", "detection.failure_memory", timedelta(seconds=300)),
    ("invoke-model --body max_tokens 10", "detection.probe.max_tokens", 10),
    ("--transition-duration 300", "procedures.gradual.transition", timedelta(seconds=300)),
    ("Immediate Failover (< 30 seconds)", "kpis.immediate_execution", timedelta(seconds=30)),
    ("bedrock:50,google:30,meta:20", "procedures.gradual.phases.0", [50, 30, 20]),
    ("bedrock:25,google:50,meta:25", "procedures.gradual.phases.1", [25, 50, 25]),
    ("bedrock:0,google:70,meta:30", "procedures.gradual.phases.2", [0, 70, 30]),
    ("gradual: sleep 60", "procedures.gradual.settle", timedelta(seconds=60)),
    ("gradual: monitor --duration 2", "procedures.gradual.monitor", timedelta(minutes=2)),
    ("a transition: equal steps, at least 10 s apart", "procedures.gradual.minimum_step", timedelta(seconds=10)),
    ("the target suffers: hold and ask", "procedures.gradual.on_doubt", "hold"),
    ("canary --traffic-percentage 5", "procedures.canary.initial_percent", 5),
    (
        "canary --duration 300, monitor --canary-mode --duration 5",
        "procedures.canary.initial_hold",
        timedelta(seconds=300),
    ),
    ("canary --success-threshold 98%", "procedures.canary.success_threshold_percent", 98),
    ("canary: for percentage in 10 25 50 75 100", "procedures.canary.percents", [10, 25, 50, 75, 100]),
    ("canary: rolling back", "procedures.canary.on_doubt", "roll_back"),
    ("canary: sleep 120", "procedures.canary.step_hold", timedelta(seconds=120)),
    ("monitor --user-impact --alert-threshold error_rate>2%", "procedures.validation.alert_error_rate_percent", 2),
    ("canary --validation-mode --sample-size 100", "procedures.validation.sample_size", 100),
    ("canary --validation-mode --success-threshold 95%", "procedures.validation.success_threshold_percent", 95),
    ("monitor --recovery-mode --duration 30", "procedures.failback.recovery_watch", timedelta(minutes=30)),
    ("failback --health-threshold 99%", "procedures.failback.health_threshold_percent", 99),
    ("failback: for percentage in 10 25 50 75 100", "procedures.failback.percents", [10, 25, 50, 75, 100]),
    ("failback: sleep 180", "procedures.failback.step_hold", timedelta(seconds=180)),
    ("failback: stopping, back to the last good step", "procedures.failback.on_doubt", "step_back"),
    ("--cache-ttl 7200", "emergency.cache_ttl", timedelta(seconds=7200)),
    ("--serve-stale true", "emergency.serve_stale", True),
    ("cache_strategy: serve_stale_indefinitely", "emergency.cache_strategy", "serve_stale_indefinitely"),
    ("request_handling: queue_and_retry", "emergency.request_handling", "queue_and_retry"),
    ("user_notification: service_degradation_banner", "emergency.user_notification", "service_degradation_banner"),
    ("fallback_responses: static_templates", "emergency.fallback_responses", "static_templates"),
    ("--queue-size 10000", "emergency.queue_size", 10_000),
    ("--queue-timeout 300", "emergency.queue_timeout", timedelta(seconds=300)),
    ("response_time: 5000ms", "emergency.targets.response_time", timedelta(milliseconds=5000)),
    ("response_time: Relaxed from 1500ms", "routes.chat.targets.response_time", timedelta(milliseconds=1500)),
    ("success_rate: 80%", "emergency.targets.success_percent", 80),
    ("success_rate: Relaxed from 98%", "routes.chat.targets.success_percent", 98),
    ("availability: 95%", "emergency.targets.availability_percent", 95),
    ("availability: Relaxed from 99.9%", "routes.chat.targets.availability_percent", 99.9),
    ("detection_time: < 30 seconds", "kpis.detection", timedelta(seconds=30)),
    ("failover_execution: < 60 seconds", "kpis.execution", timedelta(seconds=60)),
    ("service_restoration: < 120 seconds", "kpis.restoration", timedelta(seconds=120)),
    ("total_recovery_time: < 300 seconds", "kpis.total", timedelta(seconds=300)),
    ("automated_failover: > 95%", "kpis.success_rates.automated_failover_percent", 95),
    ("manual_failover: > 99%", "kpis.success_rates.manual_failover_percent", 99),
    ("failback_success: > 98%", "kpis.success_rates.failback_percent", 98),
    ("user_error_rate: < 5% during failover", "kpis.user_error_rate_percent", 5),
    ("request_loss: < 1%", "kpis.request_loss_percent", 1),
    ("performance_degradation: < 20%", "kpis.degradation_percent", 20),
    ("slack-notify #ops-alerts", "notifications.slack.channel", "#ops-alerts"),
]

ONLY_SHIPPED: list[tuple[str, str, Any]] = [
    ("bedrock: claude-3-5-sonnet-v2", "providers.bedrock.model", "claude-3-5-sonnet-v2"),
    ("google: gemini-pro", "providers.google.model", "gemini-pro"),
    ("meta: llama-2-70b", "providers.meta.model", "llama-2-70b"),
    ("list-foundation-models --region us-east-1", "providers.bedrock.region", "us-east-1"),
    ("gcloud ai models list --region=us-central1", "providers.google.region", "us-central1"),
    (
        "--model-id anthropic.claude-3-5-sonnet-20241022-v2:0",
        "model_aliases.claude-3-5-sonnet-v2",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
    ),
    ("bedrock_chain", "failover_chains.bedrock", ["google", "meta"]),
    ("google_chain", "failover_chains.google", ["bedrock", "meta"]),
    ("meta_chain", "failover_chains.meta", ["bedrock", "google"]),
    (
        "Google Cloud Support: Enterprise support portal",
        "providers.google.emergency_contact",
        "Google Cloud Support: Enterprise support portal",
    ),
    (
        "AWS Enterprise Support: 1-800-xxx-xxxx",
        "providers.bedrock.emergency_contact",
        "AWS Enterprise Support: 1-800-xxx-xxxx",
    ),
]


@pytest.fixture(scope="module")
def shipped() -> LoadedConfig:
    return parse(SHIPPED.read_text(), "failover.yaml")


def at(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        if isinstance(value, BaseModel):
            value = getattr(value, part)
        else:
            value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.parametrize(("words", "key", "number"), [*RUNBOOK, *ONLY_SHIPPED], ids=lambda value: str(value)[:60])
def test_the_shipped_file_holds_the_runbooks_value(shipped: LoadedConfig, words: str, key: str, number: Any) -> None:
    """Every value of the runbook stands in failover.yaml, on a line of its own."""
    assert at(shipped.config, key) == number
    path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    assert path in shipped.lines, f"{key} is not written out in failover.yaml"


@pytest.mark.parametrize(("words", "key", "number"), RUNBOOK, ids=lambda value: str(value)[:60])
def test_the_defaults_hold_the_runbooks_value(words: str, key: str, number: Any) -> None:
    """A configuration that says nothing of it gets the runbook's value."""
    assert at(parse(MINIMAL, "minimal.yaml").config, key) == number


def test_the_shipped_file_writes_every_default_out(shipped: LoadedConfig) -> None:
    """No default hides: every key with a value can be seen, and changed, in failover.yaml."""
    config, route = shipped.config, shipped.config.routes["chat"]
    names = (
        "detection",
        "procedures",
        "emergency",
        "kpis",
        "notifications",
        "gateway",
        "access",
        "webhooks",
        "readiness",
    )
    sections: list[tuple[BaseModel, tuple[str, ...]]] = [(getattr(config, name), (name,)) for name in names]
    sections += [(route.targets, ("routes", "chat", "targets")), (route.approvals, ("routes", "chat", "approvals"))]
    written = [path for section, where in sections for path in _keys(section, where)]
    assert [".".join(path) for path in written if path not in shipped.lines] == []
    assert len(written) > 100


def test_what_is_written_out_is_the_default(shipped: LoadedConfig) -> None:
    """The shipped file changes nothing: without its lines a run would do the same."""
    minimal = parse(MINIMAL, "minimal.yaml").config
    for name in ("detection", "procedures", "emergency", "kpis", "notifications", "gateway", "access", "readiness"):
        assert getattr(shipped.config, name) == getattr(minimal, name)
    assert {name: one.how for name, one in shipped.config.webhooks.senders.items()} == {
        name: one.how for name, one in minimal.webhooks.senders.items()
    }
    for name in ("targets", "approvals", "failback"):
        assert getattr(shipped.config.routes["chat"], name) == getattr(minimal.routes["chat"], name)


def _keys(section: BaseModel, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in section:
        here = (*path, name)
        found += _keys(value, here) if isinstance(value, BaseModel) else [here] if value is not None else []
    return found


def test_the_shipped_file_divides_the_example_route_as_the_runbook_does(shipped: LoadedConfig) -> None:
    """chat starts at 70/20/10, and names the models by aliases of ids that the vendors serve."""
    config = shipped.config
    assert config.routes["chat"].distribution == {"bedrock": 7000, "google": 2000, "meta": 1000}
    assert {config.model_id(provider) for provider in config.providers} == set(config.model_aliases.values())


def test_the_holds_add_up_to_what_the_runbooks_headings_say(shipped: LoadedConfig) -> None:
    """A canary of 15 minutes; 98 % passes it and anything less fails it, without a band."""
    settings = shipped.config.procedures.canary
    steps = [percent for percent in settings.percents if percent > settings.initial_percent]
    assert settings.initial_hold + len(steps) * settings.step_hold == timedelta(minutes=15)
    assert settings.failure_threshold_percent is None


def test_three_failures_are_found_well_within_the_promise(shipped: LoadedConfig) -> None:
    """15 s at the worst, by probes alone, of the 30 s that the runbook allows."""
    assert shipped.config.detection.slowest == timedelta(seconds=15)
    assert shipped.config.detection.slowest < shipped.config.kpis.detection
