"""The parts of reports: periods, rates, phases, plans, plots; and that a report differs wherever its record does."""

import html.parser
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.baselines import PerformanceBaseline
from failover.config.kpis import SuccessRates
from failover.config.routes import Targets
from failover.errors import RequestError
from failover.failure import FailureKind
from failover.incident import (
    Impact,
    Moments,
    Outcome,
    PlannedStep,
    PolicyWrite,
    RouteShift,
    RunRecord,
    Slice,
    TimelineEntry,
    Trigger,
)
from failover.kpis import measure
from failover.reports.charts import svg
from failover.reports.document import Line, Mark, Plot, Report
from failover.reports.effectiveness import METRICS, Effectiveness, effectiveness, parse_metrics
from failover.reports.html import html as as_html
from failover.reports.incident import incident
from failover.reports.markdown import markdown
from failover.reports.performance import Performance, performance_impact
from failover.reports.period import parse_period
from failover.reports.phases import phases
from failover.reports.plan import taken
from failover.reports.rates import success_rates
from failover.telemetry import ProviderWindow
from tests.records import run_record

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def each(
    start: float, *, requests: int = 20, failed: int = 0, p95: int = 200, bedrock: int = 14, bad: int = 0
) -> Slice:
    return Slice(
        since=at(start),
        until=at(start + 1),
        requests=requests,
        failed=failed,
        lost=failed,
        empty=0,
        latency_p50=p95 * MS / 2,
        latency_p95=p95 * MS,
        providers=[
            ProviderWindow(
                provider="bedrock",
                route="",
                tries=bedrock,
                first_tries=bedrock,
                failures={FailureKind.SERVER_ERROR: bad} if bad else {},
                latency_p95=p95 * MS,
            ),
            ProviderWindow(
                provider="google", route="", tries=20 - bedrock, first_tries=20 - bedrock, latency_p95=300 * MS
            ),
        ],
    )


def failover(**changes: Any) -> RunRecord:
    """An immediate failover: well until 0, bad until 5, moved at 5, good from 8, closed at 9."""
    base = run_record(
        moments=Moments(
            first_bad=at(0),
            unhealthy=at(3),
            decided=at(3),
            in_force=at(5),
            verified=at(6),
            restored=at(8),
            closed=at(9),
        ),
        routes=[
            RouteShift(
                route="chat",
                before={"bedrock": 7000, "google": 3000},
                after={"bedrock": 0, "google": 10_000},
                target="google",
                revision="m.2",
            )
        ],
        timeline=[TimelineEntry(at=at(3), step="observe", text="seen")],
        impact=Impact(requests=100, failed=3, lost=0, baseline_p95=200 * MS, after_p95=220 * MS),
        concerns=["chat"],
        writes=[
            PolicyWrite(at=at(5), route="chat", step="shift", shares={"bedrock": 0, "google": 10_000}, revision="m.2")
        ],
        course=[
            *(each(second) for second in range(-5, 0)),
            *(each(second, failed=4, p95=900, bad=14) for second in range(5)),
            *(each(second, p95=300, bedrock=0) for second in range(5, 9)),
        ],
    )
    return replace(base, **changes)


def canary(**changes: Any) -> RunRecord:
    steps = [
        PlannedStep(
            name=f"step-{number}", shares={"bedrock": 10_000 - share, "google": share}, hold=timedelta(seconds=60)
        )
        for number, share in enumerate((500, 5000, 10_000))
    ]
    base = failover(
        procedure="CanaryFailover",
        workflow_id="canary/chat",
        moments=Moments(decided=at(0), in_force=at(1), verified=at(1), restored=at(200), closed=at(201)),
        steps=steps,
        targets=Targets(),
        writes=[
            PolicyWrite(at=at(0.5), route="chat", step="claim", shares={"bedrock": 10_000}),
            PolicyWrite(at=at(1), route="chat", step="step-0", shares=steps[0].shares),
            PolicyWrite(at=at(62), route="chat", step="step-1", shares=steps[1].shares),
            PolicyWrite(at=at(124), route="chat", step="step-2", shares=steps[2].shares),
            PolicyWrite(at=at(200), route="chat", step="release", shares=steps[2].shares),
        ],
    )
    return replace(base, **changes)


# Periods


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        (None, None, None),
        ("failover-window", None, None),
        ("24h", T0 - timedelta(hours=24), T0),
        ("7d", T0 - timedelta(days=7), T0),
        ("2026-01-01..2026-01-25", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 26, tzinfo=UTC)),
        ("2026-01-01…2026-01-25", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 26, tzinfo=UTC)),
        ("2026-01-01..", datetime(2026, 1, 1, tzinfo=UTC), T0),
        ("..2026-01-25", datetime(2000, 1, 1, tzinfo=UTC), datetime(2026, 1, 26, tzinfo=UTC)),
        ("2026-01-30", datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
        (
            "2026-01-30T10:00..2026-01-30T11:30",
            datetime(2026, 1, 30, 10, tzinfo=UTC),
            datetime(2026, 1, 30, 11, 30, tzinfo=UTC),
        ),
    ],
)
def test_periods_as_people_write_them(text: str | None, since: datetime | None, until: datetime | None) -> None:
    """A last day counts whole; what has no end ends now."""
    found = parse_period(text, T0)
    assert (found.since, found.until) == (since, until)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-01-25..2026-01-01", "0s", "2026-02-01..x", "9..8"]
)
def test_what_is_no_period(text: str) -> None:
    """It is said, with what would be one."""
    with pytest.raises(RequestError, match="--period"):
        parse_period(text, T0)


@given(st.text(max_size=40))
def test_no_words_break_the_parser(text: str) -> None:
    """A period, or a refusal."""
    try:
        found = parse_period(text, T0)
    except RequestError:
        return
    assert found.since is None or found.until is None or found.since < found.until


# Rates


def ended(outcome: Outcome, **changes: Any) -> RunRecord:
    return failover(outcome=outcome, **changes)


def test_rates_are_counted_apart() -> None:
    """By who started them; failbacks for themselves; other procedures are none of them."""
    records = [
        *[ended(Outcome.COMPLETED)] * 19,
        ended(Outcome.NEEDS_HUMAN),
        *[ended(Outcome.COMPLETED, trigger=Trigger.MANUAL)] * 2,
        ended(Outcome.COMPLETED, procedure="Failback"),
        ended(Outcome.STOPPED, procedure="Failback"),
        ended(Outcome.COMPLETED, procedure="ServiceSettings"),
    ]
    automated, manual, failback = success_rates(records, SuccessRates())
    assert (automated.succeeded, automated.counted, automated.percent, automated.met) == (19, 20, 95.0, False)
    assert (manual.succeeded, manual.counted, manual.met) == (2, 2, True)
    assert (failback.percent, failback.met) == (50.0, False)
    assert automated.interval is not None
    assert automated.interval.low == pytest.approx(76.4, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "counted", "succeeded"),
    [
        ({"outcome": Outcome.COMPLETED}, 1, 1),
        ({"outcome": Outcome.COMPLETED, "moments": Moments(decided=T0, closed=T0)}, 0, 0),
        ({"outcome": Outcome.ROLLED_BACK}, 1, 0),
        ({"outcome": Outcome.HELD}, 1, 0),
        ({"outcome": Outcome.STOPPED}, 1, 0),
        ({"outcome": Outcome.NEEDS_HUMAN, "moments": Moments(decided=T0, closed=T0)}, 1, 0),
        ({"outcome": Outcome.SUPERSEDED}, 0, 0),
        ({"outcome": Outcome.ABORTED}, 0, 0),
        ({"outcome": Outcome.REJECTED}, 0, 0),
    ],
)
def test_what_counts(changes: dict[str, Any], counted: int, succeeded: int) -> None:
    """What moved nothing, or was somebody else's to end, says nothing of how well failovers work; and why is told."""
    rate = success_rates([failover(**changes)], SuccessRates())[0]
    assert (rate.counted, rate.succeeded) == (counted, succeeded)
    assert bool(rate.left_out) is (counted == 0)


def test_no_run_is_no_rate() -> None:
    """Unknown: neither met nor missed."""
    assert [(rate.percent, rate.interval, rate.met) for rate in success_rates([], SuccessRates())] == [
        (None, None, None)
    ] * 3


# Phases and plans


def test_a_run_falls_into_phases() -> None:
    """By its own moments; what was counted in each is its own."""
    found = {phase.name: phase.users for phase in phases(failover())}
    assert list(found) == ["before", "in trouble", "settling", "after"]
    assert [one.requests for one in found.values()] == [100, 100, 60, 20]
    assert [one.failed for one in found.values()] == [0, 20, 0, 0]
    assert found["in trouble"].latency_p95 == 900 * MS
    assert found["in trouble"].error_percent == 20.0


def test_a_run_that_moved_nothing_has_no_settling() -> None:
    """Nor anything after."""
    record = failover(moments=Moments(first_bad=at(0), decided=at(3), closed=at(9)))
    assert [phase.name for phase in phases(record)] == ["before", "in trouble"]


def test_a_ramp_against_its_plan() -> None:
    """Each step as planned, or how it went instead."""
    assert [(step.went, step.held) for step in taken(canary())] == [
        ("as planned", timedelta(seconds=61)),
        ("as planned", timedelta(seconds=62)),
        ("as planned", timedelta(seconds=77)),
    ]
    whole = canary()
    back = [*whole.writes[:3], PolicyWrite(at=at(90), route="chat", step="put-back", shares={"bedrock": 10_000})]
    rolled = taken(replace(whole, writes=back, outcome=Outcome.ROLLED_BACK))
    assert [step.went for step in rolled] == ["as planned", "put back", "not reached"]
    hasty = [*whole.writes[:2], replace(whole.writes[2], at=at(20)), *whole.writes[3:]]
    assert [step.went for step in taken(replace(whole, writes=hasty))] == ["cut short", "took longer", "as planned"]
    less = [*whole.writes[:1], replace(whole.writes[1], shares={"bedrock": 9800, "google": 200}), *whole.writes[2:]]
    assert taken(replace(whole, writes=less))[0].went == "less was moved than planned"


def test_a_ramp_reports_against_its_own_plan() -> None:
    """The indicators bind immediate failovers."""
    told = markdown(incident(canary()))
    assert "## Against its plan" in told and "3 of 3 steps were taken." in told and "step-1" in told
    assert "Key performance indicators" not in told
    assert "## Key performance indicators" in markdown(incident(failover()))


# Reports


def performance(*runs: RunRecord, **changes: Any) -> Report:
    given: dict[str, Any] = {"runs": runs, "said": "x", "file_name": "f"} | changes
    return performance_impact(Performance(**given))


def effect(*runs: RunRecord, metrics: str | None = None) -> Report:
    return effectiveness(
        Effectiveness(
            runs=runs,
            period=runs,
            said="x",
            counted_over="y",
            indicators=parse_metrics(metrics),
            targets=SuccessRates(),
            file_name="f",
        )
    )


def test_only_the_metrics_that_are_asked_for() -> None:
    """In the runbook's words."""
    assert parse_metrics("detection_time,execution_time,impact") == [
        *("detection", "execution", "request loss", "user error rate", "degradation")
    ]
    assert set(parse_metrics(None)) == {kpi.name for kpi in measure(failover())}
    with pytest.raises(RequestError, match="there is no metric 'joy'"):
        parse_metrics("impact,joy")
    told = markdown(effect(failover(), metrics="detection_time"))
    assert "detection" in told and "restoration" not in told


BASELINE = PerformanceBaseline(
    route="chat",
    provider="google",
    model="gemini",
    at=at(-3600),
    window=timedelta(minutes=10),
    requests=500,
    success_percent=100,
    latency_p50=100 * MS,
    latency_p95=200 * MS,
)


def test_a_comparison_needs_something_to_compare_with() -> None:
    """Said, and not read as good; with one, the difference and its age."""
    assert "No baseline" in markdown(performance(failover(), baselines=[]))
    told = markdown(performance(failover(), baselines=[BASELINE]))
    assert "google (gemini) on route chat | 200 ms | 300 ms | +50.0 % | 60m old" in told
    old = markdown(performance(failover(), baselines=[BASELINE], stale_after=timedelta(minutes=5)))
    assert "OLDER than 5m" in old
    assert "baseline" not in markdown(performance(failover())).lower().replace("before", "")


def test_a_baseline_from_after_the_incident_is_no_comparison() -> None:
    """Of what was normal before it, it says nothing."""
    told = performance(failover(), baselines=[replace(BASELINE, at=at(3600))])
    assert "200 ms | 300 ms | – | of 2026-01-31 13:00:00, YOUNGER than the incident" in markdown(told)
    assert told.figures["runs"][0]["baselines"][0]["percent"] is None


KINDS: list[Callable[[RunRecord], Report]] = [
    lambda record: incident(record),
    lambda record: performance(record, baselines=[BASELINE]),
    lambda record: effect(record),
]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "record",
    [
        failover(),
        canary(),
        failover(outcome=Outcome.ABORTED, routes=[], writes=[], moments=Moments(decided=T0)),
        failover(outcome=Outcome.NEEDS_HUMAN, command="failoverctl restore chat", course=[], impact=None),
        canary(steps=[], writes=[], course=[], routes=[], outcome=Outcome.REJECTED, samples=[]),
    ],
)
def test_every_record_makes_every_report(make: Any, record: RunRecord) -> None:
    """Whole in each form, however the run ended and whatever is not known of it."""
    report = make(record)
    told, page = markdown(report), as_html(report)
    assert told.startswith("# ") and "None" not in told
    assert json.loads(json.dumps(report.figures))
    _Balanced().feed_whole(page)


class _Balanced(html.parser.HTMLParser):
    """Every element is closed in turn; nothing is fetched and nothing runs."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def feed_whole(self, page: str) -> None:
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "a"), tag
        assert not [name for name, _ in attrs if name in ("src", "href", "style") or name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Closed by itself, as shapes are."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_nobodys_words_become_markup() -> None:
    """Reasons are people's and providers' words."""
    evil = '<script>alert("x")</script> & |\n# not a title'
    record = failover(reason=evil, provider=evil, timeline=[TimelineEntry(at=T0, step=evil, text=evil)], notes=[evil])
    record = replace(record, routes=[replace(record.routes[0], target=evil)])  # In a table, too.
    _Balanced().feed_whole(as_html(incident(record)))
    assert "\n# not a title" not in markdown(incident(record))


def test_what_others_left_beside_the_record_is_told() -> None:
    """As sections where they say how, else by name; what cannot be read is named too."""
    beside = {
        "communications.json": {"report": {"title": "Who was told", "lines": ["Status page: resolved"]}, "more": 1},
        "aftercare.json": {"anything": 2},
        "broken.json": None,
    }
    told = markdown(incident(failover(), beside))
    assert "## Who was told\n\n- Status page: resolved" in told
    assert "## Beside this report\n\n- `aftercare.json`\n- `broken.json`" in told


def test_plots_stand_in_the_page() -> None:
    """Shares, first tries, errors, latency; with the run's moments marked, and the same told in words."""
    page = as_html(incident(failover()))
    assert len(re.findall("<svg ", page)) == 4
    for words in (
        "Traffic share of route chat",
        "First tries",
        "Error rate",
        "Latency",
        "first bad sample 12:00:00",
        "shift",
    ):
        assert words in page
    assert "users&#x27; requests failed from 0.0 to 0.0 %, at most 20.0" in page


moments = st.integers(min_value=0, max_value=3600).map(lambda number: at(number))
values = st.one_of(st.none(), st.floats(min_value=0, max_value=1e6))


@given(st.lists(st.tuples(moments, values), max_size=20), st.lists(moments, max_size=8), st.booleans())
def test_every_plot_can_be_drawn(
    points: list[tuple[datetime, float | None]], marked: list[datetime], stacked: bool
) -> None:
    """Within its frame, whatever there is to draw: nothing, one point, gaps, moments that coincide."""
    line = Line("one", sorted(points, key=lambda point: point[0]))
    marks = [Mark(when, "mark") for when in sorted(marked)]
    drawn = svg(Plot(title="t", unit="%", lines=[line], marks=marks, stacked=stacked, limit=5))
    assert bool(drawn) is bool(points)
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", re.sub(r"aria-label=\"[^\"]*\"", "", drawn)):
        assert 0 <= float(x) <= 720 and 0 <= float(y) <= 250


numbers = st.integers(min_value=0, max_value=500)


@given(numbers, numbers, numbers, st.integers(1, 900), st.integers(1, 900))
def test_every_figure_that_differs_makes_another_report(
    requests: int, failed: int, lost: int, p95: int, hold: int
) -> None:
    """Of the impact, the counted slices and the policy; in Markdown, HTML and JSON alike."""
    base = failover()
    changed = replace(
        base,
        impact=Impact(requests=requests + 1, failed=failed, lost=lost, baseline_p95=200 * MS, after_p95=p95 * MS),
        course=[*base.course[:-1], each(8, requests=requests, failed=failed, p95=p95)],
        writes=[replace(base.writes[0], at=at(hold))],
    )
    again = replace(changed, run_id=changed.run_id)
    differ = [json.dumps(make(base).figures) != json.dumps(make(changed).figures) for make in KINDS]
    assert differ == [True, True, measure(base) != measure(changed)], "effectiveness tells the indicators alone"
    for make in KINDS:
        other, same = make(changed), make(again)
        assert markdown(other) == markdown(same) and as_html(other) == as_html(same)
    assert markdown(incident(base)) != markdown(incident(changed))
    assert as_html(incident(base)) != as_html(incident(changed))


ALTERED: list[dict[str, Any]] = [
    {"course": [each(0, failed=1)]},
    {"course": []},
    {"writes": []},
    {"impact": None},
    {"outcome": Outcome.HELD},
    {"moments": Moments(first_bad=at(0), unhealthy=at(3), decided=at(3), in_force=at(5), restored=at(7), closed=at(9))},
    {"provider": "meta"},
]


@pytest.mark.parametrize("changes", ALTERED, ids=lambda changes: next(iter(changes)))
def test_performance_reports_differ_as_their_records_do(changes: dict[str, Any]) -> None:
    """But for the outcome, of which they do not speak, and the policy, which they draw."""
    other = performance(failover(**changes), baselines=[BASELINE])
    base = performance(failover(), baselines=[BASELINE])
    same = as_html(other) == as_html(base)
    assert same is ("outcome" in changes)


def test_many_runs_make_a_trend() -> None:
    """Median, worst, how often the target was met; ramps are not bound by the indicators."""
    slow = failover(
        moments=replace(failover().moments, unhealthy=at(40), decided=at(40), restored=at(400)), run_id="run-2"
    )
    report = effect(failover(), slow, canary())
    told = markdown(report)
    assert "| detection | 21.5 s | 40.0 s | < 30s | 1 of 2 |" in told
    assert "MISSED" in told and "canary" not in told.split("## Indicators")[1].split("## Runs")[0]
    assert as_html(report).count("<svg ") == 1


@pytest.mark.parametrize("procedure", ["MultiProviderEmergency", "ServiceSettings", "Proposal"])
def test_the_indicators_of_a_failover_judge_nothing_else(procedure: str) -> None:
    """An emergency lasts until somebody comes back: its hours are no restoration that was missed."""
    hours = Moments(decided=at(0), in_force=at(1), verified=at(2), restored=at(7200), closed=at(7201))
    other = failover(procedure=procedure, workflow_id="other", moments=hours, impact=None)
    told = markdown(incident(other))
    assert "indicator" not in told and "MISSED" not in told and "| total | 7201.0 s |" in told
    told = markdown(effect(other, failover()))
    assert "| restoration | 3.0 s | 3.0 s | < 2m | 1 of 1 |" in told and "MISSED" not in told
    assert "indicator" not in markdown(effect(other)).split("## The latest")[1]


def test_a_drill_is_judged_in_its_own_report_alone() -> None:
    """It practises a failover, and counts among none that was needed."""
    drill = failover(is_drill=True, workflow_id="drill/bedrock")
    assert "## Key performance indicators" in markdown(incident(drill))
    assert "No immediate failover is among the runs" in markdown(effect(drill))
    assert "| restoration | 3.0 s |" in markdown(effect(drill)).split("## The latest")[1]
    assert as_html(effect(drill, failover())).count("<svg ") == 0


def test_every_metric_is_an_indicator() -> None:
    assert {name for names in METRICS.values() for name in names} == {kpi.name for kpi in measure(failover())}
