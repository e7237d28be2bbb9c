"""From probes and counted tries to a verdict: the design's table of what is seen and what it means."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failover.config.detection import Detection
from failover.failure import Failure, FailureKind
from failover.health import Condition, Health, Probe, ProbeHistory, Verdict, judge, note, note_latency
from failover.telemetry import ProviderWindow, Telemetry

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SETTINGS = Detection()
WINDOW = SETTINGS.server_errors.window


def probe(at: int, kind: FailureKind | None = None, control: bool | None = None) -> Probe:
    failure = Failure(kind=kind, provider="bedrock", detail="x") if kind else None
    return Probe(
        provider="bedrock", at=T0 + at * SECOND, latency=SECOND / 10, failure=failure, control_plane_up=control
    )


def history(*probes: Probe) -> ProbeHistory:
    known = ProbeHistory()
    for one in probes:
        known = note(known, one, SETTINGS)
    return known


def tries(count: int, failures: dict[FailureKind, int] | None = None, p95_ms: int = 100, at: int = 15) -> Telemetry:
    window = ProviderWindow(
        provider="bedrock",
        route="chat",
        tries=count,
        first_tries=count,
        failures=failures or {},
        latency_p95=timedelta(milliseconds=p95_ms),
        first_failures=dict.fromkeys(failures or {}, T0),
    )
    return Telemetry(at=T0 + at * SECOND, since=T0, providers=[window], routes=[])


def verdict(known: ProbeHistory, telemetry: Telemetry | None = None, at: int = 15) -> Verdict:
    return judge("bedrock", known, {WINDOW: telemetry}, SETTINGS, T0 + at * SECOND)


DOWN = [
    *(
        (kind, Condition.UNAVAILABLE)
        for kind in (
            FailureKind.SERVER_ERROR,
            FailureKind.NETWORK,
            FailureKind.CUT_STREAM,
            FailureKind.TIMEOUT,
            FailureKind.MODEL_LOADING,
            FailureKind.MODEL_UNAVAILABLE,
            FailureKind.REGION,
            FailureKind.CAPACITY,
        )
    ),
    *(
        (kind, Condition.UNUSABLE)
        for kind in (
            FailureKind.AUTHENTICATION,
            FailureKind.PERMISSION,
            FailureKind.HARD_QUOTA,
        )
    ),
    (FailureKind.INVALID_ANSWER, Condition.INVALID_ANSWERS),
]


@pytest.mark.parametrize(("kind", "condition"), DOWN)
def test_three_failures_in_a_row_condemn(kind: FailureKind, condition: Condition) -> None:
    """Each class of failure, three times, is the condition that the table gives it; the first one dates the trouble."""
    found = verdict(history(probe(0, kind), probe(5, kind), probe(10, kind)))
    assert found.condition is condition
    assert found.health is Health.UNHEALTHY
    assert found.first_bad_at == T0
    assert found.cause is not None
    assert found.cause.kind is kind


def test_two_failures_are_a_blip() -> None:
    """Fewer than three in a row is healthy, noted."""
    found = verdict(history(probe(5, FailureKind.SERVER_ERROR), probe(10, FailureKind.SERVER_ERROR)))
    assert found.condition is Condition.HEALTHY
    assert "2 of 3" in found.reason


def test_one_success_resets_the_count() -> None:
    """Two failures, a good answer, two failures: healthy."""
    bad = FailureKind.SERVER_ERROR
    found = verdict(history(probe(0, bad), probe(3, bad), probe(6), probe(9, bad), probe(12, bad)))
    assert found.condition is Condition.HEALTHY


def test_probes_that_end_out_of_order_count_by_when_they_began() -> None:
    """A late failure of an older probe does not undo a newer success; a late success does not absolve newer failures."""
    bad = FailureKind.TIMEOUT
    recovered = history(probe(10), probe(5, bad), probe(6, bad), probe(7, bad))
    assert verdict(recovered, at=12).condition is Condition.HEALTHY
    assert recovered.failures == []
    failing = history(probe(6, bad), probe(7, bad), probe(8, bad), probe(5))
    assert verdict(failing, at=12).condition is Condition.UNAVAILABLE


def test_failures_older_than_the_memory_do_not_count() -> None:
    """Three failures spread over more than 300 s are not three in a row."""
    bad = FailureKind.SERVER_ERROR
    found = verdict(history(probe(0, bad), probe(200, bad), probe(310, bad)), at=312)
    assert found.condition is Condition.HEALTHY


def test_a_throttled_probe_alone_is_inconclusive() -> None:
    """It neither condemns nor resets the count."""
    throttled = FailureKind.THROTTLED
    assert verdict(history(*(probe(n, throttled) for n in range(10, 14)))).condition is Condition.BLIND
    bad = FailureKind.SERVER_ERROR
    known = history(probe(0, bad), probe(5, bad), probe(8, throttled), probe(10, bad))
    assert verdict(known).condition is Condition.UNAVAILABLE


@pytest.mark.parametrize(
    ("count", "failures", "condition"),
    [
        (100, {FailureKind.SERVER_ERROR: 10}, Condition.UNAVAILABLE),
        (100, {FailureKind.SERVER_ERROR: 5}, Condition.HEALTHY),
        (100, {FailureKind.SERVER_ERROR: 3, FailureKind.TIMEOUT: 3}, Condition.UNAVAILABLE),
        (19, {FailureKind.SERVER_ERROR: 19}, Condition.HEALTHY),
        (20, {FailureKind.AUTHENTICATION: 2}, Condition.UNUSABLE),
        (20, {FailureKind.INVALID_ANSWER: 2}, Condition.INVALID_ANSWERS),
        (100, {FailureKind.THROTTLED: 11}, Condition.THROTTLED),
        (100, {FailureKind.THROTTLED: 10}, Condition.HEALTHY),
        (100, {FailureKind.BAD_REQUEST: 100}, Condition.HEALTHY),
    ],
)
def test_users_tries_speak_though_probes_are_green(
    count: int, failures: dict[FailureKind, int], condition: Condition
) -> None:
    """Over the limit and with enough tries they condemn; users' own bad requests never do."""
    found = verdict(history(probe(14)), tries(count, failures))
    assert found.condition is condition
    if condition is not Condition.HEALTHY:
        assert found.first_bad_at == T0


def test_a_trouble_begins_with_its_own_first_failure() -> None:
    """What failed before in another way, and condemned nobody, does not make the detection late."""
    told = tries(100, {FailureKind.THROTTLED: 3, FailureKind.PERMISSION: 10})
    [window] = told.providers
    firsts = {FailureKind.THROTTLED: T0, FailureKind.PERMISSION: T0 + 5 * SECOND}
    found = verdict(history(probe(14)), replace(told, providers=[replace(window, first_failures=firsts)]))
    assert (found.condition, found.first_bad_at) == (Condition.UNUSABLE, T0 + 5 * SECOND)


def test_throttling_does_not_make_a_provider_down() -> None:
    """It still serves: nothing may drive all of its traffic away."""
    found = verdict(history(probe(14)), tries(100, {FailureKind.THROTTLED: 30}))
    assert found.condition is Condition.THROTTLED
    assert not found.down
    assert found.share_percent == 30


def test_no_data_is_not_good_news() -> None:
    """Nothing measured, or nothing lately, is blind: neither healthy nor unhealthy."""
    assert verdict(ProbeHistory()).health is Health.UNKNOWN
    assert verdict(history(probe(0)), at=16).health is Health.UNKNOWN
    assert verdict(history(probe(0)), None, at=14).health is Health.HEALTHY


def test_a_red_control_plane_alone_is_healthy_and_noted() -> None:
    """Inference speaks; the listing of models does not."""
    found = verdict(history(probe(14, control=False)))
    assert found.condition is Condition.HEALTHY
    assert "control plane" in found.reason


def test_a_green_control_plane_makes_nobody_healthy() -> None:
    """Three failed completions condemn, whatever the listing says."""
    bad = FailureKind.SERVER_ERROR
    known = history(*(probe(n, bad, control=True) for n in (0, 5, 10)))
    assert verdict(known).condition is Condition.UNAVAILABLE


def test_what_the_control_plane_said_is_remembered_between_asks() -> None:
    """A probe that did not ask keeps the last word."""
    assert verdict(history(probe(10, control=False), probe(14))).reason.endswith("does not answer")


def test_slow_for_five_minutes_is_slow_and_less_is_not() -> None:
    """P95 over 3000 ms must last the whole window, without a good reading between."""
    known = history(probe(0))
    for at in range(0, 300, 10):
        known = note_latency(known, tries(50, p95_ms=3500, at=at), "bedrock", SETTINGS)
    assert verdict(replace(known, last=probe(290)), at=299).condition is Condition.HEALTHY
    assert verdict(replace(known, last=probe(300)), at=301).condition is Condition.SLOW
    relieved = note_latency(known, tries(50, p95_ms=900, at=300), "bedrock", SETTINGS)
    assert verdict(replace(relieved, last=probe(300)), at=301).condition is Condition.HEALTHY


@pytest.mark.parametrize("reading", [None, tries(19, p95_ms=9000), Telemetry(at=T0, since=T0, providers=[], routes=[])])
def test_too_few_tries_say_nothing_about_latency(reading: Telemetry | None) -> None:
    """Neither does silence end a slow spell, nor a handful of tries begin one."""
    assert note_latency(ProbeHistory(), reading, "bedrock", SETTINGS).slow_since is None
    slow = ProbeHistory(slow_since=T0)
    assert note_latency(slow, reading, "bedrock", SETTINGS).slow_since == T0
