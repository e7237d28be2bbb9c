"""Claims that a provider failed in one way: counted by class, against what the others did meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from failover.analysis.failures import FEW, Seen
from failover.analysis.findings import Cause, Claim, Sign
from failover.analysis.view import View
from failover.failure import FailureKind
from failover.health import Condition
from failover.units import milliseconds

_COUNTED, _VERDICT, _ALONE, _OTHERS_TOO, _REPORTED = 55, 15, 10, -30, 15
_VERDICT_ALONE = 45
_NOT_THE_SUBJECT = -25


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to fail. `theirs`: the provider's own side, so that its status page can speak for it."""

    cause: Cause
    kinds: frozenset[FailureKind]
    text: str
    theirs: bool = True


WAYS: Sequence[Way] = (
    Way(
        cause=Cause.SERVER_ERRORS,
        kinds=frozenset({FailureKind.SERVER_ERROR}),
        text="{provider} answered with server errors{codes}.",
    ),
    Way(
        cause=Cause.THROTTLING,
        kinds=frozenset({FailureKind.THROTTLED}),
        text="{provider} refused requests over its rate limit{codes}.",
    ),
    Way(
        cause=Cause.QUOTA,
        kinds=frozenset({FailureKind.HARD_QUOTA}),
        text="{provider} refused calls because a quota was used up{codes}.",
        theirs=False,
    ),
    Way(
        cause=Cause.CREDENTIALS,
        kinds=frozenset({FailureKind.AUTHENTICATION, FailureKind.PERMISSION}),
        text="{provider} refused our credentials, or what they may do{codes}.",
        theirs=False,
    ),
    Way(
        cause=Cause.MODEL,
        kinds=frozenset({FailureKind.MODEL_UNAVAILABLE, FailureKind.MODEL_LOADING}),
        text="{provider} did not serve the model{model}{codes}.",
    ),
    Way(
        cause=Cause.REGION,
        kinds=frozenset({FailureKind.REGION}),
        text="{provider} was not there in its region{region}{codes}.",
    ),
    Way(
        cause=Cause.CAPACITY,
        kinds=frozenset({FailureKind.CAPACITY}),
        text="{provider} had no capacity for the model{model}{codes}.",
    ),
    Way(
        cause=Cause.HANG,
        kinds=frozenset({FailureKind.TIMEOUT}),
        text="{provider} took calls and did not answer them in time{codes}.",
    ),
    Way(
        cause=Cause.CONNECTION,
        kinds=frozenset({FailureKind.NETWORK}),
        text="Connections to {provider} failed{codes}.",
    ),
    Way(
        cause=Cause.CUT_STREAMS,
        kinds=frozenset({FailureKind.CUT_STREAM}),
        text="{provider} ended streams before their end{codes}.",
    ),
    Way(
        cause=Cause.WRONG_ANSWERS,
        kinds=frozenset({FailureKind.INVALID_ANSWER}),
        text="{provider} answered, but wrongly or without text{codes}.",
    ),
    Way(
        cause=Cause.BAD_REQUESTS,
        kinds=frozenset({FailureKind.BAD_REQUEST}),
        text="{provider} refused what we sent as malformed{codes}.",
        theirs=False,
    ),
)


def way_of(kind: FailureKind) -> Way:
    return next(way for way in WAYS if kind in way.kinds)


def class_claims(view: View) -> list[Claim]:
    """The claims: one for each provider and class of failure, and those about speed and quality."""
    about = dict.fromkeys([view.focus, *(name for name, one in view.seen.items() if one.fails)])
    claims = [claim for name in about if name for way in WAYS if (claim := _claim(view, name, way)) is not None]
    return [*claims, *_by_condition(view)]


def _claim(view: View, provider: str, way: Way) -> Claim | None:
    found = view.seen.get(provider, Seen(provider=provider))
    counted, verdict = _counted(found, way), _verdict(view, provider, way)
    if counted is None and verdict is None:
        return None
    signs = [counted] if counted else []
    if verdict:
        signs.append(Sign(points=_VERDICT if counted else _VERDICT_ALONE, text=verdict))
    return Claim(
        cause=way.cause,
        about=provider,
        text=_text(view, found, way),
        signs=[*signs, *_surroundings(view, provider, way.theirs)],
    )


def _counted(found: Seen, way: Way) -> Sign | None:
    part, count = found.part(way.kinds), found.of(way.kinds)
    if not count:
        return None
    probes = sum(len(found.failing[kind].probes) for kind in way.kinds if kind in found.failing)
    tries = sum(found.failing[kind].tries for kind in way.kinds if kind in found.failing)
    said = [f"{probes} of {len(found.probes)} probes"] if probes else []
    said += [f"{tries} of {found.tries} counted tries of users"] if tries else []
    of_all = f"{100 * part:.0f} % of its {found.failures} failures"
    few = f"; {found.failures} failures prove little" if found.failures < FEW else ""
    points = round(_COUNTED * part) // (2 if few else 1)
    return Sign(points=points, text=f"{' and '.join(said)} failed so: {of_all}{few}")


def _verdict(view: View, provider: str, way: Way) -> str | None:
    verdict = view.record.verdict
    if verdict is None or verdict.provider != provider or verdict.cause is None or verdict.cause.kind not in way.kinds:
        return None
    return f"the verdict that the run began with: {verdict.reason}"


def _surroundings(view: View, provider: str, theirs: bool) -> list[Sign]:
    """What the others did, what the provider says of itself, and whether the run was about it at all."""
    signs = []
    failed_too = [name for name in [view.focus, *view.together] if name not in ("", provider)]
    if view.together and failed_too:
        signs.append(Sign(points=_OTHERS_TOO, text=f"{_and(failed_too)} failed at the same time"))
    elif answered := [view.seen[name] for name in view.well if name != provider]:
        told = ", ".join(f"{one.provider} answered {_answered(one)}" for one in answered)
        signs.append(Sign(points=_ALONE, text=f"meanwhile {told}"))
    for status, trouble in view.statuses.get(provider, ()) if theirs else ():
        signs.append(
            Sign(points=_REPORTED, text=f"its own status page ({_asked(view, status.asked_at)}): {trouble.name}")
        )
        break
    if view.focus and provider != view.focus:
        signs.append(Sign(points=_NOT_THE_SUBJECT, text=f"the run was about {view.focus}"))
    return signs


def _answered(one: Seen) -> str:
    probes = f"{len(one.good_probes)} of {len(one.probes)} probes"
    return f"{probes} and {one.good_tries} of {one.tries} tries" if one.tries else probes


def _asked(view: View, at: datetime) -> str:
    return "kept at the time" if at <= view.span.until else "asked afterwards"


def _text(view: View, found: Seen, way: Way) -> str:
    codes = list(
        dict.fromkeys(code for kind in way.kinds if kind in found.failing for code in found.failing[kind].codes)
    )
    verdict = view.record.verdict
    if not codes and verdict and verdict.provider == found.provider and verdict.cause and verdict.cause.code:
        codes = [verdict.cause.code]
    place = view.place(found.provider)
    return way.text.format(
        provider=found.provider,
        codes=f" ({', '.join(codes[:3])})" if codes else "",
        model=f" {place.model}" if place.model else "",
        region=f" {place.region}" if place.region else "",
    )


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_CONDITIONS: Mapping[Condition, tuple[Cause, str]] = {
    Condition.SLOW: (Cause.SLOW, "{provider} answered rightly, but late."),
    Condition.DEGRADED_QUALITY: (Cause.QUALITY, "{provider} answered worse than it had before, by golden prompts."),
}

_CONDEMNED, _SLOWER = 60, 15
_TIMES_SLOWER = 1.5


def _by_condition(view: View) -> list[Claim]:
    """What no failed try shows: the verdict says it, and latency can bear it out."""
    verdict = view.record.verdict
    if verdict is None or verdict.condition not in _CONDITIONS:
        return []
    cause, text = _CONDITIONS[verdict.condition]
    found = view.seen.get(verdict.provider, Seen(provider=verdict.provider))
    signs = [Sign(points=_CONDEMNED, text=f"the verdict that the run began with: {verdict.reason}")]
    if cause is Cause.SLOW and found.p95_before and found.p95_during:
        slower = found.p95_during >= _TIMES_SLOWER * found.p95_before
        said = (
            f"P95 of users' answers went from {milliseconds(found.p95_before)} to {milliseconds(found.p95_during)} ms"
        )
        signs.append(Sign(points=_SLOWER if slower else 0, text=said))
    return [
        Claim(
            cause=cause,
            about=verdict.provider,
            text=text.format(provider=verdict.provider),
            signs=[*signs, *_surroundings(view, verdict.provider, theirs=True)],
        )
    ]
