"""Thresholds that would have served better: this incident's own samples, through the decisions of other thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from failover.config import Config
from failover.config.detection import Detection
from failover.incident import RunRecord
from failover.replay import SAME, DetectorSample, Replay, replay
from failover.units import count, render_duration

WORTH_IT = timedelta(seconds=1)
"""A threshold that gains less is not worth a change."""

SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One setting changed: how much sooner this incident would have been acted on, and what else that would have started."""

    setting: str
    now: str
    instead: str
    sooner: timedelta
    also: int

    @property
    def said(self) -> str:
        cost = f", and {count(self.also, 'start')} more in what was recorded" if self.also else ", and nothing else"
        return f"{self.setting}: {self.instead} instead of {self.now} would have started this {self._sooner}{cost}"

    @property
    def _sooner(self) -> str:
        return f"{self.sooner.total_seconds():.0f} s sooner"


def suggest(record: RunRecord, samples: Sequence[DetectorSample], config: Config) -> list[Suggestion]:
    """The best single changes of a threshold for this incident, those that would have started nothing else first.

    Nothing where the samples of the incident are not kept, or nothing detected it: there is no evidence to judge by then.
    """
    if record.verdict is None or not samples:
        return []
    was = replay(samples, config)
    found = [
        suggestion
        for setting, now, instead, changed in variants(config)
        if (suggestion := _compared(record, was, replay(samples, changed), (setting, now, instead))) is not None
    ]
    return sorted(found, key=lambda one: (one.also, -one.sooner))[:SHOWN]


def variants(config: Config) -> Iterator[tuple[str, str, str, Config]]:
    """Yield (setting, value now, value instead, configuration): one threshold each, more sensitive, that can be replayed."""
    detection = config.detection
    if detection.failure_threshold > 1:
        less = detection.failure_threshold - 1
        yield (
            *("detection.failure_threshold", str(detection.failure_threshold), str(less)),
            _with(config, failure_threshold=less),
        )
    for name in ("server_errors", "throttling"):
        trigger = getattr(detection, name)
        half = trigger.model_copy(update={"percent": trigger.percent / 2})
        yield (f"detection.{name}.percent", f"{trigger.percent:g}", f"{half.percent:g}", _with(config, **{name: half}))
        if trigger.minimum_tries > 1:
            fewer = trigger.model_copy(update={"minimum_tries": trigger.minimum_tries // 2})
            yield (
                *(f"detection.{name}.minimum_tries", str(trigger.minimum_tries), str(fewer.minimum_tries)),
                _with(config, **{name: fewer}),
            )
    latency = detection.latency
    for name, value in (("p95", latency.p95 * 0.8), ("window", latency.window / 2)):
        lower = latency.model_copy(update={name: value})
        yield (
            *(f"detection.latency.{name}", render_duration(getattr(latency, name)), render_duration(value)),
            _with(config, latency=lower),
        )
    points = detection.accuracy_drop_points / 2
    yield (
        *("detection.accuracy_drop_points", f"{detection.accuracy_drop_points:g}", f"{points:g}"),
        _with(config, accuracy_drop_points=points),
    )


def _with(config: Config, **changes: object) -> Config:
    detection: Detection = config.detection.model_copy(update=changes)
    return config.model_copy(update={"detection": detection})


def _compared(record: RunRecord, was: Replay, would: Replay, told: tuple[str, str, str]) -> Suggestion | None:
    before, after = _start_of(record, was), _start_of(record, would)
    if before is None or after is None or before - after < WORTH_IT:
        return None
    setting, now, instead = told
    also = max(0, _starts(would) - _starts(was))
    return Suggestion(setting=setting, now=now, instead=instead, sooner=before - after, also=also)


def _start_of(record: RunRecord, found: Replay) -> timedelta | None:
    """How long after the run's decision the incident's provider was acted on (negative: before); None if it was not.

    What came before its first bad sample was another trouble.
    """
    decided = record.moments.decided
    began = record.moments.first_bad or decided - SAME
    starts = [
        pair.now.at - decided
        for pair in found.starts
        if pair.now is not None and pair.now.provider == record.provider and began <= pair.now.at <= decided + SAME
    ]
    return min(starts, default=None)


def _starts(found: Replay) -> int:
    return sum(pair.now is not None for pair in found.starts)
