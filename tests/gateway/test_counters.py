"""Windows of what happened: exact in counts, close in percentiles, bounded in time."""

import random
from datetime import UTC, datetime, timedelta

from failover.failure import FailureKind
from gateway.counters import KEPT, Counters, RequestOutcome

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_percentiles_are_within_five_percent() -> None:
    """Of ten thousand latencies between 1 ms and 10 s."""
    counters, rng = Counters(), random.Random(1)
    latencies = sorted(timedelta(milliseconds=10 ** rng.uniform(0, 4)) for _ in range(10_000))
    for latency in latencies:
        number = counters.begin_request("chat", started=T0)
        counters.count_request("chat", number, started=T0, outcome=RequestOutcome.ANSWERED, latency=latency)
    window = counters.read(T0 - SECOND, None, T0 + SECOND).routes[0]
    for found, exact in ((window.latency_p50, latencies[5_000]), (window.latency_p95, latencies[9_500])):
        assert found is not None
        assert abs(found / exact - 1) < 0.05


def test_a_window_holds_what_began_in_it() -> None:
    """From `since`, up to but without `until`."""
    counters = Counters()
    for second in range(10):
        counters.count_try(
            "chat",
            "bedrock",
            started=T0 + second * SECOND,
            first=True,
            failure=FailureKind.TIMEOUT if second == 3 else None,
            latency=SECOND,
        )
    read = counters.read(T0 + 2 * SECOND, T0 + 5 * SECOND, T0 + 10 * SECOND).providers[0]
    assert (read.tries, read.failures, read.first_failure_at) == (3, {FailureKind.TIMEOUT: 1}, T0 + 3 * SECOND)


def test_each_class_of_failure_has_a_first_of_its_own() -> None:
    """A trouble begins with its own first failure, not with another's that went before."""
    counters = Counters()
    kinds = [FailureKind.THROTTLED, FailureKind.PERMISSION, FailureKind.THROTTLED, FailureKind.PERMISSION]
    for second, kind in enumerate(kinds):
        counters.count_try(
            "chat",
            "bedrock",
            started=T0 + second * SECOND,
            first=True,
            failure=kind,
            latency=None,
            injected=second == 3,
        )
    read = counters.read(T0, T0 + 10 * SECOND, T0 + 10 * SECOND).providers[0]
    assert read.first_failures == {FailureKind.THROTTLED: T0, FailureKind.PERMISSION: T0 + SECOND}


def test_a_request_is_pending_until_it_ends() -> None:
    """By the moment at which it began; dropped or counted twice it ends once."""
    counters = Counters()
    hanging, answered, mistaken = (counters.begin_request("chat", started=T0) for _ in range(3))
    counters.begin_request("other", started=T0 + 3 * SECOND)
    counters.count_request("chat", answered, started=T0, outcome=RequestOutcome.ANSWERED, latency=SECOND)
    counters.drop_request(answered, started=T0)
    counters.drop_request(mistaken, started=T0)

    def read() -> dict[str, tuple[int, int]]:
        found = counters.read(T0 - SECOND, T0 + SECOND, T0 + 10 * SECOND).routes
        return {one.route: (one.requests, one.pending) for one in found}

    assert read() == {"chat": (1, 1)}
    counters.count_request("chat", hanging, started=T0, outcome=RequestOutcome.FAILED, latency=30 * SECOND)
    assert read() == {"chat": (2, 0)}


def test_what_is_old_is_forgotten() -> None:
    """Memory does not grow with time."""
    counters = Counters()
    for tick in range(int((KEPT.total_seconds() + 600) * 10)):
        started = T0 + tick * timedelta(milliseconds=100)
        number = counters.begin_request("chat", started=started)
        counters.count_request("chat", number, started=started, outcome=RequestOutcome.ANSWERED, latency=SECOND)
    assert len(counters._ticks) <= KEPT.total_seconds() * 10 + 65
