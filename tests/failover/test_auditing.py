"""What each look says: tables of what was told, and what is made of it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from failover import auditing
from failover.accuracy import Examination, Miss, Score
from failover.config import Config
from failover.context_windows import window_of
from failover.credentials import Credentials
from failover.failure import Failure, FailureKind
from failover.findings import Health
from failover.policy import ChangedBy, Revision, TrafficPolicy
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Credentials(kind="the API key in LLAMA_API_KEY")
STATIC = Credentials(kind="AWS keys", lasting=True)


def failure(kind: FailureKind) -> Failure:
    return Failure(kind=kind, provider="meta", detail="as it was told")


@pytest.mark.parametrize(
    ("kind", "told", "health", "said"),
    [
        (None, STATIC, Health.OK, "AWS keys: accepted"),
        (FailureKind.AUTHENTICATION, KEY, Health.FAILED, "LLAMA_API_KEY"),
        (FailureKind.PERMISSION, STATIC, Health.FAILED, "as it was told"),
        (FailureKind.MODEL_UNAVAILABLE, STATIC, Health.OK, "accepted, though the call failed"),
        (FailureKind.THROTTLED, STATIC, Health.OK, "accepted, though the call failed"),
        (FailureKind.NETWORK, STATIC, Health.UNKNOWN, "did not get as far"),
        (FailureKind.TIMEOUT, None, Health.UNKNOWN, "did not get as far"),
        (None, Credentials(kind="a login", problem="the login is over"), Health.FAILED, "the login is over"),
    ],
)
def test_credentials(kind: FailureKind | None, told: Credentials | None, health: Health, said: str) -> None:
    """Accepted by a real call, refused by one, or not known: a network that is down says nothing of them."""
    found = auditing.credentials(failure(kind) if kind else None, told)
    assert (found.health, said in found.said) == (health, True), found
    assert bool(found.repair) == (health is not Health.OK)


def temporary(hours: float, *, renews: bool = False) -> Credentials:
    return Credentials(kind="a session", expires_at=NOW + timedelta(hours=hours), renews=renews)


@pytest.mark.parametrize(
    ("told", "configured", "health", "said"),
    [
        (STATIC, None, Health.OK, "never end"),
        (KEY, None, Health.UNKNOWN, "nobody can ask when the API key"),
        (None, None, Health.UNKNOWN, "nobody can ask when they end"),
        (KEY, "never", Health.OK, "as configured"),
        (KEY, date(2026, 3, 1), Health.OK, "in 59 d"),
        (KEY, date(2026, 1, 5), Health.WARNING, "in 4 d"),
        (KEY, date(2026, 1, 1), Health.FAILED, "ended on 2026-01-01"),
        (temporary(2), None, Health.WARNING, "in 2 h 0 min"),
        (temporary(-1), None, Health.FAILED, "ended on 2025-12-31 23:00"),
        (temporary(1, renews=True), None, Health.OK, "renew themselves"),
        (temporary(-1, renews=True), None, Health.OK, "renew themselves"),
        (temporary(400), "never", Health.OK, "as configured"),
        (temporary(400), None, Health.OK, "in 16 d"),
    ],
)
def test_expiry(told: Credentials | None, configured: Any, health: Health, said: str) -> None:
    """What is configured goes before what is known; a week ahead it is a warning; what nobody knows is unknown."""
    found = auditing.expiry("meta", told, configured, timedelta(days=7), NOW)
    assert (found.health, said in found.said) == (health, True), found


def test_no_certificate_outlives_what_ends() -> None:
    """The moment, where there is one."""
    assert auditing.expires_at(KEY, date(2026, 1, 5)) == datetime(2026, 1, 5, tzinfo=UTC)
    assert auditing.expires_at(temporary(2), None) == NOW + timedelta(hours=2)
    assert auditing.expires_at(temporary(2, renews=True), None) is None
    assert auditing.expires_at(temporary(2), "never") is None
    assert auditing.expires_at(None, None) is None


@pytest.mark.parametrize(
    ("answered", "passed", "health"),
    [(20, 20, Health.OK), (20, 19, Health.OK), (20, 18, Health.FAILED), (15, 15, Health.FAILED), (16, 16, Health.OK)],
)
def test_golden_prompts(answered: int, passed: int, health: Health) -> None:
    """95 % right of those answered, and four fifths answered at all; too few are no proof of anything but that."""
    found = Examination(
        provider="meta",
        model="m",
        suite="quick",
        digest="d",
        at=NOW,
        took=timedelta(seconds=1),
        score=Score(asked=20, answered=answered, passed=passed),
        misses=[Miss(prompt="sum", reason="its number is another one")] * (answered - passed),
        first_failure="it hung",
    )
    told = auditing.golden(found, "", 95, 80)
    assert told.health is health, told
    if answered - passed:
        assert "sum (its number is another one)" in told.said
    assert auditing.golden(None, "no suite", 95, 80).health is Health.UNKNOWN


def test_context_windows() -> None:
    """Configured before known; unknown where it is neither; a proof counts what was really read."""
    assert auditing.context("a", "gemini-2.5-pro", 500_000, None).health is Health.OK
    assert auditing.context("a", "gemini-2.5-pro", 500_000, 32_000).health is Health.FAILED
    assert auditing.context("a", "my-own-model", 1000, None).health is Health.UNKNOWN
    assert "--prove-context" in auditing.context("a", "my-own-model", 1000, None).repair
    assert auditing.proved_context(1000, 980, None).health is Health.OK
    assert auditing.proved_context(1000, None, None).health is Health.OK
    assert auditing.proved_context(1000, 100, None).health is Health.FAILED
    assert auditing.proved_context(1000, None, "too long").health is Health.FAILED


@pytest.mark.parametrize(
    ("kind", "health"),
    [
        *((kind, Health.UNKNOWN) for kind in (FailureKind.THROTTLED, FailureKind.NETWORK, FailureKind.TIMEOUT)),
        *((kind, Health.UNKNOWN) for kind in (FailureKind.SERVER_ERROR, FailureKind.CAPACITY, FailureKind.REGION)),
        *((kind, Health.FAILED) for kind in (FailureKind.BAD_REQUEST, FailureKind.PERMISSION)),
    ],
)
def test_trouble_that_may_pass_says_nothing_of_a_window(kind: FailureKind, health: Health) -> None:
    found = auditing.unanswered_context(1000, Failure(kind=kind, provider="a", detail="as it was told"))
    assert found.health is health and "about 1000 tokens was not answered" in found.said


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", 200_000),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 200_000),
        ("Llama-3.3-70B-Instruct", 128_000),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1", 1_047_576),
        ("somebody/else", None),
    ],
)
def test_known_windows(model: str, window: int | None) -> None:
    """By the beginning of the id, whatever region or owner stands before it."""
    assert window_of(model) == window


def config(meta: dict[str, Any] | None = None, **route: Any) -> Config:
    return Config.model_validate(
        {
            "providers": {
                "bedrock": {"kind": "llama", "model": "m"},
                "meta": {"kind": "llama", "model": "m", **(meta or {})},
            },
            "routes": {
                "chat": {"distribution": {"bedrock": 90, "meta": 10}, **route},
                "search": {"distribution": {"bedrock": 100}},
            },
            "failover_chains": {"bedrock": ["meta"], "meta": ["bedrock"]},
        }
    )


def policy(route: str, **shares: int) -> TrafficPolicy:
    return TrafficPolicy(
        route=route,
        revision=Revision("e", 1),
        distribution=shares,
        changed_by=ChangedBy(actor="test"),
        reason="",
        changed_at=NOW,
    )


POLICIES = [policy("chat", bedrock=9000, meta=1000), policy("search", bedrock=10_000)]


def demand(chat: int, search: int, tokens: int = 0) -> Telemetry:
    return Telemetry(
        at=NOW,
        since=NOW - timedelta(minutes=1),
        providers=[ProviderWindow(provider="meta", route="chat", tries=chat // 10, first_tries=chat // 10)],
        routes=[
            RouteWindow(route="chat", requests=chat, failed=0, lost=0, empty=0, tokens=tokens),
            RouteWindow(route="search", requests=search, failed=0, lost=0, empty=0),
        ],
    )


@pytest.mark.parametrize(
    ("meta", "telemetry", "health", "said"),
    [
        ({}, demand(100, 0), Health.UNKNOWN, "declared no limit"),
        ({"requests_per_minute": 100}, demand(100, 0), Health.OK, "it would carry 100 of 100 requests a minute"),
        ({"requests_per_minute": 99}, demand(100, 0), Health.FAILED, "100 of 99"),
        ({"requests_per_minute": 120}, demand(100, 50), Health.FAILED, "150 of 120"),
        ({"requests_per_minute": 500, "tokens_per_minute": 900}, demand(100, 0, 1000), Health.OK, "900 of 900 tokens"),
        ({"requests_per_minute": 500, "tokens_per_minute": 899}, demand(100, 0, 1000), Health.FAILED, "tokens"),
        ({"requests_per_minute": 100}, None, Health.UNKNOWN, "did not tell the demand"),
        ({"requests_per_minute": 100}, demand(0, 0), Health.UNKNOWN, "nobody asks"),
    ],
)
def test_capacity(meta: dict[str, int], telemetry: Telemetry | None, health: Health, said: str) -> None:
    """What it carries already, and what would come from every route at once when whoever serves them fails."""
    found = auditing.capacity("chat", "meta", POLICIES, telemetry, config({"capacity": meta}))
    assert (found.health, said in found.said) == (health, True), found


ANNA = {"roles": ["approve"], "slack_user": "U012ABCDEF"}
BEN = {"roles": ["override"], "slack_user": "U012ABCDEG"}


@pytest.mark.parametrize(
    ("operators", "quorum", "gone", "slack", "health", "said"),
    [
        ({}, 1, {}, None, Health.WARNING, "0 operators may"),
        ({"anna": ANNA}, 1, {"anna": None}, None, Health.OK, "anna can be asked"),
        ({"anna": ANNA}, 2, {"anna": None}, None, Health.WARNING, "1 operators may"),
        ({"anna": ANNA, "ben": BEN}, 2, {"anna": None, "ben": "has left"}, None, Health.FAILED, "ben: has left"),
        ({"anna": ANNA, "ben": BEN}, 1, {"anna": None, "ben": "has left"}, None, Health.OK, "anna"),
        ({"anna": ANNA}, 1, {}, "no token", Health.UNKNOWN, "no token"),
        (
            {"eve": {"roles": ["view"], "slack_user": "U012ABCDEF"}},
            1,
            {"eve": None},
            None,
            Health.WARNING,
            "0 operators",
        ),
    ],
)
def test_approvers(
    operators: dict[str, Any], quorum: int, gone: dict[str, str | None], slack: str | None, health: Health, said: str
) -> None:
    """As many as must agree can be reached; where nothing is known of Slack's people, that is what is said."""
    asking = config(approvals={"points": ["first_shift"], "quorum": quorum})
    asking = Config.model_validate({**asking.model_dump(mode="json"), "access": {"operators": operators}})
    found = auditing.approvers(asking, "chat", gone, slack)
    assert (found.health, said in found.said) == (health, True), found


@pytest.mark.parametrize(
    ("route", "needed"),
    [
        ({"failback": "off"}, 0),
        ({"failback": "propose"}, 1),
        ({"failback": "off", "automation": {"slow": "propose"}}, 1),
        ({"failback": "off", "approvals": {"points": ["full"], "quorum": 3}}, 3),
        ({"failback": "off", "automation": {"only_certified": True, "without_certificate": "ask"}}, 1),
        ({"failback": "off", "automation": {"only_certified": True}}, 0),
    ],
)
def test_who_is_ever_asked(route: dict[str, Any], needed: int) -> None:
    """Where nobody has to agree to anything, nobody has to be reachable."""
    assert auditing.asks_people(config(**route), "chat") == needed
    assert (auditing.approvers(config(**route), "chat", {}, None).health is Health.OK) == (needed == 0)
