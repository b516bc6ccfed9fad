import pytest
from optuna.trial import TrialState
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard.artifact._backend import list_trial_artifacts

from tests.resilience.conftest import on_both_databases
from tests.tools.studies import SmallStudy, opened


@pytest.mark.slow
@on_both_databases
def test_trial_killed_twice_is_the_trial_that_would_have_been(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_epochs": 8}, optimization={"batch_size": 4}).init()
    straight = study.straight()

    last = 0
    for least in (2, 5):
        worker = study.start_worker()
        _, said = worker.wait_for_epoch(least)
        worker.kill()
        assert worker.poll() == -9
        (trial,) = study.trials()
        assert trial.state == TrialState.RUNNING
        assert worker.epochs()[0][1] in (last, last + 1)  # nothing is lost but the epoch
        last = said
    started = study.work()
    assert started.epochs()[0][1] in (last, last + 1)

    study.assert_whole(1)
    assert study.run_sha256(0) == straight.run_sha256(0)
    assert study.trials()[0].intermediate_values == straight.trials()[0].intermediate_values
    recorded = study.trials()[0].user_attrs["last_weights"]
    assert recorded == straight.trials()[0].user_attrs["last_weights"]
    replayed = study.processes.run("replay", "0", "--storage", study.url, folder=study.folder)
    assert "trial 0 is bit-identical: every figure of 8 epochs, and the weights" in replayed.said()


@pytest.mark.slow
def test_grid_whose_worker_is_killed_is_finished_by_another_as_it_would_have_been(
    study: SmallStudy,
) -> None:
    rates = [{"optimization.learning_rate": rate} for rate in (0.01, 0.1)]
    points = [rate | {"network.blocks": blocks} for rate in rates for blocks in ([1] * 3, [2] * 3)]
    search = {"space": "given", "points": points, "budget": {"trials": 4}, "n_epochs": 4}
    study = study.with_settings(search=search, optimization={"batch_size": 4}).init()
    straight = study.straight()

    worker = study.start_worker()
    worker.wait_for_epoch(2)
    worker.kill()
    study.work()

    study.assert_whole(4)
    trials = study.trials()
    assert [trial.params["optimization.learning_rate"] for trial in trials] == [
        point["optimization.learning_rate"] for point in points
    ]
    assert len({trial.user_attrs["seed"] for trial in trials}) == 1
    hashes = [study.run_sha256(slot) for slot in range(4)]
    assert hashes == [straight.run_sha256(slot) for slot in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["checkpoint", "best_weights", "epochs_csv"])
def test_half_written_file_of_a_killed_worker_is_gone_when_the_trial_ends(
    study: SmallStudy, file: str
) -> None:
    study.init()
    killed = study.processes.start(
        *study.arguments("worker"),
        folder=study.folder,
        prelude=f"tests.resilience.kill_points:within_the_write_of_{file}",
    )
    assert killed.wait() == -9
    assert len(list(study.runs.rglob("*.part"))) == 1
    study.work()
    study.assert_whole(1)
    assert not list(study.runs.rglob("*.part"))


@pytest.mark.slow
@on_both_databases
def test_trial_whose_worker_is_killed_at_its_end_has_one_note_and_one_of_each_artifact(
    study: SmallStudy,
) -> None:
    study.init()
    killed = study.processes.start(
        *study.arguments("worker"),
        folder=study.folder,
        prelude="tests.resilience.kill_points:between_note_and_tell",
    )
    assert killed.wait() == -9
    study.work()
    study.assert_whole(1)
    assert not list(study.runs.rglob("*.part"))
    (trial,) = study.trials()
    with opened(study.url) as handle:
        attributes = handle.get_study_system_attrs(1)
    artifacts = list_trial_artifacts(attributes, trial.system_attrs, trial)
    assert sorted(one["filename"] for one in artifacts) == ["configuration.json", "epochs.csv"]
    keys = {key for key in attributes if key.startswith("dashboard:1:")}
    assert keys == {"dashboard:1:note_ver", "dashboard:1:note_str:0"}
    assert get_note_from_system_attrs(attributes, 1)["body"].startswith(
        "**complete** after 4 of 4"
    )
    study.processes.run("doctor", *study.arguments("doctor")[3:], folder=study.folder)
