"""Certificates: who gets one, who loses it, when it counts no more; and what automatic runs make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import gradual, immediate
from failover.capacity import Headroom
from failover.certificates import Certificate, Certification, Wanted, certification, renewed, why_void
from failover.config.kpis import Kpis
from failover.config.procedures import Procedures
from failover.config.routes import ApprovalPoint, Approvals, Targets
from failover.distribution import WHOLE
from failover.findings import Health
from failover.health import Condition, Verdict
from failover.immediate import RouteNow
from failover.incident import Trigger
from failover.policy import Revision
from failover.ramp import RampBrief, Snapshot, certified
from failover.readiness import Target
from failover.requests import GradualFailoverRequest, ImmediateFailoverRequest
from failover.triggers import must_ask, takers
from tests.failover.test_readiness import NOW, audit, target

DAY = timedelta(days=1)
WANTED = Wanted(model="m", digest="d")


def issued(
    *targets: Target, kept: Sequence[Certificate] = (), expiries: Mapping[str, datetime] | None = None
) -> list[Certificate]:
    return renewed(kept, audit(*targets), DAY, expiries or {})


def test_a_ready_target_gets_a_certificate_with_an_end() -> None:
    """Of its prompts and model, from the audit's begin; not beyond the end of its credentials."""
    (one,) = issued(target())
    assert (one.route, one.target, one.model, one.digest, one.audit) == ("chat", "google", "m", "d", "a")
    assert (one.issued, one.expires) == (NOW, NOW + DAY)
    (short,) = issued(target(), expiries={"google": NOW + timedelta(hours=2), "meta": NOW})
    assert short.expires == NOW + timedelta(hours=2)


def test_a_failure_takes_it_away_and_ignorance_does_not() -> None:
    """What failed is withdrawn with its reason, what could not be looked at keeps what it had; a good audit gives a new one."""
    kept = issued(target())
    assert issued(target(golden=Health.UNKNOWN), kept=kept) == kept
    (gone,) = issued(target(golden=Health.FAILED), kept=kept)
    assert gone.withdrawn == "golden prompts: golden prompts was looked at" and gone.withdrawn_at is not None
    assert "was withdrawn: golden prompts" in (why_void(gone, WANTED, NOW) or "")
    assert issued(target(golden=Health.FAILED), kept=[gone]) == [gone]
    assert issued(target(), kept=[gone])[0].withdrawn == ""
    assert issued(target(golden=Health.UNKNOWN)) == [] == issued(target(model=Health.FAILED))


def test_what_is_long_over_is_forgotten() -> None:
    """A month after its end."""
    (one,) = issued(target("meta"))
    later = replace(audit(target()), finished=NOW + timedelta(days=40))
    assert [kept.target for kept in renewed([one], later, DAY, {})] == ["google"]


@pytest.mark.parametrize(
    ("wanted", "at", "why"),
    [
        (WANTED, NOW, None),
        (WANTED, NOW + DAY - timedelta(seconds=1), None),
        (WANTED, NOW + DAY, "expired 0 s ago"),
        (WANTED, NOW + DAY + timedelta(hours=2), "expired 2 h 0 min ago"),
        (Wanted(model="m", digest="e"), NOW, "of other prompts (d, now e)"),
        (Wanted(model="n", digest="d"), NOW, "of another model (m)"),
    ],
)
def test_when_a_certificate_counts(wanted: Wanted, at: datetime, why: str | None) -> None:
    """Until its end, for these prompts and this model."""
    (one,) = issued(target())
    said = why_void(one, wanted, at)
    assert said is None if why is None else why in (said or "")


def test_a_brief_knows_the_end_of_each() -> None:
    """Who lacks one now is told by the clock of whoever decides."""
    found = certification("chat", issued(target()), {"google": WANTED, "meta": WANTED}, ask=False)
    assert found.lacking == {"meta": "it holds no certificate"}
    assert set(found.at(NOW).lacking) == {"meta"}
    assert found.at(NOW + DAY).lacking["google"] == "its certificate expired 0 s ago"
    assert found.at(NOW).remark(["google"]) == ""
    assert found.remark(["meta"]) == "meta is taken without a certificate: it holds no certificate"
    other = certification("other", issued(target()), {"google": WANTED}, ask=False)
    assert set(other.lacking) == {"google"}


# What an immediate failover makes of it

BEDROCK = ImmediateFailoverRequest(failed_provider="bedrock", trigger=Trigger.AUTOMATIC)


def route(certification: Certification | None) -> RouteNow:
    return RouteNow(
        route="chat",
        revision=Revision("e", 1),
        distribution={"bedrock": 7000, "google": 2000, "meta": 1000},
        chain=["google", "meta"],
        certification=certification,
    )


def verdict(provider: str, condition: Condition = Condition.HEALTHY) -> Verdict:
    return Verdict(provider=provider, condition=condition, reason="so it was measured", at=NOW)


def lacking(*names: str, ask: bool = False) -> Certification:
    return Certification(ask=ask, lacking=dict.fromkeys(names, "it holds no certificate"))


WELL = {name: verdict(name) for name in ("google", "meta")}


def test_the_certified_come_first_among_the_healthy() -> None:
    """Whatever the chain says; that somebody was passed over is said, and nothing else needs to be."""
    plan = immediate.plan(BEDROCK, [route(lacking("google"))], WELL, {})
    assert plan.shifts[0].target == "meta" and plan.shifts[0].remark == ""
    assert "google is passed over: it holds no certificate" in plan.shifts[0].reason
    assert immediate.plan(BEDROCK, [route(None)], WELL, {}).shifts[0].target == "google"


def test_traffic_is_never_held_for_the_lack_of_a_certificate() -> None:
    """No certified target is well: the uncertified one takes it, and the plan says so in so many words."""
    for certified_one in (verdict("meta", Condition.UNAVAILABLE), verdict("meta", Condition.BLIND)):
        known = {"google": verdict("google"), "meta": certified_one}
        plan = immediate.plan(BEDROCK, [route(lacking("google"))], known, {})
        assert plan.shifts[0].target == "google"
        assert plan.shifts[0].remark == "chat: google is taken without a certificate: it holds no certificate"
        assert plan.shifts[0].remark in immediate.describe(BEDROCK, plan)


def test_where_people_are_to_be_asked_nothing_is_moved_without_them() -> None:
    """Only where nobody who is certified is well; then the plan has a question in place of a shift."""
    known = {"google": verdict("google"), "meta": verdict("meta", Condition.UNAVAILABLE)}
    asking = immediate.plan(BEDROCK, [route(lacking("google", ask=True))], known, {})
    assert asking.shifts == [] and asking.stranded == {} and "to google" in asking.asks["chat"]
    assert "1 route to be asked of people" in immediate.describe(BEDROCK, asking)
    assert immediate.plan(BEDROCK, [route(lacking("google", ask=True))], WELL, {}).shifts[0].target == "meta"


def test_what_spills_over_goes_to_the_certified_first() -> None:
    """And to nobody uncertified where people are to be asked; what fits nowhere goes to the target all the same."""
    tight = Headroom(requests_per_minute=100, requests_left={"meta": 50})
    spilling = replace(route(lacking("google")), headroom=tight)
    plan = immediate.plan(BEDROCK, [spilling], WELL, {})
    assert plan.shifts[0].target == "meta" and plan.shifts[0].after["google"] > 2000
    assert "google is taken without a certificate" in plan.shifts[0].remark
    asking = immediate.plan(BEDROCK, [replace(route(lacking("google", ask=True)), headroom=tight)], WELL, {})
    assert asking.shifts[0].after == {"bedrock": 0, "google": 2000, "meta": 8000} and asking.shifts[0].remark == ""


@given(
    lacks=st.sets(st.sampled_from(["google", "meta"])),
    conditions=st.tuples(*[st.sampled_from([None, *Condition])] * 2),
)
def test_certificates_strand_no_route(lacks: set[str], conditions: tuple[Condition | None, Condition | None]) -> None:
    """With them or without, the same routes are saved; and nobody gains unsaid without one."""
    pairs = zip(("google", "meta"), conditions, strict=True)
    known = {name: verdict(name, condition) for name, condition in pairs if condition is not None}
    with_them = immediate.plan(BEDROCK, [route(lacking(*lacks))], known, {})
    without = immediate.plan(BEDROCK, [route(None)], known, {})
    assert len(with_them.shifts) == len(without.shifts)
    for shift in with_them.shifts:
        assert sum(shift.after.values()) == WHOLE
        assert (shift.target in lacks) == bool(shift.remark)


# What ramps make of it


def brief(certification: Certification | None, down: Sequence[Verdict] = ()) -> RampBrief:
    return RampBrief(
        route="chat",
        found=Snapshot(revision=Revision("e", 1), distribution={"bedrock": 7000, "google": 2000, "meta": 1000}),
        providers=["bedrock", "google", "meta", "spare"],
        chain=["google", "meta", "spare"],
        verdicts=down,
        headroom=Headroom(),
        targets=Targets(),
        procedures=Procedures(),
        approvals=Approvals(),
        kpis=Kpis(),
        certification=certification,
    )


GRADUAL = GradualFailoverRequest(route="chat", failed_provider="bedrock", trigger=Trigger.AUTOMATIC)


def test_a_gradual_failover_takes_the_certified_first() -> None:
    """The two that take over are those with a certificate; nothing has to be said then."""
    wanted = brief(lacking("google"))
    plan = certified(gradual.plan(GRADUAL, wanted), wanted)
    assert plan.steps[-1].distribution["spare"] > 0 and plan.steps[-1].distribution["google"] <= 2000
    assert plan.remark == "" and plan.approvals.points == []


def test_a_gradual_failover_says_or_asks_where_it_takes_another() -> None:
    """As configured; the remark is part of what is approved."""
    wanted = brief(lacking("google", "meta"))
    plan = certified(gradual.plan(GRADUAL, wanted), wanted)
    assert "google is taken without a certificate" in plan.remark and plan.remark in plan.told()
    assert plan.approvals.points == []
    asking = brief(lacking("google", "meta", ask=True))
    assert certified(gradual.plan(GRADUAL, asking), asking).approvals.points == [ApprovalPoint.FIRST_SHIFT]
    assert certified(gradual.plan(GRADUAL, brief(None)), brief(None)).remark == ""


def test_an_automatic_canary_goes_to_the_certified_first() -> None:
    """Those that are not known to be well are no takers at all."""
    well = [verdict("google"), verdict("meta")]
    assert takers(["google", "meta", "spare"], well) == ["google", "meta"]
    assert takers(["google", "meta", "spare"], well, lacking("google")) == ["meta", "google"]


def test_asking_is_not_started_again_and_again() -> None:
    """Where every route that is left can only ask; one that may move by itself is tried as soon as ever."""
    chains, well = {"chat": ["google", "meta"]}, [verdict("google"), verdict("meta", Condition.UNAVAILABLE)]
    assert must_ask({"chat": lacking("google", ask=True)}, chains, well)
    assert not must_ask({"chat": lacking("google")}, chains, well)
    assert not must_ask({"chat": lacking("meta", ask=True)}, chains, well)
    assert not must_ask({"chat": lacking("google", ask=True)}, {**chains, "other": ["google"]}, well)
    assert not must_ask({}, {}, well)
