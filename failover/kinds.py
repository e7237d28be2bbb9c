"""Names of the procedures, as Temporal knows them, and which of them are what."""

IMMEDIATE = "ImmediateFailover"
GRADUAL = "GradualFailover"
CANARY = "CanaryFailover"
FAILBACK = "Failback"
EMERGENCY = "MultiProviderEmergency"

FAILOVERS = (IMMEDIATE, GRADUAL, CANARY)
"""Those that take users off a provider."""

INCIDENTS = (*FAILOVERS, FAILBACK, EMERGENCY)
"""Those during which nothing is as usual: a return is the end of an incident."""
