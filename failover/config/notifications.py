"""Notifications: who is told, and where."""

from datetime import timedelta

from failover.section import Section
from failover.units import PositiveDuration


class Slack(Section):
    channel: str = "#ops-alerts"
    token_env: str = "SLACK_BOT_TOKEN"
    """Name of the environment variable that holds the bot token; without one, messages go to the console."""
    signing_secret_env: str = "SLACK_SIGNING_SECRET"
    """Name of the environment variable that holds the app's signing secret; without one, its buttons are refused."""
    api_url: str | None = None


class Notifications(Section):
    slack: Slack = Slack()
    console: bool = True
    timeout: PositiveDuration = timedelta(seconds=30)
    """How long a message is tried for before the report notes that it failed."""
