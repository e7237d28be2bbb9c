"""What each provider may be asked now: within the rate that it declared, and not while it has only just failed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from failover.config.providers import Capacity
from failover.waiting import LONGEST_PAUSE, Rate

DOUBT = LONGEST_PAUSE
"""Seconds for which a provider that failed is passed over by those who waited, where another one serves."""


@dataclass(slots=True)
class _Known:
    rate: Rate
    failed_until: float = 0.0


class Rates:
    """Every try of this gateway is counted, whoever makes it; only those that wait are held back."""

    def __init__(self, capacities: Mapping[str, Capacity], clock: Callable[[], float]) -> None:
        self._clock = clock
        now = clock()
        self._known = {
            name: _Known(Rate.declared(capacity.requests_per_minute, capacity.tokens_per_minute, now))
            for name, capacity in capacities.items()
        }

    def begun(self, provider: str) -> None:
        known = self._known[provider]
        if known.rate.requests is not None or known.rate.tokens is not None:
            known.rate = known.rate.begun(self._clock())

    def used(self, provider: str, tokens: int) -> None:
        known = self._known[provider]
        known.rate = known.rate.used(tokens, self._clock())

    def failed(self, provider: str) -> None:
        self._known[provider].failed_until = self._clock() + DOUBT

    def answered(self, provider: str) -> None:
        self._known[provider].failed_until = 0.0

    def wait(self, provider: str) -> float:
        """Seconds until it may be asked within what it declared."""
        return self._known[provider].rate.wait(self._clock())

    def hopeful(self, shares: Mapping[str, int]) -> dict[str, int]:
        """The shares of the providers that have not just failed; all of them if all have."""
        now = self._clock()
        return {name: share for name, share in shares.items() if self._known[name].failed_until <= now} or dict(shares)
