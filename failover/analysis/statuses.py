"""What providers say of themselves: Statuspage's JSON (summary or incidents), and Google Cloud's list of incidents."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from failover.alerts import clean
from failover.analysis.case import ProviderStatus, Trouble

LISTED = 5
"""Troubles of one answer that are kept, newest first."""


def read_status(provider: str, told: Any, about: str | None, asked_at: datetime) -> ProviderStatus:
    """What a status page's JSON says; `about`: a regular expression that names what of it is meant, None: all of it.

    Never raises: a page that says what nobody understands leaves us without its word, and says so.
    """
    wanted = re.compile(about or "", re.IGNORECASE)
    if isinstance(told, list):
        troubles = [_google(one) for one in told if isinstance(one, dict) and wanted.search(_words(one))]
        return _status(provider, troubles, "", asked_at)
    if not isinstance(told, dict) or not {"status", "incidents", "components"} & told.keys():
        return ProviderStatus(
            provider=provider, asked_at=asked_at, why_not="its status page answers in no form that we know"
        )
    troubles = [
        _statuspage(one) for one in _dicts(told.get("incidents")) if about is None or wanted.search(_words(one))
    ]
    return _status(provider, troubles, _said(told, wanted, about), asked_at)


def _status(provider: str, troubles: list[Trouble], said: str, asked_at: datetime) -> ProviderStatus:
    oldest = datetime.min.replace(tzinfo=UTC)
    newest = sorted(troubles, key=lambda one: one.since or oldest, reverse=True)[:LISTED]
    return ProviderStatus(provider=provider, asked_at=asked_at, said=clean(said, 200), troubles=newest)


def _said(told: Mapping[str, Any], wanted: re.Pattern[str], about: str | None) -> str:
    """What a page says of the components that are meant, or its own summary if all of it is meant."""
    if about is None:
        status = told.get("status")
        return str(status.get("description", "")) if isinstance(status, dict) else ""
    meant = [one for one in _dicts(told.get("components")) if wanted.search(str(one.get("name", "")))]
    return ", ".join(f"{one.get('name')}: {str(one.get('status', '')).replace('_', ' ')}" for one in meant[:LISTED])


def _statuspage(one: Mapping[str, Any]) -> Trouble:
    return Trouble(
        name=clean(str(one.get("name", "")), 160),
        since=_moment(one.get("started_at")) or _moment(one.get("created_at")),
        until=_moment(one.get("resolved_at")),
        impact=clean(str(one.get("impact", "")), 30),
    )


def _google(one: Mapping[str, Any]) -> Trouble:
    return Trouble(
        name=clean(str(one.get("external_desc", "")), 160),
        since=_moment(one.get("begin")),
        until=_moment(one.get("end")),
        impact=clean(str(one.get("status_impact") or one.get("severity") or ""), 30),
    )


def _words(one: Mapping[str, Any]) -> str:
    """The names in an incident: its own, and those of what it strikes."""
    parts = [one.get("name"), one.get("external_desc"), one.get("service_name")]
    struck = [*_dicts(one.get("components")), *_dicts(one.get("affected_products"))]
    return " ".join(str(part) for part in [*parts, *(it.get("name") or it.get("title") for it in struck)] if part)


def _dicts(told: object) -> list[Mapping[str, Any]]:
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _moment(told: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def then(status: ProviderStatus, since: datetime, until: datetime) -> list[Trouble]:
    """The troubles that lie in that time. One whose beginning is not told counts where it was not over when we asked."""
    return [
        one
        for one in status.troubles
        if (one.since is None or one.since <= until) and (one.until is None or one.until >= since)
    ]


def latest(statuses: Iterable[ProviderStatus]) -> dict[str, ProviderStatus]:
    """Provider → its last word."""
    return {one.provider: one for one in sorted(statuses, key=lambda status: status.asked_at)}
