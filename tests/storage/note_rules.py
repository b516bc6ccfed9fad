"""What holds for notes on any database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import optuna
from optuna.artifacts import ArtifactMeta, get_all_artifact_meta
from optuna.trial import create_trial
from optuna_dashboard import get_note, save_note
from optuna_dashboard.artifact._backend import list_trial_artifacts

from storage.dashboard_notes import CHUNK, write_note
from storage.study_storage import StudyStorage, open_study_storage

LINK = ArtifactMeta("ab-01", "curve.png", "image/png", None)


def write(
    handle: StudyStorage, study: optuna.Study, trial_id: int, body: str, *, finished: bool = False
) -> None:
    study_id = study._study_id
    handle.database.write(
        lambda connection: write_note(
            connection, study_id, body, [LINK], trial_id=trial_id, finished=finished
        )
    )


def new_study(handle: StudyStorage) -> optuna.Study:
    for study in handle.get_all_studies():
        handle.delete_study(study._study_id)
    return optuna.create_study(study_name="noted", storage=handle)


def note_is_written_once_however_often_it_is_written(handle: StudyStorage) -> None:
    study = new_study(handle)
    trial = study.ask()
    for body in ("long " * CHUNK, "", "short", "two " * CHUNK, "the last"):
        for _ in range(2):
            write(handle, study, trial._trial_id, body)
            assert get_note(trial) == body
    key = f"dashboard:{trial._trial_id}:note_"
    attributes = handle.get_study_system_attrs(study._study_id)
    assert attributes == {f"{key}ver": 0, f"{key}str:0": "the last"}
    (meta,) = get_all_artifact_meta(trial)
    assert asdict(meta) == asdict(LINK)


def note_of_a_person_stays(handle: StudyStorage) -> None:
    study = new_study(handle)
    trial = study.ask()
    write(handle, study, trial._trial_id, "ours")
    save_note(trial, "a person's")
    write(handle, study, trial._trial_id, "ours again")
    assert get_note(trial) == "a person's"

    study_id = study._study_id
    handle.database.write(lambda connection: write_note(connection, study_id, "ours", []))
    assert get_note(study) == "ours" and get_note(trial) == "a person's"
    save_note(study, "a person's too")
    handle.database.write(lambda connection: write_note(connection, study_id, "again", [LINK]))
    assert get_note(study) == "a person's too"
    assert len(get_all_artifact_meta(study)) == 1


def finished_trial_is_linked_where_the_dashboard_looks_too(handle: StudyStorage) -> None:
    study = new_study(handle)
    study.add_trial(create_trial(value=1.0))
    (trial,) = study.get_trials()
    for _ in range(2):
        write(handle, study, trial._trial_id, "tested", finished=True)
    (trial,) = study.get_trials()
    assert trial.system_attrs == {}
    attributes = handle.get_study_system_attrs(study._study_id)
    assert list_trial_artifacts(attributes, {}, trial) == [asdict(LINK)]


def first_notes_of_two_processes_at_once_are_both_written(handle: StudyStorage) -> None:
    study_id = new_study(handle)._study_id
    url = handle.address.render_as_string(hide_password=False)
    handles = [open_study_storage(url, outage_seconds=30) for _ in range(2)]
    barrier = threading.Barrier(len(handles))

    def write_first(own: StudyStorage) -> None:
        barrier.wait()
        own.database.write(lambda connection: write_note(connection, study_id, "ours", [LINK]))
        own.engine.dispose()

    with ThreadPoolExecutor(len(handles)) as threads:
        list(threads.map(write_first, handles))
    assert handle.get_study_system_attrs(study_id)["dashboard:note_str:0"] == "ours"


NOTE_RULES = (
    first_notes_of_two_processes_at_once_are_both_written,
    note_is_written_once_however_often_it_is_written,
    note_of_a_person_stays,
    finished_trial_is_linked_where_the_dashboard_looks_too,
)
