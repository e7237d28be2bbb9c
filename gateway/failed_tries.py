"""Failed tries in the log: what metrics only count, in the provider's own words; one line a class and provider at a time."""

from datetime import timedelta

import structlog
from cachetools import TTLCache

from failover.failure import Failure
from gateway.routing import Observer, Try

log = structlog.get_logger(__name__)

OFTEN = timedelta(seconds=10)
"""Failures of one class at one provider and route are told no more often; the next line says how many there were."""

CLASSES = 1000
"""The most classes of failed tries of which it is remembered when they were told."""


class FailedTries:
    """An observer that hears of every try beside another one. Nothing of a request or an answer is logged."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._told: TTLCache[tuple[str, str, str, bool], None] = TTLCache(maxsize=CLASSES, ttl=OFTEN.total_seconds())
        self._since: dict[tuple[str, str, str, bool], int] = {}

    def tried(self, attempt: Try, failure: Failure | None, latency: timedelta) -> None:
        self._observer.tried(attempt, failure, latency)
        if failure is not None:
            self._tell(attempt, failure)

    def used(self, attempt: Try, input_tokens: int, output_tokens: int) -> None:
        self._observer.used(attempt, input_tokens, output_tokens)

    def _tell(self, attempt: Try, failure: Failure) -> None:
        key = (attempt.provider, attempt.policy.route, failure.kind.value, attempt.synthetic)
        if key in self._told:
            self._since[key] = self._since.get(key, 0) + 1
            return
        self._told[key] = None
        log.warning(
            "a try failed",
            provider=attempt.provider,
            route=attempt.policy.route,
            kind=failure.kind.value,
            code=failure.code,
            error=failure.detail,
            count=self._since.pop(key, 0) + 1,
            synthetic=attempt.synthetic,
        )
