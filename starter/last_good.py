"""What was the last good distribution of a route, by whoever still tells.

What a drill had found, while it holds the route. Else, in this order: of the run that changed the route last, what it ended
with where its record says that it ended well, else what it had found, by its record or by its plan where Temporal still
tells that; what the last run on record ended with; the configured distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from activities.evidence import EvidenceStore
from failover.distribution import Shares
from failover.drill import NAME as DRILL
from failover.errors import FailoverError, RequestError
from failover.incident import Outcome, RunRecord
from failover.policy import TrafficPolicy, is_drill
from failover.ramp import RampPlan
from failover.requests import RunResult
from starter.parts import config_of, evidence_of
from starter.running import Stack
from starter.runs.following import ask
from starter.settings import Settings

GOOD_ENDS = (Outcome.COMPLETED, Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.PASSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A distribution, and why it is taken to be the last good one."""

    distribution: Shares
    why: str


async def last_good(
    settings: Settings,
    stack: Stack,
    found: TrafficPolicy,
    temporal: Client | None,
    unknown: list[str],
) -> Good:
    """What was good on the route that is `found`; what cannot be known about that is added to `unknown`."""
    if found.clean is not None:
        return Good(distribution=found.clean, why=f"what {found.claim} had found")
    about = _records(settings, stack, found.route, unknown)
    good = _by_its_author(about, found) or await _by_its_plan(temporal, found)
    if good is not None:
        return good
    if found.changed_by.workflow_id:
        unknown.append(f"what {found.changed_by.workflow_id}, which changed the route last, had found: nothing tells")
    return _on_record(about, found.route) or _configured(settings, stack, found.route)


def _records(settings: Settings, stack: Stack, route: str, unknown: list[str]) -> list[RunRecord]:
    """The closed runs that concerned the route, the last first."""
    store = evidence_of(settings, stack)
    records = [record for folder in store.list()[:200] if (record := _load(store, folder, unknown))]
    # What a drill practised was never meant to last; the drill's own record tells what it put back.
    lasting = [record for record in records if not record.is_drill or record.procedure == DRILL]
    about = [record for record in lasting if any(shift.route == route for shift in record.routes)]
    return sorted(about, key=_ended, reverse=True)


def _by_its_author(about: Sequence[RunRecord], found: TrafficPolicy) -> Good | None:
    author = found.changed_by.workflow_id
    mine = next((one for one in about if one.workflow_id == author and _ended(one) >= found.changed_at), None)
    return _of_author(mine, found.route) if mine is not None else None


async def _by_its_plan(temporal: Client | None, found: TrafficPolicy) -> Good | None:
    """What a ramp that has not closed by itself had found; nobody may tell."""
    author = found.changed_by
    if temporal is None or not author.workflow_id or is_drill(author.workflow_id):
        return None
    run = temporal.get_workflow_handle(author.workflow_id, run_id=author.run_id or None, result_type=RunResult)
    plan: RampPlan | None = await ask(run, "plan", RampPlan)
    if plan is None or plan.route != found.route:
        return None
    return Good(distribution=plan.found.distribution, why=f"what {author.workflow_id} had found, by its plan")


def _on_record(about: Sequence[RunRecord], route: str) -> Good | None:
    if not about:
        return None
    shift = next(shift for shift in about[0].routes if shift.route == route)
    return Good(distribution=shift.after, why=f"what {about[0].workflow_id}, the last run on record, ended with")


def _configured(settings: Settings, stack: Stack, route: str) -> Good:
    config = config_of(settings, stack)
    if config is None or route not in config.routes:
        raise RequestError(
            f"Nothing tells what was good on route {route!r}: no run is on record, and no configuration is at "
            "hand. Name it with --to. Nothing was changed."
        )
    return Good(distribution=config.routes[route].distribution, why="the configured distribution")


def _of_author(record: RunRecord, route: str) -> Good:
    shift = next(shift for shift in record.routes if shift.route == route)
    if record.outcome in GOOD_ENDS:
        return Good(distribution=shift.after, why=f"what {record.workflow_id} ended with: {record.outcome.value}")
    return Good(distribution=shift.before, why=f"what {record.workflow_id} found; it ended {record.outcome.value}")


def _load(store: EvidenceStore, folder: str, unknown: list[str]) -> RunRecord | None:
    try:
        return store.load(folder)
    except (FailoverError, ValueError):
        unknown.append(f"what the record in {folder} says: it cannot be read")
        return None


def _ended(record: RunRecord) -> datetime:
    return record.moments.closed or record.moments.decided
