"""What an analysis finds: claims with what speaks for and against each, what it was not, and what is not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from failover.analysis.case import Deploy, LogLine, PolicyChange, ProviderStatus, Span


class Cause(StrEnum):
    """What can have been behind an incident, as far as anybody outside the provider can tell."""

    SERVER_ERRORS = "server errors of the provider"
    THROTTLING = "rate limit of the provider"
    QUOTA = "quota used up"
    CREDENTIALS = "credentials refused"
    MODEL = "model not served"
    REGION = "region down"
    CAPACITY = "no capacity at the provider"
    HANG = "no answers in time"
    CONNECTION = "connections fail"
    CUT_STREAMS = "streams cut"
    WRONG_ANSWERS = "wrong or empty answers"
    BAD_REQUESTS = "our own requests refused"
    SLOW = "right but slow answers"
    QUALITY = "answers worse than the baseline"
    OWN_NETWORK = "our own network"
    SEVERAL = "several providers at once"
    DEPLOY = "a deploy shortly before"
    POLICY_CHANGE = "a change of the traffic policy shortly before"
    NOTHING_FAILED = "nothing failed"
    ALERT_ALONE = "an alert that no sample bears out"


class Strength(StrEnum):
    STRONG = "strong"
    MODERATE = "moderate"
    WEAK = "weak"


STRONG, MODERATE = 75, 45
"""Points from which on evidence counts as that."""

LEAST = 10
"""The points below which nothing is claimed."""

CLOSE = 10
"""Two claims no further apart are told as undecided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One thing that was seen, and how much it speaks for a claim (negative: against it)."""

    points: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One explanation. `about`: the provider that it is about, "" where it is about all or none."""

    cause: Cause
    about: str
    text: str
    signs: Sequence[Sign]

    @property
    def points(self) -> int:
        """The points of the claim, 0 to 100."""
        return max(0, min(100, sum(sign.points for sign in self.signs)))

    @property
    def strength(self) -> Strength:
        if self.points >= STRONG:
            return Strength.STRONG
        return Strength.MODERATE if self.points >= MODERATE else Strength.WEAK


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """What it was not, and what rules it out."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Failures of one class at one provider. `tries`: failed tries of users, of `of_tries` counted in the same windows."""

    provider: str
    region: str
    model: str
    kind: str
    codes: Sequence[str]
    probes: int
    of_probes: int
    tries: int
    of_tries: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBad:
    """The first bad sample. `text` is None where no sample of that moment was kept."""

    at: datetime
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The whole answer. `undecided`: the two strongest claims are too close to call."""

    procedure: str
    workflow_id: str
    run_id: str
    provider: str
    outcome: str
    span: Span
    first_bad: FirstBad | None
    claims: Sequence[Claim]
    undecided: bool
    failures: Sequence[FailureRow]
    changes: Sequence[PolicyChange]
    deploys: Sequence[Deploy]
    excluded: Sequence[Excluded]
    unknown: Sequence[str]
    doubts: Sequence[str]
    statuses: Sequence[ProviderStatus]
    lines: Sequence[LogLine]
    more_lines: int

    @property
    def known(self) -> bool:
        """Whether there is one cause, by more than a weak sign; an alert that no sample bears out is none."""
        first = self.claims[0] if self.claims else None
        if first is None or self.undecided:
            return False
        return first.cause is not Cause.ALERT_ALONE and first.strength is not Strength.WEAK

    @property
    def headline(self) -> str:
        """One sentence; never more certain than the evidence."""
        if not self.claims:
            return "The cause is not known: nothing that was recorded speaks for any."
        first = self.claims[0]
        if self.undecided:
            return f"Undecided between two: {first.text} Or: {self.claims[1].text}"
        return first.text
