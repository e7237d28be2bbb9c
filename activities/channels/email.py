"""E-mail by SMTP: an incident is one thread, and a message that is sent twice has one Message-ID."""

import hashlib
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from failover.communications import Delivery, mail_subject, mail_text
from failover.config.communications import Email
from failover.errors import ChannelFailed


class EmailChannel:
    """One server. Without a user nobody logs in; `password` is that of the user."""

    def __init__(self, settings: Email, password: str | None, *, timeout: timedelta) -> None:
        self._settings, self._password, self._timeout = settings, password, timeout

    async def deliver(self, delivery: Delivery) -> str:
        thread = f"{delivery.incident.key}/thread"
        message = self._message(delivery, thread)
        try:
            async with self._server() as server:
                refused, _ = await server.send_message(message)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _explained(error, self._settings) from error
        if refused:
            # Whoever was accepted has it; sending it again would tell them twice.
            raise ChannelFailed(f"The mail server refused {', '.join(sorted(refused))}.", permanent=True)
        return thread

    def _message(self, delivery: Delivery, thread: str) -> EmailMessage:
        settings, news = self._settings, delivery.news
        message = EmailMessage()
        message["From"], message["To"] = settings.sender, ", ".join(settings.to)
        message["Subject"] = mail_subject(delivery)
        message["Date"] = format_datetime(news.at)
        message["Message-ID"] = _message_id(delivery.key, settings.sender)
        message["References"] = _message_id(thread, settings.sender)
        message["In-Reply-To"] = _message_id(thread, settings.sender)
        message["Auto-Submitted"] = "auto-generated"
        if news.needs_person:
            message["Importance"] = "high"
        message.set_content(mail_text(delivery))
        return message

    def _server(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            timeout=self._timeout.total_seconds(),
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            username=settings.user,
            password=self._password if settings.user else None,
        )

    async def check(self) -> str:
        """The way to the server, its certificate and the login; no message is sent."""
        try:
            async with self._server() as server:
                await server.noop()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _explained(error, self._settings) from error
        return f"e-mail: {self._settings.host} lets us in; messages go to {', '.join(self._settings.to)}"

    async def aclose(self) -> None:
        pass


def _message_id(name: str, sender: str) -> str:
    return f"<{hashlib.sha256(name.encode()).hexdigest()[:32]}@{sender.rpartition('@')[2]}>"


def _explained(error: Exception, settings: Email) -> ChannelFailed:
    """What went wrong and what helps. A server's words may repeat what it was sent, so only its codes are told."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        remedy = f"see to communications.email.user and {settings.password_env}"
        said = f"The mail server {where} refused the login ({error.code}); {remedy}."
        return ChannelFailed(said, permanent=error.code >= 500)
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        named = ", ".join(sorted(one.recipient for one in error.recipients))
        permanent = all(one.code >= 500 for one in error.recipients)
        return ChannelFailed(f"The mail server {where} refused every recipient: {named}.", permanent=permanent)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return ChannelFailed(f"The mail server {where} answered {error.code}.", permanent=500 <= error.code < 600)
    if isinstance(error, aiosmtplib.SMTPException) and "STARTTLS" in str(error):
        said = f"The mail server {where} knows no STARTTLS; see to communications.email.security."
        return ChannelFailed(said, permanent=True)
    return ChannelFailed(f"The mail server {where} does not answer: {type(error).__name__}.")
