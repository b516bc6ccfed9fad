import csv
import json
import threading
import time
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dashboards.analysis.confusion import load_confusion_csv
from dashboards.figures.mistakes import load_mistakes
from data.image_cache import prepare
from model.configuration import EvaluationConfig
from storage.checkpoints import load_checkpoint, save_checkpoint
from storage.leases import acquire, end
from storage.process_identity import Owner
from storage.records import (
    study_names,
)
from storage.test_evaluations import (
    read_tests,
)
from storage.trial_rows import TrialRow, read_trials
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.creation.extend import extend
from study.creation.queue import SAMPLED
from study.errors import ProtocolError, StudyError
from study.final.evaluate import evaluate_checkpoint, reject_untrained_data
from study.final.final_run import final_config, open_final, run_final
from study.final.test_evaluation import FinalResult
from study.session.session import StudySession, open_session
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.trial.saved_weights import trained_configuration
from study.workers.worker import Worker
from tests.study.conftest import Call
from tests.study.searches import MODERN, configured
from tests.study.trial.test_faults import fail_in_training

Settings = dict[str, object]


@pytest.fixture
def searched(tiny_settings: Settings) -> StudySession:
    session = initialise(validated(deepcopy(tiny_settings)))
    search(session)
    return session


def search(session: StudySession) -> None:
    Worker(session, prepare(session.config.data), stop=StopFlag(), announce=lambda *_: None).work()


def finish(session: StudySession, winner: TrialRow, *, reopen: str | None = None) -> FinalResult:
    final = open_final(session, winner, reopen=reopen)
    result = run_final(final, final.prepare_data(), stop=StopFlag(), announce=lambda *_: None)
    assert result is not None
    return result


def test_winner_is_the_earliest_of_the_best_complete_trials(searched: StudySession) -> None:
    trials = searched.optuna_study().trials
    winner = choose_winner(searched)
    assert winner.value == max(trial.value for trial in trials if trial.value is not None)
    assert winner.number == min(t.number for t in trials if t.value == winner.value)


def test_winner_of_an_unfinished_study_is_rejected(tiny_settings: Settings) -> None:
    session = initialise(validated(deepcopy(tiny_settings)))
    with pytest.raises(StudyError, match="3 of 3 trials are not"):
        choose_winner(session)


def test_winner_is_not_chosen_while_the_budget_lets_trials_begin(tiny_settings: Settings) -> None:
    settings = deepcopy(tiny_settings)
    settings["search"]["budget"] = {"epochs": 9}  # type: ignore[index]
    session = initialise(validated(settings))
    (trial,) = session.optuna_study().trials
    handle = session.storage_handle
    handle.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    handle.set_trial_user_attr(trial._trial_id, "best_epoch", 1)
    handle.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, (0.5,))
    with pytest.raises(StudyError, match="0 of 9 epochs are spent: finish it with `study run"):
        choose_winner(session)


def test_gpu_that_is_not_there_is_rejected_before_a_final_run_is_queued(
    searched: StudySession, call: Call
) -> None:
    place = searched.config.storage
    where = ["--storage", place.url, "--runs", str(place.runs)]
    rejected = call("final", *where, "--device", "cuda:99")
    assert rejected.code == 2 and rejected.out == ""
    assert rejected.err.startswith("study: execution.device must exist on this machine")
    assert study_names(searched.storage_handle.database) == ["tiny"]


def test_final_run_is_longer_larger_and_tested_once(
    searched: StudySession, tmp_path: Path, n_opened: Counter[str]
) -> None:
    winner = choose_winner(searched)
    result = finish(searched, winner)
    assert (n_opened["test"], n_opened["confirmation"]) == (1, 0)
    confirmation = prepare(searched.config.data).confirmation()
    assert confirmation is not None and n_opened["confirmation"] == 1
    assert result.paths.folder == tmp_path / "runs" / "tiny" / "final"
    metrics = json.loads(result.paths.metrics.read_text())
    names = {"loss", "accuracy", "top5_accuracy", "macro_f1"}
    assert metrics["validation"].keys() == metrics["test"].keys() == names
    assert metrics["n_test_evaluations"] == 1
    assert len(result.paths.epochs.read_text().splitlines()) == 1 + 4
    configuration = json.loads(result.paths.configuration.read_text())
    assert configuration["data"]["image_size"] == 12
    assert (
        configuration["optimization"]["learning_rate"]
        == winner.params["optimization.learning_rate"]
    )
    confusion = result.paths.confusion_csv.read_text().splitlines()
    n_images = sum(int(count) for line in confusion[1:] for count in line.split(",")[1:])
    assert n_images == metrics["n_test_images"] == 7
    assert len(result.paths.per_class.read_text().splitlines()) == 1 + 3
    assert result.paths.confusion_picture.read_bytes().startswith(b"\x89PNG")
    (row,) = read_tests(searched.storage_handle.database, "tiny")
    assert row.metrics == metrics["test"]

    assert 0 < metrics["test_macro_f1_standard_error"] < 0.5
    again = finish(searched, winner)
    assert again.was_done and again.metrics == metrics
    assert len(read_tests(searched.storage_handle.database, "tiny")) == 1

    files = [file for file in result.paths.folder.iterdir() if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    result.paths.metrics.unlink()  # as when the test was cut off before its end
    assert not finish(searched, winner).was_done
    assert {file: file.read_bytes() for file in files} == before
    check_mistakes(searched, result)
    check_predictions(searched, result)


def check_predictions(searched: StudySession, result: FinalResult) -> None:
    """Each test image has a row, and together they give the metrics."""
    examples = prepare(final_config(searched.config).data).test()
    confusion, names = load_confusion_csv(result.paths.confusion_csv)
    with result.paths.predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [name for place in (1, 2, 3) for name in (f"class_{place}", f"probability_{place}")]
    assert list(rows[0]) == ["row", "class", "predicted", *places]
    assert [int(row["row"]) for row in rows] == list(range(len(examples.labels_N)))
    assert [names.index(row["class"]) for row in rows] == examples.labels_N.tolist()
    counted = Counter((row["class"], row["predicted"]) for row in rows)
    for true, predicted in np.ndindex(confusion.shape):
        assert counted[names[true], names[predicted]] == confusion[true, predicted]
    for row in rows:
        probabilities = [float(row[f"probability_{place}"]) for place in (1, 2, 3)]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-6)
        assert row["predicted"] == row["class_1"]
        assert {row[f"class_{place}"] for place in (1, 2, 3)} == set(names)


def check_mistakes(searched: StudySession, result: FinalResult) -> None:
    """The mistakes that were kept are those of the matrix, and TensorBoard shows them once."""
    prepared = prepare(final_config(searched.config).data)
    examples, file_names = prepared.test(), prepared.test_names()
    mistakes = load_mistakes(result.paths.mistakes)
    assert result.paths.mistakes_picture.is_file() == bool(mistakes)
    for mistake in mistakes:
        assert np.array_equal(mistake.picture, examples.images_NHWC[mistake.index])
        assert mistake.file == file_names[mistake.index]
    probabilities = [mistake.probability for mistake in mistakes]
    assert probabilities == sorted(probabilities, reverse=True)
    confusion, names = load_confusion_csv(result.paths.confusion_csv)
    wrong = Counter((one.true_class, one.predicted_class) for one in mistakes)
    for row, column in np.argwhere(confusion > 0):
        if row != column:
            assert wrong.pop((names[row], names[column])) == confusion[row, column]
    assert not wrong
    events = EventAccumulator(str(result.paths.tensorboard)).Reload()
    assert len(events.Images("test/confusion_matrix")) == 1
    assert len(events.Images("test/mistakes")) == bool(mistakes)
    (point,) = events.Scalars("hparam/test/accuracy")
    assert point.value == pytest.approx(result.metrics["test"]["accuracy"])
    assert len(events.Scalars("hparam/best/macro_f1")) == 1


def test_search_opens_neither_test_nor_confirmation_images(tiny_settings: Settings) -> None:
    session = initialise(validated(deepcopy(tiny_settings)))
    folder = prepare(session.config.data).folder
    sealed = [*folder.glob("test*"), *folder.glob("confirmation*")]
    assert len(sealed) == 3 + 2  # pixels and labels of both, names of test images
    for file in sealed:
        file.unlink()
    search(session)
    assert choose_winner(session).value > 0


def test_another_winner_needs_a_reason_and_is_kept_beside_the_first(
    searched: StudySession, tmp_path: Path
) -> None:
    first = choose_winner(searched)
    finish(searched, first)
    search(extend(searched, [SAMPLED]))
    rows = read_trials(searched.storage_handle, "tiny")
    other = next(row for row in rows if row.number != first.number)
    with pytest.raises(ProtocolError, match="--reopen REASON"):
        finish(searched, other)
    result = finish(searched, other, reopen="a better trial came")
    assert result.paths.folder == tmp_path / "runs" / "tiny" / "final-2"
    rows = read_tests(searched.storage_handle.database, "tiny")
    assert [row.searched_trial for row in rows] == [first.number, other.number]
    assert rows[1].reason == "a better trial came"
    assert result.metrics["n_test_evaluations"] == 2


def test_final_run_of_a_fixed_study_needs_no_search(tiny_settings: Settings) -> None:
    values = deepcopy(tiny_settings)
    values["search"] = {"space": "fixed", "budget": {"trials": 1}, "n_epochs": 1, "pruner": "none"}
    session = initialise(validated(values))
    search(session)
    assert finish(session, choose_winner(session)).metrics["test"]["accuracy"] >= 0


def test_evaluate_checkpoint_agrees_with_the_recorded_epoch(searched: StudySession) -> None:
    winner = choose_winner(searched)
    saved = load_checkpoint(searched.trial_paths(winner.number).best)
    validation = searched.prepare_data().validation()
    found = evaluate_checkpoint(saved, validation, execution=searched.config.execution)
    assert found.metrics.macro_f1 == pytest.approx(winner.value)


def test_evaluate_checkpoint_of_a_modern_run_evaluates_as_the_run_did(
    tiny_settings: Settings,
) -> None:
    values = deepcopy(tiny_settings) | MODERN
    values["search"] |= {"budget": {"trials": 1}, "n_epochs": 4}  # type: ignore[operator]
    session = initialise(validated(values))
    search(session)
    best = choose_winner(session)
    validation = session.prepare_data().validation()
    paths = session.trial_paths(best.number)
    (last,) = paths.checkpoints.glob("epoch-*.pt")
    for file, macro_f1 in ((paths.best, best.value), (last, best.last_macro_f1)):
        found = evaluate_checkpoint(
            load_checkpoint(file), validation, execution=session.config.execution
        )
        assert found.metrics.macro_f1 == pytest.approx(macro_f1)
    plain = evaluate_checkpoint(
        load_checkpoint(paths.best),
        validation,
        execution=session.config.execution,
        evaluation=EvaluationConfig(),
    )
    assert plain.metrics.loss != found.metrics.loss
    assert finish(session, best).metrics["flip_average"] is True


def test_final_study_stays_out_of_the_list_of_names(searched: StudySession) -> None:
    finish(searched, choose_winner(searched))
    place = searched.config.storage
    request = Request(options={"storage.url": place.url, "storage.runs": str(place.runs)})
    assert open_session(request).protocol.study_name == "tiny"


def test_failed_final_run_is_followed_by_another_without_a_reason(
    searched: StudySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = choose_winner(searched)
    with monkeypatch.context() as patched:
        fail_in_training(patched)
        with pytest.raises(StudyError, match="queues another"):
            finish(searched, winner)
    result = finish(searched, winner)
    assert result.paths.folder == tmp_path / "runs" / "tiny" / "final-2"
    assert result.metrics["n_test_evaluations"] == 1


def test_final_run_of_another_length_than_queued_is_rejected(searched: StudySession) -> None:
    winner = choose_winner(searched)
    open_final(searched, winner, reopen=None)
    longer = searched.config.final.model_copy(update={"n_epochs": 9})
    changed = replace(searched, config=searched.config.model_copy(update={"final": longer}))
    with pytest.raises(ProtocolError, match="stays as it was queued.*n_epochs is 4 there, 9"):
        open_final(changed, winner, reopen=None)


def test_weights_of_another_epoch_are_never_tested(searched: StudySession) -> None:
    winner = choose_winner(searched)
    final = open_final(searched, winner, reopen=None)
    search(final)
    saved = load_checkpoint(final.trial_paths(0).best)
    save_checkpoint(final.trial_paths(0).best, saved | {"epoch": saved["epoch"] + 1})
    with pytest.raises(StudyError, match="must hold the best epoch"):
        finish(searched, winner)
    assert read_tests(searched.storage_handle.database, "tiny") == []


@pytest.mark.slow
def test_final_run_under_test_elsewhere_is_waited_for(searched: StudySession) -> None:
    winner = choose_winner(searched)
    final = open_final(searched, winner, reopen=None)
    search(final)
    elsewhere = replace(Owner.current(), host="a-container")
    database = final.storage_handle.database
    lease = acquire(database, final.optuna_study().trials[0]._trial_id, elsewhere)
    assert lease is not None
    start = time.monotonic()
    ending = threading.Timer(1.5, lambda: end(database, lease, "tested"))
    ending.start()
    assert not finish(searched, winner).was_done
    assert time.monotonic() - start > 1.5
    ending.join()


def test_weights_saved_before_a_setting_are_not_evaluated() -> None:
    stored = validated({}).model_dump(mode="json")
    path = Path("best.pt")
    assert trained_configuration({"configuration": json.dumps(stored)}, path) == stored
    del stored["network"]["activation"]
    with pytest.raises(StudyError, match="best.pt was saved before there was network.activation"):
        trained_configuration({"configuration": json.dumps(stored)}, path)


def test_weights_are_not_evaluated_on_other_data(searched: StudySession) -> None:
    winner = choose_winner(searched)
    path = searched.trial_paths(winner.number).best
    saved, prepared = load_checkpoint(path), searched.prepare_data()
    reject_untrained_data(saved, prepared, path)
    larger = searched.config.data.model_copy(update={"image_size": 12})
    with pytest.raises(StudyError, match="--data must be the data of"):
        reject_untrained_data(saved, prepare(larger), path)


def test_study_of_four_stages_with_the_stem_of_resnet_is_searched_and_tested(
    tiny_settings: Settings,
) -> None:
    stages = {"network.widths": [4, 4, 8, 8], "network.blocks": [1, 1, 1, 1]}
    stem = {"network.stem": {"stride": 2, "pool": True}}
    session = initialise(configured(tiny_settings, stages | stem | {"search.budget.trials": 1}))
    search(session)
    winner = choose_winner(session)
    assert [name for name in winner.params if "blocks" in name] == [
        f"network.blocks.{stage}" for stage in (1, 2, 3, 4)
    ]
    saved = load_checkpoint(session.trial_paths(winner.number).best)
    assert saved["network"]["stem.0.weight"].shape == (4, 3, 7, 7)
    assert len({name.split(".")[1] for name in saved["network"] if "stages" in name}) == 4
    assert finish(session, winner).metrics["test"]["macro_f1"] >= 0


def test_weights_saved_before_the_stem_had_settings_are_evaluated_as_before(
    searched: StudySession,
) -> None:
    path = searched.trial_paths(choose_winner(searched).number).best
    saved = load_checkpoint(path)
    configuration = json.loads(saved["configuration"])
    del configuration["network"]["stem"]
    older = saved | {"configuration": json.dumps(configuration)}
    examples, execution = prepare(searched.config.data).validation(), searched.config.execution
    assert trained_configuration(older, path)["network"]["stem"] == {"stride": 1, "pool": False}
    found, expected = (
        evaluate_checkpoint(one, examples, execution=execution).metrics for one in (older, saved)
    )
    assert found == expected
