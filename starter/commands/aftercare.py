"""Commands of the after-care: what follows an incident, by whom, and how far it is."""

from typing import Annotated

import typer

from starter.commands.options import Actor, Comment, Json, OrderId, StateDir, environment

Item = Annotated[str, typer.Argument(help="Key of the item, as `follow-up show` lists it.")]
OfRun = Annotated[
    str | None,
    typer.Option(
        "--run", help="Id of the follow-up, or of the run that it follows. Default: the newest.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    follow_up = typer.Typer(help="After-care: what the runbook wants done after an incident.", no_args_is_help=True)
    follow_up.command("list")(list_)
    for command in (show, done, skip, assign, reopen, begin):
        follow_up.command()(command)
    app.add_typer(follow_up, name="follow-up")


def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Follow-ups that are open, newest first, and what is overdue in each.

    \b
    failoverctl follow-up list
    failoverctl follow-up list --all
    """
    from starter.aftercare import run_list

    return run_list(environment(), state, every=every, json=json)


def show(run: OfRun = None, state: StateDir = None, json: Json = False) -> int:
    """One follow-up: every item with its owner, its date, and what became of it.

    \b
    failoverctl follow-up show
    failoverctl follow-up show --run failover/bedrock
    """
    from starter.aftercare import run_show

    return run_show(environment(), run, state, json=json)


def _order(
    verb: str, item: str, run: str | None, state: StateDir, *, json: bool, order_id: str | None, **said: str | None
) -> int:
    from failover.aftercare import ItemVerb
    from starter.aftercare import run_order

    message = {name: value for name, value in {**said, "item": item}.items() if value is not None}
    return run_order(environment(), ItemVerb(verb), message, run, state, order_id=order_id, json=json)


def done(
    item: Item,
    run: OfRun = None,
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """An item is done.

    \b
    failoverctl follow-up done runbook-update --comment "added the quota contact"
    """
    return _order("done", item, run, state, json=json, order_id=order_id, comment=comment, actor=actor)


def skip(
    item: Item,
    comment: Annotated[str, typer.Option(help="Why it is not to be done; it stands beside the item.")],
    run: OfRun = None,
    actor: Actor = None,
    order_id: OrderId = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """An item is not to be done.

    \b
    failoverctl follow-up skip training-materials --comment "nothing new was learnt"
    """
    return _order("skip", item, run, state, json=json, order_id=order_id, comment=comment, actor=actor)


def assign(
    item: Item,
    owner: Annotated[str | None, typer.Option(help="Who does it.", show_default=False)] = None,
    due: Annotated[
        str | None,
        typer.Option(metavar="DURATION|TIME", help="Until when: 3d from now, or a time in UTC.", show_default=False),
    ] = None,
    run: OfRun = None,
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Give an item another owner, another date, or both.

    \b
    failoverctl follow-up assign drill-review --owner anna --due 3d
    """
    from starter.arguments import moment

    until = moment("--due", due)
    said = until.isoformat() if until else None
    return _order(
        *("assign", item, run, state), json=json, order_id=order_id, comment=comment, actor=actor, owner=owner, due=said
    )


def reopen(
    item: Item,
    run: OfRun = None,
    comment: Comment = "",
    actor: Actor = None,
    order_id: OrderId = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """An item is to be done after all; what the product can do by itself it tries again.

    \b
    failoverctl follow-up reopen runbook-update --comment "the contact has left"
    """
    return _order("reopen", item, run, state, json=json, order_id=order_id, comment=comment, actor=actor)


def begin(
    run: Annotated[str, typer.Argument(help="Id of a closed run whose evidence is kept.")],
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Begin the after-care of a run that has none: one of before, or one where it could not be begun.

    \b
    failoverctl follow-up begin failover/bedrock
    """
    from starter.aftercare import run_begin

    return run_begin(environment(), run, state, json=json)
