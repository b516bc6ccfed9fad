"""What TensorBoard calls the runs of a study."""

from pathlib import Path

from dashboards.tensorboard.run_names import name_run, name_runs
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from tests.dashboards.confirmations import BETTER, add_confirmation
from tests.dashboards.statuses import build_row


def test_run_is_named_by_number_label_and_hyperparameters() -> None:
    params = {"blocks_1": 2, "learning_rate": 0.12, "blocks_2": 3, "optimization.warm_up": None}
    assert name_run(build_row(7, params=params)) == "007 blocks=2-3 lr=0.12 warm_up=none"


def test_every_run_of_a_study_has_a_name_of_its_own(
    searched_study: StudyStorage, final_trial_id: int, tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path, "pets")
    names = name_runs(searched_study, "pets", paths)
    assert paths.trial(0).tensorboard in names and paths.final(0).tensorboard in names
    assert names[paths.final(0).tensorboard].startswith("final 000")
    assert " lr=" in names[paths.trial(0).tensorboard]
    assert len(set(names.values())) == len(names)


def test_confirmation_runs_are_named_by_their_role(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    add_confirmation(searched_study, BETTER)
    paths = RunPaths(tmp_path, "pets")
    names = name_runs(searched_study, "pets", paths)
    assert names[paths.confirmation(0).tensorboard] == "confirm 000 candidate dropout=0.1"
    assert names[paths.confirmation(4).tensorboard] == "confirm 004 winner dropout=0.1"
    assert names[paths.confirmation(9).tensorboard] == "confirm 009 control dropout=0"
    assert len(set(names.values())) == len(names)
