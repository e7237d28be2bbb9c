"""What steps a ramp may be told to take: one rule for the configuration and for requests."""

from collections.abc import Sequence

MOST_PROVIDERS = 3
"""The most providers in a phase: the failed provider, its secondary and its tertiary."""


def why_not_percents(percents: Sequence[float]) -> str | None:
    """Why these are no steps of a canary or a failback; None where they are."""
    if not percents:
        return "there is no step; name at least one percent"
    if any(not 0 < value <= 100 for value in percents):
        return f"{_said(percents)} must lie above 0 and up to 100"
    if list(percents) != sorted(set(percents)):
        return f"{_said(percents)} must rise from step to step"
    return None


def why_not_phases(phases: Sequence[Sequence[float]]) -> str | None:
    """Why these are no phases of a gradual failover, each in percents of failed provider, secondary and tertiary."""
    if not phases:
        return "there is no phase; name at least one"
    for phase in phases:
        if not 1 <= len(phase) <= MOST_PROVIDERS:
            return f"{_said(phase)} must name failed provider, secondary and tertiary, and nobody else"
        if round(sum(phase), 2) != 100:
            return f"{_said(phase)} sums to {round(sum(phase), 2):g} %, not to 100 %"
    caps = [phase[0] for phase in phases]
    if caps != sorted(set(caps), reverse=True):
        return f"the failed provider's {_said(caps)} must fall from phase to phase"
    return None


def _said(percents: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in percents)}]"
