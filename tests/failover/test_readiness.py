"""What an audit's findings make of targets and routes, and what of it is news."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.findings import Finding, Health
from failover.readiness import (
    ESSENTIAL,
    Audit,
    Check,
    Looked,
    Standing,
    Target,
    assemble,
    news,
    pair,
    picture,
    prompts,
    why_not_ready,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = (Check.CREDENTIALS, Check.EXPIRY, Check.MODEL, Check.GOLDEN, Check.CAPACITY)


def finding(check: Check, health: Health = Health.OK) -> Finding:
    return Finding(about=check, health=health, said=f"{check} was looked at", repair="repair it")


def target(provider: str = "google", route: str = "chat", **found: Health) -> Target:
    """All checks good, but those named: golden=Health.FAILED."""
    named = {Check[name.upper()]: health for name, health in found.items()}
    every = {check: finding(check, named.get(check, Health.OK)) for check in {**dict.fromkeys(GOOD), **named}}
    return Target(route=route, provider=provider, model="m", suite="quick", digest="d", found=every)


def audit(*targets: Target, plane: Health = Health.OK, people: Health = Health.OK) -> Audit:
    routes = {one.route: {Check.DATA_PLANE: finding(Check.DATA_PLANE, plane)} for one in targets}
    common = {Check.NOTIFICATIONS: finding(Check.NOTIFICATIONS, people)}
    return Audit(id="a", at=NOW, finished=NOW + timedelta(minutes=1), targets=targets, routes=routes, common=common)


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        ({}, Standing.READY),
        ({"expiry": Health.WARNING}, Standing.READY),
        ({"expiry": Health.UNKNOWN}, Standing.READY),
        ({"capacity": Health.UNKNOWN}, Standing.READY),
        ({"capacity": Health.FAILED}, Standing.NOT_READY),
        ({"expiry": Health.FAILED}, Standing.NOT_READY),
        ({"context": Health.FAILED}, Standing.NOT_READY),
        ({"context": Health.UNKNOWN}, Standing.UNPROVEN),
        ({"golden": Health.UNKNOWN}, Standing.UNPROVEN),
        ({"golden": Health.UNKNOWN, "model": Health.FAILED}, Standing.NOT_READY),
        ({"credentials": Health.FAILED}, Standing.NOT_READY),
    ],
)
def test_what_is_unknown_is_not_ready_and_what_failed_even_less(found: dict[str, Health], standing: Standing) -> None:
    """Only what is essential has to be known; a failure of anything that hinders traffic counts."""
    assert audit(target(**found)).standing(target(**found)) is standing


def test_a_check_that_was_never_made_is_no_good_news() -> None:
    """A target of which nothing is known is unproven, and so is one without its golden prompts."""
    bare = Target(route="chat", provider="google", model="m", suite="quick", digest="d")
    assert audit(bare).standing(bare) is Standing.UNPROVEN
    assert why_not_ready(audit(bare), bare) == "not everything was looked at"


def test_a_route_that_cannot_be_written_has_no_ready_target() -> None:
    """Whatever its targets are like; people who cannot be told hinder no traffic."""
    assert audit(target(), plane=Health.FAILED).stranded() == ["chat"]
    assert audit(target(), plane=Health.UNKNOWN).stranded() == ["chat"]
    assert audit(target(), people=Health.FAILED).stranded() == []


def test_a_route_is_as_good_as_its_best_target() -> None:
    """One that is ready is enough; without any it is stranded."""
    bad, unproven = target("meta", golden=Health.FAILED), target("bedrock", golden=Health.UNKNOWN)
    assert audit(bad, target()).route_standing("chat") is Standing.READY
    assert audit(bad, unproven).route_standing("chat") is Standing.UNPROVEN
    assert audit(bad, unproven).stranded() == audit(bad).stranded() == ["chat"]
    alone = replace(audit(bad), targets=[])
    assert alone.route_standing("chat") is Standing.NOT_READY and alone.stranded() == ["chat"]


SERVING = {"chat": {"bedrock": ["google", "meta"], "google": ["meta", "bedrock"], "meta": ["google", "bedrock"]}}


def served(*ready: str) -> Audit:
    """Chat is served by all three; those that are not named are no targets."""
    found = {name: Health.OK if name in ready else Health.FAILED for name in SERVING["chat"]}
    return replace(audit(*(target(name, golden=health) for name, health in found.items())), successors=SERVING)


def test_whoever_serves_a_route_cannot_take_over_from_itself() -> None:
    """Bedrock is the only one that is well: when it fails, there is nobody."""
    assert served("bedrock", "google").stranded() == []
    alone = served("bedrock")
    assert alone.route_standing("chat") is Standing.NOT_READY
    assert alone.unprotected("chat") == ["bedrock"] and alone.gaps() == ["chat if bedrock fails"]
    assert served().gaps() == ["chat"]


def test_a_target_outside_of_the_chain_takes_over_from_nobody() -> None:
    short = replace(served("google", "meta"), successors={"chat": {"bedrock": ["google"], "google": ["bedrock"]}})
    assert short.unprotected("chat") == ["google"]


def test_more_who_cannot_be_replaced_are_urgent_news() -> None:
    first = news(picture(served("bedrock", "google")), served("bedrock"))
    assert first is not None and first.urgent
    assert "route chat has no working target if bedrock fails (not ready); see to it now" in first.text
    assert first.headline.endswith("no working target for chat if bedrock fails")
    worse = news(picture(served("bedrock")), served())
    assert worse is not None and worse.urgent and "route chat has no working target (not ready)" in worse.text
    better = news(picture(served()), served("bedrock"))
    assert better is not None and not better.urgent


def test_the_score_is_the_share_of_checks_that_passed() -> None:
    """Warnings pass, what is unknown does not."""
    found = audit(target(expiry=Health.WARNING, capacity=Health.UNKNOWN, golden=Health.FAILED))
    assert len(found.every()) == 7
    assert found.score == pytest.approx(100 * 5 / 7)


@given(st.dictionaries(st.sampled_from(sorted(ESSENTIAL - {Check.DATA_PLANE})), st.sampled_from(list(Health))))
def test_nothing_less_than_all_essentials_makes_a_target_ready(found: dict[Check, Health]) -> None:
    """Ready means that each of them was looked at, and was well."""
    one = Target(
        route="chat",
        provider="google",
        model="m",
        suite="quick",
        digest="d",
        found={check: finding(check, health) for check, health in found.items()},
    )
    ready = audit(one).standing(one) is Standing.READY
    well = {check for check, health in found.items() if health in (Health.OK, Health.WARNING)}
    assert ready == (well >= ESSENTIAL - {Check.DATA_PLANE, Check.CONTEXT} and set(found) == well)


def test_news_are_told_once() -> None:
    """The first audit tells what is bad only; the same again is no news; what is over is told, and urgent is the loss."""
    well, bad = audit(target()), audit(target(golden=Health.FAILED))
    assert news(None, well) is None
    first = news(None, bad)
    assert first is not None and first.urgent
    assert "route chat has no working target (not ready)" in first.text
    assert "chat → google is not ready: golden prompts: golden prompts was looked at" in first.text
    assert "→ repair it" in first.text and "no working target for chat" in first.headline
    assert news(picture(bad), bad) is None
    again = news(picture(bad), well)
    assert again is not None and not again.urgent
    assert "route chat has a working target again" in again.text and "golden prompts: no longer" in again.text
    assert news(picture(well), well) is None


def test_figures_that_differ_are_no_news() -> None:
    """A warning whose days count down is told when it begins."""
    worried = audit(target(expiry=Health.WARNING))
    later = audit(
        replace(
            target(), found={**target().found, Check.EXPIRY: replace(finding(Check.EXPIRY, Health.WARNING), said="6 d")}
        )
    )
    assert news(None, worried) is not None
    assert news(picture(worried), later) is None


def test_a_long_message_is_cut() -> None:
    """Twelve lines, and how many more there are."""
    many = audit(*(target(f"p{number}", f"r{number}", golden=Health.FAILED) for number in range(30)))
    told = news(None, many)
    assert told is not None and len(told.text.splitlines()) == 13
    assert "78 more: `failoverctl readiness`" in told.text


def test_what_was_looked_at_once_stands_beside_every_target_that_it_is_about() -> None:
    """Of a provider on all routes, of prompts by their digest, of a pair alone."""
    one, two = target(route="a"), replace(target(route="b"), digest="other")
    looked = Looked(
        id="a",
        at=NOW,
        targets=[replace(one, found={}), replace(two, found={})],
        providers={"google": {Check.MODEL: finding(Check.MODEL)}},
        golden={prompts(one): finding(Check.GOLDEN), prompts(two): finding(Check.GOLDEN, Health.FAILED)},
        capacity={pair(two): finding(Check.CAPACITY)},
        routes={"a": {}, "b": {}},
    )
    first, second = assemble(looked, NOW).targets
    assert set(first.found) == {Check.MODEL, Check.GOLDEN} and first.found[Check.GOLDEN].health is Health.OK
    assert set(second.found) == {Check.MODEL, Check.GOLDEN, Check.CAPACITY}
    assert second.found[Check.GOLDEN].health is Health.FAILED
