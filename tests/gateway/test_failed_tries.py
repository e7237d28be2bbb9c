"""Failed tries in the log: the provider's words once, then how many there were; nothing of a request."""

from datetime import UTC, datetime, timedelta

import structlog.testing

from failover.failure import Failure, FailureKind
from failover.policy import ChangedBy, Revision, TrafficPolicy
from gateway.failed_tries import FailedTries
from gateway.routing import Try
from tests.gateway.conftest import Gateway

POLICY = TrafficPolicy(
    route="chat",
    revision=Revision("e", 1),
    distribution={"bedrock": 10_000},
    changed_by=ChangedBy(actor="test"),
    reason="",
    changed_at=datetime(2026, 1, 31, tzinfo=UTC),
)


class Counted:
    """An observer that counts what it hears."""

    def __init__(self) -> None:
        self.tries = self.uses = 0

    def tried(self, attempt: Try, failure: Failure | None, latency: timedelta) -> None:
        self.tries += 1

    def used(self, attempt: Try, input_tokens: int, output_tokens: int) -> None:
        self.uses += 1


def attempt(provider: str = "bedrock") -> Try:
    return Try(policy=POLICY, provider=provider, number=1, started=POLICY.changed_at, synthetic=False)


def failure(kind: FailureKind = FailureKind.SERVER_ERROR) -> Failure:
    return Failure(kind=kind, provider="bedrock", detail="it broke", code="503")


def test_a_storm_is_one_line_a_class_and_provider() -> None:
    counted = Counted()
    told = FailedTries(counted)
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            told.tried(attempt(), failure(), timedelta(0))
        told.tried(attempt(), None, timedelta(0))
        told.tried(attempt(), failure(FailureKind.THROTTLED), timedelta(0))
        told.tried(attempt("google"), failure(), timedelta(0))
        told.used(attempt(), 1, 1)
    assert [(line["provider"], line["kind"], line["count"]) for line in lines] == [
        ("bedrock", "server_error", 1),
        ("bedrock", "throttled", 1),
        ("google", "server_error", 1),
    ]
    assert (counted.tries, counted.uses) == (1003, 1)


async def test_a_users_failed_try_is_told_without_the_question(gateway: Gateway) -> None:
    for provider in gateway.providers.values():
        provider.fail_with = FailureKind.SERVER_ERROR
    question = {"model": "chat", "messages": [{"role": "user", "content": "what-i-want-to-know"}]}
    with structlog.testing.capture_logs() as lines:
        await gateway.http.post("/v1/chat/completions", json=question)
    failed = [line for line in lines if line["event"] == "a try failed"]
    assert {line["provider"] for line in failed} == {"bedrock", "google", "meta"}
    assert "what-i-want-to-know" not in str(lines)
