"""What a worker tells Prometheus when things are not well: no verdict, an old one, no Temporal, messages that fail."""

import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from activities.board import VerdictBoard
from activities.notifiers.memory import MemoryNotifier
from failover.config.kpis import SuccessRates
from failover.health import Condition, Verdict
from failover.incident import Moments, Outcome, RunRecord, Trigger
from failover.messages import IncidentMessage
from failover.reports.rates import success_rates
from gateway.process import listening
from starter import worker_parts as composition
from starter.census import Census, Counted
from starter.configuration import demo_config, load
from starter.embedded.temporal_server import start_dev_server
from starter.worker_health import Readiness, create_app
from starter.worker_metrics import CountedNotifier, WorkerMetrics
from tests.records import run_record
from tests.seeing.conftest import ROOT, Scraped

CONFIG = load(demo_config()).config
PROCEDURES = ("ImmediateFailover", "CanaryFailover")
NOW = datetime.now(UTC)


@pytest.fixture
def board() -> VerdictBoard:
    return VerdictBoard()


@pytest.fixture
def figures(board: VerdictBoard) -> WorkerMetrics:
    return WorkerMetrics(CONFIG, board, PROCEDURES)


def told(figures: WorkerMetrics, census: Census | None = None, *, held: bool = False) -> dict[str, float]:
    """Every series that is not zero, without quotes."""
    text = figures.render(census or Census(answered=True), None, held=held)
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name.replace('"', ""): float(value) for name, value in lines if float(value)}


def record(outcome: Outcome, seconds: float) -> RunRecord:
    moments = Moments(
        first_bad=NOW,
        unhealthy=NOW + timedelta(seconds=2),
        decided=NOW + timedelta(seconds=2),
        in_force=NOW + timedelta(seconds=3),
        verified=NOW + timedelta(seconds=2 + seconds),
        closed=NOW + timedelta(seconds=60),
    )
    return run_record(
        run_id="r",
        outcome=outcome,
        reason="r",
        moments=moments,
    )


def test_no_verdict_and_an_old_one_are_unknown(figures: WorkerMetrics, board: VerdictBoard) -> None:
    """What is not known is never told as healthy."""
    old = datetime.now(UTC) - timedelta(minutes=10)
    board.post(Verdict(provider="bedrock", condition=Condition.HEALTHY, reason="r", at=old))
    board.post(Verdict(provider="google", condition=Condition.THROTTLED, reason="r", at=datetime.now(UTC)))
    seen = told(figures)
    assert seen["failover_provider_health{failover_provider=bedrock,health=unknown}"] == 1
    assert seen["failover_provider_health{failover_provider=google,health=healthy}"] == 1
    assert seen["failover_provider_condition{condition=throttled,failover_provider=google}"] == 1
    assert seen["failover_provider_health{failover_provider=meta,health=unknown}"] == 1
    # How old it is can be seen all the same.
    assert seen["failover_provider_verdict_timestamp_seconds{failover_provider=bedrock}"] == pytest.approx(
        old.timestamp()
    )


def test_a_run_that_ended_is_judged_by_its_targets(figures: WorkerMetrics) -> None:
    """Met, missed, and not measured are three things."""
    figures.closed(record(Outcome.NEEDS_HUMAN, seconds=45))
    seen = told(figures)
    about = "procedure=ImmediateFailover"
    assert seen[f"failover_runs_closed_total{{outcome=NEEDS_HUMAN,{about},trigger=automatic}}"] == 1
    judged = {name: re.findall(r"met=(\w+)", name)[0] for name in seen if name.startswith("failover_kpi_judged_total")}
    assert {re.findall(r"kpi=(\w+)", name)[0]: met for name, met in judged.items()} == {
        "detection": "yes",
        "execution": "no",
        "restoration": "unknown",
        "total": "unknown",
        "request_loss": "unknown",
        "user_error_rate": "unknown",
        "degradation": "unknown",
    }
    assert seen[f"failover_last_run_kpi_value{{kpi=execution,{about},unit=seconds}}"] == 45
    assert not any("restoration" in name for name in seen if "kpi_seconds" in name)


def test_a_drill_is_no_failover(figures: WorkerMetrics) -> None:
    """What it practised misses no target and counts nowhere; the drill itself is told of."""
    practised = replace(record(Outcome.NEEDS_HUMAN, seconds=45), is_drill=True)
    before = told(figures)
    figures.closed(practised)
    assert told(figures) == before
    figures.closed(replace(practised, procedure="FailoverDrill", outcome=Outcome.FAILED, trigger=Trigger.MANUAL))
    ended = "failover_runs_closed_total{outcome=FAILED,procedure=FailoverDrill,trigger=manual}"
    assert told(figures)[ended] == 1
    assert not any("rated" in name for name in told(figures))


def test_success_rates_count_what_reports_count(figures: WorkerMetrics) -> None:
    """Whatever became of a run, the counter and the report agree."""
    runs = [
        replace(record(outcome, seconds=1), procedure=procedure, trigger=trigger, is_drill=is_drill, moments=moments)
        for outcome in Outcome
        for procedure in ("ImmediateFailover", "GradualFailover", "Failback", "MultiProviderEmergency")
        for trigger in Trigger
        for is_drill in (False, True)
        for moments in (record(outcome, 1).moments, replace(record(outcome, 1).moments, in_force=None))
    ]
    for run in runs:
        figures.closed(run)
    seen = told(figures)
    for rate in success_rates(runs, SuccessRates()):
        yes = seen.get(f"failover_runs_rated_total{{rate={rate.name},succeeded=yes}}", 0)
        no = seen.get(f"failover_runs_rated_total{{rate={rate.name},succeeded=no}}", 0)
        assert (yes, yes + no) == (rate.succeeded, rate.counted) and yes and no


def test_runs_under_way(figures: WorkerMetrics) -> None:
    """How many, the oldest, and who waits for people."""
    run = Counted(procedure="CanaryFailover", age=timedelta(minutes=2), asks=False)
    asking = Counted(procedure="CanaryFailover", age=timedelta(minutes=5), asks=True)
    seen = told(figures, Census(answered=True, runs=[run, asking]), held=True)
    assert seen["failover_runs_open{procedure=CanaryFailover}"] == 2
    assert seen["failover_runs_waiting_for_people{procedure=CanaryFailover}"] == 1
    assert seen["failover_run_open_seconds{procedure=CanaryFailover}"] == 300
    assert seen["failover_automation_held"] == 1
    # What Temporal does not tell is not told as none.
    assert not any("failover_runs_open{" in name for name in told(figures, Census(answered=False)))


async def test_messages_that_fail_are_counted_and_fail(figures: WorkerMetrics) -> None:
    """Counting stands in nobody's way."""
    inner = MemoryNotifier()
    notifier = CountedNotifier(inner, figures)
    message = IncidentMessage(key="k", text="t", headline="h")
    await notifier.post(message, retried=False)
    inner.fail = RuntimeError("Slack is away")
    with pytest.raises(RuntimeError, match="Slack is away"):
        await notifier.post(message, retried=True)
    seen = told(figures)
    assert (seen["failover_notifications_total{result=sent}"], seen["failover_notifications_total{result=failed}"]) == (
        1,
        1,
    )


async def test_without_temporal_a_scrape_is_answered(
    temporal_cli: Path,
    tmp_path: Path,
    temporal_client: Client,
    parts: composition.Parts,
    figures: WorkerMetrics,
    task_queue: str,
) -> None:
    """A server that takes calls and answers none: the scrape says so; else the worker would be taken for dead."""
    server = await start_dev_server(temporal_cli, ui_port=None, db=None, log=tmp_path / "server.log")
    gone = await Client.connect(server.address)
    server.child.process.send_signal(signal.SIGSTOP)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue) as worker:
        app = create_app(Readiness(gone, worker, CONFIG), parts.board, "http://127.0.0.1:1", figures)
        async with (
            listening(app, "127.0.0.1", 0) as url,
            httpx.AsyncClient(trust_env=False, timeout=30) as http,
        ):
            answer = await http.get(f"{url}/metrics")
    server.child.process.kill()
    await server.stop()
    assert answer.status_code == 200
    assert "failover_temporal_up 0.0" in answer.text and "failover_provider_health{" in answer.text


async def test_the_documentation_names_every_metric(scraped: Scraped) -> None:
    """Those of the worker; and none that there is not."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = "".join(
            [
                (await http.get(f"{url}/metrics")).text
                for url in (
                    scraped.stack.addresses.worker,
                    scraped.stack.addresses.gateway,
                    scraped.stack.addresses.webhooks,
                )
            ]
        )
    exported = set(re.findall(r"(?m)^# TYPE (failover_\w+)", text))
    rows = (ROOT / "docs" / "observing.md").read_text().split("| metric |")[1].split("\n\n")[0].splitlines()
    named = {name for row in rows[2:] for name in re.findall(r"`(failover_\w+)`", row.split("|")[1])}
    # Before the first check completed it has no age.
    assert named - exported <= {"failover_health_check_age_seconds"}
    others = ("failover_gateway", "failover_policy", "failover_cache", "failover_queue", "failover_webhook")
    assert {name for name in exported - named if not name.startswith(others)} == set()
