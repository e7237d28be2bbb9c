"""Commands that measure and judge, and change nothing; and the one that tells people."""

from enum import StrEnum
from typing import Annotated

import typer

from starter.commands.options import Json, OneRoute, StateDir, environment

Threshold = Annotated[
    str | None, typer.Option("--success-threshold", metavar="PERCENT", show_default=False, help="Such as 98%.")
]
OneProvider = Annotated[str | None, typer.Option("--provider", metavar="PROVIDER", show_default=False, help="Only it.")]


class TestSuite(StrEnum):
    QUICK = "quick"
    COMPREHENSIVE = "comprehensive"


def add_to(app: typer.Typer) -> None:
    for command in (monitor, validate, offline, notify):
        app.command()(command)


def monitor(
    duration: Annotated[
        str | None, typer.Option(metavar="MINUTES", show_default=False, help="Minutes, or 90s, 5m. Default: 2.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="M,M,…", show_default=False, help="error_rate, latency, throughput, success_rate."),
    ] = None,
    alert_threshold: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", show_default=False, help='Such as "error_rate>2%"; several with commas.'),
    ] = None,
    success_threshold: Threshold = None,
    failover_mode: Annotated[
        bool, typer.Option("--failover-mode", help="Tell shares and runs too; errors as a failover may have them.")
    ] = False,
    user_impact: Annotated[bool, typer.Option("--user-impact", help="What users get; warns at 2 % errors.")] = False,
    canary_mode: Annotated[bool, typer.Option("--canary-mode", help="The provider that a canary tries.")] = False,
    recovery_mode: Annotated[
        bool, typer.Option("--recovery-mode", help="Probe --provider: is it back? --success-threshold: 99 %.")
    ] = False,
    provider: OneProvider = None,
    interval: Annotated[
        str | None, typer.Option(metavar="DURATION", show_default=False, help="Between two samples: 10, 500ms.")
    ] = None,
    route: OneRoute = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Watch the data plane for a while. Exit code 3 where a limit was broken, or too little was seen to tell.

    Without limits of your own, those of the route's targets in force.

    \b
    failoverctl monitor --duration 2 --metrics error_rate,latency
    failoverctl monitor --failover-mode --duration 10 --metrics "error_rate,latency,throughput,success_rate"
    failoverctl monitor --user-impact --duration 15 --alert-threshold "error_rate>2%"
    failoverctl monitor --canary-mode --duration 5 --success-threshold 98%
    failoverctl monitor --provider bedrock --recovery-mode --duration 30
    """
    from starter.checking.monitor import Monitoring, run_monitor

    if failover_mode + user_impact + canary_mode + recovery_mode > 1:
        raise typer.BadParameter("give one of --failover-mode, --user-impact, --canary-mode and --recovery-mode")
    if recovery_mode and (metrics or alert_threshold):
        raise typer.BadParameter("--recovery-mode probes; it takes neither --metrics nor --alert-threshold")
    asked = Monitoring(
        duration=duration,
        metrics=metrics,
        alert=alert_threshold,
        success=success_threshold,
        failover=failover_mode,
        users=user_impact,
        canary=canary_mode,
        recovery=recovery_mode,
        provider=provider,
        route=route,
        interval=interval,
    )
    return run_monitor(environment(), state, asked, json=json)


def validate(
    post_failover: Annotated[
        bool, typer.Option("--post-failover", help="The last failover ended well, and its policy is obeyed.")
    ] = False,
    check_all_providers: Annotated[
        bool, typer.Option("--check-all-providers", help="Probe every provider; those with traffic must answer.")
    ] = False,
    comprehensive: Annotated[
        bool, typer.Option("--comprehensive", help="All of that, and everything about those with traffic.")
    ] = False,
    performance_check: Annotated[
        bool, typer.Option("--performance-check", help="Only users' success and P95; without users it is not proved.")
    ] = False,
    performance_baseline: Annotated[
        bool,
        typer.Option(
            "--performance-baseline", help="P95 against what was recorded in healthy time; without: not proved."
        ),
    ] = False,
    canary_health: Annotated[
        bool, typer.Option("--canary-health", help="The provider that a canary tries, since its last step.")
    ] = False,
    provider: OneProvider = None,
    test_suite: Annotated[
        TestSuite | None, typer.Option(show_default=False, help="Golden prompts to --provider.")
    ] = None,
    success_threshold: Threshold = None,
    route: OneRoute = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Does the service serve as it owes, by the targets in force? Exit code 3 where that is not proved.

    \b
    failoverctl validate
    failoverctl validate --post-failover --check-all-providers --performance-baseline
    failoverctl validate --post-failover --comprehensive
    failoverctl validate --performance-check
    failoverctl validate --canary-health
    failoverctl validate --provider bedrock --test-suite comprehensive
    """
    from starter.checking.validation import Validation, run_validate

    if canary_health and (post_failover or performance_check or performance_baseline or provider):
        raise typer.BadParameter("--canary-health is a validation of its own")
    if provider is not None and (post_failover or performance_check or performance_baseline or check_all_providers):
        raise typer.BadParameter("--provider asks one provider by itself; the others are about the service")
    asked = Validation(
        post_failover=post_failover,
        all_providers=check_all_providers,
        comprehensive=comprehensive,
        performance=performance_check,
        baseline=performance_baseline,
        canary=canary_health,
        provider=provider,
        suite=test_suite.value if test_suite else None,
        threshold=success_threshold,
        route=route,
    )
    return run_validate(environment(), state, asked, json=json)


def offline(
    model_id: Annotated[
        str, typer.Option(metavar="MODEL", help="A model, an alias or a provider; current-active-model: the route's.")
    ] = "current-active-model",
    quick_validation: Annotated[
        bool, typer.Option("--quick-validation", help="Twenty golden prompts in place of sixty.")
    ] = False,
    success_threshold: Threshold = None,
    route: OneRoute = None,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Ask a model by itself, off the route: questions with known answers. Exit code 3 where it does not pass.

    \b
    failoverctl offline --model-id current-active-model --quick-validation
    failoverctl offline --model-id gemini-pro
    """
    from starter.checking.golden import run_offline

    return run_offline(
        environment(),
        state,
        model_id,
        quick=quick_validation,
        route=route,
        threshold=success_threshold,
        json=json,
    )


def notify(
    channel: Annotated[
        str,
        typer.Argument(metavar="CHANNEL", help="Such as #ops-alerts, pagerduty, email, webhook; or all, with --test."),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What is said; --test needs none.", show_default=False)
    ] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="Try it: whoever is told is told that it is a test; nothing public or paid is opened."
        ),
    ] = False,
    state: StateDir = None,
    json: Json = False,
) -> int:
    """Tell people, through the channels that the procedures use: Slack's, or one of `communications`.

    \b
    failoverctl notify "#ops-alerts" "CRITICAL: Multi-provider AI outage detected"
    failoverctl notify pagerduty --test
    failoverctl notify all --test
    """
    from starter.notifying import run_notify

    if text is None and not test:
        raise typer.BadParameter("Missing argument 'TEXT': what is said. Only --test needs none.")
    return run_notify(environment(), state, channel, text, test=test, json=json)
