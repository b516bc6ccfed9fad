import functools
import gc
import shutil
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from data.errors import DataError
from storage.budget import Budget
from storage.errors import StudyNotFoundError
from storage.leases import acquire, read_endings
from storage.process_identity import Owner
from storage.records import EpochRecord, put_epoch, read_epochs
from storage.study_deletion import delete_whole_study
from storage.study_storage import create_study_storage
from study.configuration.config import Request, StudyConfig, validated
from study.creation.create import initialise, open_or_create
from study.creation.extend import extend
from study.creation.queue import SAMPLED, Point
from study.errors import ProtocolError, StudyError
from study.session.session import await_session, open_session
from study.stop_signal import StopFlag

Settings = dict[str, object]


def changed(settings: Settings, **sections: object) -> StudyConfig:
    values = deepcopy(settings)
    for key, value in sections.items():
        section, _, name = key.partition("__")
        if name:
            values.setdefault(section, {})[name] = value  # type: ignore[attr-defined]
        else:
            values[section] = value
    return validated(values)


def request(settings: Settings, **options: object) -> Request:
    place = settings["storage"]
    assert isinstance(place, dict)
    return Request(options={"storage.url": place["url"], "storage.runs": place["runs"], **options})


def test_initialise_queues_the_whole_budget_once(tiny_settings: Settings) -> None:
    for _ in range(2):
        session = initialise(changed(tiny_settings))
        trials = session.optuna_study().trials
        assert [trial.user_attrs["slot"] for trial in trials] == [0, 1, 2]
        assert all(trial.state == TrialState.WAITING for trial in trials)
    assert session.config.workers.threads == 1


@pytest.mark.parametrize("lost", ["DELETE FROM protocols", "DELETE FROM protocols; marker"])
def test_initialise_replaces_what_a_cut_off_one_left(
    tiny_settings: Settings, tmp_path: Path, lost: str
) -> None:
    session = initialise(changed(tiny_settings))
    statement, _, marker = lost.partition("; ")
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("DELETE FROM trials WHERE trial_id = 3")
    shutil.rmtree(tmp_path / "runs")
    if not marker:
        (tmp_path / "runs" / "tiny").mkdir(parents=True)
    again = initialise(changed(tiny_settings))
    assert [t.user_attrs["slot"] for t in again.optuna_study().trials] == [0, 1, 2]


def test_initialise_where_a_study_was_deleted_by_hand_begins_with_nothing_of_it(
    tiny_settings: Settings,
) -> None:
    old = initialise(changed(tiny_settings))
    handle = old.storage_handle
    ids = [trial._trial_id for trial in old.optuna_study().trials]
    for trial_id in ids:
        acquire(handle.database, trial_id, Owner("another-host", "boot", 1, "1"))
        record = EpochRecord(1, *(0.5,) * 12)
        handle.database.write(functools.partial(put_epoch, trial_id=trial_id, record=record))
    optuna.delete_study(study_name="tiny", storage=handle)
    new = initialise(changed(tiny_settings, name="new"))
    assert [trial._trial_id for trial in new.optuna_study().trials] == ids  # SQLite's numbers
    assert read_endings(handle.database, ids) == {}
    assert read_epochs(handle.database, ids) == {}


def test_initialise_after_the_deletion_of_the_whole_study_makes_a_new_one(
    tiny_settings: Settings,
) -> None:
    old = initialise(changed(tiny_settings))
    delete_whole_study(old.storage_handle, old.optuna_study()._study_id, grace=600)
    old.paths.folder.rename(old.paths.folder.with_name("moved"))
    new = initialise(changed(tiny_settings))
    assert new.protocol.study_key != old.protocol.study_key
    assert len(new.optuna_study().trials) == 3


def test_initialise_writes_the_marker_that_a_cut_off_one_did_not(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    initialise(changed(tiny_settings))
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(StudyNotFoundError, match="has no such study"):
        open_session(request(tiny_settings))
    initialise(changed(tiny_settings))
    assert open_session(request(tiny_settings)).protocol.budget == 3


def test_worker_that_waits_for_a_study_says_once_for_what(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("study.session.session.INIT_WAIT_SECONDS", 1.5)
    with pytest.raises(StudyNotFoundError):
        await_session(request(tiny_settings), stop=StopFlag())
    assert [one.getMessage()[:30] for one in caplog.records] == ["waiting: storage.url must name"]


def test_initialise_by_several_processes_at_once_makes_one_study(
    tiny_settings: Settings,
) -> None:
    config = changed(tiny_settings)
    with ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(lambda _: initialise(config), range(4)))
    assert len({session.protocol.study_key for session in sessions}) == 1
    assert len(sessions[0].optuna_study().trials) == 3


def test_initialise_beside_another_program_s_study_is_rejected(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    initialise(changed(tiny_settings, name="other"))
    url = f"sqlite:///{tmp_path}/study.db"
    foreign = optuna.create_study(study_name="tiny", storage=url)
    foreign.ask()
    with pytest.raises(StudyError, match="another program's study"):
        initialise(changed(tiny_settings))
    assert len(optuna.load_study(study_name="tiny", storage=url).trials) == 1


def test_open_or_create_means_the_study_as_it_is(tiny_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_settings))
    created = open_or_create(Request(file=file))
    extend(created, [SAMPLED])
    assert open_or_create(Request(file=file)).protocol.budget == 4
    assert open_or_create(request(tiny_settings, name="tiny")).config.network.widths == (4, 4, 8)
    with pytest.raises(ProtocolError, match="--trials must be 4"):
        open_or_create(Request(file=file, options={"search.budget.trials": 3}))
    with pytest.raises(ProtocolError, match="seed is 42 there, 1 here"):
        open_or_create(request(tiny_settings, name="tiny", seed=1))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 7}, "seed is 42 there, 7 here"),
        ({"data__image_size": 16}, "data.image_size is 8 there, 16 here"),
        ({"search__pruner": "median"}, "search.pruner is 'none' there, 'median' here"),
        ({"optimization__batch_size": 8}, "optimization.batch_size is 16 there, 8 here"),
        ({"workers__threads": 2}, "workers.threads is 1 there, 2 here"),
        ({"network__widths": [4, 8, 8]}, "network.widths"),
    ],
)
def test_initialise_with_another_protocol_is_rejected_field_by_field(
    tiny_settings: Settings, change: dict[str, object], field: str
) -> None:
    initialise(changed(tiny_settings))
    with pytest.raises(ProtocolError) as rejection:
        initialise(changed(tiny_settings, **change))
    assert field in str(rejection.value)


def test_initialise_with_operational_changes_is_accepted(tiny_settings: Settings) -> None:
    initialise(changed(tiny_settings))
    session = initialise(
        changed(tiny_settings, workers__n_workers=2, storage__heartbeat_seconds=1.0)
    )
    assert session.config.storage.heartbeat_seconds == 1.0


def test_initialise_with_other_data_is_rejected(tiny_settings: Settings, pictures: Path) -> None:
    initialise(changed(tiny_settings))
    (pictures / "dots" / "0.png").unlink()
    with pytest.raises(ProtocolError, match="--data must be the data of study 'tiny'"):
        initialise(changed(tiny_settings))


def test_initialise_with_another_budget_names_the_command(tiny_settings: Settings) -> None:
    initialise(changed(tiny_settings))
    with pytest.raises(ProtocolError, match="study extend --name tiny --trials 2"):
        initialise(changed(tiny_settings, search__budget={"trials": 5}))
    with pytest.raises(ProtocolError, match="only grows"):
        initialise(changed(tiny_settings, search__budget={"trials": 1}))


@pytest.mark.parametrize(("unit", "shown"), [("epochs", "12 epochs"), ("hours", "12 hours")])
def test_budget_in_another_unit_is_stored_and_held_to(
    tiny_settings: Settings, unit: str, shown: str
) -> None:
    session = initialise(changed(tiny_settings, search__budget={unit: 12}))
    assert str(session.protocol.limit) == shown
    assert (session.protocol.budget, len(session.optuna_study().trials)) == (1, 1)
    more = f"study extend --name tiny --{unit} 3"
    with pytest.raises(ProtocolError, match=f"{unit} must be 12, .* got 15: add to it .*{more}"):
        initialise(changed(tiny_settings, search__budget={unit: 15}))
    with pytest.raises(ProtocolError, match=f"only grows.*leave search.budget.{unit} out"):
        initialise(changed(tiny_settings, search__budget={unit: 11}))
    in_trials = f"in {unit}, study 'tiny' has {shown}, got 3 trials: leave it out .*study fork"
    with pytest.raises(ProtocolError, match=in_trials):
        initialise(changed(tiny_settings, search__budget={"trials": 3}))
    assert open_or_create(request(tiny_settings, name="tiny")).protocol.limit.unit == unit


def test_budget_in_trials_is_not_resumed_in_epochs(tiny_settings: Settings) -> None:
    assert initialise(changed(tiny_settings)).protocol.limit == Budget("trials", 3)
    with pytest.raises(ProtocolError, match="in trials, study 'tiny' has 3 trials, got 12 epochs"):
        initialise(changed(tiny_settings, search__budget={"epochs": 12}))


def test_extend_adds_slots_and_the_new_budget_holds(tiny_settings: Settings) -> None:
    session = extend(initialise(changed(tiny_settings)), [SAMPLED] * 2)
    assert session.protocol.budget == 5
    assert len(session.optuna_study().trials) == 5
    assert initialise(changed(tiny_settings, search__budget={"trials": 5})).protocol.budget == 5


def test_extend_where_a_later_study_was_deleted_begins_with_nothing_of_it(
    tiny_settings: Settings,
) -> None:
    session = initialise(changed(tiny_settings))
    handle = session.storage_handle
    optuna_study = optuna.create_study(study_name="later", storage=handle)
    trial_id = optuna_study.ask()._trial_id
    acquire(handle.database, trial_id, Owner("another-host", "boot", 1, "1"))
    optuna.delete_study(study_name="later", storage=handle)
    added = extend(session, [SAMPLED]).optuna_study().trials[-1]
    assert added._trial_id == trial_id  # SQLite's again
    assert read_endings(handle.database, [trial_id]) == {}


def test_records_hold_neither_address_nor_password(tiny_settings: Settings) -> None:
    session = initialise(changed(tiny_settings))
    assert session.protocol.configuration["storage"].keys() & {"url", "runs"} == set()


def test_given_points_reach_the_queue(tiny_settings: Settings) -> None:
    points = [Point({"dropout": 0.5}, {"origin": "by hand"}), SAMPLED]
    session = initialise(changed(tiny_settings), points=points)
    first, second = session.optuna_study().trials
    assert first.system_attrs["fixed_params"] == {"dropout": 0.5}
    assert first.user_attrs == {"slot": 0, "origin": "by hand"}
    assert second.user_attrs == {"slot": 1}


def test_rejected_data_leave_neither_database_nor_runs(
    tiny_settings: Settings, tmp_path: Path, pictures: Path
) -> None:
    (pictures / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        initialise(changed(tiny_settings))
    assert not (tmp_path / "study.db").exists()
    assert not (tmp_path / "runs").exists()


def test_runs_folder_in_use_is_rejected_before_the_database(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "old.txt").write_text("old")
    with pytest.raises(StudyError, match="is in use"):
        initialise(changed(tiny_settings))
    assert not (tmp_path / "study.db").exists()


def test_open_session_finds_the_only_study_and_takes_its_settings(
    tiny_settings: Settings,
) -> None:
    initialise(changed(tiny_settings))
    session = open_session(request(tiny_settings))
    assert session.protocol.study_name == "tiny"
    assert session.config.network.widths == (4, 4, 8)
    assert session.config.storage.heartbeat_seconds == 0.5


def test_open_session_among_several_needs_a_name(tiny_settings: Settings) -> None:
    initialise(changed(tiny_settings))
    initialise(changed(tiny_settings, name="other"))
    with pytest.raises(StudyError, match="tiny, other"):
        open_session(request(tiny_settings))
    assert open_session(request(tiny_settings, name="other")).protocol.study_name == "other"
    with pytest.raises(StudyNotFoundError, match="'none'"):
        open_session(request(tiny_settings, name="none"))


def test_open_session_in_vain_leaves_no_connection_open(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    database = tmp_path / "study.db"
    create_study_storage(f"sqlite:///{database}", outage_seconds=1).engine.dispose()
    gc.disable()  # which would close it some time
    try:
        for _ in range(3):
            with pytest.raises(StudyNotFoundError, match="there are none yet"):
                open_session(request(tiny_settings))
        opened = [
            str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()
        ]
    finally:
        gc.enable()
    assert [path for path in opened if path.startswith(str(database))] == []


def test_open_session_with_another_protocol_or_folder_is_rejected(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    initialise(changed(tiny_settings))
    with pytest.raises(ProtocolError, match="seed is 42 there, 1 here"):
        open_session(request(tiny_settings, seed=1))
    with pytest.raises(ProtocolError, match="holds no such study"):
        open_session(request(tiny_settings, **{"storage.runs": str(tmp_path / "elsewhere")}))
