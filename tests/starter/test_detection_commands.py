"""Commands about what starts by itself, from the outside: the hold over a real gateway, replays over recorded samples."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from activities.samples import SampleLog
from failover.failure import Failure, FailureKind
from failover.health import Condition, Probe
from failover.replay import DetectorSample
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter.cli import app, run
from starter.configuration import demo_config, load
from tests.gateway.conftest import TOKEN

CONFIG = load(demo_config()).config
DEMO = str(demo_config())

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def say(*argv: str) -> tuple[int, str, str]:
        code = run(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return say


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FileStore]:
    """A real gateway that the commands find by the environment."""
    initial = {name: route.distribution for name, route in CONFIG.routes.items()}
    opened = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    gateway = create_app(CONFIG, {key: MemoryClient(key) for key in CONFIG.providers}, opened, token=TOKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAILOVER_API_TOKEN", TOKEN)
    async with listening(gateway, "127.0.0.1", 0) as url:
        monkeypatch.setenv("FAILOVER_GATEWAY_URL", url)
        yield opened


async def test_a_hold_is_set_shown_and_ended(store: FileStore, said: Said) -> None:
    """Who, why and until when; what may start by itself beside it."""

    async def command(*argv: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(said, *argv)

    code, out, err = await command("automation", "hold", "--why", "a migration", "--until", "2h", "--by", "anna")
    held = await store.hold()
    assert code == 0 and held is not None and "by anna: a migration" in out and "automation resume" in err
    assert (held.by, held.why) == ("anna", "a migration")
    assert held.until is not None and timedelta(minutes=119) < held.until - datetime.now(UTC) < timedelta(minutes=121)
    code, out, _ = await command("automation", "show", "--config", DEMO)
    assert code == 0 and "a migration" in out and "degraded quality" in out and "act" in out
    code, out, _ = await command("automation", "show", "--config", DEMO, "--json")
    assert "migration" in out and json.loads(out)
    assert (await command("automation", "resume"))[:2] == (0, "Automation is not held.\n")
    assert await store.hold() is None


@pytest.mark.parametrize(
    ("until", "complaint"),
    [("soon", "give a duration"), ("2020-01-01T00:00:00Z", "is over already"), ("2030-01-01T00:00:00", "time in UTC")],
)
async def test_a_hold_until_nobody_knows_when_is_refused(
    until: str, complaint: str, store: FileStore, said: Said
) -> None:
    """Nothing is held."""
    code, _, err = await asyncio.to_thread(said, "automation", "hold", "--why", "x", "--until", until)
    assert code == 2 and complaint in err
    assert await store.hold() is None


def test_without_a_gateway_a_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    """It says what to do; nobody may believe that automation is held."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAILOVER_GATEWAY_URL", "http://127.0.0.1:9")
    code, out, err = said("automation", "hold", "--why", "x")
    assert code == 5 and out == "" and "does not answer" in err


@pytest.fixture
async def samples(tmp_path: Path) -> Path:
    """An outage of bedrock in the last minute, and the failover that it started."""
    log, began = SampleLog(tmp_path / "samples", 1_000_000), datetime.now(UTC) - timedelta(seconds=60)
    failure = Failure(kind=FailureKind.SERVER_ERROR, provider="bedrock", detail="x")
    for seconds in range(0, 60, 5):
        at, started = began + timedelta(seconds=seconds), "immediate" if seconds == 20 else None
        probe = Probe(provider="bedrock", at=at, latency=timedelta(0), failure=failure if seconds >= 10 else None)
        share = {"chat": 7000 if seconds <= 20 else 0}
        condition = Condition.UNAVAILABLE if started else Condition.HEALTHY
        await log.keep(
            DetectorSample(
                at=at, provider="bedrock", probes=[probe], shares=share, started=started, condition=condition
            )
        )
    return tmp_path / "samples"


def test_a_policy_is_replayed(samples: Path, tmp_path: Path, said: Said) -> None:
    """The one of then, and one that waits longer."""
    code, out, _ = said("replay", "--policy", DEMO, "--samples", str(samples))
    assert code == 0 and "12 samples over 55s" in out and "the same" in out
    patient = tmp_path / "patient.yaml"
    patient.write_text(demo_config().read_text().replace("cool_down: 30s", "cool_down: 30s\n  failure_threshold: 6"))
    code, out, _ = said("replay", "--policy", str(patient), "--samples", str(samples))
    assert code == 0 and "15 s later" in out
    code, out, _ = said("replay", "--policy", DEMO, "--samples", str(samples), "--json")
    assert code == 0 and "the same" not in out and "immediate" in out and json.loads(out)
    assert said("replay", "--policy", DEMO, "--samples", str(samples), "--since", "1ms")[1].startswith("Nothing was")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--policy", DEMO, "--samples", "nowhere"), "There are no detector samples in nowhere"),
        (("--policy", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("--policy", DEMO, "--since", "soon"), "--since"),
    ],
)
def test_a_replay_that_cannot_be_meant_is_refused(
    options: tuple[str, ...], complaint: str, samples: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    """With what is missing."""
    monkeypatch.chdir(samples.parent)
    given = options if "--samples" in options else (*options, "--samples", "samples")
    code, _, err = said("replay", *given)
    assert code == 2 and complaint in err


@pytest.mark.parametrize(
    "command",
    [
        "automation",
        "automation hold",
        "automation resume",
        "automation show",
        "replay",
        "doctor",
        "schedules pause",
        "schedules resume",
    ],
)
def test_every_command_explains_itself(command: str) -> None:
    """Its options, with a sentence each."""
    shown = CliRunner().invoke(app, [*command.split(), "-h"])
    assert shown.exit_code == 0 and "Usage: " in shown.output
