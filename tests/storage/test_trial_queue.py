"""Trials that pause at rungs, and budgets of epochs and hours, with workers that die."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage.adoption import requeue, told_slots
from storage.attempts import read_attempts
from storage.budget import Budget
from storage.leases import release
from storage.optuna_rows import AUDITED, BEST_EPOCH, PAUSED, SLOT
from storage.own_study import SampledStudy, open_study
from storage.queue_snapshot import Rungs
from storage.records import raise_amount
from storage.study_storage import StudyStorage
from tests.tools.light_trials import (
    NAME,
    SECONDS_OF_AN_EPOCH,
    Cluster,
    create_light_study,
    light_queue,
)

RUNGS = Rungs((1, 2, 4), 8)


def is_third(slot: int) -> bool:
    """Audit the first slot and every third one after it."""
    return slot % 3 == 0


def cluster_of(
    handle: StudyStorage, folder: Path, budget: Budget, rungs: Rungs = RUNGS
) -> Cluster:
    create_light_study(handle, budget)
    return Cluster(handle, light_queue(handle, budget, rungs), folder)


@pytest.mark.parametrize("seed", range(3))
def test_budget_of_epochs_is_exact_whoever_dies(
    handle: StudyStorage, tmp_path: Path, seed: int
) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 100))
    deaths = cluster.run(n_workers=4, seed=seed, p_death=0.05)
    n_epochs = cluster.check()
    assert sum(deaths.values()) >= 5
    # What is left carries no paused trial to its end.
    assert 100 - (RUNGS.n_epochs - RUNGS.epochs[0]) < n_epochs <= 100
    states = Counter(trial.state for trial in cluster.trials())
    assert states[TrialState.COMPLETE] >= 1 and states[TrialState.PRUNED] > 10


@pytest.mark.parametrize("seed", range(2))
def test_audited_trials_never_pause_and_the_budget_stays_exact(
    handle: StudyStorage, tmp_path: Path, seed: int
) -> None:
    rungs = replace(RUNGS, audits=is_third)
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 100), rungs)
    deaths = cluster.run(n_workers=4, seed=seed, p_death=0.05)
    n_epochs = cluster.check()
    assert sum(deaths.values()) >= 5
    assert 100 - (RUNGS.n_epochs - RUNGS.epochs[0]) < n_epochs <= 100
    noted = {}
    for trial in cluster.trials():
        if is_third(trial.user_attrs[SLOT]):
            assert trial.state == TrialState.COMPLETE
            noted[trial._trial_id] = trial.user_attrs.get(AUDITED)
        else:
            assert AUDITED not in trial.user_attrs
    assert set(noted.values()) <= {None, *RUNGS.epochs} and any(noted.values())
    endings = {one.ending for one in read_attempts(handle.database, [*noted])}
    assert "paused" not in endings and "complete" in endings


def test_an_audited_trial_notes_the_first_rung_that_it_would_have_waited_at(
    handle: StudyStorage, tmp_path: Path
) -> None:
    rungs = replace(RUNGS, audits=is_third)
    cluster = cluster_of(handle, tmp_path, Budget("trials", 2), rungs)
    cluster.run(n_workers=1, seed=0, p_death=0.1)
    first, second = cluster.trials()
    # Either one waits for others at its first rung, and the second one does so.
    assert (first.state, first.user_attrs[AUDITED]) == (TrialState.COMPLETE, 1)
    assert (second.state, second.last_step) == (TrialState.PRUNED, 1)


def test_hours_end_an_audited_trial_too(handle: StudyStorage, tmp_path: Path) -> None:
    n_workers, hours = 2, 0.25
    rungs = replace(RUNGS, audits=is_third)
    cluster = cluster_of(handle, tmp_path, Budget("hours", hours), rungs)
    cluster.run(n_workers=n_workers, seed=2)
    spent_seconds = cluster.check() * SECONDS_OF_AN_EPOCH
    assert 0 <= spent_seconds - hours * 3600 <= n_workers * SECONDS_OF_AN_EPOCH


def test_budget_of_epochs_is_exact_without_rungs(handle: StudyStorage, tmp_path: Path) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 45), Rungs((), 8))
    cluster.run(n_workers=3, seed=0, p_death=0.05)
    assert cluster.check() == 40
    assert {trial.state for trial in cluster.trials()} == {TrialState.COMPLETE}


@pytest.mark.parametrize("amount", [8, 9, 12, 17])
def test_smallest_budget_of_epochs_has_a_result(
    handle: StudyStorage, tmp_path: Path, amount: int
) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", amount))
    cluster.run(n_workers=4, seed=amount)
    assert cluster.check() <= amount
    assert TrialState.COMPLETE in {trial.state for trial in cluster.trials()}


def test_budget_of_trials_ends_with_all_trials_finished(
    handle: StudyStorage, tmp_path: Path
) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("trials", 24))
    cluster.run(n_workers=4, seed=1, p_death=0.05)
    cluster.check()
    trials = cluster.trials()
    assert len(trials) == 24
    kinds = {
        trial.user_attrs["reason"]["kind"] for trial in trials if trial.state.name == "PRUNED"
    }
    assert kinds == {"not promoted"}


@pytest.mark.parametrize("n_slots", [1, 2])
def test_a_few_trials_have_a_result(handle: StudyStorage, tmp_path: Path, n_slots: int) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("trials", n_slots))
    cluster.run(n_workers=2, seed=3)
    cluster.check()
    states = [trial.state for trial in cluster.trials()]
    assert states.count(TrialState.COMPLETE) == 1


def test_hours_are_exceeded_by_at_most_an_epoch_a_worker(
    handle: StudyStorage, tmp_path: Path
) -> None:
    n_workers, hours = 4, 0.55
    cluster = cluster_of(handle, tmp_path, Budget("hours", hours))
    cluster.run(n_workers=n_workers, seed=5, p_death=0.03)
    spent_seconds = cluster.check() * SECONDS_OF_AN_EPOCH
    assert 0 <= spent_seconds - hours * 3600 <= n_workers * SECONDS_OF_AN_EPOCH
    reasons = [trial.user_attrs.get("reason", {}).get("kind") for trial in cluster.trials()]
    assert "budget" in reasons


def test_the_better_half_goes_on_and_the_best_first(handle: StudyStorage, tmp_path: Path) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("trials", 12))
    cluster.run(n_workers=1, seed=0)
    trials = cluster.trials()
    for rung, after in ((1, 2), (2, 3), (4, 5)):
        reached = [one for one in trials if rung in one.intermediate_values]
        went_on = [one for one in reached if after in one.intermediate_values]
        best = max(reached, key=lambda one: one.intermediate_values[rung])
        assert best in went_on and len(went_on) <= max(1, len(reached) // 2 + 1)


def test_more_budget_lets_more_trials_begin(handle: StudyStorage, tmp_path: Path) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 30))
    cluster.run(n_workers=2, seed=0)
    before = cluster.check()
    handle.database.write(lambda connection: raise_amount(connection, NAME, 60))
    cluster.run(n_workers=2, seed=1)
    assert before <= 30 < cluster.check() <= 60


def test_a_released_trial_goes_on_before_any_other(handle: StudyStorage, tmp_path: Path) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 100))
    number, worker = cluster.start()
    for moment in worker:
        if moment == "after the report" or moment == "after the pause":
            break
    lease = cluster._claim(number)
    assert lease is not None
    release(handle.database, lease, "preempted")
    again = cluster._claim(cluster.start()[0])
    assert again is not None and again.trial_id == lease.trial_id


def test_samplers_see_a_paused_trial_as_pruned(handle: StudyStorage, tmp_path: Path) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 100))
    moments = (moment for _, worker in [cluster.start()] for moment in worker)
    assert "after the pause" in moments
    (stored,) = [trial for trial in cluster.trials() if PAUSED in trial.user_attrs]
    assert (stored.state, stored.user_attrs[PAUSED]) == (TrialState.WAITING, 1)
    (attempt,) = read_attempts(handle.database, [stored._trial_id])
    assert attempt.ending == "paused"
    seen = SampledStudy(NAME, handle).get_trials(states=[TrialState.PRUNED])
    assert [trial.number for trial in seen] == [stored.number]
    assert seen[0].intermediate_values == stored.intermediate_values


def test_a_paused_trial_that_another_program_fails_is_claimed_no_more(
    handle: StudyStorage, tmp_path: Path
) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("trials", 1))
    moments = (moment for _, worker in [cluster.start()] for moment in worker)
    assert "after the pause" in moments
    (paused,) = cluster.trials()
    handle.set_trial_state_values(paused._trial_id, TrialState.FAIL)
    assert cluster._claim(cluster.start()[0]) is None
    assert light_queue(handle, Budget("trials", 1), RUNGS).close() == []


def test_result_that_another_program_gives_a_paused_trial_is_not_believed(
    handle: StudyStorage, tmp_path: Path
) -> None:
    cluster = cluster_of(handle, tmp_path, Budget("epochs", 100))
    moments = (moment for _, worker in [cluster.start()] for moment in worker)
    assert "after the pause" in moments
    (paused,) = [trial for trial in cluster.trials() if PAUSED in trial.user_attrs]
    handle.set_trial_user_attr(paused._trial_id, BEST_EPOCH, 1)
    handle.set_trial_state_values(paused._trial_id, TrialState.COMPLETE, [0.99])
    assert told_slots(handle.database, NAME) == [paused._trial_id]
    assert paused.number not in {one.number for one in open_study(handle, NAME).trials}
    study_id = handle.get_study_id_from_name(NAME)
    requeue(handle, handle.database, study_id, handle.get_trial(paused._trial_id))
    again = cluster.trials()[-1]
    assert (again.state, again.user_attrs) == (TrialState.WAITING, {SLOT: paused.user_attrs[SLOT]})
