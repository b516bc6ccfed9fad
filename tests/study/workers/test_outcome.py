import pytest
from optuna.trial import TrialState

from study.workers.outcome import JUDGED_SCORE, Outcome

LINES = [
    (Outcome(TrialState.COMPLETE, "complete", 0.5), "complete: best validation macro-F1 0.5000"),
    (
        Outcome(TrialState.COMPLETE, "complete", 0.5, measure=JUDGED_SCORE),
        "complete: macro-F1 after the last epoch 0.5000",
    ),
    (Outcome(TrialState.PRUNED, "pruned", message="after epoch 3"), "pruned: after epoch 3"),
    (Outcome(TrialState.WAITING, "preempted"), "released, preempted"),
    (
        Outcome(TrialState.WAITING, "out of memory", message="4 GiB"),
        "released, out of memory: 4 GiB",
    ),
]


@pytest.mark.parametrize(("outcome", "line"), LINES, ids=[line for _, line in LINES])
def test_line_of_the_log_says_how_an_attempt_ended(outcome: Outcome, line: str) -> None:
    assert outcome.line == line
