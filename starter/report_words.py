"""The words in which a report is asked for. This imports nothing heavy: help shows them, and is instant."""

from enum import StrEnum


class ReportType(StrEnum):
    INCIDENT = "incident"
    PERFORMANCE_IMPACT = "performance-impact"
    FAILOVER_EFFECTIVENESS = "failover-effectiveness"


class Event(StrEnum):
    """The runs that are meant."""

    FAILOVER = "failover"
    FAILBACK = "failback"
    EMERGENCY = "emergency"
    INCIDENT = "incident"
    ANY = "any"


class Format(StrEnum):
    MD = "md"
    HTML = "html"
    JSON = "json"
