"""The destinations outside, as configuration and settings wire them. A vendor's SDK is imported only where it is spoken to."""

from collections.abc import Callable, Mapping

from failover.communications import Channel, Delivery, configured
from failover.config import Config
from failover.config.communications import ChannelName
from failover.errors import ChannelFailed
from starter.settings import Settings


class Unready:
    """A channel that is switched on and lacks something: every delivery says what, and the report with it."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def deliver(self, delivery: Delivery) -> str:
        raise ChannelFailed(self._why, permanent=True)

    async def check(self) -> str:
        raise ChannelFailed(self._why, permanent=True)

    async def aclose(self) -> None:
        pass


def channels(config: Config, settings: Settings) -> dict[ChannelName, Channel]:
    """The channels that are switched on."""
    return {name: _BUILDERS[name](config, settings.environ) for name in configured(config)}


def _status_page(config: Config, environ: Mapping[str, str]) -> Channel:
    from activities.channels.status_page import PostedStatusChannel, StatuspageChannel

    page = config.communications.status_page
    key = environ.get(page.api_key_env)
    if not key:
        return Unready(f"The status page was not told: {page.api_key_env} is not set where the worker runs.")
    kind = StatuspageChannel if page.kind == "statuspage" else PostedStatusChannel
    return kind(page, key, timeout=config.communications.timeout)


def _aws_support(config: Config, environ: Mapping[str, str]) -> Channel:
    from providers.aws_support import AwsSupportChannel

    return AwsSupportChannel(config.communications.support.aws, timeout=config.communications.timeout)


def _google_support(config: Config, environ: Mapping[str, str]) -> Channel:
    from providers.google_support import GoogleSupportChannel

    google = config.communications.support.google
    asked = [config.providers[name] for name in google.providers] or list(config.providers.values())
    project = google.project or next((one.project for one in asked if one.project), None)
    if project is None:
        return Unready("Google Cloud Support was not asked: set communications.support.google.project.")
    return GoogleSupportChannel(google, project, timeout=config.communications.timeout)


def _pagerduty(config: Config, environ: Mapping[str, str]) -> Channel:
    from activities.channels.pagerduty import PagerDutyChannel

    pagerduty = config.communications.pagerduty
    key = environ.get(pagerduty.routing_key_env)
    if not key:
        return Unready(f"PagerDuty was not told: {pagerduty.routing_key_env} is not set where the worker runs.")
    return PagerDutyChannel(pagerduty, key, timeout=config.communications.timeout)


def _email(config: Config, environ: Mapping[str, str]) -> Channel:
    from activities.channels.email import EmailChannel

    email = config.communications.email
    password = environ.get(email.password_env)
    if email.user and not password:
        return Unready(f"No e-mail was sent: {email.password_env} is not set where the worker runs.")
    return EmailChannel(email, password, timeout=config.communications.timeout)


def _webhook(config: Config, environ: Mapping[str, str]) -> Channel:
    from activities.channels.webhook import WebhookChannel

    webhook = config.communications.webhook
    secret = environ.get(webhook.secret_env)
    if not secret:
        return Unready(f"The webhook was not called: {webhook.secret_env} is not set where the worker runs.")
    assert webhook.url is not None
    return WebhookChannel(webhook.url, secret, timeout=config.communications.timeout)


_BUILDERS: Mapping[ChannelName, Callable[[Config, Mapping[str, str]], Channel]] = {
    ChannelName.STATUS_PAGE: _status_page,
    ChannelName.AWS_SUPPORT: _aws_support,
    ChannelName.GOOGLE_SUPPORT: _google_support,
    ChannelName.PAGERDUTY: _pagerduty,
    ChannelName.EMAIL: _email,
    ChannelName.WEBHOOK: _webhook,
}
