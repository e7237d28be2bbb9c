"""What an order does, said before it is given."""

from collections.abc import Mapping, Sequence

from failover import kinds
from failover.distribution import Distribution, percent
from failover.driving import Verb
from failover.health import Verdict
from failover.ramp import RampPlan
from failover.units import render_duration
from starter.runs.memory import OpenRun

QUESTIONS: Mapping[Verb, str] = {
    Verb.APPROVE: "Approve this step?",
    Verb.REJECT: "Reject this step?",
    Verb.ABORT: "Abort this run?",
    Verb.PAUSE: "Pause this run?",
    Verb.RESUME: "Resume this run?",
    Verb.ADVANCE: "End the present wait now?",
    Verb.ESCALATE: "Go straight to the last step?",
    Verb.RETRY: "Try the step again?",
    Verb.SET_PERCENT: "Set the canary's percent?",
}


def consequences(
    verb: Verb, run: OpenRun, plan: RampPlan | None, now: Mapping[str, Distribution], verdicts: Sequence[Verdict]
) -> list[str]:
    """Tell in sentences what an order would do. `now`: shares in force by route, {} if unknown; `plan` None: unknown."""
    said = run.look.situation
    last = said.steps[-1] if said.steps else "its last step"
    match verb:
        case Verb.ABORT:
            return _abort(run, plan, now, verdicts)
        case Verb.APPROVE:
            return [said.approval.text if said.approval else "The step that waits is carried out at once."]
        case Verb.REJECT:
            after = plan.on_failure.value.replace("_", " ") if plan else "end"
            return ["The step is not carried out.", f"The run then does what its plan says for a failed gate: {after}."]
        case Verb.ADVANCE:
            return ["The present wait ends, and the next step begins, if the gates pass."]
        case Verb.ESCALATE:
            return [f"All traffic moves at once: {last}.", "There are no further waits, approvals or gates."]
        case Verb.RETRY:
            step = said.steps[said.step] if said.step < len(said.steps) else "the step"
            return [f"{step} is set and verified again, and its gates are watched anew."]
        case Verb.PAUSE:
            return ["Nothing moves until the run is resumed. Its gates are still watched."]
        case Verb.RESUME:
            return ["The run goes on where it was paused."]
        case Verb.SET_PERCENT:
            return ["The canary gets so many percent of what its source held, set and verified at once."]


def _abort(
    run: OpenRun, plan: RampPlan | None, now: Mapping[str, Distribution], verdicts: Sequence[Verdict]
) -> list[str]:
    if run.procedure == kinds.EMERGENCY:
        return [
            "Degraded service is switched off, on every route of it, and that is verified.",
            "The shares stay as they are. Users get errors where no provider of theirs serves.",
            "Where it is held instead, degraded service stays, and nobody watches for a provider that is back.",
        ]
    said = ["The run ends, and what it wrote last is stopped first."]
    if plan is None:
        said.append("What it found is put back on every route that it changed, and that is verified.")
        return [*said, *_spared({}, verdicts)]
    found, limit = plan.found.distribution, render_duration(plan.abort_timeout)
    present = f" (now {worded(now[plan.route])})" if plan.route in now else ""
    said.append(f"Route {plan.route} goes back to what was found: {worded(found)}{present}.")
    said.append(f"That is verified within {limit}; where it cannot be, the run says which command a person must run.")
    return [*said, *_spared(found, verdicts)]


def _spared(found: Distribution, verdicts: Sequence[Verdict]) -> list[str]:
    """Tell who is spared: restoring never sends traffic to a provider that is known to be down."""
    down = [verdict.provider for verdict in verdicts if verdict.down and (not found or found.get(verdict.provider))]
    if not down:
        return []
    verb = "is" if len(down) == 1 else "are"
    return [f"{' and '.join(down)} {verb} down and will be given no traffic: the run then holds what is in force."]


def worded(shares: Distribution) -> str:
    """ "bedrock 70 %, google 30 %"."""
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {percent(points)} %" for name, points in ordered)
