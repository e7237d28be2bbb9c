"""Break-glass: the last good policy without Temporal, and what is said of what could not be known."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failover.distribution import Distribution, render
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Trigger
from failover.policy import Change, ChangedBy, Mode
from tests.records import run_record
from tests.starter.conftest import Desk

pytestmark = pytest.mark.timeout(180)

NOW = datetime.now(UTC)


def record(
    workflow_id: str, outcome: Outcome, before: Distribution, after: Distribution, closed: datetime
) -> RunRecord:
    shift = RouteShift(route="chat", before=dict(before), after=dict(after), target=None, revision="x.1")
    return run_record(
        procedure="CanaryFailover",
        workflow_id=workflow_id,
        run_id="r1",
        trigger=Trigger.MANUAL,
        requested_by="anna",
        outcome=outcome,
        reason="because",
        moments=Moments(decided=closed - timedelta(minutes=1), closed=closed),
        routes=[shift],
    )


async def written(desk: Desk, by: str, *, claim: str | None = None, mode: Mode | None = None, **shares: int) -> None:
    """A run changed the route."""
    policy = await desk.policy()
    change = Change(
        route="chat",
        decided_on=policy.revision,
        key=f"{by}/1",
        distribution={name: share * 100 for name, share in shares.items()},
        mode=mode,
        degraded={"banner": "late"} if mode else None,
        claim=claim,
        changed_by=ChangedBy(actor="anna", workflow_id=by, run_id="r1", step="step-1"),
        reason="a step",
    )
    [result] = await desk.plane.apply([change])
    assert result.in_force


SMALL = {"bedrock": 5000, "google": 4000, "meta": 1000}
LARGE = {"bedrock": 3000, "google": 6000, "meta": 1000}


@pytest.mark.parametrize(
    ("records", "good", "words"),
    [
        ([], "bedrock:70,google:20,meta:10", "the configured distribution"),
        (
            [record("canary/chat", Outcome.NEEDS_HUMAN, SMALL, LARGE, NOW + timedelta(hours=1))],
            render(SMALL),
            "what canary/chat found; it ended NEEDS_HUMAN",
        ),
        (
            [record("canary/chat", Outcome.COMPLETED, SMALL, LARGE, NOW + timedelta(hours=1))],
            render(LARGE),
            "what canary/chat ended with: COMPLETED",
        ),
        (
            [record("gradual/chat", Outcome.COMPLETED, LARGE, SMALL, NOW - timedelta(hours=1))],
            render(SMALL),
            "what gradual/chat, the last run on record, ended with",
        ),
    ],
)
async def test_what_was_good_is_told_by_whoever_knows(
    desk_without_worker: Desk, records: Sequence[RunRecord], good: str, words: str
) -> None:
    """The author's own record, else the last one, else the configuration; Temporal is down."""
    desk = desk_without_worker
    for one in records:
        desk.evidence.keep(one)
    await written(desk, "canary/chat", claim="canary/chat", bedrock=0, google=100)
    done = await desk.ctl("restore", "chat", "--yes", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert done.code == 0, done.err
    assert await desk.shares() == good and words in done.out
    assert "The claim of canary/chat is released: its next write is refused." in done.out
    assert (await desk.policy()).claim is None


async def test_a_wedged_run_finds_its_next_write_refused(desk: Desk) -> None:
    """Restored under a run that still goes on: by its plan what it had found; it ends superseded, touching nothing."""
    begun = await desk.ctl(
        *("canary", "--source-provider", "bedrock", "--target-provider", "google"),
        *("--traffic-percentage", "50", "--duration", "1"),
    )
    assert begun.code == 0
    await desk.until("canary/chat", lambda status: status["details"].get("stage") == "waiting for orders")
    done = await desk.ctl("restore", "chat", "--yes", "--json")
    assert done.code == 0 and done.data["why"] == "what canary/chat had found, by its plan"
    assert (done.data["released_claim"], done.data["unknown"]) == (
        "canary/chat",
        ["which providers are down: no worker tells"],
    )
    assert (await desk.ctl("watch", "canary/chat")).code == 7
    policy = await desk.policy()
    assert render(policy.distribution) == "bedrock:70,google:20,meta:10" and policy.changed_by.step == "restore"


async def test_degraded_service_ends_with_its_run_only(desk: Desk) -> None:
    """While Temporal does not answer nobody knows, so it stays and is said; where the emergency is gone it ends."""
    await written(desk, "emergency", mode=Mode.DEGRADED, bedrock=70, google=20, meta=10)
    blind = await desk.ctl("restore", "chat", "--yes", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert blind.code == 0 and "Not known: whether the emergency is still under way" in blind.out
    assert (await desk.policy()).mode is Mode.DEGRADED
    done = await desk.ctl("restore", "chat", "--yes")
    assert done.code == 0
    policy = await desk.policy()
    assert (policy.mode, policy.degraded) == (Mode.NORMAL, {})


async def test_it_says_what_it_cannot_do(desk_without_worker: Desk, tmp_path: Path) -> None:
    """An unknown route, a gateway that is away, a token that is not taken: nothing was changed."""
    desk = desk_without_worker
    unknown = await desk.ctl("restore", "chet", "--yes")
    assert unknown.code == 2 and "the routes are chat" in unknown.err
    away = await desk.ctl("restore", "chat", "--yes", FAILOVER_GATEWAY_URL="http://127.0.0.1:1")
    assert away.code == 5
    stranger = await desk.ctl("restore", "chat", "--yes", FAILOVER_API_TOKEN="wrong")
    assert stranger.code == 2
    assert (await desk.policy()).revision.number == 1


async def test_a_named_distribution_is_written_as_named(desk_without_worker: Desk) -> None:
    """By a process of its own, without a question where there is no terminal."""
    desk = desk_without_worker
    process = await desk.begin("restore", "chat", "--to", "meta:100")
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err
    assert b"as you named it" in out and await desk.shares() == "meta:100"
