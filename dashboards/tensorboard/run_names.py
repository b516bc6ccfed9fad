"""What TensorBoard calls a run: its number and its hyperparameters. Must not import torch."""

from contextlib import suppress
from pathlib import Path

from dashboards.analysis.confirmation.reading import CONFIRMS
from dashboards.formatting import shown_params
from storage.errors import StudyNotFoundError
from storage.own_study import open_study
from storage.run_paths import RunPaths
from storage.study_names import CONFIRM_SUFFIX, FINAL_SUFFIX
from storage.study_storage import StudyStorage
from storage.trial_rows import TrialRow, build_row

SHORT = {"learning rate": "lr", "weight decay": "wd"}


def name_runs(storage: StudyStorage, study_name: str, paths: RunPaths) -> dict[Path, str]:
    """Return the names of all runs of a study and of what follows its search, by folder of events.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    names = {
        paths.trial(row.slot).tensorboard: name_run(row)
        for row in _rows(storage, study_name)
        if row.slot is not None
    }
    following = (
        ("confirm", study_name + CONFIRM_SUFFIX, paths.confirmation),
        ("final", study_name + FINAL_SUFFIX, paths.final),
    )
    for kind, name, place in following:
        with suppress(StudyNotFoundError):  # it has none yet
            for row in _rows(storage, name):
                if row.slot is not None:
                    names[place(row.slot).tensorboard] = f"{kind} {name_run(row)}"
    return names


def name_run(row: TrialRow) -> str:
    """Return `007 lr=0.12 wd=0.0001 blocks=2-2-2`; TensorBoard sorts names as texts.

    The label of a given point, or the role of a confirmation run, follows the number.
    """
    params = [
        f"{SHORT.get(name, name).replace(' ', '_')}={text}"
        for name, text in shown_params(row).items()
    ]
    label = [str(row.attributes["label"])] if "label" in row.attributes else []
    if CONFIRMS in row.attributes:
        label.append(row.attributes[CONFIRMS]["role"])
    return " ".join([f"{row.number:03}", *label, *params])


def _rows(storage: StudyStorage, study_name: str) -> list[TrialRow]:
    trials = open_study(storage, study_name).get_trials(deepcopy=False)
    return [build_row(trial, []) for trial in trials]
