"""The analysis itself: every claim that the evidence speaks for, the strongest first."""

import itertools
from collections.abc import Sequence
from datetime import timedelta

from failover.analysis.case import Case, clock, first_bad_of, seconds
from failover.analysis.circumstances import (
    change_claims,
    changes_before,
    deploys_before,
    explained,
    quiet_claims,
    shared_claims,
)
from failover.analysis.classes import class_claims
from failover.analysis.excluded import alternatives
from failover.analysis.failures import Seen
from failover.analysis.findings import CLOSE, LEAST, Analysis, Claim, FailureRow, FirstBad, Sign
from failover.analysis.view import SKEW, View, view
from failover.incident import RunRecord

MOST_CLAIMS = 8


def analyze(case: Case) -> Analysis:
    """Ranked claims, what it was not, and what is not known. The same case gives the same answer."""
    looked = view(case)
    claims = _ranked(looked)
    found = alternatives(looked)
    record = case.record
    return Analysis(
        procedure=record.procedure,
        workflow_id=record.workflow_id,
        run_id=record.run_id,
        provider=looked.focus,
        outcome=record.outcome.value,
        span=looked.span,
        first_bad=_first_bad(looked),
        claims=claims,
        undecided=len(claims) > 1 and claims[0].points - claims[1].points < CLOSE,
        failures=[row for name in sorted(looked.seen) for row in _rows(looked, looked.seen[name])],
        changes=changes_before(looked),
        deploys=deploys_before(looked),
        excluded=found.excluded,
        unknown=found.unknown,
        doubts=_doubts(looked),
        statuses=case.statuses,
        lines=case.logs.lines,
        more_lines=case.logs.more,
    )


def _ranked(looked: View) -> list[Claim]:
    against = explained(looked)
    classes = [_with(claim, against) for claim in class_claims(looked)]
    quiet = quiet_claims(looked)
    claims = [*shared_claims(looked), *change_claims(looked), *quiet, *classes]
    worth = [claim for claim in claims if claim.points >= LEAST or claim in quiet]
    return sorted(worth, key=lambda claim: -claim.points)[:MOST_CLAIMS]


def _with(claim: Claim, sign: Sign | None) -> Claim:
    if sign is None:
        return claim
    return Claim(cause=claim.cause, about=claim.about, text=claim.text, signs=[*claim.signs, sign])


def _first_bad(looked: View) -> FirstBad | None:
    """The first bad sample of the provider that the run was about: the record's, else the first in the samples."""
    at = first_bad_of(looked.record) or looked.of_focus.first
    if at is None:
        return None
    moment = timedelta(seconds=1)
    probe = next((one for one in looked.of_focus.bad_probes if abs(one.at - at) < moment), None)
    if probe is not None:
        return FirstBad(at=at, text=f"a probe: {probe.failure}")
    tries = [kind for kind, one in looked.of_focus.failing.items() if one.tries]
    if tries and looked.of_focus.first is not None and abs(looked.of_focus.first - at) < moment:
        return FirstBad(
            at=at, text=f"a try of a user ({', '.join(kind.value.replace('_', ' ') for kind in tries[:3])})"
        )
    return FirstBad(at=at, text=None)


def _rows(looked: View, found: Seen) -> list[FailureRow]:
    place = looked.place(found.provider)
    return [
        FailureRow(
            provider=found.provider,
            region=place.region,
            model=place.model,
            kind=kind.value.replace("_", " "),
            codes=failing.codes,
            probes=len(failing.probes),
            of_probes=len(found.probes),
            tries=failing.tries,
            of_tries=found.tries,
            first=min((probe.at for probe in failing.probes), default=found.first),
            last=max((probe.at for probe in failing.probes), default=found.last),
        )
        for kind, failing in sorted(found.failing.items(), key=lambda item: -item[1].count)
    ]


# Doubts


def _doubts(looked: View) -> list[str]:
    record, found = looked.record, []
    if abs(looked.skew) > SKEW:
        ahead = "ahead of" if looked.skew > timedelta(0) else "behind"
        found.append(
            f"The data plane's clock is {seconds(abs(looked.skew))} {ahead} the worker's: what is closer together than that "
            "may have come in the other order."
        )
    found += _contradictions(record)
    for other in _overlapping(looked):
        found.append(
            f"{other.workflow_id} ({other.procedure}, {other.outcome.value}) was under way at the same time, from "
            f"{clock(other.moments.first_bad or other.moments.decided)}: both may have one cause."
        )
    if not looked.of_focus.samples and looked.focus:
        found.append(
            f"No detector samples of {looked.focus} are kept of that time: claims rest on the run's record alone."
        )
    return found


def _contradictions(record: RunRecord) -> list[str]:
    moments = record.moments
    ordered = [
        ("the first bad sample", moments.first_bad),
        ("unhealthy", moments.unhealthy),
        ("the decision", moments.decided),
        ("in force", moments.in_force),
        ("closed", moments.closed),
    ]
    known = [(name, at) for name, at in ordered if at is not None]
    return [
        f"By the record, {name} ({clock(at)}) lies before {earlier} ({clock(before)}): the clocks that told them differ."
        for (earlier, before), (name, at) in itertools.pairwise(known)
        if before - at > timedelta(seconds=1)
    ]


def _overlapping(looked: View) -> Sequence[RunRecord]:
    ours = looked.record
    begun, ended = looked.began, ours.moments.closed or looked.case.now

    def overlaps(other: RunRecord) -> bool:
        since = other.moments.first_bad or other.moments.decided
        return since <= ended and (other.moments.closed or looked.case.now) >= begun

    return [other for other in looked.case.others if other.run_id != ours.run_id and overlaps(other)]
