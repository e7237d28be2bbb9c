"""Finding a running stack, and holding a state directory."""

import stat
from pathlib import Path

import pytest

from failover.errors import BadInput, Unavailable
from starter.running import Addresses, Occupancy, api_token, find
from starter.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in a directory of their own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def addresses(state: Path) -> Addresses:
    return Addresses(
        temporal="127.0.0.1:7233",
        temporal_ui="http://127.0.0.1:8233",
        gateway="http://127.0.0.1:8080",
        simulator=None,
        worker="http://127.0.0.1:9000",
        task_queue="failover",
        namespace="default",
        state=str(state.resolve()),
    )


def test_without_a_stack_the_way_to_one_is_told() -> None:
    """Nothing set and nothing running is a sentence with three ways out."""
    with pytest.raises(Unavailable) as caught:
        find(Settings()).need("gateway")
    for words in ("failoverctl dev", "--state", "FAILOVER_GATEWAY_URL"):
        assert words in str(caught.value)


def test_a_running_stack_is_found_from_its_directory_and_from_here(tmp_path: Path) -> None:
    """By --state, and without it from the directory that it was started in."""
    occupancy = Occupancy.take(tmp_path / "kept")
    occupancy.describe(addresses(tmp_path / "kept"), tmp_path / "failover.yaml")
    for stack in (find(Settings()), find(Settings(), tmp_path / "kept")):
        assert stack.need("gateway") == "http://127.0.0.1:8080"
        assert stack.config == tmp_path / "failover.yaml"
    with pytest.raises(Unavailable, match="has no simulator of its own"):
        find(Settings()).need("simulator")
    occupancy.leave()
    assert find(Settings()).gateway is None


def test_what_a_dead_stack_left_behind_counts_for_nothing(tmp_path: Path) -> None:
    """A description without a living holder of its lock is ignored."""
    occupancy = Occupancy.take(tmp_path / "kept")
    occupancy.describe(addresses(tmp_path / "kept"), tmp_path / "failover.yaml")
    described = (tmp_path / "kept" / "stack.json").read_text()
    occupancy.leave()
    (tmp_path / "kept" / "stack.json").write_text(described)
    assert find(Settings(), tmp_path / "kept").gateway is None


def test_what_a_killed_stack_told_is_not_the_next_ones(tmp_path: Path) -> None:
    """While the next one on the same directory starts, nobody finds the old addresses."""
    occupancy = Occupancy.take(tmp_path / "kept")
    occupancy.describe(addresses(tmp_path / "kept"), tmp_path / "failover.yaml")
    described = (tmp_path / "kept" / "stack.json").read_text()
    occupancy.leave()
    for home in (tmp_path / "kept", tmp_path / ".state"):
        (home / "stack.json").write_text(described)
    successor = Occupancy.take(tmp_path / "kept")
    assert find(Settings()).gateway is None
    assert find(Settings(), tmp_path / "kept").gateway is None
    successor.leave()


def test_settings_win_over_the_running_stack(tmp_path: Path) -> None:
    """Whoever sets an address means it."""
    occupancy = Occupancy.take(tmp_path / "kept")
    occupancy.describe(addresses(tmp_path / "kept"), tmp_path / "failover.yaml")
    settings = Settings.from_env({"FAILOVER_GATEWAY_URL": "http://elsewhere:1", "TEMPORAL_ADDRESS": "there:7233"})
    stack = find(settings)
    assert (stack.gateway, stack.temporal, stack.temporal_ui) == ("http://elsewhere:1", "there:7233", None)
    occupancy.leave()


def test_one_stack_a_directory(tmp_path: Path) -> None:
    """The second is refused, and told who is there."""
    occupancy = Occupancy.take(tmp_path / "kept")
    with pytest.raises(BadInput, match=r"already running on .*kept \(process \d+\)"):
        Occupancy.take(tmp_path / "kept")
    occupancy.leave()
    Occupancy.take(tmp_path / "kept").leave()


def test_a_second_stack_does_not_hide_the_first(tmp_path: Path) -> None:
    """Here, the first one goes on being found; the second has its own directory."""
    first, second = Occupancy.take(tmp_path / "first"), Occupancy.take(tmp_path / "second")
    first.describe(addresses(tmp_path / "first"), tmp_path / "failover.yaml")
    second.describe(addresses(tmp_path / "second"), tmp_path / "failover.yaml")
    assert find(Settings()).state == tmp_path / "first"
    assert find(Settings(), tmp_path / "second").state == tmp_path / "second"
    first.leave()
    second.leave()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where the directory should be is a sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be used"):
        Occupancy.take(tmp_path / "file")


def test_the_token_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    """Made once, readable by nobody else."""
    token = api_token(tmp_path)
    assert api_token(tmp_path) == token and len(token) >= 32
    assert stat.S_IMODE((tmp_path / "api-token").stat().st_mode) == 0o600
