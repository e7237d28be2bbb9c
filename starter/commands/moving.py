"""Commands that start a procedure."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starter.commands.options import (
    Actor,
    Approval,
    DryRun,
    EmergencyMode,
    Json,
    OneRoute,
    Percents,
    Reason,
    StateDir,
    StepDuration,
    Yes,
    environment,
)

if TYPE_CHECKING:
    from starter.procedures.launch import Manner

Threshold = Annotated[str | None, typer.Option(metavar="PERCENT", show_default=False, help="Such as 98%.")]


class FailoverMode(StrEnum):
    IMMEDIATE = "immediate"
    GRADUAL = "gradual"
    CANARY = "canary"


class EmergencyKind(StrEnum):
    MULTI_PROVIDER_OUTAGE = "multi-provider-outage"


PLANNED = ("failover", "rollback", "canary", "failback", "emergency", "config set")
"""What `plan` can plan."""


def add_to(app: typer.Typer) -> None:
    for command in (failover, rollback, canary, failback, emergency):
        app.command()(command)
    raw = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    app.command(context_settings=raw)(plan)


def manner(*, wait: bool, yes: bool, json: bool, state: Path | None) -> "Manner":
    from starter.procedures.launch import Manner

    return Manner(wait=wait, yes=yes, json=json, state=state)


def failover(
    failed_provider: Annotated[
        str, typer.Option("--failed-provider", "--from", help="The provider to leave.", metavar="PROVIDER")
    ],
    target_provider: Annotated[
        str | None, typer.Option("--target-provider", "--to", help="Who takes over.", metavar="PROVIDER")
    ] = None,
    auto_select_target: Annotated[bool, typer.Option(help="Let the chain choose (so without a target too).")] = False,
    route: Annotated[
        list[str] | None,
        typer.Option(help="Only this route; may be repeated. Default: every route (gradual, canary: the default)."),
    ] = None,
    reason: Reason = "",
    mode: Annotated[FailoverMode, typer.Option(help="How.")] = FailoverMode.IMMEDIATE,
    emergency_mode: EmergencyMode = False,
    dry_run: DryRun = False,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--no-wait", help="Follow the run to its end. Default: --wait; canary: --no-wait."),
    ] = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Move all traffic off a provider: now, in phases, or by a canary.

    \b
    failoverctl failover --failed-provider bedrock --auto-select-target --emergency-mode
    failoverctl failover --from google --to bedrock --reason "Google Vertex AI quota exceeded"
    failoverctl failover --from bedrock --mode gradual
    """
    from starter.procedures.immediate import Failover, run_failover

    asked = Failover(
        failed=failed_provider,
        target=target_provider,
        auto_select=auto_select_target,
        routes=route or None,
        reason=reason,
        emergency=emergency_mode,
        dry_run=dry_run,
        mode=mode.value,
    )
    waits = mode is not FailoverMode.CANARY if wait is None else wait
    return run_failover(environment(), asked, manner(wait=waits, yes=yes or emergency_mode, json=json, state=state))


def rollback(
    provider: Annotated[str, typer.Option(help="The provider to leave.", metavar="PROVIDER")],
    target_provider: Annotated[str | None, typer.Option(help="Who takes over.", metavar="PROVIDER")] = None,
    route: Annotated[list[str] | None, typer.Option(help="Only this route; may be repeated.")] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """The runbook's other name for `failover`: all traffic off a provider, now.

    \b
    failoverctl rollback --provider bedrock --reason "Health check failure threshold exceeded"
    failoverctl rollback --provider bedrock --target-provider google
    """
    from starter.procedures.immediate import Failover, run_failover

    asked = Failover(failed=provider, target=target_provider, routes=route or None, reason=reason, dry_run=dry_run)
    return run_failover(environment(), asked, manner(wait=wait, yes=yes, json=json, state=state))


def canary(
    source_provider: Annotated[
        str | None, typer.Option(help="Whose share moves.", metavar="PROVIDER", show_default=False)
    ] = None,
    target_provider: Annotated[
        str | None,
        typer.Option(help="Who gains it. Default: first in the chain.", metavar="PROVIDER", show_default=False),
    ] = None,
    traffic_percentage: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", show_default=False, help="Hold there, and wait for orders. Without: ramp."),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="DURATION", show_default=False, help="Of the first step: 300, 90s, 5m.")
    ] = None,
    percents: Percents = None,
    step_duration: StepDuration = None,
    success_threshold: Threshold = None,
    failure_threshold: Threshold = None,
    synthetic: Annotated[
        int | None,
        typer.Option(min=0, max=20, show_default=False, help="Requests of our own a sample, where users are few."),
    ] = None,
    update_traffic: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", show_default=False, help="Of a canary that runs: where it goes next."),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Put back what the canary found; exits 0 where nothing is left to.")
    ] = False,
    validation_mode: Annotated[
        bool, typer.Option("--validation-mode", help="Move nothing: send real requests through the route, and judge.")
    ] = False,
    sample_size: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Of --validation-mode: how many. Default: 100.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Which canary. Default: the route's.", show_default=False)] = None,
    route: OneRoute = None,
    reason: Reason = "",
    actor: Actor = None,
    approval: Approval = None,
    emergency_mode: EmergencyMode = False,
    dry_run: DryRun = False,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Start: --no-wait, the run's id at once. Update: until in force. Rollback: to the end.",
        ),
    ] = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Give a provider a little of another's traffic, and more while it does well.

    \b
    failoverctl canary --source-provider bedrock --target-provider google
    failoverctl canary --source-provider bedrock --target-provider google --traffic-percentage 5 --duration 300
    failoverctl canary --update-traffic 25
    failoverctl canary --rollback
    failoverctl canary --validation-mode --sample-size 100 --success-threshold 95%
    """
    from starter.procedures.canary_orders import Rollback, Sample, Start, Typed, Update, which_order

    order = which_order(
        Typed(
            source_provider=source_provider,
            update_traffic=update_traffic,
            rollback=rollback,
            validation_mode=validation_mode,
            target_provider=target_provider,
            traffic_percentage=traffic_percentage,
            duration=duration,
            percents=percents,
            step_duration=step_duration,
            success_threshold=success_threshold,
            failure_threshold=failure_threshold,
            synthetic=synthetic,
            sample_size=sample_size,
            run=run,
            route=route,
            reason=reason,
            actor=actor,
            approval=approval or (),
            emergency_mode=emergency_mode,
            dry_run=dry_run,
        )
    )
    waits = isinstance(order, Rollback | Update) if wait is None else wait
    how = manner(wait=waits, yes=yes, json=json, state=state)
    match order:
        case Start():
            from starter.procedures.canary import run_canary

            return run_canary(environment(), order, how)
        case Update():
            from starter.procedures.canary_steering import run_update

            return run_update(environment(), order, how)
        case Rollback():
            from starter.procedures.canary_steering import run_rollback

            return run_rollback(environment(), order.meant, how)
        case Sample():
            from starter.checking.sampling import run_sample

            return run_sample(environment(), state, order.route, order.size, order.threshold, json=json)


def failback(
    original_provider: Annotated[str, typer.Option(help="Who gets its traffic back.", metavar="PROVIDER")],
    current_provider: Annotated[
        str | None,
        typer.Option(help="Only what this one gained goes back.", metavar="PROVIDER", show_default=False),
    ] = None,
    auto_trigger: Annotated[
        bool, typer.Option("--auto-trigger", help="Return as soon as it is well; without, people are asked first.")
    ] = False,
    health_threshold: Threshold = None,
    recovery: Annotated[
        str | None,
        typer.Option(metavar="DURATION", show_default=False, help="How long it must be well; 0: on your word alone."),
    ] = None,
    percents: Percents = None,
    step_duration: StepDuration = None,
    undoes: Annotated[
        str | None,
        typer.Option(metavar="RUN", show_default=False, help="The failover to undo. Default: the last on record."),
    ] = None,
    route: OneRoute = None,
    reason: Reason = "",
    approval: Approval = None,
    dry_run: DryRun = False,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--no-wait", help="Follow the run to its end. Default: --wait; --auto-trigger: --no-wait."),
    ] = None,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Return traffic to a provider that was failed over from, once it is proved to be well.

    \b
    failoverctl failback --original-provider bedrock --current-provider google --auto-trigger --health-threshold 99%
    failoverctl failback --original-provider bedrock --recovery 0
    """
    from starter.procedures.failback import Failback, run_failback

    asked = Failback(
        original=original_provider,
        current=current_provider,
        auto=auto_trigger,
        health_threshold=health_threshold,
        recovery=recovery,
        percents=percents,
        step_duration=step_duration,
        route=route,
        reason=reason,
        approvals=approval or (),
        undoes=undoes,
        dry_run=dry_run,
    )
    waits = not auto_trigger if wait is None else wait
    return run_failback(environment(), asked, manner(wait=waits, yes=yes, json=json, state=state))


def emergency(
    mode: Annotated[EmergencyKind, typer.Option(help="What happened.")] = EmergencyKind.MULTI_PROVIDER_OUTAGE,
    enable_degraded_service: Annotated[
        bool,
        typer.Option("--enable-degraded-service", help="The runbook's word for it; it is switched on in any case."),
    ] = False,
    route: Annotated[
        list[str] | None, typer.Option(help="Only this route; may be repeated. Default: every route.")
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    wait: Annotated[
        bool, typer.Option(help="Follow it to its end. --no-wait returns once degraded service is in force.")
    ] = False,
    yes: Yes = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """No provider serves: degraded service until the first one is back.

    \b
    failoverctl emergency --mode "multi-provider-outage" --enable-degraded-service
    """
    from starter.procedures.emergency import Emergency, run_emergency

    asked = Emergency(mode=mode.value, routes=route or None, reason=reason, dry_run=dry_run)
    return run_emergency(environment(), asked, manner(wait=wait, yes=yes, json=json, state=state))


def plan(context: typer.Context) -> int:
    """Render and explain a procedure, with its digest; nothing is changed. The same as --dry-run on the verb itself.

    \b
    failoverctl plan canary --source-provider bedrock --target-provider google
    failoverctl plan failover --from bedrock --mode gradual
    failoverctl plan config set --traffic-distribution "google:80,meta:20" --transition-duration 300
    """
    from starter.cli import run_app

    words = context.args
    if words[:1] in ([], ["-h"], ["--help"]):
        typer.echo(_HOW_TO_PLAN)
        return 0
    if not any(" ".join(words).startswith(verb) for verb in PLANNED):
        raise typer.BadParameter(f"{words[0]!r} cannot be planned; what can is {', '.join(PLANNED)}")
    return run_app([*words, "--dry-run"])


_HOW_TO_PLAN = f"""Usage: failoverctl plan VERB [OPTIONS]

  {(plan.__doc__ or "").replace("    " + chr(8) + chr(10), "").strip()}

  VERB is one of {", ".join(PLANNED)}, with its own options."""
