"""Targets of the runbook's key performance indicators."""

from datetime import timedelta

from failover.section import Section
from failover.units import Percent, PositiveDuration


class SuccessRates(Section):
    automated_failover_percent: Percent = 95
    manual_failover_percent: Percent = 99
    failback_percent: Percent = 98


class Kpis(Section):
    """Targets of the runbook's key performance indicators."""

    detection: PositiveDuration = timedelta(seconds=30)
    execution: PositiveDuration = timedelta(seconds=60)
    immediate_execution: PositiveDuration = timedelta(seconds=30)
    restoration: PositiveDuration = timedelta(seconds=120)
    total: PositiveDuration = timedelta(seconds=300)
    request_loss_percent: Percent = 1
    user_error_rate_percent: Percent = 5
    degradation_percent: Percent = 20
    success_rates: SuccessRates = SuccessRates()
