"""Whatever a ramp is planned from, whatever of it was done, and whichever way it goes from there: what always holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from failover import canary, failback, gradual
from failover.capacity import Headroom
from failover.distribution import WHOLE, Distribution, same
from failover.errors import Refusal, RequestError
from failover.ramp import RampBrief, RampPlan, may_write
from failover.requests import CanaryFailoverRequest, FailbackRequest, GradualFailoverRequest
from tests.failover.conftest import brief, verdict

PROVIDERS = ["bedrock", "google", "meta", "other"]
OTHERS = PROVIDERS[1:]
SOURCE, TARGET = "bedrock", "google"

GRADUAL = GradualFailoverRequest(route="chat", failed_provider=SOURCE)
THROTTLED = GRADUAL.model_copy(update={"throttled_share_percent": 30.0})
CANARY = CanaryFailoverRequest(route="chat", source_provider=SOURCE, target_provider=TARGET)
FAILBACK = FailbackRequest(route="chat", original_provider=SOURCE)


def whole(weights: list[int]) -> dict[str, int]:
    parts = [WHOLE * weight // sum(weights) for weight in weights]
    parts[parts.index(max(parts))] += WHOLE - sum(parts)
    return dict(zip(PROVIDERS, parts, strict=True))


SHARES = st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any).map(whole)
DOWN = st.sets(st.sampled_from(PROVIDERS), max_size=3)
LIMITS = st.dictionaries(st.sampled_from(PROVIDERS), st.integers(0, 100))


def demand(most: dict[str, int]) -> Headroom:
    """Percent of the route that each provider can take."""
    return Headroom(requests_per_minute=100, requests_left=most)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A procedure, and a route to run it on."""

    name: str
    plan_from: Callable[[RampBrief], RampPlan]
    brief: RampBrief
    goal: dict[str, int] | None = None

    def again(self, found: Distribution) -> RampPlan | None:
        """As planned from what another run left; None where nothing is left to be done."""
        left = replace(self.brief, found=replace(self.brief.found, distribution=dict(found)))
        try:
            return self.plan_from(left)
        except (Refusal, RequestError):
            return None


@st.composite
def cases(draw: st.DrawFn, *, limits: bool = True, down: bool = True) -> Case:
    found, before, goal = draw(SHARES), draw(SHARES), draw(SHARES)
    told = brief(
        found,
        down=tuple(sorted(draw(DOWN))) if down else (),
        before=before,
        providers=PROVIDERS,
        chain=draw(st.permutations(OTHERS)),
        headroom=demand(draw(LIMITS)) if limits else Headroom(),
    )
    transition = GradualFailoverRequest.model_validate(
        {"route": "chat", "target_distribution": {name: share / 100 for name, share in goal.items()}}
    )
    procedures: dict[str, Callable[[RampBrief], RampPlan]] = {
        "gradual": lambda one: gradual.plan(GRADUAL, one),
        "throttled": lambda one: gradual.plan(THROTTLED, one),
        "transition": lambda one: gradual.plan(transition, one),
        "canary": lambda one: canary.plan(CANARY, one),
        "failback": lambda one: failback.plan(FAILBACK, one),
    }
    name = draw(st.sampled_from(sorted(procedures)))
    return Case(name=name, plan_from=procedures[name], brief=told, goal=goal if name == "transition" else None)


def planned(case: Case) -> RampPlan:
    """The plan; a route that nothing can be planned for is no case."""
    try:
        return case.plan_from(case.brief)
    except (Refusal, RequestError):
        assume(False)
        raise


def rises(before: Distribution, after: Distribution) -> set[str]:
    return {name for name in after if after[name] > before.get(name, 0)}


@given(cases())
@settings(max_examples=300)
def test_every_step_of_every_plan_is_whole_and_safe(case: Case) -> None:
    """100 %, no rise beyond what a provider can take, each step another one, and no rise of who was known to be down."""
    plan, now = planned(case), case.brief.found.distribution
    for step in plan.steps:
        after = step.distribution
        assert sum(after.values()) == WHOLE
        assert all(share >= 0 for share in after.values())
        assert not same(now, after)
        for name in rises(now, after):
            assert after[name] <= case.brief.headroom.most(name)
            # A failback is planned while its original is still watched: whether that one may rise is asked at each step.
            assert name not in case.brief.down() or (case.name == "failback" and name == SOURCE)
        now = after


@given(cases())
@settings(max_examples=200)
def test_whoever_gains_is_watched_in_every_step_that_is_held(case: Case) -> None:
    """By gates of their own, whether they were meant to gain or only take what did not fit."""
    plan, now = planned(case), case.brief.found.distribution
    for step in plan.steps:
        if step.hold:
            assert rises(now, step.distribution) <= {gate.provider for gate in step.gates}
        now = step.distribution


@given(cases())
@settings(max_examples=200)
def test_nobody_turns_back_on_the_way(case: Case) -> None:
    """Who is left loses from step to step, who returns gains."""
    plan, now = planned(case), case.brief.found.distribution
    for step in plan.steps:
        if case.name in ("gradual", "throttled", "canary"):
            assert step.distribution[SOURCE] <= now[SOURCE]
        elif case.name == "failback":
            assert rises(now, step.distribution) == {SOURCE}
        now = step.distribution


@given(cases(limits=False), st.data())
@settings(max_examples=300)
def test_whatever_happens_on_the_way_every_write_is_safe(case: Case, data: st.DataObject) -> None:
    """Forward, aborted, put back or one step back, with other providers down and another demand at each write."""
    plan = planned(case)
    found = dict(case.brief.found.distribution)
    now, good = found, found
    for wanted in data.draw(st.lists(st.sampled_from(["on", "abort", "step back"]), max_size=8)):
        down = dict.fromkeys(data.draw(DOWN), "it hangs")
        most = demand(data.draw(LIMITS))
        step = data.draw(st.sampled_from(list(plan.steps)))
        goal = {"on": step.distribution, "abort": found, "step back": good}[wanted]
        written = may_write(now, goal, down, most).distribution
        assert sum(written.values()) == WHOLE
        for name in rises(now, written):
            assert name not in down
            assert written[name] <= most.most(name)
        if wanted == "on":
            good = now
        now = dict(written)


@given(cases(limits=False, down=False), st.data())
@settings(max_examples=300)
def test_a_run_that_goes_on_from_any_step_ends_where_it_would_have_ended(case: Case, data: st.DataObject) -> None:
    """The same run, after whatever part of it was written: a step names all shares, so nothing depends on the way."""
    plan = planned(case)
    done = data.draw(st.integers(0, len(plan.steps)))
    now = dict(case.brief.found.distribution)
    for step in plan.steps[:done]:
        most = demand(data.draw(LIMITS))
        now = dict(may_write(now, step.distribution, {}, most).distribution)
    for step in [*plan.steps[done:], plan.steps[-1]]:
        now = dict(may_write(now, step.distribution, {}, Headroom()).distribution)
    assert same(now, plan.steps[-1].distribution)


@given(cases(limits=False, down=False), st.data())
@settings(max_examples=300)
def test_a_new_run_planned_from_any_step_of_an_interrupted_one_has_the_same_goal(
    case: Case, data: st.DataObject
) -> None:
    """Interrupted transitions converge, however often: the source at 0, the distribution asked for, the one before."""
    assume(case.name != "throttled")  # It takes a part of what is there, and measures anew.
    plan = planned(case)
    goal = plan.steps[-1].distribution
    now: Distribution = case.brief.found.distribution
    for _ in range(data.draw(st.integers(1, 3))):
        again = case.again(now)
        if again is None:
            break
        now = again.steps[data.draw(st.integers(0, len(again.steps) - 1))].distribution
    last = case.again(now)
    end = now if last is None else last.steps[-1].distribution
    if case.name == "failback":
        # Where others changed since, givers may differ by what rounding leaves; the original never does.
        assert end[SOURCE] == goal[SOURCE]
        assert all(abs(end[name] - goal[name]) <= len(PROVIDERS) for name in OTHERS)
    else:
        assert same(end, goal)


@given(cases(down=False), st.integers(0, 100))
@settings(max_examples=200)
def test_a_provider_found_down_later_is_never_raised_by_a_plan_made_before(case: Case, number: int) -> None:
    """The plan is of then, the write asks now: nothing of the step is written."""
    plan, now = planned(case), case.brief.found.distribution
    step = plan.steps[number % len(plan.steps)]
    for name in rises(now, step.distribution):
        written = may_write(now, step.distribution, {name: verdict(name).reason}, Headroom())
        assert same(written.distribution, now)
        assert name in written.said[0]
