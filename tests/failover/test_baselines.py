"""Baselines: when the time is healthy, what of it makes one, and what is said of a P95 beside it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.baselines import PerformanceBaseline, compare, measured, why_no_time_for_baselines
from failover.config.baselines import Baselines
from failover.failure import FailureKind
from failover.gates import Judgement
from failover.health import Condition, Verdict
from failover.policy import ChangedBy, Mode, Revision, TrafficPolicy
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=10)
MS = timedelta(milliseconds=1)

POLICY = TrafficPolicy(
    route="chat",
    revision=Revision("m", 1),
    distribution={"bedrock": 7000, "google": 3000, "meta": 0},
    changed_by=ChangedBy(actor="configuration"),
    reason="initial",
    changed_at=T0 - timedelta(days=1),
)


def verdict(provider: str, condition: Condition = Condition.HEALTHY) -> Verdict:
    return Verdict(provider=provider, condition=condition, reason="x", at=T0)


WELL = [verdict("bedrock"), verdict("google")]


@pytest.mark.parametrize(
    ("policy", "verdicts", "open_runs", "why"),
    [
        ({}, WELL, [], None),
        ({}, WELL, ["failback/chat"], "failback/chat is open"),
        ({"mode": Mode.DEGRADED}, WELL, [], "degraded service"),
        ({"claim": "canary/chat"}, WELL, [], "claimed by canary/chat"),
        ({"changed_at": T0 - timedelta(minutes=9)}, WELL, [], "changed within the window"),
        ({"changed_at": T0 - timedelta(minutes=11)}, WELL, [], None),
        ({}, [verdict("bedrock")], [], "nothing is known of google"),
        ({}, [], [], "nothing is known of bedrock"),
        ({}, [*WELL, verdict("meta", Condition.UNAVAILABLE)], [], "meta is unavailable"),
        ({}, [verdict("bedrock"), verdict("google", Condition.BLIND)], [], "google is blind"),
        ({}, [verdict("bedrock"), verdict("google", Condition.SLOW)], [], "google is slow"),
    ],
)
def test_what_is_healthy_time(
    policy: dict[str, Any], verdicts: list[Verdict], open_runs: list[str], why: str | None
) -> None:
    """No run open, nothing changed, service normal, and everybody known to be well: no data is not good news."""
    found = why_no_time_for_baselines([replace(POLICY, **policy)], verdicts, open_runs, T0 - WINDOW)
    assert (found is None) if why is None else (found is not None and why in found)


def tries(provider: str, count: int, failed: int = 0, p95: timedelta | None = 200 * MS) -> ProviderWindow:
    failures = {FailureKind.SERVER_ERROR: failed} if failed else {}
    return ProviderWindow(
        provider=provider,
        route="chat",
        tries=count,
        first_tries=count,
        failures=failures,
        latency_p50=p95,
        latency_p95=p95,
    )


def counted(*windows: ProviderWindow, users: int = 500, failed: int = 0) -> Telemetry:
    route = RouteWindow(route="chat", requests=users, failed=failed, lost=failed, empty=0, latency_p95=210 * MS)
    return Telemetry(at=T0, since=T0 - WINDOW, providers=windows, routes=[route])


MODELS = {"bedrock": "claude", "google": "gemini"}


def subjects(telemetry: Telemetry, **settings: Any) -> list[str]:
    found = measured(telemetry, MODELS, ["bedrock", "google"], Baselines(**settings))
    return [one.provider or "users" for one in found]


def test_a_baseline_a_provider_model_and_route() -> None:
    """And one of the users, whoever serves them."""
    [users, bedrock] = measured(counted(tries("bedrock", 400)), MODELS, ["bedrock"], Baselines())
    assert (users.provider, users.model, users.requests, users.latency_p95) == ("", "", 500, 210 * MS)
    assert (bedrock.route, bedrock.provider, bedrock.model, bedrock.window) == ("chat", "bedrock", "claude", WINDOW)
    assert (bedrock.requests, bedrock.success_percent, bedrock.at) == (400, 100.0, T0)


@pytest.mark.parametrize(
    ("telemetry", "expected"),
    [
        (counted(tries("bedrock", 99), tries("google", 100)), ["users", "google"]),
        (counted(tries("bedrock", 100, failed=2)), ["users", "bedrock"]),
        (counted(tries("bedrock", 100, failed=3)), ["users"]),
        (counted(tries("bedrock", 100, p95=None)), ["users"]),
        (counted(tries("unheard-of", 100)), ["users"]),
        (counted(users=500, failed=11), []),
        (counted(users=0), []),
    ],
)
def test_what_makes_no_baseline(telemetry: Telemetry, expected: list[str]) -> None:
    """Too few requests, too many bad ones, no latency, a provider of which nothing is known."""
    assert subjects(telemetry) == expected


BASELINE = PerformanceBaseline(
    route="chat",
    provider="bedrock",
    model="claude",
    at=T0 - timedelta(hours=1),
    window=WINDOW,
    requests=500,
    success_percent=100,
    latency_p50=100 * MS,
    latency_p95=200 * MS,
)


@pytest.mark.parametrize(
    ("p95", "requests", "baseline", "judged", "said"),
    [
        (239 * MS, 50, BASELINE, Judgement.PASS, "P95 239 ms of 50, +19.5 %"),
        (240 * MS, 50, BASELINE, Judgement.FAIL, "+20.0 %, limit +20 %"),
        (100 * MS, 50, BASELINE, Judgement.PASS, "-50.0 %"),
        (500 * MS, 49, BASELINE, Judgement.INCONCLUSIVE, "49 requests, 50 are needed to tell"),
        (None, 80, BASELINE, Judgement.INCONCLUSIVE, "are needed to tell"),
        (100 * MS, 50, None, Judgement.INCONCLUSIVE, "no baseline is recorded yet"),
    ],
)
def test_a_p95_beside_its_baseline(
    p95: timedelta | None, requests: int, baseline: PerformanceBaseline | None, judged: Judgement, said: str
) -> None:
    """Without a baseline, or with too few requests, it is not proved."""
    found = compared(p95, requests, baseline)
    assert found.judgement is judged and said in found.said


def compared(p95: timedelta | None, requests: int, baseline: PerformanceBaseline | None, days: float = 0) -> Any:
    return compare(
        p95,
        requests,
        baseline,
        limit_percent=20,
        minimum=50,
        now=T0 + timedelta(days=days),
        stale_after=timedelta(days=7),
    )


def test_an_old_baseline_is_warned_of() -> None:
    """It still compares, and its age is told each time."""
    assert "60m old" in compared(200 * MS, 50, BASELINE).said
    old = compared(200 * MS, 50, BASELINE, days=7)
    assert old.judgement is Judgement.PASS and "OLDER than 7d" in old.said
