"""Every change is fenced: compare-and-set on the revision, idempotent by key, one claim at a time."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.policy import (
    KEPT_KEYS,
    Change,
    ChangedBy,
    ChangeStatus,
    Revision,
    RouteRecord,
    TrafficPolicy,
    apply,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = Revision("e1", 1)


def record() -> RouteRecord:
    policy = TrafficPolicy(
        route="chat",
        revision=FIRST,
        distribution={"bedrock": 7000, "google": 3000},
        changed_by=ChangedBy(actor="config"),
        reason="initial",
        changed_at=NOW,
    )
    return RouteRecord(policy=policy)


def change(key: str = "k1", on: Revision = FIRST, **other: object) -> Change:
    values = {
        "route": "chat",
        "decided_on": on,
        "key": key,
        "distribution": {"bedrock": 0, "google": 10000},
        "changed_by": ChangedBy(actor="anna", workflow_id="failover/bedrock"),
        "reason": "bedrock is down",
    }
    return Change(**{**values, **other})  # type: ignore[arg-type]


def applied(start: RouteRecord, *changes: Change) -> RouteRecord:
    for one in changes:
        after, result = apply(start, one, NOW)
        assert result.status is ChangeStatus.APPLIED, result.reason
        assert after is not None
        start = after
    return start


def test_a_change_on_the_current_revision_is_in_force() -> None:
    """It becomes the policy, one revision on, with its author."""
    after, result = apply(record(), change(), NOW)
    assert result.status is ChangeStatus.APPLIED
    assert after is not None
    assert after.policy.revision == Revision("e1", 2)
    assert after.policy.distribution == {"bedrock": 0, "google": 10000}
    assert after.policy.changed_by.workflow_id == "failover/bedrock"


@pytest.mark.parametrize("stale", [Revision("e1", 0), Revision("e1", 2), Revision("e0", 1)])
def test_a_stale_revision_is_refused_with_the_current_one(stale: Revision) -> None:
    """An older number, a future one, or another store's epoch: refused, and told what is in force and by whom."""
    before = record()
    after, result = apply(before, change(on=stale), NOW)
    assert after is before
    assert result.status is ChangeStatus.REFUSED
    assert result.policy == before.policy
    assert "config" in result.reason


def test_a_repeated_key_changes_nothing() -> None:
    """The same key again is answered as done, whatever revision it now carries."""
    after = applied(record(), change())
    again, result = apply(after, change(on=Revision("e1", 7)), NOW)
    assert again is after
    assert result.status is ChangeStatus.REPEATED
    assert result.in_force


def test_a_repeated_key_says_whether_it_was_superseded() -> None:
    """Once somebody else changed the route, the repetition is not in force."""
    after = applied(record(), change(), change(key="k2", on=Revision("e1", 2), distribution={"google": 10000}))
    again, result = apply(after, change(), NOW)
    assert again is after
    assert result.status is ChangeStatus.SUPERSEDED
    assert not result.in_force


def test_a_repeated_key_with_another_body_is_refused() -> None:
    """A key names one change for good."""
    after = applied(record(), change())
    again, result = apply(after, change(distribution={"google": 5000, "bedrock": 5000}), NOW)
    assert again is after
    assert result.status is ChangeStatus.REFUSED


def test_the_last_keys_are_kept_and_no_more() -> None:
    """Sixty-four changes are remembered."""
    changes = [change(key=f"k{n}", on=Revision("e1", n)) for n in range(1, 101)]
    after = applied(record(), *changes)
    assert list(after.keys) == [f"k{n}" for n in range(101 - KEPT_KEYS, 101)]


def test_one_claim_a_route_and_the_second_is_told_the_holder() -> None:
    """A second claimant is refused with the first one's name; the first may go on."""
    after = applied(record(), change(claim="gradual/chat"))
    _, refused = apply(after, change(key="k2", on=after.policy.revision, claim="canary/chat"), NOW)
    assert refused.status is ChangeStatus.REFUSED
    assert "gradual/chat" in refused.reason
    applied(after, change(key="k3", on=after.policy.revision, claim="gradual/chat"))


def test_a_stale_claim_is_taken_over_by_name_only() -> None:
    """Whoever found the holder dead evicts it by name; naming somebody else does not work."""
    after = applied(record(), change(claim="gradual/chat"))
    base = change(key="k2", on=after.policy.revision, claim="canary/chat")
    assert apply(after, replace(base, evict_claim="failback/chat"), NOW)[1].status is ChangeStatus.REFUSED
    assert applied(after, replace(base, evict_claim="gradual/chat")).policy.claim == "canary/chat"


def test_an_immediate_failover_writes_through_a_claim_and_ends_it() -> None:
    """On the current revision it is accepted at once, and the ramp's next write is stale."""
    claimed = applied(record(), change(claim="gradual/chat"))
    shifted = applied(claimed, change(key="k2", on=claimed.policy.revision, claim=""))
    assert shifted.policy.claim is None
    _, ramp = apply(shifted, change(key="k3", on=claimed.policy.revision, claim="gradual/chat"), NOW)
    assert ramp.status is ChangeStatus.REFUSED
    assert "failover/bedrock" in ramp.reason


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 5)), max_size=30))
def test_no_sequence_of_writes_applies_a_key_twice(attempts: list[tuple[str, int]]) -> None:
    """Whatever is written in whatever order: revisions only grow by one, and each key is applied at most once."""
    now, seen = record(), []
    for key, number in attempts:
        before = now.policy.revision.number
        after, result = apply(now, change(key=key, on=Revision("e1", number)), NOW)
        assert after is not None
        assert after.policy.revision.number - before == (result.status is ChangeStatus.APPLIED)
        seen += [key] if result.status is ChangeStatus.APPLIED else []
        now = after
    assert len(seen) == len(set(seen))
