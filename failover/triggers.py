"""Should a verdict start a procedure now? One place for every automatic start, and its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failover.certificates import Certification
from failover.config.detection import Detection
from failover.distribution import Distribution, users_of
from failover.health import Condition, ProbeHistory, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What one provider's watch carries from probe to probe, run to run and worker to worker.

    `condition` is the last one that was acted on or told; `started_at` when it last started a procedure; `held`: an
    automation hold kept it from doing so, and it is owed.
    """

    provider: str
    history: ProbeHistory = field(default_factory=ProbeHistory)
    condition: Condition = Condition.HEALTHY
    started_at: datetime | None = None
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to do about a verdict: start `procedure` (None: nothing), tell people, and why; `held`: not now, but owed."""

    procedure: str | None
    tell: bool
    reason: str
    held: bool = False


def respond(
    verdict: Verdict,
    state: WatchState,
    policies: Mapping[str, Distribution] | None,
    others: Sequence[Verdict],
    detection: Detection,
    now: datetime,
    *,
    asks_people: bool = False,
) -> Response:
    """The response to a verdict about a provider; `others` are the fresh verdicts about every other provider.

    A change is told once. A provider that is down is left again and again, until no route uses it, but only towards
    somebody healthy: without a healthy candidate the first run has told people, and repeating it would not help. What is
    no emergency, and what people were asked about (`asks_people`), is answered again after the cool-down.
    """
    changed = verdict.condition is not state.condition
    procedure = _procedure(verdict.condition, detection)
    if procedure is None:
        return Response(procedure=None, tell=changed, reason=verdict.reason)
    if policies is not None and not users_of(verdict.provider, policies):
        return Response(procedure=None, tell=changed, reason=f"No route uses {verdict.provider}: {verdict.reason}")
    rest = detection.schedule_interval if verdict.down and not asks_people else detection.cool_down
    if not changed and not state.held and not _again(state, others, max(rest, detection.schedule_interval), now):
        return Response(procedure=None, tell=False, reason=f"Answered already: {verdict.reason}")
    return Response(procedure=procedure, tell=changed, reason=verdict.reason)


def _procedure(condition: Condition, detection: Detection) -> str | None:
    if condition in (Condition.HEALTHY, Condition.BLIND):
        return None
    procedure: str = getattr(detection.triggers, condition.value)
    return None if procedure == "none" else procedure


def _again(state: WatchState, others: Sequence[Verdict], rest: timedelta, now: datetime) -> bool:
    rested = state.started_at is None or now - state.started_at >= rest
    return rested and any(other.condition is Condition.HEALTHY and other.cause is None for other in others)


def takers(chain: Sequence[str], verdicts: Sequence[Verdict], certification: Certification | None = None) -> list[str]:
    """The providers that may be tried in place of one, best first: those of its chain that are known to be well; where the
    route demands certificates, those that lack them come last."""
    well = {one.provider for one in verdicts if one.condition is Condition.HEALTHY and one.cause is None}
    lacking = certification.lacking if certification else {}
    return sorted((name for name in chain if name in well), key=lambda name: name in lacking)


def must_ask(
    heeded: Mapping[str, Certification], chains: Mapping[str, Sequence[str]], verdicts: Sequence[Verdict]
) -> bool:
    """Whether people are asked on every one of these routes (route → chain), since none of its certified targets is known
    to be well: starting again and again would only ask again and again."""
    return bool(chains) and all(
        route in heeded and heeded[route].ask and not set(takers(chain, verdicts)) - set(heeded[route].lacking)
        for route, chain in chains.items()
    )


def after(state: WatchState, verdict: Verdict, response: Response, now: datetime) -> WatchState:
    """The state once the response was carried out."""
    started = now if response.procedure else state.started_at
    return replace(state, condition=verdict.condition, started_at=started, held=response.held)
