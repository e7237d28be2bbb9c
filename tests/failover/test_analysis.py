"""Root causes: pairs of incidents that differ in what was injected, and records that are odd."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.analysis.analysis import analyze
from failover.analysis.case import Case, Deploy, Place, PolicyChange, ProviderStatus, Trouble
from failover.analysis.changes import policy_changes
from failover.analysis.findings import Analysis, Cause, Strength
from failover.analysis.render import markdown, text
from failover.failure import Failure, FailureKind
from failover.health import Condition, Probe, Verdict
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Trigger
from failover.replay import Counted, DetectorSample
from failover.telemetry import ProviderWindow
from tests.records import run_record

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
"""The first bad sample."""

WINDOW = timedelta(seconds=10)
SHARES = {"bedrock": 7000, "google": 2000, "meta": 1000}
MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def failure(kind: FailureKind, provider: str = "bedrock", code: str | None = None) -> Failure:
    return Failure(kind=kind, provider=provider, detail="as it was told", code=code)


def watched(
    provider: str = "bedrock",
    kind: FailureKind | None = None,
    *,
    since: float = -60,
    until: float = 20,
    probes: bool = True,
    tries: int = 40,
    ahead: float = 0,
    code: str | None = None,
    shares: Callable[[float], int] | None = None,
) -> list[DetectorSample]:
    """One provider's watch, a sample a second; from T0 on every call of it fails so. `ahead`: of the gateway's clock."""
    found = []
    for second in range(int(since), int(until)):
        bad = kind is not None and second >= 0
        probe = Probe(
            provider=provider,
            at=at(second),
            latency=timedelta(milliseconds=200),
            failure=failure(kind, provider, code) if kind is not None and bad and probes else None,
            control_plane_up=second % 6 == 0 or None,
        )
        failed = {kind: tries // 2} if kind is not None and bad and tries else {}
        window = ProviderWindow(
            provider=provider,
            route="chat",
            tries=tries,
            first_tries=tries,
            failures=failed,
            latency_p95=timedelta(milliseconds=400),
            first_failures=dict.fromkeys(failed or {}, at(0.2)),
        )
        counted = Counted(window=WINDOW, at=at(second + ahead), since=at(second + ahead) - WINDOW, windows=[window])
        share = SHARES[provider] if shares is None else shares(second)
        found.append(
            DetectorSample(at=at(second), provider=provider, probes=[probe], counted=[counted], shares={"chat": share})
        )
    return found


def others(kind: FailureKind | None = None) -> list[DetectorSample]:
    return [*watched("google", kind), *watched("meta", kind)]


def record(kind: FailureKind | None = FailureKind.SERVER_ERROR, **changes: Any) -> RunRecord:
    """An immediate failover of Bedrock, which was found to fail so; None: asked for by a person."""
    condition = Condition.UNUSABLE if kind is FailureKind.AUTHENTICATION else Condition.UNAVAILABLE
    verdict = Verdict(
        provider="bedrock",
        condition=condition,
        reason="3 probes in a row failed",
        at=at(3),
        cause=failure(kind) if kind else None,
        first_bad_at=T0,
    )
    first_bad = T0 if kind else None
    base = run_record(
        trigger=Trigger.AUTOMATIC if kind else Trigger.MANUAL,
        requested_by="health-check" if kind else "anna",
        request_reason="maintenance",
        verdict=verdict if kind else None,
        moments=Moments(
            first_bad=first_bad,
            unhealthy=at(3) if kind else None,
            decided=at(3),
            in_force=at(4),
            verified=at(5),
            restored=at(9),
            closed=at(10),
        ),
        routes=[RouteShift(route="chat", before=SHARES, after=MOVED, target="google", revision="e.2")],
    )
    return replace(base, **changes)


def analysis(kind: FailureKind | None = FailureKind.SERVER_ERROR, **given: Any) -> Analysis:
    defaults: dict[str, Any] = {
        "record": record(kind),
        "now": at(3600),
        "samples": [*watched(kind=kind), *others()],
        "places": {"bedrock": Place(model="claude", region="us-east-1")},
    }
    return analyze(Case(**{**defaults, **given}))


def first(found: Analysis) -> tuple[Cause, Strength]:
    return found.claims[0].cause, found.claims[0].strength


def deploy(seconds: float, service: str = "gateway") -> Deploy:
    return Deploy(service=service, version="v2", at=at(seconds), by="ci", noted_at=at(seconds), noted_by="deploys")


def raised(seconds: float, before: int = 2000, after: int = 7000) -> PolicyChange:
    return PolicyChange(
        at=at(seconds),
        route="chat",
        before={"bedrock": before, "google": 10_000 - before},
        after={"bedrock": after, "google": 10_000 - after},
        by="gradual/chat (anna)",
    )


CLASSES = [
    (FailureKind.SERVER_ERROR, Cause.SERVER_ERRORS),
    (FailureKind.THROTTLED, Cause.THROTTLING),
    (FailureKind.HARD_QUOTA, Cause.QUOTA),
    (FailureKind.AUTHENTICATION, Cause.CREDENTIALS),
    (FailureKind.PERMISSION, Cause.CREDENTIALS),
    (FailureKind.MODEL_UNAVAILABLE, Cause.MODEL),
    (FailureKind.REGION, Cause.REGION),
    (FailureKind.CAPACITY, Cause.CAPACITY),
    (FailureKind.TIMEOUT, Cause.HANG),
    (FailureKind.NETWORK, Cause.CONNECTION),
    (FailureKind.CUT_STREAM, Cause.CUT_STREAMS),
    (FailureKind.INVALID_ANSWER, Cause.WRONG_ANSWERS),
    (FailureKind.BAD_REQUEST, Cause.BAD_REQUESTS),
]


@pytest.mark.parametrize(("kind", "cause"), CLASSES)
def test_the_class_of_failure_decides(kind: FailureKind, cause: Cause) -> None:
    """The same incident in every way but one."""
    assert first(analysis(kind)) == (cause, Strength.STRONG)


PAIRS: Sequence[tuple[str, FailureKind, Mapping[str, Any], Cause]] = [
    ("no deploy", FailureKind.AUTHENTICATION, {"deploys": []}, Cause.CREDENTIALS),
    ("a deploy just before", FailureKind.AUTHENTICATION, {"deploys": [deploy(-20)]}, Cause.DEPLOY),
    ("a deploy long before", FailureKind.AUTHENTICATION, {"deploys": [deploy(-3000)]}, Cause.CREDENTIALS),
    ("a deploy after it", FailureKind.AUTHENTICATION, {"deploys": [deploy(1)]}, Cause.CREDENTIALS),
    ("a deploy, and errors of the vendor", FailureKind.SERVER_ERROR, {"deploys": [deploy(-20)]}, Cause.SERVER_ERRORS),
    (
        "a deploy, and errors only of users' requests",
        FailureKind.SERVER_ERROR,
        {"deploys": [deploy(-20)], "samples": [*watched(kind=FailureKind.SERVER_ERROR, probes=False), *others()]},
        Cause.DEPLOY,
    ),
    ("refused for load", FailureKind.THROTTLED, {"changes": []}, Cause.THROTTLING),
    ("refused for load after a raise", FailureKind.THROTTLED, {"changes": [raised(-10)]}, Cause.POLICY_CHANGE),
    ("refused for load after a fall", FailureKind.THROTTLED, {"changes": [raised(-10, 7000, 2000)]}, Cause.THROTTLING),
    (
        "refused for load after a raise that was taken back",
        FailureKind.THROTTLED,
        {"changes": [raised(-50), raised(-20, 7000, 2000)]},
        Cause.THROTTLING,
    ),
    ("broken after a raise", FailureKind.SERVER_ERROR, {"changes": [raised(-10)]}, Cause.SERVER_ERRORS),
    (
        "everybody refused",
        FailureKind.NETWORK,
        {"samples": [*watched(kind=FailureKind.NETWORK), *others(FailureKind.NETWORK)]},
        Cause.OWN_NETWORK,
    ),
    ("one refused", FailureKind.NETWORK, {}, Cause.CONNECTION),
    (
        "everybody broken",
        FailureKind.SERVER_ERROR,
        {"samples": [*watched(kind=FailureKind.SERVER_ERROR), *others(FailureKind.SERVER_ERROR)]},
        Cause.SEVERAL,
    ),
    (
        "everybody hangs",
        FailureKind.TIMEOUT,
        {"samples": [*watched(kind=FailureKind.TIMEOUT), *others(FailureKind.TIMEOUT)]},
        Cause.OWN_NETWORK,
    ),
]


@pytest.mark.parametrize(("kind", "given", "cause"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_pairs_that_differ_in_one_thing(kind: FailureKind, given: Mapping[str, Any], cause: Cause) -> None:
    found = analysis(kind, **given)
    assert found.claims[0].cause is cause, text(found)


def test_slow_and_degraded_are_told_by_the_verdict() -> None:
    """No try fails."""
    for condition, cause in ((Condition.SLOW, Cause.SLOW), (Condition.DEGRADED_QUALITY, Cause.QUALITY)):
        verdict = Verdict(provider="bedrock", condition=condition, reason="measured", at=at(3), first_bad_at=T0)
        found = analysis(record=record(verdict=verdict), samples=[*watched(), *others()])
        assert found.claims[0].cause is cause, text(found)


def test_every_claim_says_what_was_seen() -> None:
    found = analysis(FailureKind.SERVER_ERROR, samples=[*watched(kind=FailureKind.SERVER_ERROR, code="503"), *others()])
    said = text(found)
    assert "+55 11 of 11 probes and 20 of 40 counted tries of users failed so: 100 % of its 31 failures" in said
    assert "bedrock (us-east-1, claude): server error (503): 11 of 11 probes, 20 of 40 counted tries" in said
    assert "meanwhile google answered 11 of 11 probes" in said
    assert (
        found.first_bad is not None and found.first_bad.text == "a probe: bedrock: server error (503): as it was told"
    )


EXCLUDED = [
    (FailureKind.SERVER_ERROR, "our own network, or all providers"),
    (FailureKind.SERVER_ERROR, "our credentials"),
    (FailureKind.SERVER_ERROR, "rate limit, quota or capacity"),
    (FailureKind.SERVER_ERROR, "wrong answers"),
    (FailureKind.SERVER_ERROR, "a hang"),
    (FailureKind.SERVER_ERROR, "all of bedrock"),
    (FailureKind.SERVER_ERROR, "a slow model"),
    (FailureKind.SERVER_ERROR, "a change of the traffic policy"),
    (FailureKind.SERVER_ERROR, "a deploy"),
]


@pytest.mark.parametrize(("kind", "what"), EXCLUDED)
def test_what_it_was_not_is_ruled_out_by_evidence(kind: FailureKind, what: str) -> None:
    found = analysis(kind, deploys=[deploy(-7200)])
    assert what in {one.what for one in found.excluded}
    assert what not in {one.what for one in analysis(kind, samples=[], deploys=None).excluded}


def test_nothing_is_ruled_out_without_data() -> None:
    """No samples: the run's own verdict is all there is, and everything else is not known."""
    found = analysis(samples=[])
    assert first(found) == (Cause.SERVER_ERRORS, Strength.MODERATE)
    assert not found.excluded and not found.failures
    assert any("claims rest on the run's record alone" in doubt for doubt in found.doubts)
    assert {sentence.partition(":")[0] for sentence in found.unknown} == {
        "What kind of failure it was, by counts",
        "Deploys",
        "Changes of the traffic policy before",
        "What bedrock says of itself",
        "What the logs say",
    }


def test_one_provider_alone_is_not_told_from_our_own_network() -> None:
    found = analysis(FailureKind.NETWORK, samples=watched(kind=FailureKind.NETWORK))
    assert any(sentence.startswith("Our own network: only one provider is watched") for sentence in found.unknown)


def test_the_provider_alone_is_ruled_out_when_others_fail_too() -> None:
    found = analysis(samples=[*watched(kind=FailureKind.SERVER_ERROR), *others(FailureKind.SERVER_ERROR)])
    assert "bedrock alone" in {one.what for one in found.excluded}


def status(provider: str = "bedrock", *troubles: Trouble, asked: float = 5, why_not: str = "") -> ProviderStatus:
    return ProviderStatus(provider=provider, asked_at=at(asked), troubles=troubles, why_not=why_not)


def test_a_providers_own_word_counts_where_it_is_of_that_time() -> None:
    """And its silence proves nothing."""
    outage = Trouble(name="Elevated errors", since=at(-30))
    old = Trouble(name="Last week", since=at(-9000), until=at(-8000))
    told = analysis(watched=["bedrock"], statuses=[status("bedrock", outage)])
    silent = analysis(watched=["bedrock"], statuses=[status("bedrock", old, asked=60)])
    assert told.claims[0].points == silent.claims[0].points + 15
    assert any("kept at the time): Elevated errors" in sign.text for sign in told.claims[0].signs)
    assert any("which proves nothing" in sentence for sentence in silent.unknown)
    assert "asked afterwards" in text(silent)
    deaf = analysis(watched=["bedrock"], statuses=[status(why_not="its status page answered 500")])
    assert any("its status page answered 500" in sentence for sentence in deaf.unknown)


# Odd records


def test_a_person_moved_it_and_nothing_failed() -> None:
    found = analysis(None, samples=[*watched(), *others()])
    assert first(found) == (Cause.NOTHING_FAILED, Strength.STRONG)
    assert found.known and found.headline == "Nothing failed; anna moved it."
    assert found.first_bad is None


def test_a_person_moved_it_and_nobody_knows_whether_anything_failed() -> None:
    found = analysis(None, samples=[])
    assert first(found) == (Cause.NOTHING_FAILED, Strength.WEAK)
    assert not found.known and found.headline == "anna moved it; whether anything had failed is not known."


def test_a_person_who_moves_a_failing_provider_is_not_the_cause() -> None:
    found = analysis(record=record(None), samples=[*watched(kind=FailureKind.SERVER_ERROR), *others()])
    assert found.claims[0].cause is Cause.SERVER_ERRORS
    assert found.first_bad is not None and found.first_bad.at == T0


def test_an_alert_that_no_sample_bears_out() -> None:
    alone = record(None, trigger=Trigger.AUTOMATIC, requested_by="alertmanager alert", routes=[])
    found = analysis(record=alone, samples=[*watched(), *others()])
    assert found.claims[0].cause is Cause.ALERT_ALONE and not found.known
    assert "our own samples show no failure of bedrock" in found.headline


def test_a_return_is_no_failure() -> None:
    found = analysis(record=record(None, procedure="Failback", trigger=Trigger.AUTOMATIC), samples=watched())
    assert found.headline == "Nothing failed: traffic was to go back to bedrock."


def test_aborted_before_any_shift() -> None:
    moments = Moments(first_bad=T0, unhealthy=at(3), decided=at(3), closed=at(4))
    found = analysis(record=record(outcome=Outcome.ABORTED, routes=[], moments=moments))
    assert first(found) == (Cause.SERVER_ERRORS, Strength.STRONG)


def test_a_run_about_no_provider_is_about_whoever_failed_first() -> None:
    late = [*watched("google", FailureKind.TIMEOUT, until=0), *watched("google", FailureKind.TIMEOUT, since=0)]
    found = analysis(record=record(None, provider="", trigger=Trigger.AUTOMATIC), samples=[*watched(), *late])
    assert found.provider == "google" and found.claims[0].cause is Cause.HANG


def test_clocks_that_differ_are_doubted() -> None:
    """A deploy that came no longer before than the clocks differ is not called before without a word."""
    samples = [*watched(kind=FailureKind.AUTHENTICATION, ahead=40), *watched("google", ahead=40)]
    found = analysis(FailureKind.AUTHENTICATION, samples=samples, deploys=[deploy(-20)])
    assert any("clock is 40 s ahead of the worker's" in doubt for doubt in found.doubts)
    sign = next(claim for claim in found.claims if claim.cause is Cause.DEPLOY).signs[0]
    assert sign.points == 20 and "clocks that differ" in sign.text


def test_moments_in_the_wrong_order_are_doubted() -> None:
    moments = Moments(first_bad=at(60), unhealthy=at(3), decided=at(3), closed=at(10))
    found = analysis(record=record(moments=moments))
    assert any("unhealthy (12:00:03) lies before the first bad sample (12:01:00)" in doubt for doubt in found.doubts)


def test_two_at_the_same_time_are_told_of_each_other() -> None:
    other = record(FailureKind.TIMEOUT, workflow_id="failover/google", run_id="run-2", provider="google")
    apart = replace(
        other, run_id="run-3", moments=replace(other.moments, first_bad=at(900), decided=at(901), closed=at(905))
    )
    assert any("failover/google" in doubt for doubt in analysis(others=[other]).doubts)
    assert not any("failover/google" in doubt for doubt in analysis(others=[apart]).doubts)


def test_a_target_that_fails_afterwards_is_not_failing_at_the_same_time() -> None:
    later = [replace(one, at=one.at + timedelta(minutes=2)) for one in watched("google", FailureKind.THROTTLED)]
    found = analysis(samples=[*watched(kind=FailureKind.SERVER_ERROR), *later, *watched("meta")])
    assert found.claims[0].cause is Cause.SERVER_ERRORS


def test_two_that_are_close_are_undecided() -> None:
    samples = [*watched(kind=FailureKind.AUTHENTICATION), *others()]
    found = analysis(FailureKind.AUTHENTICATION, samples=samples, deploys=[deploy(-200)])
    assert found.undecided and found.headline.startswith("Undecided between two: ")
    assert not found.known and analysis(FailureKind.AUTHENTICATION, samples=samples).known


def test_an_earlier_trouble_that_was_over_is_not_this_one() -> None:
    """Where the run noted no first bad sample, its verdict's counts, else the trouble that was there when it was decided."""
    earlier = [replace(one, at=one.at - timedelta(minutes=3)) for one in watched(kind=FailureKind.PERMISSION, since=0)]
    earlier = [
        replace(one, probes=[replace(probe, at=probe.at - timedelta(minutes=3)) for probe in one.probes], counted=[])
        for one in earlier
    ]
    unnoted = Moments(decided=at(3), in_force=at(4), closed=at(10))
    for run in (
        record(FailureKind.THROTTLED, procedure="GradualFailover", moments=unnoted),
        record(None, trigger=Trigger.AUTOMATIC, requested_by="alertmanager"),
    ):
        found = analysis(record=run, samples=[*earlier, *watched(kind=FailureKind.THROTTLED), *others()])
        assert first(found)[0] is Cause.THROTTLING and len(found.failures) == 1, text(found)
        assert found.first_bad is not None and found.first_bad.at == T0
    quiet = analysis(record=record(None), samples=[*earlier, *watched(), *others()])
    assert quiet.headline == "Nothing failed; anna moved it."


# The policy over time


def test_changes_are_seen_in_the_shares_and_named_by_runs() -> None:
    """Each watch tells its own provider's share; a change by hand has no name, a run's own has."""

    def shares(before: int, after: int) -> Callable[[float], int]:
        return lambda second: before if second < -30 else after if second < 4 else MOVED_OF[before]

    samples = [
        *watched("bedrock", shares=shares(2000, 7000)),
        *watched("google", shares=shares(7000, 2000)),
        *watched("meta", shares=shares(1000, 1000)),
    ]
    changes = policy_changes(samples, [record()])
    assert [(change.by, dict(change.before), dict(change.after)) for change in changes] == [
        ("", {"bedrock": 2000, "google": 7000, "meta": 1000}, SHARES),
        ("failover/bedrock (health-check)", SHARES, MOVED),
    ]


MOVED_OF = {2000: 0, 7000: 9000, 1000: 1000}


# Rendering, and whatever may come


def test_markdown_shows_what_others_wrote_as_text() -> None:
    found = analysis(FailureKind.AUTHENTICATION, deploys=[deploy(-20, "<img src=x> [a](b) `gateway`")])
    assert "<img" not in markdown(found).replace("\\<img", "") and "\\[a\\](b)" in markdown(found)


MAYBE = st.one_of(st.none(), st.integers(-400, 400).map(at))


@given(
    kinds=st.lists(st.sampled_from([*FailureKind, None]), min_size=3, max_size=3),
    moments=st.builds(
        Moments, first_bad=MAYBE, unhealthy=MAYBE, decided=st.integers(-400, 400).map(at), in_force=MAYBE, closed=MAYBE
    ),
    trigger=st.sampled_from(Trigger),
    since=st.integers(-60, 10),
    deploys=st.one_of(st.none(), st.lists(st.integers(-1000, 1000).map(deploy), max_size=3)),
    provider=st.sampled_from(["bedrock", "google", "", "gone"]),
)
def test_whatever_is_on_record_is_analysed(
    kinds: list[FailureKind | None],
    moments: Moments,
    trigger: Trigger,
    since: int,
    deploys: list[Deploy] | None,
    provider: str,
) -> None:
    """Ranked, bounded, as wide as promised; and the same again."""
    samples = [
        one
        for name, kind in zip(SHARES, kinds, strict=True)
        for one in watched(name, kind, since=since, until=since + 12)
    ]
    run = record(kinds[0], moments=moments, trigger=trigger, provider=provider)
    case = Case(record=run, now=at(500), samples=samples, deploys=deploys, changes=[raised(-5)])
    found = analyze(case)
    points = [claim.points for claim in found.claims]
    assert points == sorted(points, reverse=True) and all(0 <= one <= 100 for one in points)
    assert max(map(len, text(found).splitlines())) <= 100
    assert markdown(found) and analyze(case) == found
