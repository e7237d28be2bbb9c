"""What steps may be asked for."""

import pytest

from failover.steps import why_not_percents, why_not_phases


@pytest.mark.parametrize(
    ("percents", "said"),
    [
        ([10, 25, 50, 75, 100], None),
        ([0.5], None),
        ([], "there is no step"),
        ([0, 50], "[0, 50] must lie above 0 and up to 100"),
        ([50, 101], "up to 100"),
        ([-5], "above 0"),
        ([50, 25], "[50, 25] must rise"),
        ([50, 50], "must rise"),
    ],
)
def test_percents_rise_from_above_nothing_to_all_at_most(percents: list[float], said: str | None) -> None:
    """Of a canary and of a failback, by request and by configuration."""
    why = why_not_percents(percents)
    assert why is None if said is None else why is not None and said in why


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ([[50, 30, 20], [25, 50, 25], [0, 70, 30]], None),
        ([[0, 100]], None),
        ([[33.4, 33.3, 33.3]], None),
        ([], "there is no phase"),
        ([[]], "and nobody else"),
        ([[40, 30, 20, 10]], "[40, 30, 20, 10] must name failed provider, secondary and tertiary"),
        ([[50, 30, 10]], "[50, 30, 10] sums to 90 %, not to 100 %"),
        ([[25, 50, 25], [50, 30, 20]], "the failed provider's [25, 50] must fall"),
        ([[50, 30, 20], [50, 20, 30]], "must fall"),
    ],
)
def test_phases_are_whole_and_fall(phases: list[list[float]], said: str | None) -> None:
    """Each divides all of the traffic, and takes more from the failed provider than the one before."""
    why = why_not_phases(phases)
    assert why is None if said is None else why is not None and said in why
