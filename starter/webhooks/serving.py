"""`failoverctl serve`: the webhook server as a process."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from activities.deploys import DeployLog
from activities.drilling import PassedDrills
from failover.config import Config
from gateway.process import listening
from starter.configuration import load, named
from starter.connection import connect
from starter.console.entrance import HOME
from starter.console.readiness import Sheet, sheet_of
from starter.foreground import ENDED_BY_SIGNAL, until_signal
from starter.logs import configure
from starter.output import say
from starter.parts import evidence_store, plane_of
from starter.readiness import Place, held
from starter.running import DEFAULT_HOME, find, write_atomically
from starter.settings import Settings
from starter.status import verdicts
from starter.tracing import tracing
from starter.webhooks.app import Parts, WebhookServer
from starter.webhooks.sns import Sns
from starter.webhooks.temporal import Temporal
from workflows.queue import TASK_QUEUE

log = structlog.get_logger("webhooks")


def run_serve(
    settings: Settings, *, config: Path | None, state: Path | None, host: str, port: int, ready_file: Path | None
) -> int:
    """Run the webhook server until SIGINT or SIGTERM → 0."""
    configure(settings.log_format or "console", settings.log_level)
    path = named(settings, config)
    loaded = load(path).config
    code = until_signal(_serve(loaded, path, settings, state, host, port, ready_file))
    return 0 if code == ENDED_BY_SIGNAL else code


async def _serve(
    config: Config, path: Path, settings: Settings, state: Path | None, host: str, port: int, ready_file: Path | None
) -> int:
    stack = find(settings, state)
    home = stack.state or state or settings.state or DEFAULT_HOME
    evidence = evidence_store(config, home)
    async with AsyncExitStack() as opened:
        # Temporal need not be there yet: until it is, senders are told to try again.
        traced = await tracing(settings, "failover-webhooks", opened)
        client = await connect(settings, stack, lazy=True, interceptors=traced.interceptors)
        plane = plane_of(stack, traced.headers) if stack.gateway else None
        if plane is None:
            log.warning("no gateway is known: every alert starts a run, also where nothing is left to be moved")
        else:
            opened.push_async_callback(plane.aclose)
        hold = plane_of(stack) if stack.gateway else None
        if hold is not None:
            opened.push_async_callback(hold.aclose)
        server = WebhookServer(
            Parts(
                config=config,
                temporal=Temporal(client, TASK_QUEUE, config.webhooks.temporal_timeout),
                plane=plane,
                secrets=settings.environ,
                api_token=stack.api_token,
                sns=Sns(),
                hold=hold,
                deploys=_deploys(config, home),
                practised=PassedDrills(evidence) if config.detection.automation.require_drill_within else None,
                verdicts=partial(verdicts, stack) if stack.worker else None,
                evidence=evidence,
                readiness=_readiness(settings, path, home),
            )
        )
        traced.dress(server.app)
        opened.push_async_callback(server.finish)
        _tell_closed_doors(config, settings)
        url = await opened.enter_async_context(listening(server.app, host, port))
        say(f"Webhooks are taken at {url}.")
        if config.console.enabled:
            say(f"The console: {url}{HOME}")
        if ready_file:
            write_atomically(ready_file, {"url": url})
        await asyncio.Event().wait()
    return 0


def _deploys(config: Config, home: Path) -> DeployLog:
    return DeployLog(home, config.analysis.deploys_max_bytes, config.webhooks.replay_window)


def _readiness(settings: Settings, config: Path, home: Path) -> Callable[[], Sheet | None]:
    """The last audit that is kept here, read when somebody looks."""

    def look() -> Sheet | None:
        place = Place.find(settings, config, home)
        audit = place.store.latest()
        now = datetime.now(UTC)
        return None if audit is None else sheet_of(audit, held(place.loaded, place.store.certificates(), now))

    return look


def _tell_closed_doors(config: Config, settings: Settings) -> None:
    """Log which senders will be refused: better read at the start than found out at night."""
    for name, sender in config.webhooks.senders.items():
        if sender.how == "sns" and not sender.topic_arns:
            log.info("sender is refused: it names no topic", sender=name, key="topic_arns")
        if sender.secret_env is not None and not settings.environ.get(sender.secret_env, "").split():
            log.info("sender has no secret of its own here", sender=name, variable=sender.secret_env)
