"""Confirmations that were cut off, or have lost files, before their verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import study.creation.extend as extend_module
from dashboards.analysis.confirmation.sentences import sentences
from storage.final_groups import CONTROL, WINNER
from study.confirmation.confirmation import advance, conclude, open_confirmation, read
from study.creation.queue import Point
from study.errors import StudyError
from study.session.session import StudySession
from study.session.winner import choose_winner
from tests.study.confirmation.conftest import work


def judged_predictions(session: StudySession, queued: StudySession) -> Path:
    """Train all runs; return the predictions of the first that judges the winner."""
    work(queued)
    further = advance(session, queued)
    assert further is not None
    work(further)
    judged = next(run for run in read(session).runs if run.role == WINNER)
    assert judged.row.slot is not None
    return further.trial_paths(judged.row.slot).predictions


def test_run_that_lost_its_predictions_before_the_verdict_is_repeated(
    cut_default: StudySession,
) -> None:
    queued = open_confirmation(cut_default)
    predictions = judged_predictions(cut_default, queued)
    before = read(cut_default)
    kept = predictions.read_bytes()
    predictions.unlink()
    again = advance(cut_default, queued)
    assert again is not None
    assert [run.score is None for run in read(cut_default).runs].count(True) == 1
    work(again)
    assert predictions.read_bytes() == kept
    assert [run.score for run in read(cut_default).runs] == [run.score for run in before.runs]
    assert conclude(cut_default, again).verdict is not None
    predictions.unlink()
    assert advance(cut_default, open_confirmation(cut_default)) is None  # it is judged


@pytest.mark.parametrize("damage", ["", "row,class,predicted\n", "no table"])
def test_damaged_predictions_are_named(cut_default: StudySession, damage: str) -> None:
    queued = open_confirmation(cut_default)
    predictions = judged_predictions(cut_default, queued)
    predictions.write_text(damage)
    with pytest.raises(StudyError, match="predictions.csv must hold"):
        conclude(cut_default, queued)


def test_final_run_waits_for_the_verdict(cut_default: StudySession) -> None:
    """As after `study worker --name NAME-confirm`, or a crash between the last run and it."""
    queued = open_confirmation(cut_default)
    judged_predictions(cut_default, queued)
    found = read(cut_default)
    assert found.is_over and found.awaits_verdict and found.recommended is None
    assert sentences(found) == ["not confirmed: all runs are done, `study confirm` judges them"]
    with pytest.raises(StudyError, match="all runs are, but not judged: finish it with"):
        choose_winner(cut_default)
    recommended = conclude(cut_default, queued).recommended
    assert choose_winner(cut_default).number == recommended


def test_second_stage_that_was_queued_in_part_is_completed(
    cut_default: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = open_confirmation(cut_default)
    work(queued)
    fill_queue = extend_module.fill_queue

    def cut_off(study: Any, points: Sequence[Point], *, first_slot: int) -> None:
        fill_queue(study, points[:2], first_slot=first_slot)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extend_module, "fill_queue", cut_off)
        with pytest.raises(KeyboardInterrupt):
            advance(cut_default, queued)
    work(queued)  # a worker takes what there is
    assert not read(cut_default).is_over
    with pytest.raises(StudyError, match="must be over before its final run"):
        choose_winner(cut_default)
    further = advance(cut_default, open_confirmation(cut_default))
    assert further is not None
    work(further)
    assert [run.role for run in read(cut_default).runs[4:]] == [WINNER, CONTROL] * 2
    assert conclude(cut_default, further).verdict is not None
