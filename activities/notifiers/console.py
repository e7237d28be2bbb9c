"""Messages as log lines: where nothing else is configured."""

import structlog

from failover.findings import Finding, warning
from failover.messages import IncidentMessage, MessageRef

log = structlog.get_logger("incident")


class ConsoleNotifier:
    """Says every message once, as one line."""

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        say = log.warning if message.urgent else log.info
        say(message.text.replace("\n", " – "), key=message.key, thread=message.thread.id if message.thread else None)
        return message.thread or MessageRef(channel="console", id=message.key)

    async def reachable(self) -> Finding:
        """Always a warning: nobody looks at a log at night."""
        said = "messages go to the workers' log alone"
        return warning("notifications", said, "set a Slack token: notifications.slack.token_env names its variable")
