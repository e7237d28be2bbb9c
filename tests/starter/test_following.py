"""How a run ended, by whoever tells."""

import pytest

from starter.runs.following import Closed


@pytest.mark.parametrize(
    ("reason", "said", "command"),
    [
        ("It is down. Run: failoverctl restore chat --yes", "It is down.", "failoverctl restore chat --yes"),
        ("A note: Run: fast. Run: failoverctl doctor", "A note: Run: fast.", "failoverctl doctor"),
        ("It is down. Run: None", "It is down. Run: None", ""),
        ("It broke.", "It broke.", ""),
    ],
)
def test_what_a_run_left_to_people_is_the_end_of_its_message(reason: str, said: str, command: str) -> None:
    """And where there is none, nothing is made up that somebody would type."""
    closed = Closed(workflow_id="failover/bedrock", outcome="NEEDS_HUMAN", reason=reason)
    assert (closed.said, closed.command) == (said, command)
