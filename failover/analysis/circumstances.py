"""Claims that look past the provider: a change shortly before, several at once, our own network, or nothing at all."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from failover.analysis.case import Deploy, PolicyChange, clock, seconds
from failover.analysis.classes import way_of
from failover.analysis.failures import FEW, Seen
from failover.analysis.findings import MODERATE, Cause, Claim, Sign
from failover.analysis.view import SKEW, View
from failover.distribution import percent
from failover.failback import NAME as FAILBACK
from failover.failure import FailureKind

DIRECT = frozenset(
    {
        FailureKind.AUTHENTICATION,
        FailureKind.PERMISSION,
        FailureKind.MODEL_UNAVAILABLE,
        FailureKind.BAD_REQUEST,
        FailureKind.NETWORK,
    }
)
"""What a deploy of ours can bring about: other keys, another model id, other requests, another network."""

LOAD = frozenset({FailureKind.THROTTLED, FailureKind.CAPACITY, FailureKind.HARD_QUOTA})
"""What more traffic can bring about."""

UNREACHABLE = frozenset({FailureKind.NETWORK, FailureKind.TIMEOUT})

_MOST = 0.5
_CLOSE = ((timedelta(minutes=1), 35), (timedelta(minutes=5), 25))
_WITHIN_LOOKBACK = 12
_WELL_BEFORE, _FITS, _FITS_NOT, _NAMED, _MORE_TRIES = 20, 25, -15, 10, 10
_UNORDERED = -15
_EXPLAINED = -20
_RISE = 500
"""Basis points; a smaller gain is no more load to speak of."""


def shortly_before(view: View, at: datetime) -> bool:
    return view.began - view.case.lookback <= at <= view.began


def deploys_before(view: View) -> list[Deploy]:
    """The deploys shortly before the trouble, latest first."""
    found = [one for one in view.case.deploys or () if shortly_before(view, one.at)]
    return sorted(found, key=lambda one: one.at, reverse=True)


def changes_before(view: View) -> list[PolicyChange]:
    """Changes shortly before by others than this run, oldest first. What the detectors noticed had been made before."""
    ours = view.record.workflow_id
    return [
        one
        for one in view.case.changes
        if shortly_before(view, one.at - one.within) and not (one.by.startswith(ours) and one.at >= view.began)
    ]


def change_claims(view: View) -> list[Claim]:
    if view.quiet:
        return []
    deploys = [_by_deploy(view, one) for one in deploys_before(view)[:3]]
    return [*deploys, *(_by_policy(view, one) for one in _raised(view)[-3:])]


def _raised(view: View) -> list[PolicyChange]:
    """Changes that gave the provider more, and that no later one took back before the trouble began."""
    changes, provider = [one for one in changes_before(view) if view.focus], view.focus
    return [
        one
        for number, one in enumerate(changes)
        if one.rise(provider) >= _RISE
        and not any(
            later.route == one.route and later.after.get(provider, 0) < one.after.get(provider, 0)
            for later in changes[number + 1 :]
        )
    ]


def explained(view: View) -> Sign | None:
    """A sign against every class of failure if a change fits: they say what failed, the change says why it began."""
    fitting = [
        one
        for one in change_claims(view)
        if one.points >= MODERATE and any(sign.points >= _FITS for sign in one.signs[2:])
    ]
    if not fitting:
        return None
    return Sign(points=_EXPLAINED, text="it says what failed, not why it began; a change shortly before would")


def _by_deploy(view: View, deploy: Deploy) -> Claim:
    fits = _fits_deploy(view)
    signs = [*_timely(view, deploy.at, deploy.at, fits), fits]
    if _is_named(view, deploy.service):
        signs.append(Sign(points=_NAMED, text=f"{deploy.service} is a part that these requests go through"))
    text = f"{deploy.told} was deployed {seconds(view.began - deploy.at)} before the first bad sample."
    return Claim(cause=Cause.DEPLOY, about=view.focus, text=text, signs=signs)


def _is_named(view: View, service: str) -> bool:
    names = {view.focus, "gateway", "worker", *(shift.route for shift in view.record.routes)}
    return any(name and name.casefold() in service.casefold() for name in names)


def _timely(view: View, at: datetime, made: datetime, fits: Sign) -> list[Sign]:
    """How close it came, and how well things were before it: half as much where it does not fit what failed."""
    half = 1 if fits.points >= _FITS else 2
    return [
        Sign(points=sign.points // half, text=sign.text)
        for sign in (_close(view, at), _well_before(view.of_focus, made))
    ]


def _close(view: View, at: datetime) -> Sign:
    gap = view.began - at
    points = next((points for limit, points in _CLOSE if gap <= limit), _WITHIN_LOOKBACK)
    if gap <= abs(view.skew) and abs(view.skew) > SKEW:
        return Sign(points=points + _UNORDERED, text=f"{seconds(gap)} before, by clocks that differ by more than that")
    return Sign(points=points, text=f"at {clock(at)}, the first bad sample at {clock(view.began)}")


def _well_before(found: Seen, at: datetime) -> Sign:
    good = [probe for probe in found.good_before if probe.at <= at]
    if len(good) < FEW:
        return Sign(points=0, text="whether the provider was well before it is not known: too few probes are kept")
    return Sign(
        points=_WELL_BEFORE, text=f"{len(good)} probes before it were answered well, the last at {clock(good[-1].at)}"
    )


def _fits_deploy(view: View) -> Sign:
    found, worst = view.of_focus, view.worst
    if worst is None:
        return Sign(points=0, text="whether a deploy can bring it about is not known: no failures were sampled")
    failed = f"what failed ({way_of(worst).cause.value})"
    if view.part(DIRECT) >= _MOST:
        return Sign(points=_FITS, text=f"{failed} is what a change on our side can bring about")
    if found.bad_probes:
        return Sign(points=_FITS_NOT, text=f"{failed} is the provider's own answer, to our own probes too")
    if found.failures >= FEW and len(found.good_probes) >= FEW:
        told = f"our own probes, which no deploy changes, were answered ({len(found.good_probes)})"
        return Sign(points=_FITS, text=f"{told}; only users' tries failed")
    return Sign(points=0, text=f"{failed}: whether our own probes, which no deploy changes, failed too is not known")


def _by_policy(view: View, change: PolicyChange) -> Claim:
    found, provider = view.of_focus, view.focus
    before, after = change.before.get(provider, 0), change.after.get(provider, 0)
    made = change.at - change.within
    fits = _fits_load(view, before)
    signs = [*_timely(view, min(change.at, view.began), made, fits), fits]
    if view.together:
        said = f"{', '.join(view.together)} failed at the same time, which its share does not explain"
        signs.append(Sign(points=_FITS_NOT, text=said))
    if found.rate_before and found.rate_during and found.rate_during >= 1.3 * found.rate_before:
        said = f"tries at it went from {found.rate_before:.1f} to {found.rate_during:.1f} a second"
        signs.append(Sign(points=_MORE_TRIES, text=said))
    who = f", by {change.by}" if change.by else ", by whom was not recorded"
    gap = seconds(view.began - change.at) if change.at <= view.began else "no more than a moment"
    text = (
        f"The share of {provider} on {change.route} was raised from {percent(before)} to {percent(after)} % "
        f"{gap} before the first bad sample{who}."
    )
    return Claim(cause=Cause.POLICY_CHANGE, about=provider, text=text, signs=signs)


def _fits_load(view: View, before: int) -> Sign:
    if view.worst is None:
        return Sign(points=0, text="whether more traffic can bring it about is not known: no failures were sampled")
    if view.part(LOAD) >= _MOST:
        return Sign(
            points=_FITS + 5, text="what failed is what more traffic can bring about: refusals for load or quota"
        )
    if not before:
        return Sign(points=5, text="it had no traffic there before, so users' requests of that kind had not been tried")
    return Sign(points=_FITS_NOT, text="what failed is nothing that more traffic brings about by itself")


# Several at once


def shared_claims(view: View) -> list[Claim]:
    """Claims of what several providers share that failed at the same moment: it stands above any one of them."""
    failing = [
        name for name in [view.focus, *view.together] if name and view.seen.get(name, Seen(provider=name)).failures
    ]
    if len(failing) < 2:
        return []
    founds = [view.seen[name] for name in failing]
    unreachable = all(found.part(UNREACHABLE) >= _MOST for found in founds)
    everybody = len(failing) == len(view.seen)
    signs = [_at_once(founds, everybody), _alike(founds)]
    if view.well:
        answered = ", ".join(view.well)
        signs.append(Sign(points=-25 if unreachable else 0, text=f"meanwhile {answered} answered"))
    silent = [name for name in failing if name in view.case.watched and name not in view.statuses]
    if silent:
        signs.append(Sign(points=5, text=f"{', '.join(silent)} reported nothing on their own status pages"))
    names = ", ".join(failing)
    if unreachable:
        text = f"{names} could not be reached, all from the same moment on: what they share is our own network or its way out."
        return [Claim(cause=Cause.OWN_NETWORK, about="", text=text, signs=signs)]
    text = f"{names} failed from the same moment on: not one provider alone. What they share is not known from here."
    return [Claim(cause=Cause.SEVERAL, about="", text=text, signs=signs)]


def _at_once(founds: Sequence[Seen], everybody: bool) -> Sign:
    firsts = [found.first for found in founds if found.first is not None]
    apart = seconds(max(firsts) - min(firsts)) if firsts else "an unknown time"
    who = "every provider that is watched" if everybody else f"{len(founds)} providers"
    return Sign(points=55 if everybody else 40, text=f"{who} began to fail within {apart}")


def _alike(founds: Sequence[Seen]) -> Sign:
    said = "; ".join(
        f"{found.provider}: {way_of(found.worst).cause.value} ({found.failures})" for found in founds if found.worst
    )
    alike = len({way_of(found.worst).cause for found in founds if found.worst}) == 1
    unreachable = all(found.part(UNREACHABLE) >= _MOST for found in founds)
    return Sign(
        points=25 if alike or unreachable else 5,
        text=f"{'in the same way' if alike else 'in ways of their own'}: {said}",
    )


# Nothing at all


def quiet_claims(view: View) -> list[Claim]:
    """A run that no failure stands behind."""
    record = view.record
    if not view.quiet:
        return []
    signs = [_nothing_seen(view), Sign(points=20, text=_asked(view))]
    cause = Cause.ALERT_ALONE
    if record.procedure == FAILBACK:
        cause, text = Cause.NOTHING_FAILED, f"Nothing failed: traffic was to go back to {record.provider}."
    elif view.by_hand:
        cause, text = Cause.NOTHING_FAILED, _by_a_person(view, known=signs[0].points > 0)
    else:
        who = record.requested_by or "a sender that was not recorded"
        text = f"Only {who} said that something failed; our own samples show no failure{_of(view.focus)}."
        if not signs[0].points:
            text = f"{who} said that something failed; our own samples of that time are not kept."
    return [Claim(cause=cause, about=view.focus, text=text, signs=signs)]


def _by_a_person(view: View, *, known: bool) -> str:
    who = view.record.requested_by or "a person whose name was not recorded"
    did = "moved it" if view.record.routes else "asked for it, and nothing was moved"
    return f"Nothing failed; {who} {did}." if known else f"{who} {did}; whether anything had failed is not known."


def _of(provider: str) -> str:
    return f" of {provider}" if provider else ""


def _asked(view: View) -> str:
    record = view.record
    who = record.requested_by or "nobody that was recorded"
    return f"asked for by {who}: {record.request_reason or 'no reason was given'}"


def _nothing_seen(view: View) -> Sign:
    found = [view.seen[view.focus]] if view.focus in view.seen else [] if view.focus else list(view.seen.values())
    good = sum(len(one.good_before) + len(one.good_probes) for one in found)
    tries, failures = sum(one.tries for one in found), sum(one.failures for one in found)
    if good < FEW and tries < FEW:
        return Sign(points=0, text="no samples of that time are kept")
    failed = f"{failures} failed" if failures else "none failed"
    return Sign(points=65, text=f"{good} probes answered well and {tries} tries of users around it: {failed}")
