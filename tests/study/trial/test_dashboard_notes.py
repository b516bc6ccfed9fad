"""What a worker leaves for optuna-dashboard beside the numbers of a trial."""

import logging
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import FrozenTrial
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard.artifact._backend import list_study_artifacts, list_trial_artifacts

import study.trial.dashboard_notes
import study.workers.worker
from dashboards.analysis.baselines import known_baselines
from dashboards.optuna_dashboard.artifacts import RunFiles
from data.image_cache import prepare
from storage.budget import Budget
from storage.leases import read_endings
from study.checks.baselines import learned
from study.configuration.config import StudyConfig
from study.configuration.sections import SearchConfig
from study.creation.create import initialise
from study.creation.extend import extend_budget
from study.final.final_run import open_final, run_final
from study.session.session import StudySession
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.trial.dashboard_notes import describe_space, note_studies_on, note_study
from study.workers.worker import Worker
from tests.study.searches import pretend_to_search
from tests.study.trial.test_faults import fail_in_training
from tests.study.workers.test_worker import DEAD, Killed, Settings, configured, work

FILES = ["configuration.json", "epochs.csv"]


def attributes(session: StudySession) -> dict[str, Any]:
    study_id = session.optuna_study()._study_id
    found: dict[str, Any] = session.storage_handle.get_study_system_attrs(study_id)
    return found


def note(session: StudySession, trial: FrozenTrial | None = None) -> str:
    trial_id = None if trial is None else trial._trial_id
    return str(get_note_from_system_attrs(attributes(session), trial_id)["body"])


def linked(session: StudySession, trial: FrozenTrial) -> list[str]:
    """Return the names of the files of a trial, each of which can be read."""
    links = list_trial_artifacts(attributes(session), trial.system_attrs, trial)
    for link in links:
        with RunFiles(session.config.storage.runs).open_reader(link["artifact_id"]) as file:
            assert file.read(1)
    return sorted(link["filename"] for link in links)


def test_finished_pruned_and_failed_trials_have_each_a_note_and_files(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {
        "budget": {"trials": 6},
        "n_epochs": 4,
        "pruner": "percentile",
        "pruner_percentile": 1.0,
    }
    search |= {"pruner_startup_trials": 1, "pruner_warmup_epochs": 2}
    session = initialise(configured(tiny_settings, search=search))
    fail_in_training(monkeypatch, n_spared=5)
    work(session)
    trials = session.optuna_study().trials
    states = {trial.state.name for trial in trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    for trial in trials:
        said = note(session, trial)
        state = {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())
        assert said.startswith(f"**{state}** after {len(trial.intermediate_values)} of 4 epochs")
        if state == "failed":
            assert linked(session, trial) == []
        else:
            assert f"in epoch {trial.user_attrs['best_epoch']}," in said
            assert linked(session, trial) == FILES
        if "reason" in trial.user_attrs:
            assert trial.user_attrs["reason"]["message"].split()[0] in said
    meta = get_all_artifact_meta(trials[0], storage=session.storage_handle)
    assert sorted(one.filename for one in meta) == FILES


@pytest.mark.parametrize("moment", ["before the note", "after the note", "after the tell"])
def test_trial_whose_worker_dies_at_its_end_has_one_note_and_one_of_each_file(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        place = {
            "before the note": (study.workers.worker, "note_trial"),
            "after the note": (optuna.Study, "tell"),
            "after the tell": (study.workers.worker, "end"),
        }[moment]
        patched.setattr(*place, die)
        with pytest.raises(Killed):
            work(session)
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE attempts SET owner = '{DEAD}'")
    work(session)
    (trial,) = session.optuna_study().trials
    assert trial.state.name == "COMPLETE"
    assert linked(session, trial) == FILES
    assert note(session, trial).count("**complete**") == 1
    assert len([key for key in attributes(session) if key.startswith("dashboard:1:")]) == 2


def test_worker_that_lost_its_trial_writes_no_note(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))
    handle = session.storage_handle
    write = study.trial.dashboard_notes.render_trial_note

    def lose(*given: Any, **options: Any) -> str:
        with handle.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE attempts SET ending = 'lost' WHERE ending IS NULL AND attempt = 1"
            )
        return write(*given, **options)

    monkeypatch.setattr(study.trial.dashboard_notes, "render_trial_note", lose)
    work(session)
    (trial,) = session.optuna_study().trials
    assert read_endings(handle.database, [trial._trial_id]) == {1: ["lost", "complete"]}
    assert linked(session, trial) == FILES


def test_note_that_cannot_be_written_costs_a_warning_and_no_trial(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))

    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(study.trial.dashboard_notes, "render_trial_note", broken)
    with caplog.at_level(logging.WARNING):
        work(session)
    (trial,) = session.optuna_study().trials
    assert trial.state.name == "COMPLETE" and note(session, trial) == ""
    assert "note of trial row 1 could not be written" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_released_trial_has_no_note(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))

    class StopsAfterAnEpoch(StopFlag):
        is_set = property(lambda self: bool(session.optuna_study().trials[0].last_step))

    stop = StopsAfterAnEpoch()
    Worker(session, prepare(session.config.data), stop=stop, announce=lambda *_: None).work()
    (trial,) = session.optuna_study().trials
    assert trial.state.name == "WAITING" and trial.last_step == 1
    assert note(session, trial) == "" and linked(session, trial) == []


def test_study_has_a_note_from_init_on_that_grows(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings))
    config: StudyConfig = session.config
    first = note(session)
    assert session.protocol.fingerprint in first and "budget: 3 trials of 3 epochs" in first
    assert "learning rate 0.001 to 1 (logarithmic)" in first and "blocks 1 to 2" in first
    assert "sqlite:" not in first
    larger = extend_budget(session, Budget("trials", 2))
    assert "budget: 5 trials" in note(larger)
    prepared = prepare(config.data)
    learned(prepared, config.storage.runs, announce=lambda _: None)
    assert "logistic" not in note(session)
    note_studies_on(prepared.fingerprint, config.storage)
    for name in known_baselines(session.protocol, config.storage.runs):
        assert name in note(session)
    assert list_study_artifacts(attributes(session)) == []
    session.paths.heat_map.write_bytes(b"a picture")
    for _ in range(2):
        note_study(session)
        (link,) = list_study_artifacts(attributes(session))
        assert (link["filename"], link["mimetype"]) == ("heat_map.png", "image/png")
    note_studies_on("other data", config.storage)
    elsewhere = config.storage.model_copy(update={"url": "sqlite:///nowhere/study.db"})
    note_studies_on(prepared.fingerprint, elsewhere)


def test_damaged_record_costs_the_study_its_note_and_a_line_that_names_it(
    tiny_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    session = initialise(configured(tiny_settings))
    before = note(session)
    record = session.paths.range_test.record
    record.parent.mkdir(parents=True)
    record.write_text("{")
    with caplog.at_level(logging.WARNING):
        note_study(session)
    (told,) = caplog.records
    assert str(record) in told.getMessage() and "remove it" in told.getMessage()
    assert told.exc_info is None
    assert note(session) == before


def test_shown_space_names_what_varies_with_its_range() -> None:
    search = SearchConfig(space="lr-wd")
    assert describe_space(search) == [
        "learning rate 0.001 to 1 (logarithmic)",
        "weight decay 1e-06 to 0.01 (logarithmic)",
    ]
    given = SearchConfig(space="given", points=({}, {}), budget={"trials": 2})
    assert describe_space(given) == ["2 given points"]
    assert describe_space(SearchConfig(space="fixed", budget={"trials": 1})) == []


def test_final_run_has_its_test_in_its_note_and_each_file_once(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))
    pretend_to_search(session)
    final = open_final(session, choose_winner(session), reopen=None)
    prepared = prepare(final.config.data)
    for _ in range(2):
        result = run_final(final, prepared, stop=StopFlag(), announce=lambda *_: None)
        assert result is not None
        (run,) = final.optuna_study().trials
        assert f"Test macro-F1 **{result.metrics['test']['macro_f1']:.4f}**" in note(final, run)
        tested = ["confusion_matrix.csv", "confusion_matrix.png", "metrics.json", "per_class.csv"]
        assert linked(final, run) == sorted([*FILES, *tested, "mistakes.png"])
    assert "budget: 1 trial of 4 epochs" in note(final)
