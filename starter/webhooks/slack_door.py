"""POST /slack/interactive: buttons that people press in Slack. Answered at once; what they mean is done after that."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from slack_sdk.signature import SignatureVerifier
from starlette.requests import Request
from starlette.responses import Response

from failover.config import Config
from failover.driving import Abort, Decide, Order, Verb
from failover.errors import FailoverError
from failover.messages import BUTTONS, Asked
from failover.roles import Act, by_slack
from starter.webhooks.answers import Refused, read_body
from starter.webhooks.guard import Guard
from starter.webhooks.runs_door import Driver
from starter.webhooks.slack_replies import SlackReplies

log = structlog.get_logger("webhooks")

VERBS = {f"{BUTTONS}.{verb.value}": verb for verb in (Verb.APPROVE, Verb.REJECT, Verb.ABORT)}

OVER = "the run is over, or no longer waits for this"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Id(_Shape):
    id: str = Field(min_length=1, max_length=100)


class _Action(_Shape):
    action_id: str = ""
    value: str = Field(default="", max_length=3000)


class _Message(_Shape):
    ts: str = Field(min_length=1, max_length=100)
    thread_ts: str | None = None
    text: str = ""


class Interaction(_Shape):
    """What Slack tells of a pressed button."""

    type: str
    user: _Id
    channel: _Id | None = None
    message: _Message | None = None
    actions: list[_Action] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """One press of one of our buttons."""

    verb: Verb
    asked: Asked
    user: str
    channel: str
    message: str
    thread: str | None
    text: str

    def order(self, actor: str) -> Order:
        """The id binds it to this message, this person and this verb: a double click is one order."""
        id_ = f"slack/{self.message}/{self.verb.value}/{self.user}"[:200]
        if self.verb is Verb.ABORT:
            return Abort(actor=actor, comment="by Slack", id=id_)
        return Decide(actor=actor, comment="by Slack", id=id_, step=self.asked.step, digest=self.asked.digest)


class SlackDoor:
    """Slack's interactivity request URL."""

    def __init__(
        self, config: Config, secret: str | None, guard: Guard, driver: Driver, replies: SlackReplies | None
    ) -> None:
        self._config = config
        self._verifier = SignatureVerifier(secret) if secret else None
        self._guard = guard
        self._driver = driver
        self._replies = replies
        self._working: set[asyncio.Task[None]] = set()

    async def post(self, request: Request) -> Response:
        body = await read_body(request, self._config.webhooks.max_body_bytes)
        if self._verifier is None:
            secret = self._config.notifications.slack.signing_secret_env
            raise self._guard.refusal(request, f"Slack's buttons are refused: {secret} is not set at this server.")
        if not _is_slacks(self._verifier, body, request):
            raise self._guard.refusal(request, "This is not signed by our Slack app, or was signed too long ago.")
        for press in _presses(body):
            # Slack wants an answer within three seconds; a run that is busy may take longer.
            task = asyncio.create_task(self._obey(press))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return Response(status_code=200)

    async def finish(self) -> None:
        await asyncio.gather(*self._working)

    async def _obey(self, press: Press) -> None:
        try:
            person = by_slack(press.user, self._config.access)
            why = (
                f"You are no operator here: somebody must add you to access.operators with slack_user: {press.user}."
                if person is None
                else person.why_not(Act(press.verb.value))
            )
            if person is None or why is not None:
                await self._say(press, f"{why} Nothing was done.")
                return
            await self._order(press, press.order(person.name))
        except FailoverError as error:
            await self._say(press, f"{error} Press the button again.")
        except Exception:  # Nobody awaits this: what broke must be told here, or it never is.
            log.exception("a press could not be obeyed", run=press.asked.run, verb=press.verb.value)
            await self._say(press, "The server broke over this; its log says how.")

    async def _order(self, press: Press, order: Order) -> None:
        try:
            said = await self._driver.order("slack", press.asked.run, press.verb, order)
        except Refused:
            await self._close(press, f"No longer open: {OVER}.")
            await self._say(press, f"Nothing was done: {OVER}.")
            return
        if said.accepted and press.verb is not Verb.APPROVE:
            return  # The run itself takes the buttons away and says who decided, whichever door the order came through.
        granted = await self._driver.still_asked(press.asked)
        if granted is not None and said.accepted:
            await self._keep_open(press, f"Approved by {', '.join(granted)} so far. {said.said}")
        if granted is None and not said.accepted:
            await self._close(press, f"No longer open: {said.said}")
        if not said.accepted:
            await self._say(press, said.said)

    async def _close(self, press: Press, said: str) -> None:
        if self._replies is not None:
            await self._replies.replace(press.channel, press.message, press.text, said, None)

    async def _keep_open(self, press: Press, said: str) -> None:
        if self._replies is not None:
            await self._replies.replace(press.channel, press.message, press.text, said, press.asked)

    async def _say(self, press: Press, said: str) -> None:
        """Tell whoever pressed, and nobody else."""
        log.info("slack", user=press.user, run=press.asked.run, verb=press.verb.value, said=said)
        if self._replies is not None:
            await self._replies.whisper(press.channel, press.user, press.thread, said)


def _is_slacks(verifier: SignatureVerifier, body: bytes, request: Request) -> bool:
    try:
        return verifier.is_valid_request(body, dict(request.headers))
    except (ValueError, TypeError, OverflowError):
        # A timestamp that is no number, a body that is no text, a signature that is not ASCII: the verifier raises.
        return False


def _presses(body: bytes) -> list[Press]:
    """The presses of our buttons; other interactions of the same app are none."""
    try:
        form = parse_qs(body.decode(), strict_parsing=True)
        given = Interaction.model_validate(json.loads(form["payload"][0]))
    except (ValueError, KeyError, RecursionError, ValidationError) as error:
        raise Refused(422, "This is no interaction of Slack's.") from error
    if given.type != "block_actions" or given.message is None or given.channel is None:
        return []
    return [
        Press(
            verb=VERBS[action.action_id],
            asked=_asked(action.value),
            user=given.user.id,
            channel=given.channel.id,
            message=given.message.ts,
            thread=given.message.thread_ts,
            text=given.message.text,
        )
        for action in given.actions
        if action.action_id in VERBS
    ]


def _asked(value: str) -> Asked:
    try:
        said: dict[str, Any] = json.loads(value)
        return Asked(run=str(said["run"]), step=str(said["step"]), digest=str(said["digest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(422, "This button is none of ours.") from error
