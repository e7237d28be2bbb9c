"""What users ask of the routes just now: what providers can take is held against it."""

import asyncio
from datetime import timedelta

from failover.capacity import MINUTE, declares
from failover.config import Config
from failover.errors import DataPlaneUnavailable
from failover.ports import TrafficPlane
from failover.telemetry import Telemetry

PATIENCE = timedelta(milliseconds=500)
"""The longest wait to learn how much traffic there is, for whoever moves it away."""


async def demand_now(config: Config, plane: TrafficPlane) -> Telemetry | None:
    """The last minute; None where no provider declared a limit, or nobody knows soon enough."""
    if not declares(config.capacities()):
        return None
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await plane.observe(window=MINUTE)
    except (TimeoutError, DataPlaneUnavailable):
        return None
