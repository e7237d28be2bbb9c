"""Pass, fail or nobody can tell: what samples amount to, and what a hold does about it."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.gates import (
    Action,
    Consequence,
    Gate,
    GateSample,
    GateState,
    Judgement,
    Metric,
    Reading,
    after,
    after_error,
    decide,
    fresh,
    judge,
    standing,
    would_have_failed,
)
from tests.failover.conftest import reading, sample

PASS, FAIL, INCONCLUSIVE = Judgement.PASS, Judgement.FAIL, Judgement.INCONCLUSIVE

SUCCESS = Gate(
    name="google success",
    metric=Metric.SUCCESS_PERCENT,
    provider="google",
    pass_at=98,
    fail_at=95,
    minimum_requests=50,
    failures=2,
    errors=4,
)
LATENCY = replace(SUCCESS, name="google latency", metric=Metric.LATENCY_P95_MS, pass_at=1500, fail_at=3000)
WORSE = replace(
    SUCCESS, name="bedrock still serves", provider="bedrock", pass_at=50, fail_at=50, consequence=Consequence.HASTEN
)

GOOD, BAD, BAND, FEW = (sample([reading(100, good)]) for good in (100, 90, 96, 100))
FEW = sample([reading(49)])
SAMPLES = {"good": GOOD, "bad": BAD, "band": BAND, "few": FEW}


def run(gate: Gate, words: str) -> GateState:
    """The state after samples by name; "error" is the monitor's own failure."""
    [state] = fresh([gate])
    for word in words.split():
        state = after_error(state, "no answer") if word == "error" else after(gate, state, SAMPLES[word])
    return state


@pytest.mark.parametrize(
    ("good", "found"),
    [
        (1000, PASS),
        (980, PASS),
        (979, INCONCLUSIVE),
        (950, INCONCLUSIVE),
        (949, FAIL),
        (0, FAIL),
    ],
)
def test_success_has_a_threshold_for_each_verdict_and_a_band_between_them(good: int, found: Judgement) -> None:
    """From 98 % it passes, below 95 % it fails; between the two nobody can tell."""
    assert judge(SUCCESS, sample([reading(1000, good)]))[0] is found


@pytest.mark.parametrize(
    ("p95_ms", "found"), [(1, PASS), (1500, PASS), (1501, INCONCLUSIVE), (3000, INCONCLUSIVE), (3001, FAIL)]
)
def test_latency_is_better_the_lower_it_is(p95_ms: float, found: Judgement) -> None:
    """The same band, upside down."""
    assert judge(LATENCY, sample([reading(100, p95_ms=p95_ms)]))[0] is found


def test_without_a_band_there_is_nothing_between_good_and_bad() -> None:
    """One threshold for both: 98 passes, 97.9 fails."""
    gate = replace(SUCCESS, fail_at=98)
    assert [judge(gate, sample([reading(1000, good)]))[0] for good in (980, 979)] == [PASS, FAIL]


@pytest.mark.parametrize(
    "seen",
    [
        sample([]),
        sample([reading(0)]),
        sample([reading(49, 0)]),
        sample([reading(1000, provider="meta")]),
        sample([reading(1000, provider=None)]),
    ],
    ids=["empty", "nobody", "too few, all bad", "somebody else's", "the users' alone"],
)
def test_too_little_data_is_neither_good_nor_bad(seen: GateSample) -> None:
    """Empty, too few, or another's: inconclusive, and the reason says how many are needed."""
    found, reason = judge(SUCCESS, seen)
    assert found is INCONCLUSIVE
    assert "50 are needed" in reason


def test_what_is_no_number_is_no_measurement() -> None:
    """NaN and a missing percentile never pass and never fail."""
    for gate, bad in ((LATENCY, reading(100, p95_ms=None)), (replace(LATENCY, pass_at=math.nan), reading(100))):
        assert judge(gate, sample([bad]))[0] is INCONCLUSIVE
    assert judge(SUCCESS, sample([replace(reading(100), good=math.nan)]))[0] is INCONCLUSIVE  # type: ignore[arg-type]  # as a monitor may


@pytest.mark.parametrize(
    ("lately", "since_the_step", "found"),
    [
        (reading(100, 100), reading(1000, 900), FAIL),
        (reading(100, 90), reading(1000, 999), FAIL),
        (reading(100, 96), reading(1000, 999), INCONCLUSIVE),
        (reading(10, 0), reading(1000, 990), PASS),
        (reading(100, 100), reading(1000, 990), PASS),
    ],
)
def test_the_worse_of_lately_and_since_the_step_counts(
    lately: Reading, since_the_step: Reading, found: Judgement
) -> None:
    """A burst that passed long ago is not forgotten, one of now is not averaged away; too few of either do not speak."""
    assert judge(SUCCESS, sample([lately], [since_the_step]))[0] is found


def test_a_figure_that_misses_never_reads_as_one_that_meets() -> None:
    """97.96 % fails at 98 %, and is not told as 98.0 %."""
    _, reason = judge(replace(SUCCESS, fail_at=98), sample([reading(10_000, 9796)]))
    assert "97.9 % good" in reason


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("good", PASS),
        ("bad", INCONCLUSIVE),
        ("bad bad", FAIL),
        ("bad good bad", INCONCLUSIVE),
        ("bad band bad", FAIL),
        ("bad few bad", FAIL),
        ("bad error bad", FAIL),
        ("bad bad good", PASS),
        ("bad bad few", FAIL),
        ("bad bad error", FAIL),
        ("good few", INCONCLUSIVE),
        ("good band", INCONCLUSIVE),
        ("good error", INCONCLUSIVE),
        ("good bad", INCONCLUSIVE),
        ("error good", PASS),
    ],
)
def test_bad_samples_fail_a_gate_with_no_good_one_between_them(words: str, found: Judgement) -> None:
    """One bad sample is neither a failure nor a pass; silence between two of them is no good news."""
    assert standing(SUCCESS, run(SUCCESS, words)) is found


def test_the_monitors_own_errors_are_counted_apart() -> None:
    """They are no bad measurements, and one that answers ends them."""
    state = run(SUCCESS, "error error error")
    assert (state.errors, state.failures, state.samples) == (3, 0, 0)
    assert run(SUCCESS, "error error error few").errors == 0


def decided(words: dict[str, str], *gates: Gate, over: bool) -> Action:
    """`words`: gate name → its samples."""
    return decide(gates, {gate.name: run(gate, words[gate.name]) for gate in gates}, over=over).action


@pytest.mark.parametrize(
    ("words", "in_time", "over"),
    [
        ("", Action.WAIT, Action.ASK),
        ("good", Action.WAIT, Action.PROCEED),
        ("bad", Action.WAIT, Action.ASK),
        ("bad bad", Action.FAIL, Action.FAIL),
        ("band", Action.WAIT, Action.ASK),
        ("few", Action.WAIT, Action.ASK),
        ("error error error", Action.WAIT, Action.ASK),
        ("error error error error", Action.ASK, Action.ASK),
        ("bad bad error error error error", Action.FAIL, Action.FAIL),
        ("good error error error error", Action.ASK, Action.ASK),
    ],
)
def test_a_failure_acts_at_any_time_and_everything_else_at_the_end(words: str, in_time: Action, over: Action) -> None:
    """Only a pass at the end proceeds; blindness asks at once, the rest of doubt when the hold is over."""
    assert decided({SUCCESS.name: words}, SUCCESS, over=False) is in_time
    assert decided({SUCCESS.name: words}, SUCCESS, over=True) is over


def test_every_guard_must_pass() -> None:
    """One that passes does not speak for one that cannot tell, and the reason names who holds it up."""
    states = {SUCCESS.name: run(SUCCESS, "good"), LATENCY.name: run(LATENCY, "few")}
    decision = decide([SUCCESS, LATENCY], states, over=True)
    assert decision.action is Action.ASK
    assert "google latency" in decision.reason
    assert "google success" not in decision.reason


def test_a_gate_that_is_not_enforced_is_reported_only() -> None:
    """It stops nothing, and the report says what it would have done."""
    watched = replace(SUCCESS, enforce=False)
    states = {watched.name: run(watched, "bad bad")}
    assert decide([watched], states, over=True).action is Action.PROCEED
    assert would_have_failed([watched], states)[0].endswith("(not enforced)")
    assert would_have_failed([SUCCESS], states) == []


ASKED_FOR: dict[str, Any] = {"bad": sample([reading(100, 10, provider="bedrock")])}


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ("bad bad", "good", Action.HASTEN),
        ("bad bad", "few", Action.HASTEN),
        ("bad", "good", Action.WAIT),
        ("bad bad", "bad", Action.WAIT),
        ("bad bad", "bad bad", Action.FAIL),
        ("bad bad error error error error", "good error error error error", Action.ASK),
    ],
)
def test_the_source_got_worse_means_faster_unless_the_target_suffers_too(
    source: str, target: str, found: Action
) -> None:
    """Nothing is hurried onto a target whose last sample was bad, nor on counters that nobody can read."""
    worse = GateState(name=WORSE.name)
    for word in source.split():
        worse = after_error(worse, "no answer") if word == "error" else after(WORSE, worse, ASKED_FOR[word])
    states = {WORSE.name: worse, SUCCESS.name: run(SUCCESS, target)}
    assert decide([WORSE, SUCCESS], states, over=False).action is found


def test_a_source_that_serves_well_is_not_asked_to() -> None:
    """Its gate can only hurry: the hold is passed whatever is known of the source."""
    states = {WORSE.name: GateState(name=WORSE.name), SUCCESS.name: run(SUCCESS, "good")}
    assert decide([WORSE, SUCCESS], states, over=True).action is Action.PROCEED


def test_a_hold_that_nothing_watches_is_passed_by_time_alone() -> None:
    """No gates: wait, then go on."""
    assert [decide([], {}, over=over).action for over in (False, True)] == [Action.WAIT, Action.PROCEED]


WORDS = st.lists(st.sampled_from([*SAMPLES, "error"]), max_size=12)


@given(WORDS)
def test_whatever_was_sampled_a_pass_needs_a_good_last_sample(words: list[str]) -> None:
    """No order of samples passes on silence, on errors or on a bad end."""
    state = run(SUCCESS, " ".join(words))
    action = decide([SUCCESS], {SUCCESS.name: state}, over=True).action
    assert (action is Action.PROCEED) == (bool(words) and words[-1] == "good")


@given(WORDS)
def test_whatever_was_sampled_a_failure_needs_as_many_bad_ones_as_the_gate_says(words: list[str]) -> None:
    """Counted since the last good one, however much silence lies between."""
    since = words[len(words) - words[::-1].index("good") :] if "good" in words else words
    state = run(SUCCESS, " ".join(words))
    assert (standing(SUCCESS, state) is FAIL) == (since.count("bad") >= SUCCESS.failures)


@given(
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.one_of(st.none(), st.integers(0, 10_000).map(lambda ms: timedelta(milliseconds=ms))),
)
def test_a_verdict_never_contradicts_its_thresholds(requests: int, bad: int, latency: timedelta | None) -> None:
    """A pass is at the threshold or better with enough requests; a failure is past the other one."""
    seen = Reading(provider="google", requests=requests, good=max(0, requests - bad), latency_p95=latency)
    found, _ = judge(SUCCESS, sample([seen]))
    share = 100 * seen.good / requests if requests else math.nan
    assert (found is PASS) == (requests >= 50 and share >= 98)
    assert (found is FAIL) == (requests >= 50 and share < 95)
    slow, _ = judge(LATENCY, sample([seen]))
    assert (slow is PASS) == (requests >= 50 and latency is not None and latency <= timedelta(milliseconds=1500))
