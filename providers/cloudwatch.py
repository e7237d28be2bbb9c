"""What AWS counts of Bedrock: CloudWatch's AWS/Bedrock, in whole minutes, minutes late.

It counts everybody's calls to a model in the account and region, our own probes too.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.exceptions as boto
from botocore.config import Config as BotoConfig

from failover.config.detection import Source
from failover.errors import Unavailable
from failover.failure import FailureKind
from failover.telemetry import ProviderWindow
from providers.threads import Threads

MINUTE = timedelta(minutes=1)
STALE_AFTER = timedelta(minutes=5)

_FAILURES = {
    "InvocationServerErrors": FailureKind.SERVER_ERROR,
    "InvocationThrottles": FailureKind.THROTTLED,
    "InvocationClientErrors": FailureKind.BAD_REQUEST,
}
_STATISTICS = {"Invocations": "Sum", **dict.fromkeys(_FAILURES, "Sum"), "InvocationLatency": "p95"}


class CloudWatchSource:
    """Asks CloudWatch of one region. `name` is the source's key in the configuration."""

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        credentials: tuple[str, str] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._credentials = credentials
        self._stale_after = source.stale_after or STALE_AFTER
        self._clock = clock or (lambda: datetime.now(UTC))
        self._threads = Threads(f"cloudwatch-{name}", size=4)
        self._client: Any = None

    async def read(self, window: timedelta) -> Sequence[ProviderWindow]:
        try:
            series = await self._threads.call(lambda: self._series(window), self._source.timeout)
        except (boto.BotoCoreError, boto.ClientError, TimeoutError) as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            why = code or type(error).__name__
            raise Unavailable(f"CloudWatch ({self._name}) does not answer: {why}.") from error
        read = (self._window(provider, series[provider], window) for provider in sorted(self._source.providers))
        return [found for found in read if found is not None]

    def _series(self, window: timedelta) -> Mapping[str, Mapping[str, Mapping[datetime, float]]]:
        """Provider → metric → minute → value."""
        until = self._clock().replace(second=0, microsecond=0) + MINUTE
        since = until - self._stale_after - window - MINUTE
        asked = {
            f"m{number}": (provider, metric)
            for number, (provider, metric) in enumerate(
                (provider, metric) for provider in self._source.providers for metric in _STATISTICS
            )
        }
        found: dict[str, dict[str, dict[datetime, float]]] = {provider: {} for provider in self._source.providers}
        pages = (
            self._cloudwatch()
            .get_paginator("get_metric_data")
            .paginate(
                MetricDataQueries=[self._query(id_, *what) for id_, what in asked.items()],
                StartTime=since,
                EndTime=until,
            )
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                provider, metric = asked[result["Id"]]
                points = zip(result["Timestamps"], result["Values"], strict=True)
                found[provider].setdefault(metric, {}).update(points)
        return found

    def _query(self, id_: str, provider: str, metric: str) -> dict[str, Any]:
        model = {"Name": "ModelId", "Value": self._source.providers[provider]}
        return {
            "Id": id_,
            "ReturnData": True,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Bedrock", "MetricName": metric, "Dimensions": [model]},
                "Period": int(MINUTE.total_seconds()),
                "Stat": _STATISTICS[metric],
            },
        }

    def _window(
        self, provider: str, series: Mapping[str, Mapping[datetime, float]], window: timedelta
    ) -> ProviderWindow | None:
        """The newest whole minutes that fill the window; None where they are too old, or there are none."""
        counted = {name: points for name, points in series.items() if name != "InvocationLatency"}
        newest = max((minute for points in counted.values() for minute in points), default=None)
        if newest is None or newest + MINUTE < self._clock() - self._stale_after:
            return None
        first = newest + MINUTE - max(window, MINUTE)
        sums = {
            name: round(sum(value for minute, value in points.items() if minute >= first))
            for name, points in counted.items()
        }
        latencies = [value for minute, value in series.get("InvocationLatency", {}).items() if minute >= first]
        return ProviderWindow(
            provider=provider,
            route="",
            # AWS's pages do not agree whether Invocations counts failed ones too. Added up, a share is never overstated.
            tries=sum(sums.values()),
            first_tries=0,
            failures={kind: sums[name] for name, kind in _FAILURES.items() if sums.get(name)},
            latency_p95=timedelta(milliseconds=max(latencies)) if latencies else None,
        )

    def _cloudwatch(self) -> Any:
        if self._client is None:
            keys = ("aws_access_key_id", "aws_secret_access_key")
            options = dict(zip(keys, self._credentials, strict=True)) if self._credentials else {}
            seconds = self._source.timeout.total_seconds()
            config = BotoConfig(
                connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1, "mode": "standard"}
            )
            make: Any = boto3.Session(region_name=self._source.region).client
            self._client = make("cloudwatch", endpoint_url=self._source.url, config=config, **options)
        return self._client

    async def aclose(self) -> None:
        self._threads.close()
        if self._client is not None:
            self._client.close()
