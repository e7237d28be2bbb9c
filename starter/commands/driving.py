"""Commands that drive a run while it goes."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from starter.commands.options import Actor, Comment, Json, OrderId, Run, StateDir, Yes, environment

Step = Annotated[str | None, typer.Option(help="Which step is meant. Default: the one that waits.", show_default=False)]
Digest = Annotated[str | None, typer.Option(help="Of which plan. Default: that of what waits.", show_default=False)]


class AbortMode(StrEnum):
    RESTORE = "restore"
    HOLD = "hold"


def add_to(app: typer.Typer) -> None:
    for command in (approve, reject, abort):
        app.command()(command)
    for verb, (does, example) in PLAIN.items():
        app.command(verb, help=f"{does}\n\n\b\n{example}")(_plain(verb))


PLAIN = {
    "pause": (
        "Freeze a run's plan. Its gates are still watched.",
        'failoverctl pause canary/chat --comment "looking into it"',
    ),
    "resume": ("Let a paused run go on.", "failoverctl resume canary/chat"),
    "advance": (
        "End the present wait of a run; where it asks a question, go on.",
        'failoverctl advance canary/chat --comment "five minutes are enough"',
    ),
    "escalate": (
        "Send a run straight to its last step, without waits or approvals.",
        'failoverctl escalate gradual/chat --comment "bedrock is gone altogether"',
    ),
    "retry": (
        "Try the step again that failed or is in doubt.",
        'failoverctl retry gradual/chat --comment "quota was raised"',
    ),
}
"""Orders that take nothing of their own: what each does, and an example."""


def _plain(verb: str) -> Callable[..., int]:
    def order(
        run: Run = None,
        comment: Comment = "",
        actor: Actor = None,
        order_id: OrderId = None,
        yes: Yes = False,
        state: StateDir = None,
        json: Json = False,
    ) -> int:
        return _order(verb, run, comment=comment, actor=actor, id=order_id, state=state, json=json, yes=yes)

    return order


def _order(
    verb: str,
    run: str | None,
    *,
    comment: str,
    actor: str | None,
    id: str | None,
    state: Path | None,
    json: bool,
    yes: bool = True,
    wait: bool = False,
    said: Mapping[str, Any] | None = None,
) -> int:
    from failover.driving import Verb
    from starter.runs.orders import Wanted, run_order

    wanted = Wanted(
        verb=Verb(verb),
        run=run,
        actor=actor,
        comment=comment,
        id=id,
        said={name: value for name, value in (said or {}).items() if value is not None},
        yes=yes,
        wait=wait,
        json=json,
        state=state,
    )
    return run_order(environment(), wanted)


def approve(
    run: Run = None,
    step: Step = None,
    digest: Digest = None,
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Agree to the step that waits. It is bound to that step of that plan, and can mean no other.

    \b
    failoverctl approve                                         (shows what waits, and asks)
    failoverctl approve canary/chat --step step-2 --digest 1f0c2ab9d4e1 --comment "looked at the graphs"
    """
    said = {"step": step, "digest": digest}
    return _order("approve", run, comment=comment, actor=actor, id=order_id, state=state, json=json, yes=yes, said=said)


def reject(
    run: Run = None,
    step: Step = None,
    digest: Digest = None,
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Refuse the step that waits: the run ends as its procedure declares.

    \b
    failoverctl reject canary/chat --comment "google is slow today"
    """
    said = {"step": step, "digest": digest}
    return _order("reject", run, comment=comment, actor=actor, id=order_id, state=state, json=json, yes=yes, said=said)


def abort(
    run: Run = None,
    mode: Annotated[AbortMode, typer.Option(help="Put back what was found, or hold what is in force.")] = (
        AbortMode.RESTORE
    ),
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    wait: Annotated[bool, typer.Option(help="Until it is over; 0 where it ended as ordered.")] = True,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """End a run at whatever it does: what it found is put back and proved, or held.

    \b
    failoverctl abort
    failoverctl abort gradual/chat --mode hold --comment "google is good enough"
    """
    return _order(
        "abort",
        run,
        comment=comment,
        actor=actor,
        id=order_id,
        state=state,
        json=json,
        yes=yes,
        wait=wait,
        said={"mode": mode.value},
    )
