"""Temporal: does it answer, is it set up, does anybody work, does anybody watch."""

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from failover.config import Config
from failover.findings import Finding, failed, ok, warning
from failover.units import render_duration
from starter.checks import watched
from starter.schedules import listed
from workflows.journal import SEARCH_ATTRIBUTES
from workflows.queue import TASK_QUEUE

SHORT_RETENTION = timedelta(days=1)

START_A_WORKER = "start one: `failover-worker --config FILE`, or the whole stack with `failoverctl dev`"


async def examine(client: Client, config: Config) -> list[Finding]:
    found: list[Finding] = [ok("temporal", f"it answers at {client.service_client.config.target_host}")]
    for look in (_namespace, _search_attributes, _workers):
        try:
            found += await look(client)
        except RPCError as error:
            about = look.__name__.removeprefix("_").replace("_", " ")
            found.append(
                failed(about, f"Temporal did not tell: {error.message}", "give the API key the rights to read it")
            )
    return [*found, *await _schedules(client, config), await _dead_man(client, config)]


async def _namespace(client: Client) -> list[Finding]:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        told = await client.workflow_service.describe_namespace(request)
    except RPCError as error:
        repair = "create it: `temporal operator namespace create`, or set TEMPORAL_NAMESPACE to one that is there"
        return [failed("namespace", f"{client.namespace}: {error.message}", repair)]
    kept = told.config.workflow_execution_retention_ttl.ToTimedelta()
    said = f"{client.namespace} is there; it keeps closed runs for {render_duration(kept)}"
    if kept < SHORT_RETENTION:
        repair = "keep them longer: `temporal operator namespace update --retention 72h`; the evidence is kept apart"
        return [warning("namespace", said, repair)]
    return [ok("namespace", said)]


async def _search_attributes(client: Client) -> list[Finding]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    missing = sorted(key.name for key in SEARCH_ATTRIBUTES if key.name not in known)
    if missing:
        repair = "a worker adds them when it starts; where it may not, `temporal operator search-attribute create`"
        return [failed("search attributes", f"not registered: {', '.join(missing)}", repair)]
    return [ok("search attributes", f"all {len(SEARCH_ATTRIBUTES)} are registered")]


async def _workers(client: Client) -> list[Finding]:
    kinds: Any = {
        "workflows": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        "activities": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    }
    found = []
    for kind, queue_type in kinds.items():
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=TASK_QUEUE), task_queue_type=queue_type
        )
        pollers = {one.identity for one in (await client.workflow_service.describe_task_queue(request)).pollers}
        about = f"workers for {kind}"
        if pollers:
            found.append(ok(about, f"{len(pollers)} poll the task queue {TASK_QUEUE}"))
        else:
            found.append(failed(about, f"nobody polls the task queue {TASK_QUEUE}", START_A_WORKER))
    return found


async def _schedules(client: Client, config: Config) -> list[Finding]:
    if not config.detection.enabled:
        return [warning("schedules", "detection is switched off: nobody watches", "set detection.enabled, then apply")]
    found = []
    for one in await listed(client, config):
        about = f"schedule {one.id}"
        if one.drift:
            found.append(failed(about, "; ".join(one.drift), "`failoverctl schedules apply`"))
        elif one.paused:
            found.append(failed(about, one.note or "it is paused", f"`failoverctl schedules resume {one.id}`"))
        else:
            found.append(ok(about, f"every {render_duration(one.every)}" if one.every else "in force"))
    return found


async def _dead_man(client: Client, config: Config) -> Finding:
    checks = await watched(client, config)
    if checks.completed_at is not None and checks.completed_at - datetime.now(UTC) > timedelta(seconds=2):
        said = f"the last health check ended {render_duration(checks.completed_at - datetime.now(UTC))} in the future"
        return failed("clock skew", f"{said}: Temporal's clock and this machine's differ", "synchronise both (NTP)")
    if checks.why_red is not None:
        return failed("health checks", checks.why_red, "see to the schedule and the workers above; then look again")
    age = f"{checks.age.total_seconds():.0f} s ago" if checks.age is not None else "none was expected"
    return ok("health checks", f"the last one completed {age}")
