"""What this worker knows of every provider right now: written by the health watches, read by whoever decides."""

from collections.abc import Collection
from datetime import datetime, timedelta

from failover.health import Verdict


class VerdictBoard:
    """The newest verdict about each provider. Knowledge of one process: another worker's board may be empty."""

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

    def post(self, verdict: Verdict) -> None:
        self._verdicts[verdict.provider] = verdict

    def fresh(self, now: datetime, max_age: timedelta, providers: Collection[str] | None = None) -> list[Verdict]:
        """Verdicts not older than `max_age`, of the named providers or of all."""
        return [
            verdict
            for verdict in self._verdicts.values()
            if now - verdict.at <= max_age and (providers is None or verdict.provider in providers)
        ]

    def all(self) -> list[Verdict]:
        return sorted(self._verdicts.values(), key=lambda verdict: verdict.provider)
