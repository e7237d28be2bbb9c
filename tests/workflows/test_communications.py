"""A whole incident told outside, on real servers: behind the traffic write, beyond the run's end, each at its own pace."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.channels.memory import MemoryChannel
from activities.notifiers.memory import MemoryNotifier
from failover.communications import (
    ChannelState,
    CommunicationsRequest,
    CommunicationsState,
    Incident,
    News,
    Stage,
    Word,
)
from failover.config.communications import ChannelName, Communications
from failover.config.procedures import Immediate, Procedures
from failover.driving import Answer
from failover.errors import ChannelFailed
from failover.failure import FailureKind
from failover.incident import Outcome
from failover.policy import Change, ChangedBy
from failover.requests import RunResult
from gateway.process import listening
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.channels import channels
from starter.settings import Settings
from tests.workflows.conftest import SHORT
from traffic.memory import MemoryPlane

Told = WorkflowHandle[Any, CommunicationsState]
MakeParts = Callable[..., composition.Parts]

SECRETS = {"STATUS_API_KEY": "s1", "PAGERDUTY_ROUTING_KEY": "s2", "OUTGOING_WEBHOOK_SECRET": "s3"}

ALL = {"url": "http://127.0.0.1:1/hook"}


def configured(**changes: Any) -> Communications:
    return Communications.model_validate({"timeout": "300ms", "give_up_after": "3s", **changes})


def with_channels(make_parts: MakeParts, told: Communications, **memory: MemoryChannel) -> composition.Parts:
    """Parts whose waits are short; real channels, but for those that are given."""
    parts = make_parts(
        procedures=Procedures(immediate=Immediate.model_validate(SHORT["immediate"])), communications=told
    )
    real = channels(parts.config, Settings.from_env(SECRETS))
    named = {ChannelName(name.replace("_", "-")): channel for name, channel in memory.items()}
    return replace(parts, channels={**real, **named})


async def fail_over(client: Client, queue: str, *, id: str | None = None, **request: Any) -> tuple[RunResult, str]:
    """An immediate failover, to its end; → the result, and the id of its communications."""
    run = await client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": "bedrock", **request},
        id=id or f"run-{queue}",
        task_queue=queue,
        result_type=RunResult,
    )
    result = await asyncio.wait_for(run.result(), 60)
    return result, f"communications/{run.id}/{run.result_run_id}"


def claimed_by_drill(parts: composition.Parts, drill: str) -> None:
    """The route is a drill's, as it is while its failover goes."""
    assert isinstance(parts.plane, MemoryPlane)
    policy = parts.plane.policy("chat")
    change = Change(
        route="chat",
        decided_on=policy.revision,
        key="claim",
        distribution=policy.distribution,
        claim=drill,
        changed_by=ChangedBy(actor="anna", workflow_id=drill),
        reason="DRILL",
    )
    parts.plane.write(change)


def told_by(client: Client, workflow_id: str) -> Told:
    return client.get_workflow_handle(workflow_id, result_type=CommunicationsState)


class Outside:
    """All on one server: a pager that is broken, a webhook that asks for patience once, a status page that hangs."""

    def __init__(self) -> None:
        self.hooks: list[Any] = []
        self.pages = 0
        self.patience = 1
        self.hang = asyncio.Event()

    async def pager(self, request: Request) -> Response:
        self.pages += 1
        return Response(status_code=500)

    async def hook(self, request: Request) -> Response:
        if self.patience:
            self.patience -= 1
            return Response(status_code=429, headers={"Retry-After": "1"})
        self.hooks.append(await request.json())
        return JSONResponse({})

    async def status(self, request: Request) -> Response:
        await self.hang.wait()
        return JSONResponse({})


@pytest.fixture
async def outside() -> AsyncIterator[tuple[Outside, str]]:
    everybody = Outside()
    routes = [Route(f"/{name}", getattr(everybody, name), methods=["POST"]) for name in ("pager", "hook", "status")]
    async with listening(Starlette(routes=routes), "127.0.0.1", 0) as url:
        yield everybody, url
        everybody.hang.set()


async def test_channels_that_fail_hang_and_ask_for_patience_delay_nothing(
    temporal_client: Client, make_parts: MakeParts, task_queue: str, outside: tuple[Outside, str]
) -> None:
    """By the order of the run's history: nothing outside is begun before the write is done. What failed stands in the report."""
    everybody, url = outside
    told = configured(
        status_page={"kind": "post", "url": f"{url}/status"},
        pagerduty={"enabled": True, "url": f"{url}/pager"},
        webhook={"url": f"{url}/hook"},
    )
    parts = with_channels(make_parts, told)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        result, communications = await fail_over(temporal_client, task_queue)
        assert result.outcome is Outcome.COMPLETED
        state = await asyncio.wait_for(told_by(temporal_client, communications).result(), 60)
    assert state.over
    order = await activities_of(temporal_client, f"run-{task_queue}")
    assert order.index("completed traffic.apply") < order.index("scheduled communications.open")
    assert {name for name in order if "communications." in name} == {
        "scheduled communications.open",
        "completed communications.open",
    }
    opened, *between, closed = [one["event"] for one in everybody.hooks]
    assert (opened, closed) == ("incident.opened", "incident.closed"), "in order, though it was asked to wait"
    assert set(between) <= {"incident.updated"}, "and what it was asked to wait with may be old news by then"
    report = next(Path(result.evidence).glob("*.md")).read_text()
    assert "## Told and opened" in report
    assert "- Webhook: opened" in report and ", closed" in report
    assert "PagerDuty is in trouble itself: 500" in report and "NOT DELIVERED" in report
    [page] = [line for line in report.splitlines() if line.startswith("- Status page: ")]
    # The last try of a round is ended by its own timeout or by the round's.
    assert re.fullmatch(
        r"- Status page: nothing(; NOT DELIVERED at [\d:]+: "
        r"(It did not answer within 300ms|The status page does not answer: ReadTimeout))+\.",
        page,
    ), page
    assert everybody.pages > 1


async def activities_of(client: Client, workflow_id: str) -> list[str]:
    """What a run did, in the order of its history."""
    names: dict[int, str] = {}
    order = []
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
            order.append(f"scheduled {names[event.event_id]}")
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            order.append(f"completed {names[event.activity_task_completed_event_attributes.scheduled_event_id]}")
    return order


async def test_where_nothing_is_configured_nothing_is_started(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    parts = with_channels(make_parts, configured())
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        result, communications = await fail_over(temporal_client, task_queue)
    assert not (Path(result.evidence) / "communications.json").exists()
    with pytest.raises(Exception, match="not found"):
        await told_by(temporal_client, communications).describe()


async def test_a_case_waits_for_a_word_and_its_id_is_in_the_report(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    """Asked in the incident's thread; approved after the run is over; begun and ended; a second word is refused."""
    case = MemoryChannel("case-12345-2026")
    parts = with_channels(make_parts, configured(support={"aws": {"open": "approve"}}), aws_support=case)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        result, communications = await fail_over(temporal_client, task_queue)
        handle = told_by(temporal_client, communications)
        assert not case.deliveries
        assert isinstance(parts.notifier, MemoryNotifier)
        asked = [one for one in parts.notifier.messages if f"communications approve run-{task_queue}" in one.text]
        assert len(asked) == 1 and asked[0].urgent
        answer = await handle.execute_update("approve", {"actor": "anna"}, result_type=Answer)
        assert answer.accepted
        state = await asyncio.wait_for(handle.result(), 30)
    assert [one.news.stage for one in case.deliveries] == [Stage.OPENED, Stage.CLOSED]
    assert case.deliveries[0].providers == ["bedrock"]
    assert case.deliveries[0].incident.contacts == parts.config.contacts(["bedrock"])
    assert state.channels[0].word is Word.APPROVED
    report = next(Path(result.evidence).glob("*.md")).read_text()
    assert "AWS Support: case-12345-2026" in report and "approved by anna" in report


async def test_a_provider_known_to_be_down_gets_its_case_by_itself_and_a_drill_is_one_everywhere(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    """Where the configuration says act; the public hears of no drill."""
    case, mail, page = MemoryChannel(), MemoryChannel(), MemoryChannel()
    told = configured(
        support={"aws": {"open": "act"}},
        email={"to": ["a@b.c"]},
        status_page={"kind": "post", "url": "http://x.invalid"},
    )
    parts = with_channels(make_parts, told, aws_support=case, email=mail, status_page=page)
    bedrock = parts.clients["bedrock"]
    assert isinstance(bedrock, MemoryClient)
    verdict = {
        "provider": "bedrock",
        "condition": "unavailable",
        "reason": "3 x 503",
        "at": datetime.now(UTC).isoformat(),
    }
    claimed_by_drill(parts, f"drill/{task_queue}")
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        result, communications = await fail_over(
            temporal_client, task_queue, id=f"drill/{task_queue}/failover", is_drill=True, verdicts=[verdict]
        )
        await asyncio.wait_for(told_by(temporal_client, communications).result(), 30)
    assert case.deliveries and all(one.incident.is_drill for one in [*case.deliveries, *mail.deliveries])
    assert not page.tries
    assert "Status page: not told: it is a drill" in next(Path(result.evidence).glob("*.md")).read_text()
    [(_, record)] = parts.evidence.records()
    assert record.is_drill and parts.evidence.latest() is None, "no incident"


async def test_an_emergency_is_told_with_everybodys_contacts(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    mail = MemoryChannel()
    parts = with_channels(make_parts, configured(email={"to": ["a@b.c"]}), email=mail)
    providers = {
        name: one.model_copy(update={"emergency_contact": f"call {name}"})
        for name, one in parts.config.providers.items()
    }
    parts = replace(parts, config=parts.config.model_copy(update={"providers": providers}))
    for client in parts.clients.values():
        assert isinstance(client, MemoryClient)
        client.fail_with = FailureKind.SERVER_ERROR
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "MultiProviderEmergency", {}, id=f"emergency-{task_queue}", task_queue=task_queue, result_type=RunResult
        )
        async with asyncio.timeout(30):
            while len(mail.deliveries) < 2:
                await asyncio.sleep(0.02)
        await run.execute_update("abort", {"actor": "anna"}, result_type=Answer)
        result = await asyncio.wait_for(run.result(), 30)
    opened = mail.deliveries[0]
    assert opened.incident.known_down and set(opened.incident.providers) == set(providers)
    assert opened.incident.contacts["bedrock"] == "call bedrock"
    report = next(Path(result.evidence).glob("*.md")).read_text()
    assert "- bedrock: call bedrock" in report


async def test_a_run_that_ends_in_a_person_pages_one(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    page = MemoryChannel()
    parts = with_channels(make_parts, configured(pagerduty={"enabled": True}), pagerduty=page)
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.disobey = True
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        with contextlib.suppress(Exception):
            await fail_over(temporal_client, task_queue)
    assert any(one.news.outcome is Outcome.NEEDS_HUMAN for one in page.deliveries)


# By itself: in virtual time, and for long

INCIDENT = Incident(
    workflow_id="nobody",
    run_id="r1",
    procedure="ImmediateFailover",
    subject="bedrock",
    text="it fails",
    at=datetime(2026, 1, 31, tzinfo=UTC),
    providers=["bedrock"],
)


def telling(*states: ChannelState, **changes: Any) -> CommunicationsRequest:
    state = CommunicationsState(incident=INCIDENT, channels=list(states))
    state.hear(News(stage=Stage.OPENED, text="it fails", at=INCIDENT.at))
    defaults = Communications()
    return CommunicationsRequest(
        state=state, ask_for=defaults.support.ask_for, give_up_after=defaults.give_up_after, timeout=defaults.timeout
    ).model_copy(update=changes)


async def test_a_day_in_vain_and_a_run_that_vanished(
    time_skipping_env: WorkflowEnvironment, make_parts: MakeParts, task_queue: str
) -> None:
    """Tried for a day in few events, then given up and said; a case that nobody approves is not opened; people are told."""
    mail, page, case = MemoryChannel(), MemoryChannel(), MemoryChannel()
    page.fail = ChannelFailed("PagerDuty is in trouble itself: 500.")
    told = configured(email={"to": ["a@b.c"]}, pagerduty={"enabled": True})
    parts = with_channels(make_parts, told, email=mail, pagerduty=page, aws_support=case)
    client = time_skipping_env.client
    async with composition.build_worker(client, parts, task_queue=task_queue):
        handle = await client.start_workflow(
            "Communications",
            telling(
                ChannelState(name=ChannelName.EMAIL),
                ChannelState(name=ChannelName.PAGERDUTY),
                ChannelState(name=ChannelName.AWS_SUPPORT, word=Word.ASKED),
            ),
            id=f"communications/{task_queue}",
            task_queue=task_queue,
            result_type=CommunicationsState,
        )
        state = await asyncio.wait_for(handle.result(), 110)
    assert [one.news.stage for one in mail.deliveries] == [Stage.OPENED, Stage.CLOSED]
    assert "did not say how it ended" in mail.deliveries[1].news.text and mail.deliveries[1].news.needs_person
    by_name = {one.name: one for one in state.channels}
    assert by_name[ChannelName.AWS_SUPPORT].word is Word.EXPIRED and not case.tries
    given_up = [one for one in by_name[ChannelName.PAGERDUTY].missed if one.given_up]
    assert given_up and given_up[0].why == "PagerDuty is in trouble itself: 500."
    assert given_up[0].at - by_name[ChannelName.EMAIL].said[0].at >= timedelta(hours=20)
    assert page.tries > 50
    history = await handle.fetch_history()
    assert len(history.events) < 1500


async def test_a_long_incident_goes_on_as_a_new_run_and_loses_nothing(
    temporal_client: Client, make_parts: MakeParts, task_queue: str
) -> None:
    """Some hundred updates; each channel's order is kept, and the closing arrives."""
    mail = MemoryChannel()
    parts = with_channels(make_parts, configured(email={"to": ["a@b.c"]}), email=mail)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        handle = await temporal_client.start_workflow(
            "Communications",
            telling(ChannelState(name=ChannelName.EMAIL)),
            id=f"communications/{task_queue}",
            task_queue=task_queue,
            result_type=CommunicationsState,
        )
        first = handle.result_run_id
        latest = told_by(temporal_client, handle.id)
        async with asyncio.timeout(60):
            number = 0
            while (await latest.describe()).run_id == first:
                for _ in range(25):
                    number += 1
                    await latest.signal(
                        "tell", News(stage=Stage.UPDATED, text=str(number), at=INCIDENT.at, urgent=True)
                    )
        await latest.signal("tell", {"nonsense": 1})
        await latest.signal("tell", News(stage=Stage.CLOSED, text="end", at=INCIDENT.at, outcome=Outcome.COMPLETED))
        state = await asyncio.wait_for(latest.result(), 30)
    numbers = [one.news.number for one in mail.deliveries]
    assert numbers == sorted(numbers) and mail.deliveries[-1].news.text == "end"
    assert state.channels[0].done == state.news[-1].number == number + 2
