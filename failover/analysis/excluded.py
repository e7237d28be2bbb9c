"""What an incident was not, each with what rules it out; and what cannot be ruled out, because data are missing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from failover.analysis.case import clock, seconds
from failover.analysis.circumstances import LOAD, UNREACHABLE, changes_before, deploys_before
from failover.analysis.failures import FEW, Seen
from failover.analysis.findings import Excluded
from failover.analysis.view import View
from failover.failure import FailureKind
from failover.units import milliseconds, render_duration

_HARDLY = 0.1
"""A class that is less of the failures than this is not what failed."""

_CLASSES = (
    ("our credentials", frozenset({FailureKind.AUTHENTICATION, FailureKind.PERMISSION}), "401 or 403"),
    ("rate limit, quota or capacity", LOAD, "a refusal for rate, quota or capacity"),
    ("wrong answers", frozenset({FailureKind.INVALID_ANSWER}), "an empty or wrong answer"),
    ("a hang", frozenset({FailureKind.TIMEOUT}), "a call without an answer in time"),
)


@dataclass(slots=True)
class Alternatives:
    """What was ruled out, and what could not be."""

    excluded: list[Excluded] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def not_(self, what: str, why: str) -> None:
        self.excluded.append(Excluded(what=what, why=why))

    def open(self, sentence: str) -> None:
        self.unknown.append(sentence)


def alternatives(view: View) -> Alternatives:
    found = Alternatives()
    for look in (_the_others, _classes, _control_plane, _latency, _deploys, _policy, _their_word, _lines):
        look(view, found)
    return found


def _the_others(view: View, found: Alternatives) -> None:
    focus = view.of_focus
    if not focus.failures:
        return
    others = [one for name, one in view.seen.items() if name != view.focus]
    if not others:
        found.open(
            "Our own network: only one provider is watched, so it cannot be told from the provider's own trouble."
        )
    elif view.together:
        found.not_(f"{view.focus} alone", f"{_told(view.seen[name] for name in view.together)} at the same time")
    elif view.well:
        answered = ", ".join(
            f"{one.provider} {len(one.good_probes)} probes" for one in others if one.provider in view.well
        )
        found.not_("our own network, or all providers", f"answered meanwhile through the same way out: {answered}")
    else:
        found.open("Our own network: nobody else's answers were sampled meanwhile.")


def _told(failing: Iterable[Seen]) -> str:
    return ", ".join(f"{one.provider} failed {one.failures} times" for one in failing)


def _classes(view: View, found: Alternatives) -> None:
    focus = view.of_focus
    if focus.failures < FEW:
        if not view.quiet:
            found.open(f"What kind of failure it was, by counts: {focus.failures or 'no'} failures were sampled.")
        return
    for what, kinds, word in _CLASSES:
        count = focus.of(kinds)
        if count < _HARDLY * focus.failures:
            found.not_(what, f"{count or 'none'} of {focus.failures} failures of {view.focus} was {word}")
    if focus.of({FailureKind.NETWORK}) < _HARDLY * focus.failures and focus.part(UNREACHABLE) < _HARDLY:
        found.not_(f"the way to {view.focus}", f"it answered: {focus.failures} failures, none for want of a connection")


def _control_plane(view: View, found: Alternatives) -> None:
    focus = view.of_focus
    asked = [probe for probe in focus.probes if probe.control_plane_up is not None]
    up = [probe for probe in asked if probe.control_plane_up]
    if focus.failures >= FEW and up:
        found.not_(
            f"all of {view.focus}",
            f"its control plane answered ({len(up)} of {len(asked)} times asked) while inference failed",
        )
    elif focus.failures >= FEW and not asked:
        found.open(f"Whether the control plane of {view.focus} was up: it was not asked meanwhile.")
    elif not focus.failures and asked and len(up) < len(asked):
        found.not_(
            "inference", f"{len(focus.good_probes)} probes were answered, though the control plane did not answer"
        )


def _latency(view: View, found: Alternatives) -> None:
    focus = view.of_focus
    if focus.p95_before is None or focus.p95_during is None:
        return
    if focus.p95_during < 1.5 * focus.p95_before and focus.failures:
        told = f"{milliseconds(focus.p95_before)} ms before, {milliseconds(focus.p95_during)} ms meanwhile"
        found.not_("a slow model", f"P95 of what {view.focus} did answer: {told}")


def _deploys(view: View, found: Alternatives) -> None:
    noted, window = view.case.deploys, render_duration(view.case.lookback)
    if noted is None:
        found.open("Deploys: none was ever noted here (POST /webhooks/deploys, or `failoverctl deploys note`).")
    elif not deploys_before(view):
        earlier = [one for one in noted if one.at <= view.began]
        last = max(earlier, key=lambda one: one.at, default=None)
        told = f"; the last before was {last.told}, {seconds(view.began - last.at)} earlier" if last else ""
        later = [one for one in noted if view.began < one.at <= view.span.until]
        after = f"; {later[0].told} came only at {clock(later[0].at)}, after the first bad sample" if later else ""
        found.not_("a deploy", f"none was noted in the {window} before the first bad sample{told}{after}")


def _policy(view: View, found: Alternatives) -> None:
    before = changes_before(view)
    kept = [one.at for one in view.case.samples]
    reach = view.began - min(kept) if kept else None
    if before:
        if view.focus and not any(one.rise(view.focus) > 0 for one in before) and view.of_focus.failures:
            found.not_(
                "more traffic by policy",
                f"{len(before)} changes of the policy before, and none gave more to {view.focus}",
            )
        return
    if reach is None or reach <= view.case.lookback / 100:
        found.open("Changes of the traffic policy before: no samples of that time are kept.")
    else:
        told = render_duration(view.case.lookback) if reach >= view.case.lookback else seconds(reach)
        found.not_(
            "a change of the traffic policy", f"the shares were the same for the {told} before that are on record"
        )


def _their_word(view: View, found: Alternatives) -> None:
    if not view.focus:
        return
    if view.focus not in view.case.watched:
        found.open(f"What {view.focus} says of itself: no status page of it is configured (analysis.status_pages).")
        return
    heard = [one for one in view.case.statuses if one.provider == view.focus]
    if not heard:
        found.open(f"What {view.focus} says of itself: its status page was not asked.")
    elif all(one.why_not for one in heard):
        found.open(f"What {view.focus} says of itself: {heard[-1].why_not}.")
    elif view.focus not in view.statuses:
        found.open(
            f"Whether {view.focus} knows of it: its status page reported nothing for that time, which proves nothing."
        )


def _lines(view: View, found: Alternatives) -> None:
    logs = view.case.logs
    if not logs.wanted:
        found.open("What the logs say: they were not asked for (--include-logs).")
    elif not logs.files:
        found.open("What the logs say: there are none in the state directory; name their directory with --logs.")
    elif logs.unread:
        found.open(f"{logs.unread} lines of the logs are no JSON and were left out (FAILOVER_LOG_FORMAT=json).")
