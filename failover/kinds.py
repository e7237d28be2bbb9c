"""The procedures: their names in Temporal and in the configuration, which of them are what, and the ids of their runs."""

from collections.abc import Mapping

IMMEDIATE = "ImmediateFailover"
GRADUAL = "GradualFailover"
CANARY = "CanaryFailover"
FAILBACK = "Failback"
EMERGENCY = "MultiProviderEmergency"
SERVICE = "ServiceSettings"
PROPOSAL = "Proposal"

HEALTH_CHECK = "HealthCheck"
FOLLOW_UP = "FollowUp"
COMMUNICATIONS = "Communications"
READINESS_AUDIT = "ReadinessAudit"

FAILOVERS = (IMMEDIATE, GRADUAL, CANARY)
"""The procedures that take users off a provider."""

RAMPS = (GRADUAL, CANARY, FAILBACK)
"""The procedures that change one route step by step."""

INCIDENTS = (*FAILOVERS, FAILBACK, EMERGENCY)
"""The procedures during which nothing is as usual: a return is the end of an incident."""

BESIDE = (HEALTH_CHECK, FOLLOW_UP, COMMUNICATIONS, READINESS_AUDIT)
"""Workflows that are no procedures: they change no traffic."""

WORDS: Mapping[str, str] = {
    IMMEDIATE: "immediate",
    GRADUAL: "gradual",
    CANARY: "canary",
    FAILBACK: "failback",
    EMERGENCY: "emergency",
    SERVICE: "settings",
    PROPOSAL: "proposal",
}
"""Workflow type → the name that the configuration uses."""

NAMED: Mapping[str, str] = {word: procedure for procedure, word in WORDS.items()}
"""The inverse of WORDS: word → procedure."""


def run_id(procedure: str, about: str = "") -> str:
    """The workflow id of the one run of a procedure about this provider or route; an emergency is about all of them."""
    kind = {IMMEDIATE: "failover", SERVICE: "service"}.get(procedure, WORDS[procedure])
    return f"{kind}/{about}" if about else kind
