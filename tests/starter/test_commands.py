"""Commands as they are typed: those that runs print, those of the runbook, and what every verb promises."""

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from failover.errors import FailoverError
from failover.incident import Outcome
from starter.cli import app, run
from starter.exit_codes import OF_OUTCOMES, ExitCode

ROOT = Path(__file__).parents[2]

PRINTED_BY = ("workflows", "failover", "activities", "starter/runs", "starter/procedures", "starter")

VALUES = {
    "target": " --target-provider google",
    "routes": " --route chat",
    "bound": "canary/chat --step step-1 --digest 0a1b2c",
    "verb": "retry",
    "procedure": "canary",
}
"""What stands for a placeholder that is more than one word."""

GENERAL = {"…": "300", "PROVIDER": "bedrock", "ROUTE": "chat", "PERCENT": "25", "RUN": "canary/chat"}


def printed() -> Iterator[str]:
    """Every command that the sources put into a sentence, with its placeholders filled in; docstrings only name verbs."""
    for folder in PRINTED_BY:
        for file in sorted((ROOT / folder).glob("*.py")):
            for line in file.read_text().splitlines():
                for found in re.finditer(r"[`\"' ]failoverctl ([a-z][^`\"';]*)", line if '"""' not in line else ""):
                    yield _filled(found[1])


def _filled(text: str) -> str:
    text = re.sub(r"\{render\([^}]*\)\}", "bedrock:70,google:30", text)
    text = re.sub(r"\{([^}]*)\}", lambda hole: VALUES.get(hole[1].split(".")[-1], "chat"), text)
    return " ".join(GENERAL.get(word, word) for word in text.rstrip(" .,").split())


def parse(argv: list[str]) -> None:
    """As far as the arguments go: nothing is done. Raises what the parser raises."""
    command, name, rest = typer.main.get_command(app), "failoverctl", list(argv)
    context = command.make_context(name, rest)
    while isinstance(command, TyperGroup) and (context._protected_args or not command.invoke_without_command):
        found, deeper, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None and deeper is not None
        command = deeper
        context = command.make_context(found, rest, parent=context)


COMMANDS = sorted(set(printed()))


def test_the_sources_print_the_commands_that_people_need() -> None:
    """Else the test below would test nothing."""
    verbs = {command.split()[0] for command in COMMANDS}
    assert {"restore", "approve", "watch", "failover", "abort"} <= verbs, verbs


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_is_printed_parses(command: str) -> None:
    """At 3 a.m. it is pasted as it stands."""
    parse(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "rollback --provider bedrock --reason because",
        "rollback --provider bedrock --target-provider google --reason because",
        "config set --traffic-distribution bedrock:0,google:80,meta:20 --transition-duration 300",
        "failover --failed-provider bedrock --auto-select-target --emergency-mode",
        "failover --failed-provider bedrock --target-provider google --mode immediate",
        "canary --source-provider bedrock --target-provider google --traffic-percentage 5 --duration 300",
        "canary --update-traffic 25",
        "canary --rollback",
        "failback --original-provider bedrock --current-provider google --auto-trigger --health-threshold 99%",
        "emergency --mode multi-provider-outage --enable-degraded-service",
        "config set --cache-mode emergency --cache-ttl 7200 --serve-stale true",
        "config set --request-queuing enabled --queue-size 10000 --queue-timeout 300",
    ],
)
def test_the_runbooks_spelling_parses(command: str) -> None:
    """Whoever has the runbook in their fingers replaces the program's name and nothing else."""
    parse(command.split())


def test_a_command_that_cannot_be_meant_does_not_parse() -> None:
    """Else the two tests above would pass for anything."""
    with pytest.raises(Exception, match="No such option"):
        parse(["restore", "chat", "--hurry"])
    with pytest.raises(Exception, match="No such command"):
        parse(["undo"])


def test_every_outcome_and_error_has_its_code() -> None:
    """One table: no outcome without a code, no code of an error that stands for something else."""
    assert {outcome.value for outcome in Outcome} <= set(OF_OUTCOMES)
    assert {name for name, code in OF_OUTCOMES.items() if code is ExitCode.DONE} == {"COMPLETED", "PASSED"}

    def leaves(kind: type[FailoverError]) -> Iterator[type[FailoverError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from leaves(child)

    assert {error.exit_code for error in leaves(FailoverError)} <= set(ExitCode)


def test_the_exit_codes_are_documented() -> None:
    """The table of the guide has every number, once."""
    guide = (ROOT / "docs" / "operating.md").read_text()
    rows = re.findall(r"^\| (\d+) \|", guide, re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(code.value for code in ExitCode)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("canary --source-provider bedrock --rollback", "Give one of --source-provider"),
        ("plan canary --rollback", "--dry-run goes with --source-provider"),
        ("canary --update-traffic 0", "0 % is no canary"),
        ("canary --update-traffic lots", "'lots' is no percent"),
        ("canary --source-provider azure --target-provider google", "the providers are|they are bedrock"),
        ("canary --source-provider bedrock --target-provider google --percents 50,10", "must rise"),
        (
            "canary --source-provider bedrock --target-provider google --duration soon",
            "--duration: 'soon' is no duration",
        ),
        ("canary --source-provider bedrock --target-provider google --route chet", "There is no route 'chet'"),
        ("config set", "Set either --traffic-distribution"),
        ("config set --traffic-distribution google:80", "must sum to exactly 100"),
        ("config set --traffic-distribution google:80,azure:20", "'azure' is no provider"),
        ("config set --traffic-distribution google:100 --queue-size 3", "runs of their own"),
        ("config set --cache-mode off --cache-ttl 60", "takes neither a TTL"),
        ("config set --serve-stale maybe", "--serve-stale: 'maybe' is neither"),
        ("failback --original-provider bedrock --current-provider bedrock", "are both 'bedrock'"),
        ("failback --original-provider bedrock --health-threshold 101%", "is no percent"),
        ("failover --from bedrock --mode gradual --to google", "takes no --target-provider"),
        ("emergency --route chet", "'chet'; the routes are chat"),
        ("plan status", "cannot be planned"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: str, words: str
) -> None:
    """Exit 2 and a sentence; no Temporal answers here, and none is needed."""
    monkeypatch.setenv("FAILOVER_CONFIG", str(ROOT / "failover.yaml"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert run(argv.split()) == 2
    assert re.search(words, capsys.readouterr().err)


HEAVY = {
    "temporalio",
    "boto3",
    "botocore",
    "google.auth",
    "grpc",
    "httpx",
    "openai",
    "redis",
    "slack_sdk",
    "starlette",
    "yaml",
}


@pytest.mark.parametrize("verb", ["", "canary", "status", "report", "serve", "doctor"])
def test_help_is_instant(verb: str) -> None:
    """Nothing is imported before it is needed: no vendor's SDK, no Temporal. How long that takes, `make bench` says."""
    script = "import sys; from starter.cli import run; run(sys.argv[1:]); print('loaded:', *sys.modules)"
    asked = [sys.executable, "-c", script, *verb.split(), "--help"]
    shown = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "Usage: failoverctl" in shown
    assert HEAVY & set(shown.rpartition("loaded:")[2].split()) == set()


def test_every_kind_of_json_is_documented() -> None:
    """The guide has a row for each kind that the sources print, and none for another."""
    printers = re.compile(r'\b(?:as_json|as_json_line|enveloped|return told)\(\s*"([a-z-]+)"')
    kinds = {kind for file in (ROOT / "starter").rglob("*.py") for kind in printers.findall(file.read_text())}
    guide = (ROOT / "docs" / "operating.md").read_text()
    table = guide.partition("| kind | printed by | data |")[2].partition("\n\n")[0]
    assert {"run", "monitor-sample", "validation", "report"} <= kinds
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(kinds)


def verbs(group: Any, *path: str) -> Iterator[str]:
    """Every verb there is, by its words; a group is one where it does something by itself."""
    if not isinstance(group, TyperGroup) or (path and group.invoke_without_command):
        yield " ".join(path)
    for name, command in getattr(group, "commands", {}).items():
        yield from verbs(command, *path, name)


VERBS = list(verbs(typer.main.get_command(app)))


def test_help_names_every_command() -> None:
    """A newcomer sees what there is."""
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert [verb for verb in VERBS if f"\n  {verb.split()[0]} " not in shown.output] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_explains_itself(verb: str) -> None:
    """How it is called, its options, and at least one example; what its examples say can be meant."""
    shown = CliRunner().invoke(app, [*verb.split(), "-h"])
    assert shown.exit_code == 0 and "Usage: " in shown.output
    examples = [line for line in _examples(shown.output) if line[: len(verb.split())] == verb.split()]
    assert examples, "an example is missing"
    for example in examples:
        parse(example)


def _examples(page: str) -> Iterator[list[str]]:
    """The arguments of each, without the remarks behind them and the variables before them."""
    for line in page.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if re.match(r" +(\w+=\S+ )?failoverctl ", line) else []
        if words:
            arguments = words[words.index("failoverctl") + 1 :]
            yield list(itertools.takewhile(lambda word: not word.startswith("("), arguments))


def test_completion_can_be_shown() -> None:
    """The shell's own way of completing, for verbs and options."""
    shown = subprocess.run(
        [sys.executable, "-m", "starter"],
        cwd=ROOT,
        env={"PATH": "", "_FAILOVERCTL_COMPLETE": "complete_bash", "COMP_WORDS": "failoverctl re", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"report", "restore", "resume", "retry", "reject"} <= set(shown.stdout.split()), shown.stderr
