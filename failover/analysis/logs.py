"""Log lines that belong to an incident: found by time, provider, route and run; shown without anything secret."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from failover.alerts import clean
from failover.analysis.case import LogLine, Logs, Span
from failover.incident import RunRecord

AROUND = timedelta(seconds=30)
"""How long before the first bad sample and after the end log lines still belong to the run."""

WIDTH = 300
"""Characters of a line."""

SHOWN = (
    "workflow_id",
    "provider",
    "route",
    "condition",
    "kind",
    "code",
    "why",
    "reason",
    "error",
    "attempt",
    "count",
    "activity_type",
)
"""Fields that are shown beside the sentence. No other field ever is: a request's text may be in it."""

HIDDEN = "[hidden]"

_LOUD = {"warning": 1, "error": 2, "critical": 3}

_SECRET = (
    re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(
        r"(?i)([\"']?(?:[a-z_-]*(?:token|secret|password|passwd|api[_-]?key|authorization|credential|signature))[\"']?"
        r"\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)"
    ),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"\b(?:sk|pk|rk|xox[abps]|gh[pousr]|AKIA|ASIA|AIza|ya29|LLM)[A-Za-z0-9._|-]{10,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"),
    re.compile(r"\b(?=[A-Za-z+_]*[0-9])(?=[0-9+_]*[A-Za-z])[A-Za-z0-9+_]{40,}={0,2}"),
    re.compile(r"(?<=[?&])[^\s\"'#]+(?==)=[^\s\"'#]*"),
)

_PROMPT = re.compile(
    r"(?is)([\"'](?:prompt|content|messages|text|input|inputText|parts|body)[\"']\s*:\s*)(\[.*?\]|\{.*?\}|\"(?:[^\"\\]|\\.)*\"?|'[^']*'?)"
)


def hide(text: str, secrets: Collection[str] = ()) -> str:
    """The text without secrets: values that are known, what looks like a credential, and fields that hold prompts."""
    for secret in sorted((one for one in secrets if len(one) >= 6), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _PROMPT.sub(rf"\1{HIDDEN}", text)
    for number, pattern in enumerate(_SECRET):
        text = pattern.sub(rf"\1{HIDDEN}" if number == 1 else HIDDEN, text)
    return text


def correlated(
    files: Iterable[tuple[str, Iterable[str]]],
    record: RunRecord,
    span: Span,
    providers: Collection[str],
    secrets: Collection[str],
    most: int,
) -> Logs:
    """The lines of each process's log that belong to the run; if they are more than `most`, the loudest and nearest."""
    found: list[tuple[int, LogLine]] = []
    names, unread = [], 0
    wanted = _words(record, providers)
    for source, lines in files:
        names.append(source)
        plain = read = 0
        for raw in lines:
            told = _parsed(raw)
            plain, read = plain + (told is None and bool(raw.strip())), read + (told is not None)
            line = _line(source, told, secrets) if told is not None else None
            if line is not None and span.onset - AROUND <= line.at <= span.until + AROUND:
                found.append((_weight(line, raw, wanted), line))
        unread += plain if plain > read else 0
    belong = _folded([one for one in found if one[0]])
    best = sorted(belong, key=lambda one: (-one[0], abs(one[1].at - span.onset)))[:most]
    kept = sorted((line for _, line in best), key=lambda line: line.at)
    return Logs(wanted=True, files=names, lines=kept, more=len(belong) - len(kept), unread=unread)


def _folded(found: Sequence[tuple[int, LogLine]]) -> list[tuple[int, LogLine]]:
    """What a process says again and again is one line, with how often it did."""
    same: dict[tuple[str, str, str], list[tuple[int, LogLine]]] = {}
    for weight, line in sorted(found, key=lambda one: one[1].at):
        same.setdefault((line.source, line.level, line.text), []).append((weight, line))
    return [
        (weight, line if len(alike) == 1 else replace(line, text=f"{line.text} ({len(alike)} times)"))
        for alike in same.values()
        for weight, line in alike[:1]
    ]


def _words(record: RunRecord, providers: Collection[str]) -> list[re.Pattern[str]]:
    names = {record.workflow_id, record.run_id, *providers, *(shift.route for shift in record.routes)} - {""}
    return [re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])") for name in sorted(names)]


def _weight(line: LogLine, raw: str, words: Sequence[re.Pattern[str]]) -> int:
    """Weigh a line; 0: it does not belong here. What is loud does, whomever it names; what names the incident is first."""
    named = any(word.search(raw) for word in words)
    return _LOUD.get(line.level, 0) + len(_LOUD) * named


def _parsed(raw: str) -> dict[str, Any] | None:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _line(source: str, told: dict[str, Any], secrets: Collection[str]) -> LogLine | None:
    at = _moment(told.get("timestamp"))
    if at is None:
        return None
    said = [str(told.get("event", ""))[: 4 * WIDTH]]
    said += [f"{name}={str(told[name])[: 2 * WIDTH]}" for name in SHOWN if told.get(name) not in (None, "")]
    trace = str(told.get("exception", "")).strip().splitlines()
    said += [trace[-1][: 2 * WIDTH]] if trace else []
    text = clean(hide(" ".join(said), secrets), WIDTH)
    return LogLine(at=at, source=source, level=clean(str(told.get("level", "info")), 10), text=text)


def _moment(told: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
