import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from optuna.trial import TrialState

from data.image_cache import prepare
from storage.atomic_files import write_atomically
from storage.checkpoints import save_checkpoint
from storage.errors import RunFolderError, StorageError, StudyNotFoundError
from storage.leases import (
    Lease,
    acquire,
    acquire_waiting,
    held_leases,
    read_endings,
    send_heartbeat,
)
from storage.process_identity import Owner
from storage.records import study_names
from storage.run_paths import RunPaths
from storage.study_storage import open_study_storage
from study.cli import app
from study.configuration.config import Request, StudyConfig, validated
from study.creation.create import initialise
from study.creation.queue import SAMPLED, Point, fill_queue
from study.doctor.doctor import examine
from study.doctor.finding import FindingOutcome
from study.doctor.stale_leases import release_trial
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.postgresql import requires_postgresql, running_server

Settings = dict[str, object]
ME = Owner.current()
DEAD = replace(ME, pid=2**22 + 1, started="1")
CONTAINER = replace(ME, host="a-container", pid=2**22 + 2, started="1")
LAST_YEAR = 1.7e9


def small(settings: Settings, **changes: object) -> StudyConfig:
    values = deepcopy(settings)
    values["search"] |= {"n_epochs": 1, "budget": {"trials": 2}}  # type: ignore[operator]
    for section, change in changes.items():
        new = {**values[section], **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
        values[section] = new
    return validated(values)


def request(session: StudySession, **options: object) -> Request:
    place = session.config.storage
    return Request(
        options={"storage.url": place.url, "storage.runs": str(place.runs), "name": None} | options
    )


def doctor(
    session: StudySession, *, repair: bool = False, **options: object
) -> list[FindingOutcome]:
    with closing(examine(request(session, **options), repair=repair, say=print)) as treated:
        return list(treated)


def lines(treated: list[FindingOutcome]) -> list[str]:
    return [one.line for one in treated]


def outcomes(treated: list[FindingOutcome]) -> set[str]:
    return {one.outcome for one in treated}


def snapshot(session: StudySession) -> tuple[object, ...]:
    """Return all rows that matter and all files."""
    tables = ("protocols", "attempts", "epochs", "studies", "trials", "trial_user_attributes")
    with session.storage_handle.engine.begin() as connection:
        rows = [
            sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {table}")))
            for table in tables
        ]
    runs = session.config.storage.runs
    return rows, {path: path.is_file() and path.read_bytes() for path in runs.rglob("*")}


def work(session: StudySession) -> None:
    Worker(
        session,
        prepare(session.config.data),
        stop=StopFlag(),
        announce=lambda *_: None,
    ).work()


def states(session: StudySession) -> list[TrialState]:
    return [trial.state for trial in session.optuna_study().trials]


def execute(session: StudySession, statement: str) -> None:
    with session.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def hold(session: StudySession, number: int, owner: Owner, *, running: bool = True) -> int:
    """Let a worker begin with a trial, and return the trial's id."""
    trial_id = session.optuna_study().trials[number]._trial_id
    assert acquire(session.storage_handle.database, trial_id, owner) is not None
    if running:
        session.storage_handle.set_trial_state_values(trial_id, TrialState.RUNNING)
    return trial_id


def leave_part(path: Path, *, pid: int, written_at: float | None = None) -> Path:
    part = path.with_name(f".{path.name}.{pid}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"half")
    if written_at is not None:
        os.utime(part, (written_at, written_at))
    return part


def lose_place(session: StudySession, number: int) -> None:
    trial_id = session.optuna_study().trials[number]._trial_id
    for table in ("trial_user_attributes", "trials"):
        execute(session, f"DELETE FROM {table} WHERE trial_id = {trial_id}")


def leave_weights(path: Path, content: dict[str, str]) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, content)


def missing_place_with_a_folder(session: StudySession) -> None:
    lose_place(session, 1)
    leave_weights(session.trial_paths(1).checkpoint(1), {"configuration": "of another trial"})


def half_an_extension(session: StudySession) -> None:
    fill_queue(session.optuna_study(), [SAMPLED], first_slot=session.protocol.budget)


def dead_worker(session: StudySession) -> None:
    hold(session, 1, DEAD)


def worker_dead_after_its_claim(session: StudySession) -> None:
    hold(session, 1, DEAD, running=False)


def stale_worker(session: StudySession) -> None:
    hold(session, 1, CONTAINER)
    execute(session, "UPDATE attempts SET beat_at = beat_at - 100")


def worker_dead_after_it_finished(session: StudySession) -> None:
    work(session)
    hold(session, 1, DEAD, running=False)


def running_without_a_lease(session: StudySession) -> None:
    trial_id = session.optuna_study().trials[1]._trial_id
    session.storage_handle.set_trial_state_values(trial_id, TrialState.RUNNING)


def folders_of_no_trial(session: StudySession) -> None:
    leave_weights(session.paths.trial(7).checkpoint(1), {"configuration": ""})
    leave_weights(session.paths.final(1).best, {"configuration": ""})


def half_a_checkpoint(session: StudySession) -> None:
    hold(session, 1, DEAD)
    leave_part(session.trial_paths(1).checkpoint(1), pid=DEAD.pid)


def old_part_of_a_report(session: StudySession) -> None:
    leave_part(session.paths.report, pid=DEAD.pid, written_at=LAST_YEAR)


LEFT: list[tuple[Callable[[StudySession], None], list[str]]] = [
    (
        missing_place_with_a_folder,
        [
            "runs/tiny/trials/00001: a run folder without a slot in the queue: deleted",
            "study tiny: 1 of 2 slots missing in the queue (1): queued",
        ],
    ),
    (
        half_an_extension,
        [
            "study tiny: 1 slot beyond the budget of 2, for an `extend` was cut off: "
            "added to the budget, which is 3 then"
        ],
    ),
    (
        dead_worker,
        [
            f"study tiny, trial 1: running, held by process {DEAD.pid} on {ME.host}, "
            "which is dead (last heartbeat"
        ],
    ),
    (worker_dead_after_its_claim, ["waiting, held by process"]),
    (stale_worker, ["a-container, which is stale (last heartbeat 2 min ago)"]),
    (worker_dead_after_it_finished, ["complete, held by process"]),
    (
        running_without_a_lease,
        ["study tiny, trial 1: running, but held by nobody: released to the queue"],
    ),
    (folders_of_no_trial, ["tiny/trials/00007: a run folder", "tiny/final-2: a run folder"]),
    (half_a_checkpoint, [".epoch-00001.pt.4194305.part: process 4194305 died", "which is dead"]),
    (old_part_of_a_report, [".report.html.4194305.part: process 4194305 died"]),
]


@pytest.mark.parametrize(("leave", "said"), LEFT, ids=[leave.__name__ for leave, _ in LEFT])
def test_what_a_crash_left_is_listed_then_repaired_and_the_study_continues(
    tiny_settings: Settings, leave: Callable[[StudySession], None], said: list[str]
) -> None:
    session = initialise(small(tiny_settings, storage={"kept_trials": 1}))
    leave(session)
    before = snapshot(session)
    found = doctor(session)
    assert outcomes(found) == {"found"}
    assert snapshot(session) == before

    repaired = doctor(session, repair=True)
    assert outcomes(repaired) == {"repaired"}
    assert len(repaired) == len(found) == len(said)
    for line, expected in zip(lines(repaired), said, strict=True):
        assert expected in line
    for earlier in lines(found):
        assert ": would be " in earlier
    assert doctor(session, repair=True) == []
    assert_finished_by_a_worker(session)


def assert_finished_by_a_worker(session: StudySession) -> None:
    work(session)
    trials = session.optuna_study().trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert sorted(trial.user_attrs["slot"] for trial in trials) == list(range(len(trials)))
    assert all(list(trial.intermediate_values) == [1] for trial in trials)
    ids = [trial._trial_id for trial in trials]
    endings = read_endings(session.storage_handle.database, ids)
    assert all(ended.count("complete") == 1 for ended in endings.values())
    assert all(set(ended) <= {"complete", "lost"} for ended in endings.values())
    assert held_leases(session.storage_handle.database) == {}


@pytest.mark.slow
def test_all_of_it_at_once_is_repaired_in_one_go(tiny_settings: Settings) -> None:
    repair_all_at_once(tiny_settings)


@pytest.mark.slow
@requires_postgresql
def test_all_of_it_at_once_is_repaired_on_postgresql(tiny_settings: Settings) -> None:
    with running_server() as url:
        tiny_settings["storage"] |= {"url": url}  # type: ignore[operator]
        session = repair_all_at_once(tiny_settings)
        session.storage_handle.remove_session()
        session.storage_handle.engine.dispose()


def repair_all_at_once(settings: Settings) -> StudySession:
    session = initialise(small(settings))
    half_an_extension(session)
    half_a_checkpoint(session)
    hold(session, 0, CONTAINER)
    execute(session, "UPDATE attempts SET beat_at = beat_at - 100")
    _, _, third = session.optuna_study().trials
    session.storage_handle.set_trial_state_values(third._trial_id, TrialState.RUNNING)
    folders_of_no_trial(session)
    found = doctor(session)
    assert len(found) == 7
    assert outcomes(found) == {"found"}
    assert outcomes(doctor(session, repair=True)) == {"repaired"}
    assert doctor(session) == []
    assert_finished_by_a_worker(session)
    return session


def test_living_workers_and_what_they_write_are_left_alone(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    hold(session, 0, ME)
    hold(session, 1, CONTAINER)
    leave_part(session.trial_paths(0).checkpoint(1), pid=os.getpid(), written_at=LAST_YEAR)
    leave_part(session.trial_paths(1).checkpoint(1), pid=CONTAINER.pid)
    before = snapshot(session)
    assert doctor(session, repair=True) == []
    assert snapshot(session) == before


def test_test_evaluation_under_way_keeps_its_lease(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    trial_id = hold(session, 0, CONTAINER)
    session.storage_handle.set_trial_user_attr(trial_id, "best_epoch", 1)
    session.storage_handle.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])
    assert doctor(session, repair=True) == []
    assert trial_id in held_leases(session.storage_handle.database)


def test_worker_that_beats_again_while_the_doctor_watches_is_left_alone(
    tiny_settings: Settings,
) -> None:
    session = initialise(small(tiny_settings))
    database = session.storage_handle.database
    trial_id = session.optuna_study().trials[0]._trial_id
    lease = acquire(database, trial_id, CONTAINER)
    assert lease is not None
    session.storage_handle.set_trial_state_values(trial_id, TrialState.RUNNING)
    execute(session, "UPDATE attempts SET beat_at = beat_at - 100")
    said: list[str] = []

    def wake_up(text: str) -> None:
        said.append(text)
        assert send_heartbeat(database, lease)

    treated = list(examine(request(session), repair=True, say=wake_up))
    assert said == ["waiting 1 s to see whether workers send heartbeats again"]
    assert treated == []
    assert held_leases(database)[trial_id].owner == str(CONTAINER)


def test_trial_that_another_worker_has_by_now_is_not_released(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    handle = session.storage_handle
    trial_id = hold(session, 0, DEAD)
    seen = held_leases(handle.database)[trial_id]
    assert acquire(handle.database, trial_id, CONTAINER, lost=seen) is not None
    assert not release_trial(handle, trial_id, lost=seen)
    assert not release_trial(handle, trial_id)
    assert states(session)[0] == TrialState.RUNNING
    assert held_leases(handle.database)[trial_id].owner == str(CONTAINER)


def test_worker_that_claims_as_soon_as_it_can_finds_a_repaired_trial_whole(
    tiny_settings: Settings,
) -> None:
    session = initialise(small(tiny_settings, search={"budget": {"trials": 1}}))
    study_id = session.optuna_study()._study_id
    trial_id = hold(session, 0, DEAD)
    seen = held_leases(session.storage_handle.database)[trial_id]
    place = session.config.storage
    worker = open_study_storage(place.url, outage_seconds=place.outage_seconds)
    granted: list[Lease] = []

    def claim_between_two_transactions(*_: object) -> None:
        lease = acquire_waiting(worker.database, study_id, CONTAINER, last=set())
        granted.extend([lease] if lease is not None else [])

    given = (session.storage_handle.engine.pool, "checkin", claim_between_two_transactions)
    sqlalchemy.event.listen(*given)
    assert release_trial(session.storage_handle, trial_id, lost=seen)
    sqlalchemy.event.remove(*given)
    worker.engine.dispose()
    (lease,) = granted
    assert lease.fruitless_attempts == 1  # that of the dead worker, and no more
    assert read_endings(session.storage_handle.database, [trial_id]) == {trial_id: ["lost", None]}


def test_trial_finished_by_a_dead_worker_stays_finished(
    tiny_settings: Settings,
) -> None:
    session = initialise(small(tiny_settings))
    trial_id = hold(session, 0, DEAD)
    session.storage_handle.set_trial_user_attr(trial_id, "best_epoch", 1)
    session.storage_handle.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])
    assert outcomes(doctor(session, repair=True)) == {"repaired"}
    assert states(session)[0] == TrialState.COMPLETE
    assert held_leases(session.storage_handle.database) == {}


def test_repair_keeps_count_of_attempts_without_an_epoch(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings, storage={"max_retries": 1}))
    for _ in range(2):
        hold(session, 0, DEAD)
        assert outcomes(doctor(session, repair=True)) == {"repaired"}
    work(session)
    assert states(session) == [TrialState.FAIL, TrialState.COMPLETE]


def test_other_programs_and_other_databases_are_left_alone(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    session = initialise(small(tiny_settings))
    optuna.create_study(study_name="foreign", storage=session.storage_handle).ask()
    elsewhere = {"url": f"sqlite:///{tmp_path}/other.db"}
    initialise(small(tiny_settings, name="other", storage=elsewhere))
    (tmp_path / "runs" / "by hand").mkdir()
    before = snapshot(session)
    treated = doctor(session, repair=True)
    assert snapshot(session) == before
    assert outcomes(treated) == {"told"}
    assert [one.finding.where for one in treated] == [f"{tmp_path}/runs/other"]
    assert ": left alone" in treated[0].line


def test_one_study_is_examined_with_its_final_runs_and_no_other(tiny_settings: Settings) -> None:
    config = small(tiny_settings)
    session = initialise(config)
    other = initialise(config.model_copy(update={"name": "other"}))
    points = [Point({"dropout": 0.5}, {"searched_trial": 0, "test_reason": "first"})]
    final = initialise(config, name="tiny-final", points=points)
    for one in (session, other, final):
        hold(one, 0, DEAD)
    whole = [f"study {name}, trial 0" for name in ("tiny", "other", "tiny-final")]
    assert [one.finding.where for one in doctor(session)] == whole
    named = [one.finding.where for one in doctor(session, repair=True, name="tiny")]
    assert named == ["study tiny, trial 0", "study tiny-final, trial 0"]
    assert [one.finding.where for one in doctor(session)] == ["study other, trial 0"]
    with pytest.raises(StudyNotFoundError, match="got 'none'"):
        doctor(session, name="none")


def test_queue_of_given_points_is_not_filled_with_sampled_ones(tiny_settings: Settings) -> None:
    config = small(tiny_settings)
    initialise(config)
    point = Point({"dropout": 0.5}, {"searched_trial": 0, "test_reason": "first"})
    final = initialise(config, name="tiny-final", points=[point] * 2)
    lose_place(final, 1)
    (treated,) = doctor(final, repair=True)
    assert treated.outcome == "told"
    assert "their parameters are not known" in treated.line
    assert len(final.optuna_study().trials) == 1


def test_slot_that_optuna_would_number_twice_is_not_filled(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    lose_place(session, 0)
    (treated,) = doctor(session, repair=True)
    assert treated.outcome == "told"
    assert "would give a number twice" in treated.line
    assert len(session.optuna_study().trials) == 1


def test_final_run_that_a_cut_off_command_queued_joins_the_budget(tiny_settings: Settings) -> None:
    config = small(tiny_settings)
    initialise(config)
    point = Point({"dropout": 0.5}, {"searched_trial": 0, "test_reason": "first"})
    final = initialise(config, name="tiny-final", points=[point])
    fill_queue(final.optuna_study(), [point], first_slot=1)
    assert outcomes(doctor(final, repair=True)) == {"repaired"}
    assert initialise(config, name="tiny-final", points=[point] * 2).protocol.budget == 2


def test_folder_with_a_test_result_is_never_deleted(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    write_atomically(session.paths.final(0).metrics, b"{}")
    (treated,) = doctor(session, repair=True)
    assert treated.outcome == "told"
    assert session.paths.final(0).metrics.is_file()


def test_another_runs_folder_is_neither_marked_nor_tidied(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    session = initialise(small(tiny_settings))
    hold(session, 0, ME)
    (treated,) = doctor(session, repair=True, **{"storage.runs": str(tmp_path / "elsewhere")})
    assert treated.outcome == "told"
    assert "--runs" in treated.line
    assert not (tmp_path / "elsewhere").exists()
    another = RunPaths(tmp_path / "another", "tiny")
    another.claim("0" * 32)
    leave_weights(another.trial(9).best, {"configuration": ""})
    treated = doctor(session, repair=True, **{"storage.runs": str(tmp_path / "another")})
    assert outcomes(treated) == {"told"}
    assert another.trial(9).best.is_file()


def test_protocol_of_a_deleted_study_is_reported_and_its_folders_stay(
    tiny_settings: Settings,
) -> None:
    session = initialise(small(tiny_settings))
    optuna.delete_study(study_name="tiny", storage=session.storage_handle)
    leave_weights(session.paths.trial(0).best, {"configuration": ""})
    (treated,) = doctor(session, repair=True)  # until it is asked for by name
    assert treated.outcome == "told"
    assert session.paths.trial(0).best.is_file()
    assert study_names(session.storage_handle.database) == ["tiny"]


def test_sqlite_that_another_machine_works_in_is_not_repaired(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    hold(session, 0, Owner("another-host", "another-boot", 1, "1"))
    assert doctor(session) == []
    with pytest.raises(StorageError, match="several machines"):
        doctor(session, repair=True)


def test_folder_that_cannot_be_deleted_is_one_line(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = initialise(small(tiny_settings))
    folders_of_no_trial(session)

    def rejected(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", rejected)
    with pytest.raises(
        RunFolderError, match=r"trials/00007 cannot be written \(Permission denied"
    ):
        doctor(session, repair=True)


def command(session: StudySession, *arguments: str) -> Result:
    place = session.config.storage
    options = ["--storage", place.url, "--runs", str(place.runs)]
    return CliRunner().invoke(app, ["doctor", *options, *arguments])


def test_command_says_what_is_left_by_its_exit_code(tiny_settings: Settings) -> None:
    session = initialise(small(tiny_settings))
    dead_worker(session)
    listed = command(session)
    assert listed.exit_code == 1
    assert ": would be released to the queue\n" in listed.stdout
    assert listed.stderr == "study: 1 to repair: the same command with --repair does it\n"
    as_json = command(session, "--json")
    assert as_json.exit_code == 1
    (one,) = json.loads(as_json.stdout)
    assert one["outcome"] == "found" and one["remedy"] == "released to the queue"
    repaired = command(session, "--repair")
    assert repaired.exit_code == 0
    assert repaired.stdout.endswith(": released to the queue\nnothing is left to repair\n")
    assert command(session).stdout == "nothing is left to repair\n"
    assert json.loads(command(session, "--json").stdout) == []
