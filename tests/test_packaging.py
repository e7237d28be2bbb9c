"""An application with generic top-level names: they must be ours, and the wheel must hold them and nothing else."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["failover", "workflows", "activities", "providers", "traffic", "gateway", "simulator", "starter"]


@pytest.mark.parametrize("name", [*PACKAGES, "worker"])
def test_a_top_level_name_is_ours(name: str) -> None:
    """Another distribution that ships the same name would replace it in silence."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def test_the_wheel_holds_exactly_our_names(tmp_path: Path) -> None:
    """With the configuration of the demo and the console's pages, and without tests, benchmarks or caches."""
    uv = Path(sys.executable).with_name("uv")
    build = [str(uv), "build", "--wheel", "--out-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {file.split("/")[0] for file in files if ".dist-info" not in file}
    assert tops == {*PACKAGES, "worker.py"}
    assert "starter/configs/demo.yaml" in files
    for folder in ("templates", "static"):
        console = [path for path in (ROOT / "starter/console" / folder).rglob("*") if path.is_file()]
        assert console
        assert {str(path.relative_to(ROOT)) for path in console} <= set(files)
    assert not any("__pycache__" in file for file in files)
