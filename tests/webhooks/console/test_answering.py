"""The answer in the console's words: as loud as the terminal's, and with all that it holds."""

import pytest

from failover.answer import Answer, Case, Word
from failover.troubles import Need, Waiting
from starter.console.answering import worded

LOUD = {
    Word.ACT: {"act"},
    Word.UNKNOWN: {"unknown"},
    Word.WORKING: {"affected", "handled"},
    Word.HANDLED: {"handled"},
    Word.WELL: {"well"},
}


@pytest.mark.parametrize("case", [one for one in Case if one is not Case.WAITING])
def test_it_is_as_loud_as_the_terminal(case: Case) -> None:
    """And has the same command, except where a button stands for it."""
    found = Answer(case=case, why="why", do="failoverctl doctor", run="failover/bedrock")
    said = worded(found)
    assert said.level in LOUD[found.word]
    assert (said.command or "a button") == ("a button" if said.start else found.do)
    assert said.headline.startswith("failover/bedrock") == (case is Case.LEFT)


@pytest.mark.parametrize("need", [*Need])
def test_who_waits_is_asked_for_by_a_button(need: Need) -> None:
    """The headline says of what kind it is."""
    waits = Waiting(need=need, what="approval of step-1", text="go on?")
    found = Answer(case=Case.WAITING, why="why", do="failoverctl watch canary/chat", run="canary/chat", waits=waits)
    said = worded(found)
    assert (said.level, said.command, said.start) == ("act", "", False)
    assert said.headline and said.todo
