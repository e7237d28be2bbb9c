"""The gates of a hold, sampled all through every wait: what is seen, and what it amounts to."""

from collections.abc import Sequence
from datetime import timedelta

from activities.ramping import GateSampleOrder
from failover.gates import Decision, Gate, GateSample, Metric, after, after_error, decide, fresh
from failover.incident import Sample
from failover.observing import OwnRequests, counting_ours
from failover.policy import Revision
from failover.ramp import Step
from failover.requests import RampRequest
from workflows import data_plane
from workflows.claimed_route import ClaimedRoute
from workflows.journal import Journal
from workflows.ramp_state import RampState
from workflows.signing import me

KEPT_SAMPLES = 100
"""Samples kept for the report; a longer run keeps every other one, and so on."""


class GateWatch:
    """Looks at one route for one run."""

    def __init__(self, request: RampRequest, state: RampState, journal: Journal, route: ClaimedRoute) -> None:
        self._request, self._state, self._journal, self._route = request, state, journal, route

    def begin(self, step: Step) -> None:
        """Judge the step anew, by what is counted from now on."""
        state = self._state
        state.since = state.seen_at = None
        state.gates = fresh(step.gates)
        state.ours = OwnRequests()

    async def look(self, *, over: bool) -> Decision:
        """Take one sample; → what it amounts to. Somebody else's change ends the run."""
        state = self._state
        gates = state.held.gates if state.held else ()
        sample = await data_plane.gate_sample(self._sample_order())
        if isinstance(sample, GateSample) and sample.revision != str(state.revision):
            sample = await self._put_right(sample)
        # While it settles, answers may be slow: that alone is not held against anybody yet.
        settling = state.settle_left > timedelta(0)
        self._judge([gate for gate in gates if not settling or gate.metric is Metric.SUCCESS_PERCENT], sample)
        self._journal.refresh()
        return decide(gates, {one.name: one for one in state.gates}, over=over)

    async def _put_right(self, sample: GateSample) -> str:
        """Deal with another policy that was read: somebody else's ends the run; an old or late one of ours is written over.

        → why the sample tells nothing of the step.
        """
        if self._route.is_older(Revision.parse(sample.revision)):
            return f"the data plane reads back revision {sample.revision}, older than the one that was written"
        if sample.author != me():
            raise self._route.superseded(sample.author, "the policy in force is another")
        try:
            written = await self._route.write(self._state.now, "again", claim=me())
        except data_plane.WriteFailed as error:
            return f"an older policy of this run is in force, and could not be written over: {error}"
        if not written.in_force:
            raise self._route.superseded(written.author, written.reason)
        return "an older policy of this run was in force; it has been put right"

    def _judge(self, gates: Sequence[Gate], sample: GateSample | str) -> None:
        state = self._state
        if isinstance(sample, GateSample) and state.seen_at is not None and sample.at <= state.seen_at:
            sample = "the counters stand still"
        if isinstance(sample, str):
            state.gates = [after_error(one, sample) for one in state.gates]
            return
        state.seen_at = sample.at
        if state.since is None:
            state.since = sample.at  # On the data plane's own clock: ours may differ.
            return
        state.synthetic += sample.synthetic
        state.ours = state.ours.and_those_of(sample)
        counted = counting_ours(sample, state.plan.synthetic, state.ours)
        before = {one.name: one.last for one in state.gates}
        judged = {gate.name: gate for gate in gates}
        state.gates = [after(judged[one.name], one, counted) if one.name in judged else one for one in state.gates]
        for one in state.gates:
            if one.last is not before[one.name]:
                self._journal.note(f"{one.last.value}: {one.reason}")
        self._keep(sample.users)

    def _keep(self, sample: Sample) -> None:
        state = self._state
        state.samples.append(sample)
        if len(state.samples) > KEPT_SAMPLES:
            state.samples = state.samples[::2]

    def _sample_order(self) -> GateSampleOrder:
        state = self._state
        wanted = self._request.synthetic_per_sample
        wanted = state.plan.gating.synthetic_per_sample if wanted is None else wanted
        left = max(0, state.plan.gating.synthetic_limit - state.synthetic)
        return GateSampleOrder(
            route=state.plan.route,
            window=state.plan.gating.window,
            since=state.since,
            provider=state.plan.synthetic,
            synthetic=min(wanted, left) if state.since else 0,
        )
