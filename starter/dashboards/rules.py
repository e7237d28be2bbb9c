"""The rules that Prometheus is given: all that record, and the alerts that were chosen."""

import importlib.resources
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

import yaml

from failover.units import render_duration

OUTAGE = timedelta(minutes=30)
"""What is down for longer is an extended outage."""

_ALERT = "      - alert: "


def rules_text() -> str:
    """The shipped rules, with their comments."""
    return (importlib.resources.files("starter") / "dashboards" / "rules.yaml").read_text()


def known_alerts() -> list[str]:
    """Their names, in the order of the file."""
    [alerts] = [group for group in yaml.safe_load(rules_text())["groups"] if group["name"] == "failover-alerts"]
    return list(dict.fromkeys(rule["alert"] for rule in alerts["rules"]))


def chosen(alerts: Sequence[str], outage: timedelta = OUTAGE) -> str:
    """The rules file of these alerts."""
    head, *blocks = re.split(rf"(?m)^(?={_ALERT})", rules_text())
    return head + "".join(_kept(blocks, alerts, outage))


def _kept(blocks: Sequence[str], alerts: Sequence[str], outage: timedelta) -> Iterator[str]:
    for block in blocks:
        name = block.removeprefix(_ALERT).split("\n", 1)[0].strip()
        if name == "extended_outage":
            block = re.sub(r"(?m)^(\s+for: ).*$", rf"\g<1>{render_duration(outage)}", block, count=1)
        if name in alerts:
            yield block
