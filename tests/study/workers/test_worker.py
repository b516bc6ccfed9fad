import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.image_cache import prepare
from model.errors import DeviceUnavailableError
from model.training import EpochResult
from storage.checkpoints import load_checkpoint
from storage.errors import StorageError
from storage.leases import acquire, held_leases, read_endings
from storage.process_identity import Owner
from storage.records import read_epochs
from storage.trial_rows import read_trials
from study.configuration.config import StudyConfig, validated
from study.creation.create import initialise
from study.errors import StudyError
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.study.searches import MODERN
from tests.tools.run_hash import run_sha256, weights_sha256

Settings = dict[str, object]


DEAD = replace(Owner.current(), pid=2**22 + 1, started="1")


class Killed(BaseException):
    """Ends a process as SIGKILL would."""


class StopAfter(StopFlag):
    """A stop that comes after so many looks."""

    def __init__(self, n_looks: int) -> None:
        super().__init__()
        self._n_looks = n_looks

    @property
    def is_set(self) -> bool:
        self._n_looks -= 1
        return self._n_looks < 0


def configured(settings: Settings, **changes: dict[str, object]) -> StudyConfig:
    values = deepcopy(settings)
    for section, change in changes.items():
        values[section] = {**values.get(section, {}), **change}  # type: ignore[dict-item]
    return validated(values)


def work(session: StudySession, stop: StopFlag | None = None) -> list[str]:
    said: list[str] = []
    Worker(
        session,
        prepare(session.config.data),
        stop=stop or StopFlag(),
        announce=lambda number, result: said.append(f"{number}:{result.epoch}"),
    ).work()
    return said


def test_worker_finishes_the_budget_and_leaves_a_whole_record(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings))
    assert not session.has_begun()
    assert len(work(session)) == 9
    assert session.has_begun()
    assert held_leases(session.storage_handle.database) == {}
    for trial in session.optuna_study().trials:
        assert trial.state == TrialState.COMPLETE
        assert trial.value == max(trial.intermediate_values.values())
        assert trial.user_attrs["best_epoch"] == max(
            trial.intermediate_values, key=lambda e: (trial.intermediate_values[e], -e)
        )
        assert {
            "seed",
            "host",
            "device",
            "versions",
            "git_revision",
            "source_digest",
        } <= trial.user_attrs.keys()
        execution = trial.user_attrs["execution"]
        assert execution["precision"] == "float32" and execution["threads"] == 1
        assert execution["device_model"] and execution["cpu_instructions"]
        assert trial.user_attrs["last_weights"]["epoch"] == 3
        records = read_epochs(session.storage_handle.database, [trial._trial_id])
        assert {
            record.epoch: record.validation_macro_f1 for record in records[trial._trial_id]
        } == trial.intermediate_values
        paths = session.trial_paths(trial.number)
        assert paths.configuration.is_file() and paths.best.is_file()
        assert len(paths.epochs.read_text().splitlines()) == 4
        assert len(list(paths.tensorboard.iterdir())) == 1
        assert len(list(paths.checkpoints.iterdir())) == 1
    endings = read_endings(session.storage_handle.database, [1, 2, 3])
    assert endings == {trial_id: ["complete"] for trial_id in (1, 2, 3)}
    assert work(session) == []


def test_two_studies_with_one_seed_give_bit_equal_weights(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    hashes = []
    for copy in ("one", "two"):
        place = {"url": f"sqlite:///{tmp_path}/{copy}.db", "runs": str(tmp_path / copy)}
        session = initialise(
            configured(tiny_settings, storage=place, search={"budget": {"trials": 1}})
        )
        work(session)
        hashes.append(run_sha256(session.trial_paths(0)))
    assert hashes[0] == hashes[1]


def test_stopped_trial_waits_again_and_resumes_bit_for_bit(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    one = configured(tiny_settings, search={"budget": {"trials": 1}, "n_epochs": 4})
    straight = initialise(one)
    work(straight)

    place = {"url": f"sqlite:///{tmp_path}/stopped.db", "runs": str(tmp_path / "stopped")}
    stopped = initialise(
        configured(tiny_settings, search={"budget": {"trials": 1}, "n_epochs": 4}, storage=place)
    )
    n_stops = 0
    said: list[str] = []
    while not stopped.optuna_study().trials[0].state.is_finished():
        said += work(stopped, StopAfter(8))
        n_stops += 1
        assert stopped.has_begun() == bool(said)
        assert held_leases(stopped.storage_handle.database) == {}
    assert n_stops > 2
    assert said == ["0:1", "0:2", "0:3", "0:4"]
    assert run_sha256(stopped.trial_paths(0)) == run_sha256(straight.trial_paths(0))
    assert weights_sha256(stopped.trial_paths(0)) == weights_sha256(straight.trial_paths(0))
    assert (
        stopped.optuna_study().trials[0].intermediate_values
        == straight.optuna_study().trials[0].intermediate_values
    )


@pytest.mark.slow
def test_stopped_trial_of_a_modern_recipe_resumes_bit_for_bit(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    search = {"budget": {"trials": 1}, "n_epochs": 4}
    straight = initialise(configured(tiny_settings, search=search, **MODERN))
    work(straight)
    place = {"url": f"sqlite:///{tmp_path}/stopped.db", "runs": str(tmp_path / "stopped")}
    stopped = initialise(configured(tiny_settings, search=search, storage=place, **MODERN))
    while not stopped.optuna_study().trials[0].state.is_finished():
        work(stopped, StopAfter(8))
    one, other = (session.trial_paths(0) for session in (straight, stopped))
    assert run_sha256(one) == run_sha256(other)
    assert weights_sha256(one) == weights_sha256(other)


def test_checkpoint_that_was_not_reported_is_reported_on_resume(tiny_settings: Settings) -> None:
    session = initialise(
        configured(tiny_settings, search={"budget": {"trials": 1}, "n_epochs": 4})
    )
    work(session, StopAfter(12))
    handle = session.storage_handle
    frozen = session.optuna_study().trials[0]
    assert 1 <= len(frozen.intermediate_values) < 4
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trial_intermediate_values")
    work(session)
    assert sorted(session.optuna_study().trials[0].intermediate_values) == [1, 2, 3, 4]


def test_diverged_trial_is_pruned_with_its_reason(tiny_settings: Settings) -> None:
    session = initialise(
        configured(
            tiny_settings,
            search={"budget": {"trials": 1}, "space": "fixed"},
            optimization={"learning_rate": 1e38, "warmup_epochs": 0},
        )
    )
    work(session)
    (trial,) = session.optuna_study().trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["reason"]["kind"] == "diverged"
    assert "loss must be finite" in trial.user_attrs["reason"]["message"]
    events = EventAccumulator(str(session.trial_paths(0).tensorboard)).Reload()
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    assert not any(tag.startswith("hparam/") for tag in events.Tags()["scalars"])
    assert "best_epoch" not in trial.user_attrs


def test_search_whose_trials_spend_no_epoch_comes_to_an_end(tiny_settings: Settings) -> None:
    space = {"network.dropout": {"low": 0.0, "high": 0.5}}
    session = initialise(
        configured(
            tiny_settings,
            search={"budget": {"epochs": 8}, "space": space},
            optimization={"learning_rate": 1e38, "warmup_epochs": 0},
        )
    )
    with pytest.raises(StudyError, match="10 trials in a row failed here, the last with train"):
        work(session)
    assert {trial.state for trial in session.optuna_study().trials} == {TrialState.PRUNED}


def test_weights_of_the_best_few_trials_are_kept(tiny_settings: Settings) -> None:
    session = initialise(
        configured(tiny_settings, search={"budget": {"trials": 4}}, storage={"kept_trials": 2})
    )
    work(session)
    trials = session.optuna_study().trials
    best_first = sorted(trials, key=lambda trial: (-(trial.value or 0), trial.number))
    for rank, trial in enumerate(best_first):
        paths = session.trial_paths(trial.number)
        assert paths.best.is_file() == (rank < 2)
        assert len(list(paths.checkpoints.iterdir())) == (rank < 2)


def test_trial_without_memory_is_tried_once_more_then_pruned(tiny_settings: Settings) -> None:
    session = initialise(
        configured(
            tiny_settings,
            search={"budget": {"trials": 2}},
            network={"widths": [4, 4, 40_000_000_000]},
        )
    )
    work(session)
    for trial in session.optuna_study().trials:
        assert trial.state == TrialState.PRUNED
        assert trial.user_attrs["reason"]["kind"] == "out of memory"
        assert "allocate" in trial.user_attrs["reason"]["message"]
        endings = read_endings(session.storage_handle.database, [trial._trial_id])
        assert endings == {trial._trial_id: ["out of memory"] * 2}


def test_worker_leaves_when_idle_though_others_run(tiny_settings: Settings) -> None:
    patient = {"grace_seconds": 600}  # a first step in a new process may take many seconds
    session = initialise(
        configured(tiny_settings, search={"budget": {"trials": 2}}, storage=patient)
    )
    busy = session.optuna_study().trials[1]._trial_id
    acquire(session.storage_handle.database, busy, Owner("another-host", "boot", 1, "1"))
    session.storage_handle.set_trial_state_values(busy, TrialState.RUNNING)
    with pytest.raises(StorageError, match="several machines"):
        work(session)
    elsewhere = "UPDATE attempts SET owner = 'a-container/' || ?"
    owner = Owner.current()
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql(elsewhere, (f"{owner.boot}/1/1",))
    Worker(
        session,
        prepare(session.config.data),
        stop=StopFlag(),
        announce=lambda *_: None,
        leave_when_idle=True,
    ).work()
    states = [trial.state for trial in session.optuna_study().trials]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]


def test_worker_starts_no_epoch_that_the_time_left_cannot_hold(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 2}}))
    work(session, StopAfter(12))
    assert work(session, StopFlag(after_seconds=session.longest_epoch_seconds())) == []
    states = {trial.state for trial in session.optuna_study().trials}
    assert states == {TrialState.WAITING}
    assert work(session, StopFlag(after_seconds=3600))


def test_trial_lost_too_often_fails_as_lost(tiny_settings: Settings) -> None:
    session = initialise(
        configured(tiny_settings, search={"budget": {"trials": 1}}, storage={"max_retries": 0})
    )
    (trial,) = session.optuna_study().trials
    acquire(session.storage_handle.database, trial._trial_id, DEAD)
    session.storage_handle.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    work(session)
    (trial,) = session.optuna_study().trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["reason"]["kind"] == "lost"


@pytest.mark.slow
def test_epochs_trained_again_after_damage_count_as_going_on(tiny_settings: Settings) -> None:
    config = configured(
        tiny_settings, search={"budget": {"trials": 1}, "n_epochs": 6}, storage={"max_retries": 0}
    )
    session = initialise(config)
    database = session.storage_handle.database
    prepared = prepare(config.data)
    paths = session.trial_paths(0)
    attempts: list[list[int]] = []

    def live_until(last: int) -> None:
        """Die after the report of an epoch."""
        said: list[int] = []
        attempts.append(said)

        def announce(_number: int, result: EpochResult) -> None:
            said.append(result.epoch)
            if result.epoch == last + 1:
                raise Killed

        with pytest.raises(Killed):
            Worker(session, prepared, stop=StopFlag(), announce=announce).work()
        with session.storage_handle.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE attempts SET owner = '{DEAD}'")

    live_until(4)
    for checkpoint in paths.checkpoints.iterdir():
        checkpoint.write_bytes(b"damaged")
    live_until(1)
    assert [row.epoch for row in read_epochs(database, [1])[1]] == [1]
    live_until(2)
    work(session)
    assert attempts == [[1, 2, 3, 4, 5], [1, 2], [2, 3]]
    (trial,) = session.optuna_study().trials
    assert trial.state == TrialState.COMPLETE
    assert [row.epoch for row in read_epochs(database, [1])[1]] == [1, 2, 3, 4, 5, 6]


def test_pruned_trial_is_recorded_saved_and_closed(tiny_settings: Settings) -> None:
    session = initialise(
        configured(
            tiny_settings,
            search={
                "budget": {"trials": 6},
                "n_epochs": 4,
                "pruner": "percentile",
                "pruner_percentile": 1.0,
                "pruner_startup_trials": 1,
                "pruner_warmup_epochs": 2,
            },
        )
    )
    work(session)
    trials = session.optuna_study().trials
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        last = trial.last_step
        assert last is not None and 2 <= last <= 4
        assert trial.user_attrs["reason"]["kind"] == "pruned"
        rows = read_epochs(session.storage_handle.database, [trial._trial_id])
        assert [row.epoch for row in rows[trial._trial_id]] == list(range(1, last + 1))
        assert not any(session.trial_paths(trial.number).checkpoints.iterdir())


def test_optuna_reads_what_was_written(tiny_settings: Settings, tmp_path: Path) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))
    work(session)
    loaded = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path}/study.db")
    assert loaded.best_trial.number == 0
    command = Path(sys.executable).with_name("optuna")
    listed = subprocess.run(
        [command, "trials", "--storage", f"sqlite:///{tmp_path}/study.db", "--study-name", "tiny"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "COMPLETE" in listed.stdout


def test_missing_device_costs_no_trial(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, execution={"device": "cuda:99"}))
    with pytest.raises(DeviceUnavailableError, match="cuda:99"):
        work(session)
    assert all(t.state == TrialState.WAITING for t in session.optuna_study().trials)


def test_worker_that_lost_its_trial_touches_nothing_of_it(tiny_settings: Settings) -> None:
    session = initialise(
        configured(tiny_settings, search={"budget": {"trials": 1}, "n_epochs": 4})
    )
    database = session.storage_handle.database
    prepared = prepare(session.config.data)
    said: list[int] = []

    def lose_it(_number: int, result: EpochResult) -> None:
        said.append(result.epoch)
        if result.epoch == 2:
            with database.engine.begin() as connection:
                connection.exec_driver_sql("UPDATE attempts SET ending = 'lost'")

    worker = Worker(session, prepared, stop=StopFlag(), announce=lose_it)
    lease = worker._claimant.claim()
    assert lease is not None
    worker._attend(lease)
    assert said == [1, 2]
    (trial,) = session.optuna_study().trials
    assert trial.state == TrialState.RUNNING
    assert sorted(trial.intermediate_values) == [1]
    assert "best_epoch" not in trial.user_attrs
    assert not session.trial_paths(0).checkpoint(3).exists()


def test_trial_is_never_pruned_after_its_last_epoch(tiny_settings: Settings) -> None:
    session = initialise(
        configured(
            tiny_settings,
            search={
                "budget": {"trials": 4},
                "n_epochs": 2,
                "pruner": "percentile",
                "pruner_percentile": 1.0,
                "pruner_startup_trials": 1,
                "pruner_warmup_epochs": 2,
            },
        )
    )
    work(session)
    assert {t.state for t in session.optuna_study().trials} == {TrialState.COMPLETE}


IMPATIENT = {
    "search": {
        "budget": {"trials": 1},
        "n_epochs": 30,
        "patience_epochs": 2,
        "pruner": "percentile",
        "pruner_startup_trials": 1,
        "pruner_warmup_epochs": 29,
        "space": "fixed",
    },
    # So small that nothing is learned: the first epoch remains the best.
    "optimization": {"learning_rate": 1e-30, "schedule": "constant", "warmup_epochs": 0},
}


def test_trial_out_of_patience_is_complete_and_says_so(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, **IMPATIENT))
    work(session)
    (row,) = read_trials(session.storage_handle, "tiny")
    assert row.state == "complete"
    assert row.best_epoch is not None and row.epochs_done == row.best_epoch + 2 < 30
    assert row.as_json()["reason"] == {
        "kind": "stopped early",
        "message": f"no better macro-F1 in the 2 epochs after {row.best_epoch}",
    }
    assert load_checkpoint(session.trial_paths(0).best)["epoch"] == row.best_epoch


@pytest.mark.slow
def test_trial_out_of_patience_ends_as_if_it_had_not_been_stopped(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    straight = initialise(configured(tiny_settings, **IMPATIENT))
    work(straight)
    place = {"url": f"sqlite:///{tmp_path}/stopped.db", "runs": str(tmp_path / "stopped")}
    stopped = initialise(configured(tiny_settings, **IMPATIENT, storage=place))
    n_stops = 0
    while not stopped.optuna_study().trials[0].state.is_finished():
        work(stopped, StopAfter(9))
        n_stops += 1
    assert n_stops > 2
    assert run_sha256(stopped.trial_paths(0)) == run_sha256(straight.trial_paths(0))
    one, other = (session.optuna_study().trials[0] for session in (straight, stopped))
    assert one.intermediate_values == other.intermediate_values
    assert one.user_attrs["reason"] == other.user_attrs["reason"]


def test_trial_that_died_out_of_patience_is_neither_trained_nor_pruned_on_resume(
    tiny_settings: Settings,
) -> None:
    search = IMPATIENT["search"] | {
        "budget": {"trials": 2},
        "space": "lr-wd",
        "pruner_warmup_epochs": 1,
    }
    session = initialise(configured(tiny_settings, search=search))
    worker = Worker(
        session, prepare(session.config.data), stop=StopFlag(), announce=lambda *_: None
    )
    lease = worker._claimant.claim()
    assert lease is not None
    worker._attend(lease)
    ended, better = session.optuna_study().trials
    assert ended.user_attrs["reason"]["kind"] == "stopped early"

    handle = session.storage_handle
    handle.set_trial_state_values(better._trial_id, TrialState.RUNNING)
    for epoch in range(1, 31):
        handle.set_trial_intermediate_value(better._trial_id, epoch, 2.0)
    handle.set_trial_user_attr(better._trial_id, "best_epoch", 1)
    handle.set_trial_state_values(better._trial_id, TrialState.COMPLETE, [2.0])
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trials SET state = 'WAITING' WHERE number = 0")
    assert work(session) == []
    again = session.optuna_study().trials[0]
    assert (again.state, again.value) == (TrialState.COMPLETE, ended.value)
    assert again.user_attrs["reason"] == ended.user_attrs["reason"]


def test_trial_that_died_before_it_was_pruned_is_pruned_on_resume(
    tiny_settings: Settings,
) -> None:
    session = initialise(
        configured(
            tiny_settings,
            search={
                "budget": {"trials": 2},
                "n_epochs": 4,
                "pruner": "percentile",
                "pruner_percentile": 99.0,
                "pruner_startup_trials": 1,
                "pruner_warmup_epochs": 1,
            },
        )
    )
    better = session.optuna_study().trials[1]
    work(session, StopAfter(8))
    handle = session.storage_handle
    handle.set_trial_state_values(better._trial_id, TrialState.RUNNING)
    for epoch in range(1, 5):
        handle.set_trial_intermediate_value(better._trial_id, epoch, 1.0)
    handle.set_trial_user_attr(better._trial_id, "best_epoch", 1)
    handle.set_trial_state_values(better._trial_id, TrialState.COMPLETE, [1.0])
    assert work(session) == []
    pruned = session.optuna_study().trials[0]
    assert pruned.state == TrialState.PRUNED
    assert pruned.last_step == 1
    assert pruned.user_attrs["best_epoch"] == 1
