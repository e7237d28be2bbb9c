"""Structured logs for every process of the product: JSON for machines, plain console lines for people.

Standard-library loggers (Temporal's SDK, uvicorn) come out in the same form; a log line from a workflow or activity
carries its workflow and run ids.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from temporalio import activity, workflow

from starter.settings import LogFormat, LogLevel

_FROM_TEMPORAL = (
    "workflow_id",
    "run_id",
    "workflow_run_id",
    "workflow_type",
    "activity_type",
    "activity_id",
    "attempt",
)

_NOISY = (
    "httpx",
    "httpcore",
    "botocore",
    "urllib3",
    "google",
    "uvicorn.access",
    "openai",
    "slack_sdk",
)
"""Libraries that tell every request at INFO."""


def configure(log_format: LogFormat, level: LogLevel = "info", stream: TextIO = sys.stderr) -> None:
    """Send every log line to `stream` in one form. Call once, before anything logs."""
    # The ids go into fields of their own, not into the sentence.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _name_the_run,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(log_format, stream))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _rendering(log_format: LogFormat, stream: TextIO) -> list[Any]:
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "json":
        return [
            strip,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    plain = structlog.dev.plain_traceback
    return [
        strip,
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain),
    ]


def _name_the_run(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Lift the ids out of what the SDK hands over as one mapping."""
    for key in ("temporal_workflow", "temporal_activity"):
        details = event.pop(key, None)
        if isinstance(details, dict):
            event.update({name: details[name] for name in _FROM_TEMPORAL if name in details})
    return event
