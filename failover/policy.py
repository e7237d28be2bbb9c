"""The traffic policy of a route, and the one function that changes it.

A change is decided on a revision and carries it; the store applies it by compare-and-set. `apply` is that step: pure, so
that every policy store (a file, Redis, memory) obeys the same rules.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from failover.distribution import Shares, check

DRILL = "drill/"
"""How the workflow ids of drills begin, and so their claims."""

KEPT_KEYS = 64
"""How many changes of a route are remembered, to recognise one that is repeated."""


@dataclass(frozen=True, slots=True, order=True)
class Revision:
    """A place in a route's history: comparable only within one store epoch.

    The epoch changes when a store is made anew or restored, so that a decision made on another history is refused.
    """

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Revision":
        """Parse a revision from the text of an ETag; ValueError if it is not one."""
        epoch, _, number = text.strip().strip('"').rpartition(".")
        if not epoch:
            raise ValueError(f"{text!r} is no revision; revisions look like epoch.number")
        return cls(epoch, int(number))


class Mode(StrEnum):
    NORMAL = "normal"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBy:
    """Who changed a policy: a step of a workflow run, or an actor by hand (`workflow_id` empty)."""

    actor: str
    workflow_id: str = ""
    run_id: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """What the data plane obeys for a route. `claim` is the workflow id of the ramp that may change it, or None."""

    route: str
    revision: Revision
    distribution: Shares
    mode: Mode = Mode.NORMAL
    degraded: Mapping[str, Any] = field(default_factory=dict)
    claim: str | None = None
    changed_by: ChangedBy
    reason: str
    changed_at: datetime
    key: str = ""
    clean: Shares | None = None
    """The distribution that a drill found, while the drill holds the claim. Whoever pre-empts it goes on from there."""

    @property
    def undrilled(self) -> Shares:
        """The distribution as it is without a drill."""
        return self.distribution if self.clean is None else self.clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A wish to change one route's policy.

    `decided_on` is the revision that the decision was made on; `key` names this change for good (a repeated key changes
    nothing). `claim`: None keeps the claim as it is, "" releases it, anything else takes it in that workflow's name, which
    is refused while another holds it, unless `evict_claim` names that holder (found stale, or overruled).
    """

    route: str
    decided_on: Revision
    key: str
    distribution: Shares
    mode: Mode | None = None
    degraded: Mapping[str, Any] | None = None
    claim: str | None = None
    evict_claim: str | None = None
    changed_by: ChangedBy
    reason: str

    def digest(self) -> str:
        """The digest of what the change does (not of the revision that it was decided on, nor of who asks)."""
        body = [self.route, sorted(self.distribution.items()), self.mode, self.degraded, self.claim, self.evict_claim]
        return hashlib.sha256(json.dumps(body, default=str, sort_keys=True).encode()).hexdigest()[:16]


class ChangeStatus(StrEnum):
    APPLIED = "applied"
    REPEATED = "repeated"
    SUPERSEDED = "superseded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """What became of a change.

    APPLIED: in force now. REPEATED: its key was applied before and is still in force. SUPERSEDED: its key was applied
    before, and another change came since. REFUSED: nothing changed, `reason` says why. `policy` is the one in force.
    """

    status: ChangeStatus
    policy: TrafficPolicy | None
    reason: str = ""

    @property
    def in_force(self) -> bool:
        return self.status in (ChangeStatus.APPLIED, ChangeStatus.REPEATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """What a store keeps of a route: the policy and the last keys with the digests of their changes, newest last."""

    policy: TrafficPolicy
    keys: Mapping[str, str] = field(default_factory=dict)


def apply(record: RouteRecord | None, change: Change, now: datetime) -> tuple[RouteRecord | None, ChangeResult]:
    """The record after the change, and what became of the change; the same record where nothing changed."""
    if record is None:
        return None, ChangeResult(
            status=ChangeStatus.REFUSED, policy=None, reason=f"There is no route {change.route!r}."
        )
    policy = record.policy
    if change.key in record.keys:
        return record, _repeated(record, change)
    if change.decided_on != policy.revision:
        return record, _refused(
            policy,
            f"Route {policy.route!r} is at revision {policy.revision}, changed by {_who(policy)}; "
            f"this change was decided on {change.decided_on}.",
        )
    if change.claim and policy.claim not in (None, change.claim, change.evict_claim):
        return record, _refused(policy, f"Route {policy.route!r} is claimed by {policy.claim!r}.")
    changed = replace(
        policy,
        revision=Revision(policy.revision.epoch, policy.revision.number + 1),
        distribution=dict(check(change.distribution)),
        mode=policy.mode if change.mode is None else change.mode,
        degraded=policy.degraded if change.degraded is None else change.degraded,
        claim=_claim_after(policy, change),
        changed_by=change.changed_by,
        reason=change.reason,
        changed_at=now,
        key=change.key,
        clean=_clean_after(policy, _claim_after(policy, change)),
    )
    keys = dict([*record.keys.items(), (change.key, change.digest())][-KEPT_KEYS:])
    return RouteRecord(policy=changed, keys=keys), ChangeResult(status=ChangeStatus.APPLIED, policy=changed)


def _repeated(record: RouteRecord, change: Change) -> ChangeResult:
    policy = record.policy
    if record.keys[change.key] != change.digest():
        return _refused(policy, f"The key {change.key!r} was used for another change of route {policy.route!r}.")
    if policy.key == change.key:
        return ChangeResult(status=ChangeStatus.REPEATED, policy=policy)
    return ChangeResult(
        status=ChangeStatus.SUPERSEDED,
        policy=policy,
        reason=f"Since then, {_who(policy)} changed route {policy.route!r}.",
    )


def _refused(policy: TrafficPolicy, reason: str) -> ChangeResult:
    return ChangeResult(status=ChangeStatus.REFUSED, policy=policy, reason=reason)


def _claim_after(policy: TrafficPolicy, change: Change) -> str | None:
    if change.claim is not None:
        return change.claim or None
    return None if change.evict_claim == policy.claim else policy.claim


def is_drill(workflow_id: str | None) -> bool:
    return workflow_id is not None and workflow_id.startswith(DRILL)


def _clean_after(policy: TrafficPolicy, claim: str | None) -> Shares | None:
    if not is_drill(claim):
        return None
    return policy.undrilled


def _who(policy: TrafficPolicy) -> str:
    return policy.changed_by.workflow_id or policy.changed_by.actor
