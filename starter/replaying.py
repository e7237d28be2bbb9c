"""`failoverctl replay`: recorded samples through another policy's decisions."""

from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten

from activities.samples import SampleLog
from failover.errors import BadInput, RequestError
from failover.replay import Compared, Replay, Start, replay
from failover.units import parse_duration, render_duration
from starter.configuration import load
from starter.output import as_json, say, table
from starter.parts import SAMPLES
from starter.running import DEFAULT_HOME, find
from starter.settings import Settings


def run_replay(
    settings: Settings, policy: Path, since: str | None, samples: Path | None, state: Path | None, *, json: bool
) -> int:
    config = load(policy).config
    directory = samples or (find(settings, state).state or state or settings.state or DEFAULT_HOME) / SAMPLES
    kept = SampleLog(directory, 0)
    if not kept.segments():
        raise BadInput(
            f"There are no detector samples in {directory}. A worker records them there while it watches; name another "
            "directory with --samples or --state."
        )
    found = replay(list(kept.read(_from(since))), config)
    if json:
        as_json("replay", found)
    else:
        _show(found, policy)
    return 0


def _from(since: str | None) -> datetime | None:
    if since is None:
        return None
    try:
        return datetime.now(UTC) - parse_duration(since)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"--since: {error}.") from error


def _show(found: Replay, policy: Path) -> None:
    if found.since is None or found.until is None:
        print("Nothing was recorded in that time.")
        return
    span = render_duration((found.until - found.since) // 1_000_000 * 1_000_000)
    print(f"{found.samples} samples over {span}, from {found.since:%Y-%m-%d %H:%M:%S} UTC, by {policy}.")
    if found.starts:
        table(
            "Starts", ("at (UTC)", "provider", "then", f"by {policy.name}", "compared", "why"), map(_row, found.starts)
        )
    else:
        print("Nothing was started then, and nothing would have been.")
    for doubt in found.doubts:
        say(f"failoverctl: {doubt}")
    if any(pair.then is None or pair.now is None for pair in found.starts):
        say("failoverctl: what came after the first difference is what was, not what would have been.")


def _row(pair: Compared) -> tuple[str, ...]:
    start = pair.now or pair.then
    assert start is not None
    return (
        f"{pair.at:%m-%d %H:%M:%S}",
        start.provider,
        _word(pair.then),
        _word(pair.now),
        pair.said,
        shorten(f"{start.condition.value.replace('_', ' ')}: {start.reason}", 100, placeholder=" …"),
    )


def _word(start: Start | None) -> str:
    return start.procedure if start else "nothing"
