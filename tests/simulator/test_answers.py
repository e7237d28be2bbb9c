"""What simulated models say."""

import pytest

from simulator.answers import nonsense, pieces_of, reply_with, sensible


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Reply with only the word pong", "pong"),
        ("REPLY WITH ONLY THE WORD 'Ready'.", "Ready"),
        ('Please reply with only the word "blue-green".', "blue-green"),
        ("What is 17 + 4? Answer with the number only.", "21"),
        ("what is 7-9?", "-2"),
        ("What is 6 * 7?", "42"),
    ],
)
def test_probe_questions_are_answered_exactly(prompt: str, answer: str) -> None:
    """A healthy model does what a probe asks of it, and not a word more."""
    assert sensible("bedrock", prompt) == answer


def test_other_questions_get_a_sentence_that_echoes_little() -> None:
    """The sentence names the provider and holds at most the first 40 characters of the prompt."""
    prompt = "Summarise this: " + "x" * 20 + "SECRET-THAT-MUST-NOT-COME-BACK"
    answer = sensible("google", prompt)
    assert "google" in answer
    assert prompt[:40] in answer
    assert prompt[:41] not in answer
    assert answer == sensible("google", prompt)


def test_nonsense_answers_no_question() -> None:
    """A wrong answer holds no number and changes from call to call."""
    assert not any(character.isdigit() for number in range(3) for character in nonsense(number))
    assert nonsense(1) != nonsense(2)


@pytest.mark.parametrize("text", ["", "7", "pong", "two words", "a sentence of quite a few words, really."])
def test_pieces_join_to_the_whole(text: str) -> None:
    """Nothing is lost in a stream, and it has four pieces wherever the text has four characters."""
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    assert len(pieces) >= min(4, len(text))
    assert all(pieces)


def test_a_reply_is_cut_at_its_maximum() -> None:
    """Four characters are a token; without a maximum nothing is cut."""
    cut = reply_with("twelve chars", prompt="ask", max_tokens=2)
    assert (cut.text, cut.cut_short, cut.output_tokens, cut.total_tokens) == ("twelve c", True, 2, 3)
    assert not reply_with("twelve chars", prompt="ask", max_tokens=None).cut_short
