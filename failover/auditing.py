"""What each look of an audit says of a target: arithmetic over what was told, with the remedy where it is not good."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from failover.accuracy import Examination
from failover.capacity import MINUTE
from failover.config import Config
from failover.config.automation import Level
from failover.config.providers import Capacity
from failover.config.routes import ApprovalPoint
from failover.context_windows import window_of
from failover.credentials import Credentials
from failover.distribution import WHOLE
from failover.failure import UNAVAILABLE_KINDS, Failure, FailureKind
from failover.findings import Finding, failed, ok, unknown, warning
from failover.policy import TrafficPolicy
from failover.readiness import Check
from failover.roles import Role
from failover.telemetry import Telemetry
from failover.units import roughly

_CREDENTIALS = (FailureKind.AUTHENTICATION, FailureKind.PERMISSION)


def credentials(probe: Failure | None, told: Credentials | None) -> Finding:
    """Judge the credentials by what became of the real completion: a provider that did not get as far cannot tell."""
    about = Check.CREDENTIALS
    kind = told.kind if told else "credentials"
    if told is not None and told.problem:
        return failed(about, told.problem, "put valid credentials into the environment, or log in again")
    if probe is None:
        return ok(about, f"{kind}: accepted")
    if probe.kind is FailureKind.PERMISSION:
        return failed(about, f"{kind}: {probe}", "let these credentials use the model")
    if probe.kind in _CREDENTIALS:
        return failed(about, f"{kind}: {probe}", "put valid credentials into the environment, or log in again")
    if probe.kind in (FailureKind.NETWORK, FailureKind.TIMEOUT, FailureKind.REGION, FailureKind.SERVER_ERROR):
        return unknown(about, f"the provider did not get as far as looking at them: {probe}", "repair that first")
    return ok(about, f"{kind}: accepted, though the call failed")


def expires_at(told: Credentials | None, configured: date | Literal["never"] | None) -> datetime | None:
    """The moment from which the credentials do not work; what is configured goes before what the vendor's SDK knows."""
    if isinstance(configured, date):
        return datetime.combine(configured, time.min, tzinfo=UTC)
    if configured == "never" or told is None or told.renews:
        return None
    return told.expires_at


def expiry(
    provider: str,
    told: Credentials | None,
    configured: date | Literal["never"] | None,
    warn: timedelta,
    now: datetime,
) -> Finding:
    """Judge whether the credentials end soon."""
    about, renew = Check.EXPIRY, f"renew them, and correct providers.{provider}.credentials_expire where it is set"
    ends = expires_at(told, configured)
    if ends is not None and ends <= now:
        return failed(about, f"they ended on {ends:%Y-%m-%d %H:%M} UTC", renew)
    if ends is not None:
        said = f"they end on {ends:%Y-%m-%d %H:%M} UTC, in {roughly(ends - now)}"
        return warning(about, said, renew) if ends - now < warn else ok(about, said)
    if configured == "never":
        return ok(about, "they never end, as configured")
    if told is not None and told.renews:
        return ok(about, f"{told.kind} renew themselves")
    if told is not None and told.lasting:
        return ok(about, f"{told.kind} never end")
    said = f"nobody can ask when {told.kind if told else 'they'} end"
    return unknown(about, said, f"set providers.{provider}.credentials_expire: a date, or never")


def golden(
    found: Examination | None,
    why: str,
    pass_percent: float,
    answered_percent: float,
    must: Collection[str] = (),
) -> Finding:
    """Judge the answers to the golden prompts. `found` None: they could not be put, for the reason `why`. `must`: those of
    which none may be wrong, such as the calls of tools."""
    about = Check.GOLDEN
    if found is None:
        return unknown(about, f"they could not be put: {why}", "repair that, then `failoverctl readiness audit`")
    score = found.score
    if score.answered * 100 < answered_percent * score.asked:
        said = f"only {score.answered} of {score.asked} were answered: {found.first_failure}"
        return failed(about, said, "see why its model does not answer; `failoverctl doctor`")
    percent = score.percent or 0.0
    said = f"{score.passed} of {score.answered} right ({found.suite}), {pass_percent:g} % are needed"
    if found.misses:
        said += "; wrong: " + ", ".join(f"{miss.prompt} ({miss.reason})" for miss in found.misses[:3])
    missed = [miss.prompt for miss in found.misses if miss.prompt in must]
    if missed:
        said += f"; none of {', '.join(sorted(must))} may be wrong"
    if percent < pass_percent or missed:
        look = f"`failoverctl validate --provider {found.provider} --test-suite comprehensive`"
        return failed(about, said, f"look at what it answers, {look}; then another model, or out of the chain")
    return ok(about, said)


def context(provider: str, model: str, needed: int, configured: int | None) -> Finding:
    """Judge whether the model's window is as wide as the route's longest prompt."""
    about, window = Check.CONTEXT, configured or window_of(model)
    if window is None:
        remedy = f"set providers.{provider}.context_tokens, or prove it: `failoverctl readiness audit --prove-context`"
        return unknown(about, f"nothing is known of the window of {model}, and the route needs {needed} tokens", remedy)
    said = f"{window} tokens, and the route needs {needed}"
    return (
        ok(about, said) if window >= needed else failed(about, said, "a model with a wider window, or shorter prompts")
    )


def proved_context(needed: int, read_tokens: int | None, failure: str | None) -> Finding:
    """The same by a prompt of that length; `read_tokens` is what the provider says that it read."""
    about = Check.CONTEXT
    if failure is not None:
        return failed(
            about, f"a prompt of about {needed} tokens was not answered: {failure}", "a model with a wider window"
        )
    said = f"a prompt of about {needed} tokens was answered"
    if read_tokens is not None and 0 < read_tokens < needed * 0.5:
        return failed(about, f"{said}, but only {read_tokens} tokens of it were read", "a model with a wider window")
    return ok(about, said + (f" ({read_tokens} were read)" if read_tokens else ""))


def unanswered_context(needed: int, failure: Failure) -> Finding:
    """Why a prompt of that length was not answered: trouble that may pass says nothing of the window."""
    if failure.kind in UNAVAILABLE_KINDS or failure.kind is FailureKind.THROTTLED:
        said = f"a prompt of about {needed} tokens was not answered: {failure}"
        return unknown(Check.CONTEXT, said, "prove it again once that is over")
    return proved_context(needed, None, str(failure))


def capacity(
    route: str, target: str, policies: Sequence[TrafficPolicy], telemetry: Telemetry | None, config: Config
) -> Finding:
    """Judge if the target could carry what would come if the largest server of the route failed on all routes at once."""
    about, declared = Check.CAPACITY, config.providers[target].capacity
    now = next((policy for policy in policies if policy.route == route), None)
    if not (declared.requests_per_minute or declared.tokens_per_minute):
        return unknown(about, "it declared no limit: what it can take is not known", f"set providers.{target}.capacity")
    if telemetry is None or now is None:
        return unknown(about, "the data plane did not tell the demand", "see to its counters")
    source = max(
        (name for name in now.distribution if name != target), key=lambda name: now.distribution[name], default=""
    )
    arriving = {
        policy.route: policy.distribution.get(source, 0) / WHOLE
        for policy in policies
        if policy.route == route or next(iter(config.chain(policy.route, source)), None) == target
    }
    users = [(share, telemetry.of_route(name)) for name, share in arriving.items()]
    asked = [(share, one) for share, one in users if one is not None and one.requests]
    if not asked:
        return unknown(about, "nobody asks the route now: no demand to hold against its limit", "look again under load")
    minutes = max((telemetry.at - telemetry.since) / MINUTE, 1 / 60)
    carried = telemetry.of_provider(target)
    requests = sum(share * one.requests for share, one in asked) + sum(one.tries for one in carried)
    tokens = sum(share * one.tokens for share, one in asked) + sum(one.tokens for one in carried)
    return _held_against(source, target, declared, requests / minutes, tokens / minutes)


def _held_against(source: str, target: str, declared: Capacity, requests: float, tokens: float) -> Finding:
    about = Check.CAPACITY
    limits = [("requests", requests, declared.requests_per_minute), ("tokens", tokens, declared.tokens_per_minute)]
    told = [f"{would:.0f} of {most} {what} a minute" for what, would, most in limits if most]
    said = f"without {source} it would carry {', '.join(told)}"
    if any(most and would > most for _, would, most in limits):
        return failed(about, said, f"raise its quota and providers.{target}.capacity, or add a target to the chain")
    return ok(about, said)


def asks_people(config: Config, route: str) -> int:
    """How many different people must agree to something on the route; 0: nobody is ever asked."""
    settings = config.routes[route]
    proposes = any(
        (getattr(settings.automation, name) or getattr(config.detection.automation, name)) is Level.PROPOSE
        for name in ("unavailable", "unusable", "invalid_answers", "throttled", "slow", "degraded_quality")
    )
    asks = config.asks_without_certificate(route) and config.only_certified(route)
    points: Sequence[ApprovalPoint] = settings.approvals.points
    return settings.approvals.quorum if points else int(proposes or asks or settings.failback == "propose")


def approvers(config: Config, route: str, reachable: Mapping[str, str | None], slack: str | None) -> Finding:
    """Judge if those who must agree can be asked. `reachable`: operator → why Slack cannot reach them, None if it can.

    `slack`: why nothing at all is known of Slack's people; None where it is.
    """
    about, needed = Check.APPROVERS, asks_people(config, route)
    if not needed:
        return ok(about, "nobody has to agree to anything")
    able = [name for name, one in config.access.operators.items() if {Role.APPROVE, Role.OVERRIDE} & {*one.roles}]
    remedy = "name them under access.operators, with slack_user; `failoverctl token NAME --role approve`"
    if len(able) < needed:
        said = f"{needed} must agree, and {len(able)} operators may; others can only by command on the machine"
        return warning(about, said, remedy)
    there = [name for name in able if name in reachable and reachable[name] is None]
    if len(there) >= needed:
        return ok(about, f"{', '.join(sorted(there))} can be asked in Slack")
    gone = [f"{name}: {why}" for name, why in sorted(reachable.items()) if name in able and why]
    if slack is not None:
        return unknown(about, f"whether {', '.join(able)} can be reached is not known: {slack}", "see to notifications")
    said = f"{needed} must agree, and {len(there)} of {len(able)} approvers can be reached in Slack"
    return failed(about, "; ".join([said, *gone]), "correct access.operators.*.slack_user, or add others")
