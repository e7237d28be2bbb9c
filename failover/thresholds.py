"""A plain success threshold on a sample of known size, as `--success-threshold 95%` means it."""

from failover.accuracy import Score
from failover.gates import Judgement


def reaches(score: Score, threshold_percent: float) -> tuple[Judgement, str]:
    """A plain success threshold: passed by the share itself, at full size. A sample cut short passes nothing."""
    told = f"{score.passed} of {score.asked} right, threshold {threshold_percent:g} %"
    if 100 * (score.passed + score.asked - score.answered) < threshold_percent * score.asked:
        return Judgement.FAIL, told
    if not score.complete:
        return Judgement.INCONCLUSIVE, f"{told}; {score.asked - score.answered} were not answered"
    return Judgement.PASS, told
