"""Golden prompts put to a provider's own model, and the baselines that the scores are compared with."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from activities.files import write_whole
from failover.accuracy import (
    Assessment,
    Baseline,
    Examination,
    Miss,
    Quality,
    Score,
    assess,
    baseline_of,
    why_no_baseline,
)
from failover.completion import Completion, Message, Role
from failover.config import Config
from failover.errors import ProviderError, RequestError
from failover.failure import Failure, FailureKind
from failover.golden import Prompt, Suite, why_wrong
from failover.ports import ProviderClient
from failover.tools import call_text
from failover.units import milliseconds

log = structlog.get_logger(__name__)

FIRST_RUN = "the first complete run"
"""The author of a baseline that nobody asked for."""

CLOSER = "comprehensive"
"""The suite that settles a doubt."""

_BASELINE = TypeAdapter(Baseline)


class BaselineStore:
    """A directory of baselines, one file a provider, model and suite."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, baseline: Baseline) -> Path:
        """Replaces what was there for the same provider, model and suite."""
        path = self._path(baseline.provider, baseline.model, baseline.suite)
        write_whole(path, _BASELINE.dump_json(baseline, indent=2))
        return path

    def find(self, provider: str, model: str, suite: Suite) -> Baseline | None:
        """The recorded baseline; None if there is none, or only one of another version of the suite."""
        baseline = self._load(self._path(provider, model, suite.name))
        return baseline if baseline is not None and baseline.digest == suite.digest else None

    def list(self) -> Sequence[Baseline]:
        found = (self._load(path) for path in sorted(self._directory.glob("*.json")))
        return [baseline for baseline in found if baseline is not None]

    def _path(self, provider: str, model: str, suite: str) -> Path:
        return self._directory / (
            "--".join(re.sub(r"[^\w.-]", "_", part) for part in (provider, model, suite)) + ".json"
        )

    def _load(self, path: Path) -> Baseline | None:
        try:
            return _BASELINE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("a baseline cannot be read and counts as missing", path=str(path), error=type(error).__name__)
            return None


class Examiner:
    """Asks the prompts of a suite through a provider's client: the exact model mapping, a bounded number at once."""

    def __init__(
        self,
        config: Config,
        clients: Mapping[str, ProviderClient],
        suites: Mapping[str, Suite],
        baselines: BaselineStore,
    ) -> None:
        self._config = config
        self._settings = config.detection.accuracy
        self._clients = clients
        self._suites = suites
        self._baselines = baselines

    async def examine(
        self,
        provider: str,
        suite: str | Suite,
        *,
        told: Callable[[int], None] | None = None,
        size: int | None = None,
        concurrency: int | None = None,
    ) -> Examination:
        """Every prompt once (the first `size` of them, where given); `told` hears how many are done. RequestError for
        a provider or suite that is not there; what the provider does is a score, never an error."""
        client, asked = self._client(provider), suite if isinstance(suite, Suite) else self._suite(suite)
        began, done = datetime.now(UTC), 0
        turn = asyncio.Semaphore(concurrency or self._settings.concurrency)

        async def one(prompt: Prompt) -> str | ProviderError:
            nonlocal done
            async with turn:
                answer = await self._answer(client, asked, prompt)
            done += 1
            if told is not None:
                told(done)
            return answer

        prompts = asked.prompts[:size]
        answers = await asyncio.gather(*map(one, prompts))
        wrong = [
            Miss(prompt=prompt.id, reason=why)
            for prompt, answer in zip(prompts, answers, strict=True)
            if isinstance(answer, str) and (why := why_wrong(prompt, answer)) is not None
        ]
        failures = [answer for answer in answers if isinstance(answer, ProviderError)]
        answered = len(prompts) - len(failures)
        return Examination(
            provider=provider,
            model=self._config.model_id(provider),
            suite=asked.name,
            digest=asked.digest if len(prompts) == len(asked.prompts) else "",
            at=began,
            took=datetime.now(UTC) - began,
            score=Score(asked=len(prompts), answered=answered, passed=answered - len(wrong)),
            misses=wrong,
            first_failure=str(failures[0].failure) if failures else None,
        )

    async def assess(self, provider: str) -> Assessment:
        """Examine and compare. A doubt that few prompts raise is settled by the comprehensive suite, at once."""
        name = self._settings.suite
        first = self.judge(await self.examine(provider, name))
        if name == CLOSER or CLOSER not in self._suites:
            return first
        if first.quality is Quality.GOOD and self._wants_baseline(provider, CLOSER):
            # Taken now, while the provider is good: in the doubt that it is to settle it would be too late.
            self._record_first(await self.examine(provider, CLOSER))
        if first.quality is not Quality.DOUBTFUL:
            return first
        closer = self.judge(await self.examine(provider, CLOSER), doubted=True)
        return first if closer.quality is Quality.UNKNOWN else closer

    def judge(self, found: Examination, *, doubted: bool = False) -> Assessment:
        """Compare with the baseline; where there is none, and nobody doubts the provider, this becomes it."""
        if not doubted and found.digest and self._wants_baseline(found.provider, found.suite):
            self._record_first(found)
        return assess(
            found,
            self.baseline(found.provider, found.suite) if found.digest else None,
            limit_points=self._config.detection.accuracy_drop_points,
            confidence_percent=self._settings.confidence_percent,
            answered_percent=self._settings.answered_percent,
        )

    def baseline(self, provider: str, suite: str) -> Baseline | None:
        """The baseline of the provider's model and this very version of the suite; None if nobody has recorded one."""
        return self._baselines.find(provider, self._config.model_id(provider), self._suite(suite))

    def _wants_baseline(self, provider: str, suite: str) -> bool:
        return self._settings.baseline == "first" and self.baseline(provider, suite) is None

    def _record_first(self, found: Examination) -> None:
        if (why := why_no_baseline(found)) is None:
            self._baselines.keep(baseline_of(found, FIRST_RUN))
        log.info("first baseline", provider=found.provider, suite=found.suite, passed=found.score.passed, refused=why)

    async def record_baseline(self, provider: str, suite: str, by: str) -> Baseline:
        """Examine, and take the score for the baseline from now on. RequestError where it can be none."""
        found = await self.examine(provider, suite)
        if (why := why_no_baseline(found)) is not None:
            failure = f" ({found.first_failure})" if found.first_failure else ""
            raise RequestError(f"No baseline of {provider} was recorded: {why}{failure}. Try again once it serves.")
        baseline = baseline_of(found, by)
        self._baselines.keep(baseline)
        return baseline

    async def _answer(self, client: ProviderClient, suite: Suite, prompt: Prompt) -> str | ProviderError:
        system = [Message(role=Role.SYSTEM, text=prompt.system)] if prompt.system else []
        completion = Completion(
            messages=[*system, Message(role=Role.USER, text=prompt.prompt)],
            max_tokens=prompt.max_tokens,
            temperature=suite.temperature,
            tools=[tool.tool() for tool in prompt.tools],
        )
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                answer = await client.invoke(completion, timeout=self._settings.timeout)
                return call_text(answer.calls[0]) if prompt.calls and answer.calls else answer.text
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(_no_answer(client.key, self._settings.timeout))

    def _client(self, provider: str) -> ProviderClient:
        if provider not in self._clients:
            raise RequestError(f"{provider!r} is no provider; there are {', '.join(sorted(self._clients))}.")
        return self._clients[provider]

    def _suite(self, name: str) -> Suite:
        if name not in self._suites:
            raise RequestError(f"{name!r} is no suite of golden prompts; there are {', '.join(sorted(self._suites))}.")
        return self._suites[name]


def _no_answer(provider: str, timeout: timedelta) -> Failure:
    detail = f"no whole answer within {milliseconds(timeout)} ms"
    return Failure(kind=FailureKind.TIMEOUT, provider=provider, detail=detail)
