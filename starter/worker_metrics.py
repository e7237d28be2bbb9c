"""What Prometheus sees of a worker: verdicts, runs, indicators, messages, and whether anybody watches.

Labels are configured names and our own words, never anything that a request or a provider says.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from temporalio.common import MetricMeter

from activities.board import VerdictBoard
from activities.notify import Notifier
from failover.config import Config
from failover.deadman import patience
from failover.drill import NAME as DRILL
from failover.health import Condition, Health, Verdict
from failover.incident import Outcome, RunRecord, Trigger
from failover.kpis import Kpi, measure
from failover.messages import IncidentMessage, MessageRef
from failover.reports import rates
from starter.census import Census
from starter.checks import Watched
from workflows.journal import OPENED, OPENED_HELP

_KPI_BUCKETS = (0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 1200, 1800, 3600)

_TIMED = ("detection", "execution", "restoration", "total")
_SHARES = ("request_loss", "user_error_rate", "degradation")
_MET = {True: "yes", False: "no", None: "unknown"}
_SUCCEEDED = {True: "yes", False: "no"}


class WorkerMetrics:
    """`render` is what /metrics shows beside the SDK's own.

    Counters of rare events begin at zero for every label they may have: `increase()` sees none that is born with its event.
    """

    def __init__(self, config: Config, board: VerdictBoard, procedures: Sequence[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # When each counter began is of use to nobody, and doubles what is scraped.
        self.registry = CollectorRegistry()
        self._config = config
        self._procedures = procedures
        self._closed = Counter(
            "failover_runs_closed",
            "Runs that ended, by procedure, what started them, and outcome; dry runs and what drills practise are none.",
            ["procedure", "trigger", "outcome"],
            registry=self.registry,
        )
        self._rated = Counter(
            "failover_runs_rated",
            "Runs that ended and count in a success rate, by whether they succeeded: those that reports count.",
            ["rate", "succeeded"],
            registry=self.registry,
        )
        self._kpi = Histogram(
            "failover_kpi_seconds",
            "Detection, execution, restoration and total of runs that ended.",
            ["kpi", "procedure"],
            buckets=_KPI_BUCKETS,
            registry=self.registry,
        )
        self._judged = Counter(
            "failover_kpi_judged",
            "Indicators of runs that ended, by whether the target was met (unknown: not measured).",
            ["kpi", "procedure", "met"],
            registry=self.registry,
        )
        self._last = Gauge(
            "failover_last_run_kpi_value",
            "Indicators of the last run that ended here, in seconds or percent.",
            ["kpi", "procedure", "unit"],
            registry=self.registry,
        )
        self._messages = Counter(
            "failover_notifications",
            "Messages to people, by whether they went out; every attempt counts.",
            ["result"],
            registry=self.registry,
        )
        self._begin_at_zero()
        self.registry.register(_Verdicts(config, board))

    def _begin_at_zero(self) -> None:
        for procedure in self._procedures:
            for trigger in Trigger:
                for outcome in Outcome:
                    self._closed.labels(procedure, trigger.value, outcome.value)
            for kpi in _TIMED:
                self._kpi.labels(kpi, procedure)
            for kpi in (*_TIMED, *_SHARES):
                for met in _MET.values():
                    self._judged.labels(kpi, procedure, met)
        for rate in rates.NAMES:
            for succeeded in _SUCCEEDED.values():
                self._rated.labels(rate, succeeded)
        for result in ("sent", "failed"):
            self._messages.labels(result)

    def closed(self, record: RunRecord) -> None:
        """A run ended. The procedure that a drill practised is none: the drill itself is told of."""
        if record.is_drill and record.procedure != DRILL:
            return
        self._closed.labels(record.procedure, record.trigger.value, record.outcome.value).inc()
        for kpi in measure(record):
            self._measured(record.procedure, kpi)
        rate, succeeded = rates.rate_of(record), rates.succeeded(record)
        if rate is not None and succeeded is not None:
            self._rated.labels(rate, _SUCCEEDED[succeeded]).inc()

    def _measured(self, procedure: str, kpi: Kpi) -> None:
        name = kpi.name.replace(" ", "_")
        self._judged.labels(name, procedure, _MET[kpi.met]).inc()
        if kpi.value is None:
            return
        self._last.labels(name, procedure, "seconds" if kpi.unit == "s" else "percent").set(kpi.value)
        if name in _TIMED:
            self._kpi.labels(name, procedure).observe(kpi.value)

    def told(self, *, sent: bool) -> None:
        """A message to people went out, or did not."""
        self._messages.labels("sent" if sent else "failed").inc()

    def render(self, census: Census, watched: Watched | None, *, held: bool) -> str:
        """Render the metrics in Prometheus's text form; `census` and `watched` are what Temporal said just now."""
        looked = CollectorRegistry()
        looked.register(_Looked(self._config, self._procedures, census, watched, held=held))
        return (generate_latest(self.registry) + generate_latest(looked)).decode()


class CountedNotifier:
    """A notifier around any other that counts what became of each message."""

    def __init__(self, notifier: Notifier, metrics: WorkerMetrics) -> None:
        self._notifier = notifier
        self._metrics = metrics

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        sent = False
        try:
            ref = await self._notifier.post(message, retried=retried)
            sent = True
            return ref
        finally:
            self._metrics.told(sent=sent)


def open_at_zero(meter: MetricMeter, procedures: Sequence[str], namespace: str, task_queue: str) -> None:
    """Begin the runs' own counter, which the SDK keeps, at zero for each procedure."""
    for procedure in procedures:
        # As `workflow.metric_meter()` labels it: one label less, and it would be another series.
        labels = {"namespace": namespace, "task_queue": task_queue, "workflow_type": procedure}
        meter.with_additional_attributes(labels).create_counter(OPENED, OPENED_HELP).add(0, {"procedure": procedure})


class _Verdicts:
    """What this worker's board knows, read when it is scraped. A verdict too old to be believed is none."""

    def __init__(self, config: Config, board: VerdictBoard) -> None:
        self._config = config
        self._board = board

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = datetime.now(UTC)
        known = {verdict.provider: verdict for verdict in self._board.all()}
        believed = {
            verdict.provider: verdict
            for verdict in self._board.fresh(now, patience(self._config.detection.schedule_interval))
        }
        yield _states("failover_provider_health", "health", Health, self._health(believed))
        yield _states("failover_provider_condition", "condition", Condition, self._condition(believed))
        at = GaugeMetricFamily(
            "failover_provider_verdict_timestamp_seconds",
            "When the newest verdict about a provider was given.",
            labels=["failover_provider"],
        )
        for name in self._config.providers:
            if name in known:
                at.add_metric([name], known[name].at.timestamp())
        yield at

    def _health(self, believed: Mapping[str, Verdict]) -> dict[str, str]:
        return {name: believed[name].health if name in believed else Health.UNKNOWN for name in self._config.providers}

    def _condition(self, believed: Mapping[str, Verdict]) -> dict[str, str]:
        return {
            name: believed[name].condition if name in believed else Condition.BLIND for name in self._config.providers
        }


def _states(name: str, label: str, states: type[Health] | type[Condition], now: Mapping[str, str]) -> GaugeMetricFamily:
    """Show 1 for the state that each provider is in, 0 for the others: a state that is left is seen to be left."""
    family = GaugeMetricFamily(name, f"1: the provider's {label}.", labels=["failover_provider", label])
    for provider, current in now.items():
        for state in states:
            family.add_metric([provider, state.value.lower()], float(state.value == current))
    return family


class _Looked:
    """What was asked for this scrape: Temporal's runs, the dead-man's switch, the hold, and the targets."""

    def __init__(
        self, config: Config, procedures: Sequence[str], census: Census, watched: Watched | None, *, held: bool
    ) -> None:
        self._config = config
        self._procedures = procedures
        self._census = census
        self._watched = watched
        self._held = held

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _one("failover_temporal_up", "1: Temporal answers this worker.", self._census.answered)
        yield _one("failover_automation_held", "1: nothing starts by itself.", self._held)
        yield from self._checks()
        if self._census.answered:
            yield from self._runs()
        yield self._targets()

    def _checks(self) -> Iterator[GaugeMetricFamily]:
        if not self._config.detection.enabled or self._watched is None:
            return
        # How old it is and not when it was: clocks of machines differ, and so do their alerts.
        if self._watched.age is not None:
            yield _one(
                "failover_health_check_age_seconds",
                "Since the last health check completed.",
                max(0.0, self._watched.age.total_seconds()),
            )
        stale = self._watched.why_red is not None
        yield _one("failover_health_check_stale", "1: health checks no longer complete; nobody watches.", stale)

    def _runs(self) -> Iterator[GaugeMetricFamily]:
        counted = GaugeMetricFamily("failover_runs_open", "Runs under way, by procedure.", labels=["procedure"])
        asking = GaugeMetricFamily(
            "failover_runs_waiting_for_people", "Runs that wait for somebody's word.", labels=["procedure"]
        )
        age = GaugeMetricFamily(
            "failover_run_open_seconds", "Age of the oldest run under way; 0 without one.", labels=["procedure"]
        )
        for procedure in self._procedures:
            found = [run for run in self._census.runs if run.procedure == procedure]
            counted.add_metric([procedure], len(found))
            asking.add_metric([procedure], sum(run.asks for run in found))
            age.add_metric([procedure], max((run.age.total_seconds() for run in found), default=0.0))
        yield counted
        yield asking
        yield age

    def _targets(self) -> GaugeMetricFamily:
        kpis = self._config.kpis
        family = GaugeMetricFamily("failover_kpi_target_seconds", "Targets of an immediate failover.", labels=["kpi"])
        for name, target in (
            ("detection", kpis.detection),
            ("execution", kpis.immediate_execution),
            ("restoration", kpis.restoration),
            ("total", kpis.total),
        ):
            family.add_metric([name], target.total_seconds())
        return family


def _one(name: str, help_: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_, value=float(value))
