"""Confirmations of searches that really were trained, in seconds."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from dashboards.analysis.confirmation.reading import CANDIDATE, Confirmation, read_confirmation
from dashboards.analysis.confirmation.sentences import headline, sentences
from data.image_cache import PreparedData
from model.macro_f1_influence import macro_f1
from storage.final_groups import CONTROL, WINNER
from storage.optuna_rows import SLOT
from storage.trial_rows import read_trials
from study.configuration.config import validated
from study.confirmation.confirmation import advance, conclude, open_confirmation, read
from study.creation.create import initialise
from study.creation.extend import extend
from study.creation.queue import SAMPLED
from study.errors import ProtocolError, StudyError
from study.session.session import StudySession
from study.session.winner import choose_winner, read_best, why_chosen
from study.trial.predictions import load_predictions
from tests.study.confirmation.conftest import CURVES, PLAN, Settings, work
from tests.study.searches import configured, pretend_to_search
from tests.study.trial.test_faults import fail_in_training


def confirm(session: StudySession) -> Confirmation:
    queued: StudySession | None = open_confirmation(session)
    while queued is not None:
        last = queued
        work(last)
        queued = advance(session, last)
    return conclude(session, last)


def test_confirmation_trains_both_stages_and_says_what_it_found(searched: StudySession) -> None:
    found = confirm(searched)
    judging = [CONTROL] * 2 if found.is_control_the_winner else [WINNER, CONTROL] * 2
    assert [run.role for run in found.runs] == [CANDIDATE] * 4 + judging
    assert found.is_over and found.is_on_own_images
    assert {one.number for one in found.candidates} == {0, 1}
    assert {one.search_score for one in found.candidates} == {0.5, 0.9}
    name = searched.protocol.study_name + "-confirm"
    seeds = [run.row.attributes["seed"] for run in found.runs]
    trials = read_trials(searched.storage_handle, name)
    assert len(set(seeds)) == len(seeds) == len(trials)
    assert found == read(searched)
    assert headline(found) == sentences(found)[0]
    winner = choose_winner(searched)
    assert winner.number == found.recommended
    assert why_chosen(searched, winner) == headline(found)


def test_first_stage_counts_the_last_epoch_on_the_search_images_second_its_own_images(
    searched: StudySession,
) -> None:
    found = confirm(searched)
    queued = open_confirmation(searched)
    prepared = queued.prepare_data()
    own = prepared.confirmation()
    assert own is not None and found.n_images == len(own.labels_N)
    for run in found.runs:
        assert run.row.slot is not None
        predictions = queued.trial_paths(run.row.slot).predictions
        if run.role == CANDIDATE:
            assert run.score == run.row.last_macro_f1
            assert not predictions.exists()
        else:
            labels_N, predicted_N = load_predictions(predictions, prepared.class_names)
            assert labels_N.tolist() == own.labels_N.tolist()
            assert run.score == pytest.approx(macro_f1(labels_N, predicted_N))


def test_asking_again_changes_nothing(searched: StudySession) -> None:
    found = confirm(searched)
    assert confirm(searched) == found
    assert advance(searched, open_confirmation(searched)) is None


def test_second_stage_is_queued_once_by_whoever_asks(searched: StudySession) -> None:
    queued = open_confirmation(searched)
    assert advance(searched, queued) is None  # nothing is over yet
    work(queued)
    first = advance(searched, queued)
    assert first is not None
    again = advance(searched, queued)  # as another process that has not seen it
    assert again is not None and again.protocol.budget == first.protocol.budget
    trials = read_trials(searched.storage_handle, queued.protocol.study_name)
    assert [row.slot for row in trials] == list(range(first.protocol.budget))


def test_only_runs_of_the_second_stage_open_the_confirmation_images(
    searched: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_really = PreparedData.confirmation

    def counting(self: PreparedData) -> Any:
        opened.append("confirmation")
        return open_really(self)

    def never(self: PreparedData) -> Any:
        raise AssertionError("the test split was opened")

    monkeypatch.setattr(PreparedData, "confirmation", counting)
    monkeypatch.setattr(PreparedData, "test", never)
    queued = open_confirmation(searched)
    work(queued)
    assert opened == []
    further = advance(searched, queued)
    assert further is not None
    work(further)
    n_judging = sum(run.role != CANDIDATE for run in read(searched).runs)
    assert len(opened) == n_judging
    conclude(searched, further)
    assert len(opened) == n_judging


def test_study_without_confirmation_images_is_judged_on_the_search_images_and_says_so(
    tiny_settings: Settings,
) -> None:
    session = initialise(configured(tiny_settings, {**PLAN, "data.confirm_fraction": 0.0}))
    pretend_to_search(session, CURVES)
    found = confirm(session)
    assert not found.is_on_own_images
    assert found.n_images == session.protocol.facts["n_examples"]["validation"]
    assert "caution: these images chose the winner too" in sentences(found)[-1]


def test_control_is_judged_though_no_candidate_and_though_it_was_pruned(
    cut_default: StudySession,
) -> None:
    found = confirm(cut_default)
    assert {one.number for one in found.candidates} == {1, 2}
    assert found.control == 0 and len(found.control_scores) == 2
    assert found.verdict is not None and len(found.winner_scores) == 2
    expected = found.winner.number if found.verdict.is_better else 0  # type: ignore[union-attr]
    assert found.recommended == expected == choose_winner(cut_default).number


def test_winner_without_confirmation_is_said_to_be_unconfirmed(searched: StudySession) -> None:
    winner = choose_winner(searched)
    assert winner.number == 1
    assert "it is not confirmed" in why_chosen(searched, winner)
    assert read_confirmation(searched.storage_handle, "tiny") is None


def test_trial_that_was_found_after_the_confirmation_is_named(searched: StudySession) -> None:
    found = confirm(searched)
    assert "caution" not in why_chosen(searched, choose_winner(searched))
    longer = extend(searched, [SAMPLED])
    pretend_to_search(longer, [[0.3, 0.6, 0.95]])
    winner = choose_winner(longer)
    assert winner.number == found.recommended
    assert "caution: trial 3, 0.9500 in the search" in why_chosen(longer, winner)


def test_final_run_waits_for_the_end_of_a_confirmation(searched: StudySession) -> None:
    open_confirmation(searched)
    with pytest.raises(StudyError, match=r"0 of 4 runs are: finish it with .*study confirm"):
        choose_winner(searched)


def test_candidates_that_all_fail_end_in_one_line_and_the_best_trial_stays_the_winner(
    searched: StudySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = open_confirmation(searched)
    fail_in_training(monkeypatch)
    work(queued)
    assert advance(searched, queued) is None
    with pytest.raises(StudyError, match="each of 2 has one"):
        conclude(searched, queued)
    assert choose_winner(searched).number == 1
    assert "not confirmed" in headline(read(searched))


def test_no_run_of_a_confirmation_is_its_best(searched: StudySession) -> None:
    queued = open_confirmation(searched)
    with pytest.raises(StudyError, match="judged by different images: .*best --name tiny"):
        read_best(queued)


def test_race_is_decided_when_the_confirmation_is_queued(searched: StudySession) -> None:
    open_confirmation(searched)
    with pytest.raises(ProtocolError, match="--race must be given when a confirmation is queued"):
        open_confirmation(searched, race=True)


def test_race_stays_a_race_without_the_option(searched: StudySession) -> None:
    queued = open_confirmation(searched, race=True)
    assert queued.config.confirm.race
    assert open_confirmation(searched).config.confirm.race


def test_search_without_a_complete_trial_has_nothing_to_confirm(tiny_settings: Settings) -> None:
    session = initialise(validated(deepcopy(tiny_settings)))
    pretend_to_search(session, [[], [], []])
    with pytest.raises(StudyError, match="must have a complete trial before its confirmation"):
        open_confirmation(session)


def test_confirmation_repeats_bit_for_bit(tiny_settings: Settings, tmp_path: Any) -> None:
    found = []
    for place in ("one", "two"):
        settings = deepcopy(tiny_settings)
        settings["storage"] |= {
            "url": f"sqlite:///{tmp_path}/{place}.db",
            "runs": str(tmp_path / place),
        }
        session = initialise(configured(settings, PLAN))
        pretend_to_search(session, CURVES)
        found.append(confirm(session))
    scores = [[(run.role, run.searched_trial, run.score) for run in one.runs] for one in found]
    assert scores[0] == scores[1]
    assert found[0].verdict == found[1].verdict


def test_slots_hold_their_places(searched: StudySession) -> None:
    queued = open_confirmation(searched)
    trials = queued.optuna_study().get_trials(deepcopy=False)
    assert [trial.user_attrs[SLOT] for trial in trials] == [0, 1, 2, 3]
    assert replace(queued, is_final=False).trial_paths(2).folder.parent.name == "confirmation"
