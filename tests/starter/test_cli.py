"""failoverctl from the outside: exit codes, sentences, sober output, instant help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from starter.cli import run

ROOT = Path(__file__).parents[2]
SHIPPED = str(ROOT / "failover.yaml")

HEAVY = ("temporalio", "httpx", "rich.live", "pydantic", "openai", "boto3", "starlette", "yaml", "structlog")
"""What help must not import."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run where no stack is, and with nothing set."""
    for name in [name for name in os.environ if name.startswith(("FAILOVER_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = run(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_imports_nothing_heavy() -> None:
    """Help is instant because nothing is loaded for it."""
    code = f"""
import sys
from starter.cli import run
assert run(["--help"]) == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"


def test_the_module_is_the_command() -> None:
    """`python -m starter` does what failoverctl does, exit code included."""
    command = [sys.executable, "-m", "starter", "config", "check", "--config", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr == "failoverctl: The configuration nowhere.yaml cannot be read: No such file or directory.\n"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ("nonsense", 2, "No such command"),
        ("failover", 2, "Missing option"),
        ("dev --gateway-port 99999", 2, "less than or equal to 65535"),
        ("failover --from bedrock --mode sideways", 2, "immediate"),
        ("status", 5, "failoverctl dev"),
        ("fault bedrock hang", 5, "failoverctl dev"),
        ("fault clear --rate 3", 5, "failoverctl dev"),
        ("config show", 2, "There is no failover.yaml here"),
        ("demo --fault flood", 2, "known are server_error, throttled"),
        ("demo --provider azure", 2, "those are bedrock, google, meta"),
        (f"demo --config {SHIPPED}", 2, "is no simulated provider"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(
    capsys: pytest.CaptureFixture[str], argv: str, code: int, words: str
) -> None:
    """Said on stderr, with a code that scripts can tell apart; never a traceback."""
    exit_code, out, err = said(capsys, *argv.split())
    assert (exit_code, out if argv != "failover" else "") == (code, "")
    assert words in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--from azure", "'azure' is no provider of this deployment; the providers are bedrock, google, meta."),
        ("--failed-provider bedrock --target-provider azure", "target_provider 'azure' is no provider"),
        ("--from bedrock --to bedrock", "name another target"),
        ("--from bedrock --route chet", "'chet'; the routes are chat."),
        ("--from bedrock --to google --auto-select-target", "give only one"),
        ("--from no/way", "the providers are bedrock, google, meta"),
    ],
)
def test_a_failover_that_cannot_be_meant_starts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: str, words: str
) -> None:
    """Unknown names are told with the known ones, before anybody is asked (no Temporal answers here)."""
    monkeypatch.setenv("FAILOVER_CONFIG", SHIPPED)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    code, out, err = said(capsys, "failover", *argv.split())
    assert (code, out) == (2, "")
    assert words in err


def test_a_temporal_that_does_not_answer_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address, that nothing was started, and what to do; exit code 5."""
    monkeypatch.setenv("FAILOVER_CONFIG", SHIPPED)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    for argv in (["failover", "--from", "bedrock"], ["schedules", "apply"], ["schedules", "list"]):
        code, out, err = said(capsys, *argv)
        assert (code, out) == (5, "")
        assert "Temporal does not answer at 127.0.0.1:1 (connection refused)." in err
        assert "check TEMPORAL_ADDRESS" in err


def test_a_misspelt_setting_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is done with a setting that nobody reads."""
    monkeypatch.setenv("FAILOVER_GATEWAY", "http://x")
    code, _, err = said(capsys, "status")
    assert code == 2 and "did you mean FAILOVER_GATEWAY_URL?" in err


def test_config_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Yes, or file, line, key, value and what is allowed."""
    assert said(capsys, "config", "check", "--config", SHIPPED) == (
        0,
        f"{SHIPPED} can be used: 3 providers, 1 route.\n",
        "",
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text(Path(SHIPPED).read_text().replace("failure_threshold: 3", "failure_threshold: none"))
    code, out, err = said(capsys, "config", "check", "--config", str(bad))
    assert (code, out) == (2, "")
    assert f"{bad}:" in err and "detection.failure_threshold: 'none' is not allowed" in err


def test_config_show_tells_where_each_value_comes_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In the file by its line, else a default; a table of at most 100 columns without a colour in it."""
    mine = tmp_path / "failover.yaml"
    mine.write_text(
        "providers:\n  meta: {kind: llama, model: llama-2-70b}\nroutes:\n  chat: {distribution: {meta: 100}}\n"
        "detection:\n  failure_threshold: 5\n"
    )
    code, out, err = said(capsys, "config", "show")
    assert (code, err) == (0, "")
    assert max(len(line) for line in out.splitlines()) <= 100 and "\x1b" not in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["detection.failure_threshold"] == ["5", "failover.yaml:6"]
    assert rows["detection.schedule_interval"] == ["30s", "default"]
    assert rows["routes.chat.distribution"] == ["meta:100", "failover.yaml:4"]
    _, out, _ = said(capsys, "config", "show", "--json")
    entry = next(entry for entry in json.loads(out)["data"] if entry["key"] == "detection.failure_threshold")
    assert entry == {"key": "detection.failure_threshold", "value": 5, "origin": "failover.yaml:6"}


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """As a shell runs it, whose redirections are what is tried; `failoverctl` is that of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={**os.environ, "PATH": path, **environ}, capture_output=True, check=False
    )


NO_TEMPORAL = "FAILOVER_CONFIG=failover.yaml TEMPORAL_ADDRESS=127.0.0.1:1"


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("failoverctl config show | true; echo ${PIPESTATUS[0]}", 0, b"0\n", b""),
        (f"{NO_TEMPORAL} failoverctl failover --from bedrock <&- 2>/dev/null", 5, b"", b""),
        ("failoverctl version >&-", 0, b"", b""),
        ("failoverctl config show >&-", 0, b"", b""),
        ("failoverctl nonsense 2>&-", 2, b"", b""),
        (
            "failoverctl config show >/dev/full",
            1,
            b"",
            b"failoverctl: the answer could not be written: No space left on device.\n",
        ),
    ],
)
def test_streams_that_take_nothing_are_no_failure(command: str, code: int, out: bytes, err: bytes) -> None:
    """A reader that left, a stream that is closed: what was asked for is done. A full disk is said to be one."""
    done = shell(command)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_terminal_without_arrows_shows_question_marks() -> None:
    """The answer of a failover must not look like its failure because of how an arrow is encoded."""
    done = shell("failoverctl report -h", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, b"") and b"--metrics M,M,?" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    code, out, _ = said(capsys, "version")
    assert code == 0 and out.startswith("failoverctl ")
