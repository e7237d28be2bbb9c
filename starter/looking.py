"""Everything that is asked of the stack in one look, typed, for whoever answers from it: the terminal and the console."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from temporalio.exceptions import ApplicationError

from failover.answer import Answer, Known, RunEnded, answer
from failover.automation import Hold
from failover.errors import FailoverError, Unavailable
from failover.health import Verdict
from failover.policy import TrafficPolicy
from failover.telemetry import Telemetry
from starter.checks import Watched
from starter.runs.memory import OpenRun

T = TypeVar("T")

PATIENCE = 4.0
"""Seconds for one answer; what takes longer is shown as not answering."""

Question = Callable[[], Awaitable[T]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look; each part is its answer, or the FailoverError that says why there is none."""

    at: datetime
    verdicts: Sequence[Verdict] | FailoverError
    policies: Sequence[TrafficPolicy] | FailoverError
    served: Telemetry | FailoverError
    runs: Sequence[OpenRun] | FailoverError
    ended: Sequence[RunEnded] | FailoverError
    watched: Watched | FailoverError
    hold: Hold | FailoverError | None

    @property
    def answer(self) -> Answer:
        """Tell whether it is handled, and what people need to do."""
        return answer(self.known(), self.at)

    def known(self) -> Known:
        runs, watched = self.runs, self.watched
        return Known(
            verdicts=self.verdicts,
            policies=self.policies,
            runs=runs if isinstance(runs, FailoverError) else [run.now() for run in runs],
            ended=self.ended,
            unwatched=watched if isinstance(watched, FailoverError) else watched.why_red,
            hold=self.hold,
            notes=[str(self.served)] if isinstance(self.served, FailoverError) else [],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Each door's own way to whoever knows; a FailoverError where nobody does."""

    verdicts: Question[Sequence[Verdict]]
    policies: Question[Sequence[TrafficPolicy]]
    served: Question[Telemetry]
    runs: Question[Sequence[OpenRun]]
    ended: Question[Sequence[RunEnded]]
    watched: Question[Watched]
    hold: Question[Hold | None]


async def look(questions: Questions) -> Seen:
    """Ask all of them at once."""
    at = datetime.now(UTC)
    async with asyncio.TaskGroup() as asking:
        verdicts = asking.create_task(_known("The worker", questions.verdicts))
        policies = asking.create_task(_known("The gateway", questions.policies))
        served = asking.create_task(_known("The gateway", questions.served))
        runs = asking.create_task(_known("Temporal", questions.runs))
        ended = asking.create_task(_known("Temporal", questions.ended))
        watched = asking.create_task(_known("Temporal", questions.watched))
        hold = asking.create_task(_known("The gateway", questions.hold))
    return Seen(
        at=at,
        verdicts=verdicts.result(),
        policies=policies.result(),
        served=served.result(),
        runs=runs.result(),
        ended=ended.result(),
        watched=watched.result(),
        hold=hold.result(),
    )


async def _known(who: str, question: Question[T]) -> T | FailoverError:
    """The answer, or the error that says why there is none; `who` is asked."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await question()
    except FailoverError as error:
        return error
    except ApplicationError as error:  # Of Temporal's converter, where a key is missing.
        return Unavailable(f"What {who} tells cannot be read here: {error.message}")
    except TimeoutError:
        return Unavailable(f"{who} gave no answer within {PATIENCE:g} s.")
