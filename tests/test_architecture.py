"""The walls of the house, held by tools; and the tools, held by walls that are broken on purpose."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from starter import worker_parts as composition

ROOT = Path(__file__).parents[1]
PACKAGES = ["failover", "workflows", "activities", "providers", "traffic", "gateway", "simulator", "starter"]


def run(tool: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={"PYTHONPATH": str(cwd), "PATH": ""})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The house, to be broken."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "worker.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_imports_point_down_the_page() -> None:
    """As the house is, every contract is kept."""
    done = run("lint-imports")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("failover/policy.py", "import asyncio", "The core is pure"),
        ("failover/health.py", "import workflows.queue", "Data flows down the page"),
        ("gateway/auth.py", "import providers.memory", "Data flows down the page"),
        ("failover/policy.py", "import google.auth", "The core is pure"),
        ("workflows/journal.py", "import httpx", "Workflows know no vendor"),
        ("workflows/journal.py", "import traffic.memory", "Procedures and steps reach the outside through ports"),
        ("activities/board.py", "import providers.memory", "Procedures and steps reach the outside through ports"),
        ("traffic/memory.py", "import boto3", "A vendor is known where it is spoken to"),
        ("gateway/auth.py", "import google.auth", "A vendor is known where it is spoken to"),
        ("providers/memory.py", "import slack_sdk", "Providers know nobody's Slack or Redis"),
    ],
)
def test_a_broken_arrow_is_seen(copy: Path, file: str, line: str, contract: str) -> None:
    """An import against the arrows breaks the contract that forbids it."""
    broken = copy / file
    broken.write_text(f"{broken.read_text()}\n{line}  # noqa\n")
    done = run("lint-imports", "--no-cache", cwd=copy)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "import datetime\nNOW = datetime.datetime.now(datetime.UTC)",
        "import random\nDICE = random.random()",
        "import os\nHOME = os.environ['HOME']",
        "import time\nNOW = time.time()",
        "import uuid\nID = uuid.uuid4()",
    ],
)
@pytest.mark.parametrize("folder", ["failover", "workflows"])
def test_clocks_dice_and_the_environment_are_banned_where_code_is_replayed(copy: Path, folder: str, line: str) -> None:
    """Lint names the cure."""
    (copy / folder / "impure.py").write_text(f'"""Impure."""\n\n{line}\n')
    done = run("ruff", "check", "--select", "TID251", "--no-cache", folder, cwd=copy)
    assert done.returncode != 0
    assert "TID251" in done.stdout


INNER = ["failover", "workflows", "activities", "providers", "traffic", "gateway", "simulator"]


def banned(names: list[str], folders: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Lint for these names alone, without the exemptions that folders have from the whole list."""
    table = ", ".join(f'"{name}" = {{ msg = "not here" }}' for name in names)
    bans = f"lint.flake8-tidy-imports.banned-api = {{ {table} }}"
    options = ["--isolated", "--no-cache", "--select", "TID251", "--exclude", "__main__.py", "--config", bans]
    return run("ruff", "check", *options, *folders, cwd=cwd)


def test_only_the_ways_in_read_the_environment(copy: Path) -> None:
    """worker.py, starter/ and the processes' entry points; everybody else is handed what they need."""
    names = ["os.environ", "os.getenv"]
    done = banned(names, INNER, copy)
    assert done.returncode == 0, done.stdout
    (copy / "providers" / "impure.py").write_text("import os\n\nKEY = os.environ['LLAMA_API_KEY']\n")
    assert banned(names, INNER, copy).returncode == 1


def test_nothing_is_patched() -> None:
    """Fakes are adapters that ship beside the real ones."""
    done = banned(["unittest.mock", "mock"], ["tests", "bench", *INNER], ROOT)
    assert done.returncode == 0, done.stdout


def test_names_in_histories_are_given_not_derived() -> None:
    """A module that moves must not rename what running workflows are known by."""
    for folder, decorator in (("workflows", "@workflow.defn"), ("activities", "@activity.defn")):
        for file in (ROOT / folder).rglob("*.py"):
            for line in file.read_text().splitlines():
                assert not line.strip().startswith(decorator) or "name=" in line, f"{file.name}: {line}"
    assert {workflow.__name__ for workflow in composition.WORKFLOWS} == {
        *("HealthCheck", "ImmediateFailover", "GradualFailover", "CanaryFailover", "Failback"),
        *("MultiProviderEmergency", "ServiceSettings", "Proposal", "Communications", "FollowUp", "ReadinessAudit"),
        "FailoverDrill",
    }


def test_the_composition_root_is_nobodys_part() -> None:
    """worker.py puts the house together; import-linter cannot see who leans on it, since it is no package."""
    for folder in PACKAGES:
        for file in (ROOT / folder).rglob("*.py"):
            lines = [line.strip() for line in file.read_text().splitlines()]
            assert not [line for line in lines if line.startswith(("import worker", "from worker "))], file


NAMING = [ROOT / name for name in ("failover/kinds.py", "failover/drill.py")]


def test_the_name_of_a_procedure_is_written_once() -> None:
    """In failover/kinds.py, with how the ids of runs are made: a name typed by hand is one that nobody finds."""
    names = "|".join(workflow.__name__ for workflow in composition.WORKFLOWS)
    by_hand = re.compile(rf"""["']({names})["']|f["'](failover|gradual|canary|failback|proposal|service)/{{""")
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in PACKAGES
        for file in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if by_hand.search(line) and file not in NAMING
    ]
    assert not found, "\n".join(found)
