"""A dashboard in a Grafana, by its HTTP API: made, or brought up to date."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx

from failover.errors import RequestError, Unavailable
from starter.dashboards.panels import TAG

TIMEOUT = 15.0
"""Seconds, of one call."""

_REMEDIES = {
    401: "put a service account's token into {variable}",
    403: "give the token's account the role Editor",
    412: "somebody changed it meanwhile, or another dashboard has its name; try again, or give another --name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The place of a pushed dashboard; `created`: it was not there before."""

    url: str
    version: int
    created: bool


def push(grafana: str, token: str, variable: str, dashboard: Mapping[str, Any], folder: str | None) -> Pushed:
    """Make or update the dashboard of this uid. One that is not ours is left alone.

    RequestError where Grafana refuses, Unavailable where it does not answer; the token is in neither.
    """
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=grafana.rstrip("/"), headers=headers, timeout=TIMEOUT) as http:
        try:
            there = _there(http, str(dashboard["uid"]), variable)
            body: dict[str, Any] = {"dashboard": {**dashboard, "id": None}, "message": "failoverctl dashboard create"}
            if there is not None:
                # The version that was read: a change by somebody else meanwhile is refused, not overwritten.
                body["dashboard"] |= {"id": there["dashboard"]["id"], "version": there["dashboard"]["version"]}
                folder = folder or there.get("meta", {}).get("folderUid")
            if folder:
                body["folderUid"] = folder
            answer = http.post("/api/dashboards/db", json=body)
            if not answer.is_success:
                _refused(answer, variable)
            told = answer.json()
            return Pushed(
                url=f"{grafana.rstrip('/')}{told.get('url', '')}",
                version=int(told.get("version", 1)),
                created=there is None,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"Grafana does not answer at {grafana} ({why}); the files were written.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"What answers at {grafana} is no Grafana; the files were written.") from error


def _there(http: httpx.Client, uid: str, variable: str) -> Any:
    """The dashboard that has the uid already; None where none has."""
    answer = http.get(f"/api/dashboards/uid/{uid}")
    if answer.status_code == 404:
        return None
    if not answer.is_success:
        _refused(answer, variable)
    found = answer.json()
    if TAG not in found["dashboard"].get("tags", []):
        raise RequestError(
            f"Grafana has another dashboard with the uid {uid}, which was not made by failoverctl and is left alone; "
            "give another --name."
        )
    return found


def _refused(answer: httpx.Response, variable: str) -> NoReturn:
    try:
        said = str(answer.json().get("message", ""))[:200]
    except (ValueError, AttributeError):
        said = ""
    remedy = _REMEDIES.get(answer.status_code, "").format(variable=variable)
    told = "; ".join(part for part in (said, remedy) if part)
    raise RequestError(f"Grafana refused ({answer.status_code}){f': {told}' if told else ''}. The files were written.")
