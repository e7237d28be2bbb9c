"""Telling outside: one incident's run is started, one piece of news is delivered, and what was told is kept."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from pydantic import TypeAdapter
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.evidence import EvidenceStore, folder_of
from activities.runs import start_or_join
from failover.communications import (
    NAME,
    Channel,
    CommunicationsRequest,
    CommunicationsState,
    Delivery,
    Incident,
    Kept,
    News,
    Stage,
    plan,
    question,
)
from failover.config import Config
from failover.config.communications import ChannelName
from failover.errors import ChannelFailed
from failover.starting import StartOrder
from failover.told import lines_of

log = structlog.get_logger("communications")

PREFIX = "communications/"

FILE = "communications.json"

_STATE = TypeAdapter(CommunicationsState)
_REQUEST = TypeAdapter(CommunicationsRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The run that tells of an incident, "" where nobody is to be told; and what people are asked before a case is opened."""

    workflow_id: str
    question: str = ""


class Communicating:
    """The destinations outside, as the configuration wires them."""

    def __init__(
        self,
        config: Config,
        channels: Mapping[ChannelName, Channel],
        evidence: EvidenceStore,
        client: Client,
        task_queue: str,
    ) -> None:
        self._config, self._channels, self._evidence = config, channels, evidence
        self._client, self._task_queue = client, task_queue

    @activity.defn(name="communications.open")
    async def open(self, incident: Incident) -> Opened:
        """Start the run that tells of it, or find it started; none where nothing outside is configured."""
        providers = incident.providers
        about = replace(incident, contacts=self._config.contacts(providers), models=self._config.models(providers))
        state = CommunicationsState(incident=about, channels=plan(self._config, about))
        if not state.channels:
            return Opened(workflow_id="")
        state.hear(News(stage=Stage.OPENED, text=about.text, at=about.at))
        told = self._config.communications
        request = CommunicationsRequest(
            state=state, ask_for=told.support.ask_for, give_up_after=told.give_up_after, timeout=told.timeout
        )
        order = StartOrder(
            procedure=NAME,
            workflow_id=f"{PREFIX}{about.key}",
            request=_REQUEST.dump_python(request, mode="json"),
            summary=f"telling of {about.headline}",
        )
        workflow_id = (await start_or_join(self._client, self._task_queue, order)).workflow_id
        asked = question(state.waiting, about.workflow_id) if state.waiting else ""
        return Opened(workflow_id=workflow_id, question=asked)

    @activity.defn(name="communications.deliver")
    async def deliver(self, delivery: Delivery) -> str:
        """One attempt at one channel; → what the channel calls the incident."""
        channel = self._channels.get(delivery.channel)
        if channel is None:
            said = f"This worker's configuration has {delivery.channel.value} switched off."
            raise ApplicationError(said, type=ChannelFailed.__name__, non_retryable=True)
        try:
            return await channel.deliver(delivery)
        except ChannelFailed as error:
            log.warning("not told", channel=delivery.channel.value, incident=delivery.incident.key, why=str(error))
            raise ApplicationError(
                str(error),
                type=ChannelFailed.__name__,
                non_retryable=error.permanent,
                next_retry_delay=error.wait,
                category=ApplicationErrorCategory.BENIGN,  # Said above, in one line.
            ) from None

    @activity.defn(name="communications.keep")
    async def keep(self, state: CommunicationsState) -> None:
        """Keep what was told beside the run's record."""
        assert state.closing is not None
        if state.closing.kept is not None:
            await asyncio.to_thread(self._keep, state.closing.kept, state)

    def _keep(self, kept: Kept, state: CommunicationsState) -> None:
        folder = folder_of(kept.decided, kept.workflow_id, kept.run_id)
        self._evidence.attach(folder, FILE, as_file(state))


def as_file(state: CommunicationsState) -> bytes:
    """What was told, and as the section of the run's report that tells of it."""
    content = _STATE.dump_python(state, mode="json") | {
        "report": {"title": "Told and opened", "lines": lines_of(state)}
    }
    return json.dumps(content, indent=2).encode()


def kept_in(store: EvidenceStore, folder: str) -> CommunicationsState | None:
    """What was told of a run; None where nothing was to be, or nothing is kept yet."""
    content = store.read(folder, FILE)
    return None if content is None else _STATE.validate_json(content)
