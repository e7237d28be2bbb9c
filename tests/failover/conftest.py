"""What ramps are planned from, in the words of the runbook's example: chat at 70/20/10."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from failover.capacity import Headroom
from failover.config.kpis import Kpis
from failover.config.procedures import Procedures
from failover.config.routes import Approvals, Targets
from failover.gates import GateSample, Reading
from failover.health import Condition, Verdict
from failover.incident import Sample
from failover.policy import Revision
from failover.ramp import Origin, RampBrief, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}


def verdict(provider: str, condition: Condition = Condition.UNAVAILABLE) -> Verdict:
    return Verdict(provider=provider, condition=condition, reason="so it was measured", at=NOW)


def brief(
    found: Mapping[str, int] = FOUND,
    *,
    down: tuple[str, ...] = (),
    before: Mapping[str, int] | None = None,
    **more: Any,
) -> RampBrief:
    """A brief of the example route; `before`: what a failback returns to."""
    return RampBrief(
        **{
            "route": "chat",
            "found": Snapshot(revision=Revision("e", 1), distribution=dict(found)),
            "providers": ["bedrock", "google", "meta"],
            "chain": ["google", "meta"],
            "verdicts": [verdict(name) for name in down],
            "headroom": Headroom(),
            "targets": Targets(),
            "procedures": Procedures(),
            "approvals": Approvals(),
            "kpis": Kpis(),
            "origin": None if before is None else Origin(distribution=dict(before)),
            **more,
        }
    )


def reading(
    requests: int, good: int | None = None, p95_ms: float | None = 200, provider: str | None = "google"
) -> Reading:
    latency = None if p95_ms is None else timedelta(milliseconds=p95_ms)
    return Reading(provider=provider, requests=requests, good=requests if good is None else good, latency_p95=latency)


def sample(recent: list[Reading], whole: list[Reading] | None = None) -> GateSample:
    """One look; what was counted lately is all there is, unless something else is given for the whole step."""
    users = Sample(
        at=NOW,
        window=timedelta(seconds=60),
        requests=0,
        failed=0,
        lost=0,
        empty=0,
        latency_p95=None,
        first_tries={},
        good=True,
        reason="",
    )
    return GateSample(
        at=NOW,
        revision="e.1",
        author="run",
        claim="run",
        users=users,
        recent=recent,
        whole=recent if whole is None else whole,
    )
