"""A real webhook server over a real Temporal, a real worker and adapters in memory; names are each test's own."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from activities.board import VerdictBoard
from activities.deploys import DeployLog
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from activities.notify import Notifier
from failover.analysis.case import Deploy
from failover.config import Config
from failover.health import Verdict
from failover.ports import TrafficPlane
from gateway.process import listening
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.console.readiness import Sheet
from starter.webhooks.app import Parts, WebhookServer
from starter.webhooks.sns import Sns
from starter.webhooks.temporal import Temporal
from traffic.memory import MemoryPlane

API_TOKEN = "the-stack's-own-token"

SECRETS = {
    "ALERTMANAGER_WEBHOOK_TOKEN": "alertmanager-token",
    "GRAFANA_WEBHOOK_TOKEN": "grafana-token",
    "PAGERDUTY_WEBHOOK_SECRET": "old-secret pagerduty-secret",
    "DATADOG_WEBHOOK_TOKEN": "datadog-token",
    "GENERIC_WEBHOOK_TOKEN": "generic-token",
    "DEPLOYS_WEBHOOK_TOKEN": "deploys-token",
    "SLACK_SIGNING_SECRET": "slack-signing-secret",
    "SLACK_BOT_TOKEN": "xoxb-very-secret",
}

FAST: dict[str, Any] = {
    "immediate": {"verify_timeout": "300ms", "validate_interval": "100ms", "validate_timeout": "2s"},
    "gating": {"sample_interval": "100ms", "window": "1s", "minimum_requests": 20, "ask_deadline": "20s"},
    "gradual": {"settle": "100ms", "monitor": "300ms"},
    "canary": {"initial_hold": "400ms", "step_hold": "300ms", "percents": [50, 100]},
    "failback": {"recovery_watch": "5m", "watch_interval": "200ms"},
}
"""The runbook's procedures in tenths of seconds."""


@dataclass
class Names:
    """The providers' and the routes' names: run ids are made of them, and the Temporal server is everybody's."""

    bedrock: str
    google: str
    chat: str
    search: str


@pytest.fixture
def names() -> Names:
    mark = uuid.uuid4().hex[:8]
    return Names(bedrock=f"b-{mark}", google=f"g-{mark}", chat=f"chat-{mark}", search=f"search-{mark}")


MakeConfig = Callable[..., Config]


@pytest.fixture
def make_config(names: Names) -> MakeConfig:
    """Two providers and two routes; bedrock serves only chat, unless told otherwise."""

    def make(**sections: Any) -> Config:
        provider = {"kind": "llama", "model": "llama", "endpoint": "simulator"}
        shares = {names.bedrock: 70, names.google: 30}
        given: dict[str, Any] = {
            "providers": {names.bedrock: provider, names.google: provider},
            "routes": {
                names.chat: {"distribution": shares, "failback": "off"},
                names.search: {"distribution": {names.google: 100}, "failback": "off"},
            },
            "failover_chains": {names.bedrock: [names.google], names.google: [names.bedrock]},
            "procedures": FAST,
            "webhooks": {"note_interval": "100ms"},
        }
        return Config.model_validate(given | sections)

    return make


class Server:
    """A running webhook server, and what stands behind it."""

    def __init__(self, config: Config, names: Names, client: Client, task_queue: str, state: Path) -> None:
        self.config = config
        self.names = names
        self.client = client
        self.task_queue = task_queue
        self.plane = MemoryPlane({name: route.distribution for name, route in config.routes.items()})
        self.plane.requests = 1000
        self.clients = {key: MemoryClient(key) for key in config.providers}
        self.data_plane: TrafficPlane = self.plane
        self.notifier: Notifier = MemoryNotifier()
        self.board = VerdictBoard()
        self._state = state
        self.evidence = EvidenceStore(state / "incidents")
        self.sheet: Sheet | None = None
        self.http = httpx.AsyncClient()
        self.url = ""

    @asynccontextmanager
    async def serving(
        self, secrets: Mapping[str, str] = SECRETS, sns: Sns | None = None, client: Client | None = None
    ) -> AsyncIterator["Server"]:
        temporal = Temporal(client or self.client, self.task_queue, self.config.webhooks.temporal_timeout)
        parts = Parts(
            config=self.config,
            temporal=temporal,
            plane=self.data_plane,
            secrets=secrets,
            api_token=API_TOKEN,
            sns=sns or Sns(),
            hold=self.plane,
            deploys=DeployLog(self._state, 1024 * 1024, self.config.webhooks.replay_window),
            verdicts=self._verdicts,
            evidence=self.evidence,
            readiness=lambda: self.sheet,
        )
        server = WebhookServer(parts)
        async with AsyncExitStack() as held:
            held.push_async_callback(server.finish)
            self.url = await held.enter_async_context(listening(server.app, "127.0.0.1", 0))
            self.http = await held.enter_async_context(
                httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30)
            )
            yield self

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker that does what is started."""
        parts = composition.Parts(
            config=self.config,
            clients=self.clients,
            plane=self.data_plane,
            notifier=self.notifier,
            evidence=self.evidence,
            board=self.board,
            hold=self.plane,
        )
        async with composition.build_worker(self.client, parts, task_queue=self.task_queue):
            yield

    async def _verdicts(self) -> list[Verdict]:
        return self.board.all()

    async def alert(self, trigger: str = "unavailable", **fields: Any) -> httpx.Response:
        """An alert in the generic form, about bedrock."""
        return await self.http.post(
            "/webhooks/generic",
            json={"provider": self.names.bedrock, "trigger": trigger, **fields},
            headers={"Authorization": "Bearer generic-token"},
        )

    @property
    def deploys(self) -> list[Deploy]:
        """What was noted."""
        return DeployLog(self._state, 1024 * 1024, timedelta(0)).read()

    def run(self, workflow_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id)

    @property
    def failover(self) -> str:
        """The id of the run that moves everything off bedrock."""
        return f"failover/{self.names.bedrock}"

    async def runs(self, workflow_id: str) -> int:
        """How many executions of that id there ever were. Visibility is late: asked of the id itself, not of a list."""
        found = 0
        async for _ in self.client.list_workflows(f"WorkflowId = '{workflow_id}'"):
            found += 1
        return found

    async def said(self, workflow_id: str) -> list[str]:
        """The timeline of a run."""
        return [entry["text"] for entry in await self.run(workflow_id).query("timeline")]

    async def end(self, *workflow_ids: str) -> None:
        for workflow_id in workflow_ids:
            await self.run(workflow_id).terminate("the test is over")


MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(
    make_config: MakeConfig, names: Names, temporal_client: Client, task_queue: str, tmp_path: Path
) -> MakeServer:
    def make(**sections: Any) -> Server:
        return Server(make_config(**sections), names, temporal_client, task_queue, tmp_path)

    return make


@pytest.fixture
async def server(make_server: MakeServer) -> AsyncIterator[Server]:
    """Serving, with nobody at work: what is started waits."""
    async with make_server().serving() as serving:
        yield serving


PATIENCE = timedelta(seconds=20)
