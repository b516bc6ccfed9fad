"""Trials that pause at rungs, and budgets of epochs and hours, with workers that die."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from storage.attempts import read_attempts
from storage.budget import Budget
from storage.leases import Lease, acquire, acquire_waiting, held_leases, release
from storage.optuna_rows import PAUSED, SLOT
from storage.own_study import SampledStudy
from storage.process_identity import Owner
from storage.queue_snapshot import Rungs
from storage.records import raise_amount, read_epochs, read_protocol
from storage.study_storage import StudyStorage
from storage.trial_queue import TrialQueue
from tests.tools.light_trials import (
    NAME,
    SECONDS_OF_AN_EPOCH,
    LightWorker,
    create_light_study,
    light_epoch,
    light_queue,
)

RUNGS = Rungs((1, 2, 4), 8)


@dataclass
class Cluster:
    """Workers in one process, of which one goes a step at a time.

    Attributes:
        handle: The study's database.
        queue: The study's queue.
        folder: Of the checkpoints.
        lost: Trials whose worker died.
    """

    handle: StudyStorage
    queue: TrialQueue
    folder: Path
    lost: list[int] = field(default_factory=list)
    n_started: int = 0
    claimed: dict[int, int] = field(default_factory=dict)

    def start(self) -> tuple[int, Iterator[str]]:
        """Return a worker's number and its steps."""
        self.n_started += 1
        number = self.n_started
        claim = partial(self._claim, number)
        return number, LightWorker(self.handle, self.queue, self.folder, claim).work()

    def _claim(self, number: int) -> Lease | None:
        owner = Owner("host", "boot", number, "1")
        held = held_leases(self.handle.database)
        for trial_id in list(self.lost):
            self.lost.remove(trial_id)
            seen = held.get(trial_id)
            lease = acquire(self.handle.database, trial_id, owner, lost=seen, running=True)
            if lease is not None:
                self.claimed[number] = trial_id
                return lease
        study_id = self.handle.get_study_id_from_name(NAME)
        lease = acquire_waiting(
            self.handle.database,
            study_id,
            owner,
            last=set(),
            choose=partial(self.queue.choose, last=set()),
        )
        if lease is not None:
            self.claimed[number] = lease.trial_id
        return lease

    def kill(self, number: int) -> None:
        """Forget a worker, whose trial others may reclaim."""
        if (trial_id := self.claimed.get(number)) is not None:
            self.lost.append(trial_id)

    def run(self, *, n_workers: int, seed: int, p_death: float = 0.0) -> Counter[str]:
        """Let workers go on in any order until all have left; return where they died."""
        draws, deaths = random.Random(seed), Counter[str]()
        workers = dict(self.start() for _ in range(n_workers))
        while workers:
            number = draws.choice(list(workers))
            moment = next(workers[number], None)
            if moment is None:
                del workers[number]
            elif draws.random() < p_death:
                deaths[moment] += 1
                del workers[number]
                self.kill(number)
                workers |= [self.start()]
        return deaths

    def trials(self) -> list[FrozenTrial]:
        """Return all trials."""
        study_id = self.handle.get_study_id_from_name(NAME)
        return self.handle.get_all_trials(study_id)

    def check(self) -> int:
        """Check that every trial is over, once and with its own values; return all epochs."""
        trials = self.trials()
        assert [trial.user_attrs[SLOT] for trial in trials] == list(range(len(trials)))
        assert read_protocol(self.handle.database, NAME).budget == len(trials)
        n_epochs = 0
        records = read_epochs(self.handle.database, [trial._trial_id for trial in trials])
        for trial in trials:
            assert trial.state.is_finished() and PAUSED not in trial.user_attrs
            slot, of_trial = trial.user_attrs[SLOT], records.get(trial._trial_id, [])
            steps = range(1, len(of_trial) + 1)
            assert of_trial == [light_epoch(slot, step) for step in steps]
            values = {step: light_epoch(slot, step).validation_macro_f1 for step in steps}
            assert trial.intermediate_values == values
            if trial.state == TrialState.COMPLETE:
                assert len(of_trial) == self.queue.rungs.n_epochs
            if trial.state == TrialState.PRUNED:
                assert trial.value == of_trial[-1].validation_macro_f1
            n_epochs += len(of_trial)
        return n_epochs


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
    # What is left is less than the next step of whichever trial is in line.
    assert 100 - (RUNGS.n_epochs - RUNGS.epochs[-1]) < n_epochs <= 100
    states = Counter(trial.state for trial in cluster.trials())
    assert states[TrialState.COMPLETE] >= 1 and states[TrialState.PRUNED] > 10


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
