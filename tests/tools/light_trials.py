"""Trials without training: the queue, leases and checkpoints are real, the values made up.

Imports no torch, so that a test can run thousands of them.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage.budget import Budget
from storage.leases import Heartbeat, Lease, acquire, acquire_waiting, end, held_leases
from storage.optuna_rows import BEST_EPOCH, PAUSED, SLOT
from storage.process_identity import Owner
from storage.queue_snapshot import Rungs
from storage.records import (
    EpochRecord,
    Protocol,
    add_protocol,
    read_epochs,
    read_protocol,
    report,
    report_resumed,
)
from storage.study_storage import StudyStorage
from storage.trial_queue import TrialQueue

NAME = "light"
SECONDS_OF_AN_EPOCH = 36.0
Claim = Callable[[], Lease | None]


def create_light_study(handle: StudyStorage, budget: Budget) -> None:
    """Create a study of light trials; counted in epochs or hours, its queue begins with one."""
    study = optuna.create_study(study_name=NAME, storage=handle, direction="maximize")
    n_slots = int(budget.amount) if budget.unit == "trials" else 1
    for slot in range(n_slots):
        study.add_trial(create_trial(state=TrialState.WAITING, user_attrs={SLOT: slot}))
    facts = {} if budget.unit == "trials" else {"budget": budget.as_json()}
    add_protocol(handle.database, Protocol(NAME, n_slots, {}, "fingerprint", facts))


def light_queue(handle: StudyStorage, budget: Budget, rungs: Rungs) -> TrialQueue:
    """Return the queue of the study."""
    return TrialQueue(handle, NAME, rungs, counts_hours=budget.unit == "hours")


def light_epoch(slot: int, epoch: int) -> EpochRecord:
    """Return an epoch of a slot, the same whenever it is asked for.

    Most slots are worse than those before, so that trials pause and go on later, when others have
    come to be worse.
    """
    draws = random.Random(slot)
    best, pace = 0.8 * 0.999**slot * draws.uniform(0.98, 1.0), draws.uniform(1.0, 1.1)
    if slot % 5 == 4:
        best = draws.uniform(0.1, 0.9)
    value = best * (1.0 - math.exp(-epoch / pace))
    return EpochRecord(
        epoch, 1.0, value, value, value, 1.0, value, value, value, 0.1, 1.0,
        SECONDS_OF_AN_EPOCH, 100.0,
    )  # fmt: skip


class LightWorker:
    """Claims, trains, saves and reports as a worker does.

    Args:
        handle: The study's database.
        queue: The study's queue.
        folder: Of the checkpoints.
        claim: Claims a trial.
    """

    def __init__(
        self, handle: StudyStorage, queue: TrialQueue, folder: Path, claim: Claim
    ) -> None:
        self._handle = handle
        self._queue = queue
        self._folder = folder
        self._claim = claim

    def work(self) -> Iterator[str]:
        """Work until the study is over; yield each moment at which the worker may die."""
        while True:
            lease = self._claim()
            yield "after the claim"
            if lease is not None:
                yield from self._train(lease)
            elif self._queue.close() is not None:
                return
            else:
                yield "idle"

    def _train(self, lease: Lease) -> Iterator[str]:
        slot = self._handle.get_trial(lease.trial_id).user_attrs[SLOT]
        checkpoint = self._folder / f"{slot}.json"
        n_done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        heartbeat = Heartbeat(self._handle.database, lease, seconds=60, between=lambda: None)
        n_epochs = self._queue.rungs.n_epochs
        resumed = [light_epoch(slot, epoch) for epoch in range(1, n_done + 1)]
        if n_done == n_epochs:
            heartbeat.within(
                lambda connection: report_resumed(connection, lease.trial_id, resumed)
            )
        elif resumed and self._queue.report_resumed(heartbeat, resumed):
            return
        for epoch in range(n_done + 1, n_epochs + 1):
            yield "inside an epoch"
            saved = checkpoint.with_suffix(".part")
            saved.write_text(json.dumps(epoch))
            saved.replace(checkpoint)
            yield "between checkpoint and report"
            records = [light_epoch(slot, epoch)]
            if epoch == n_epochs:
                self._report_last(heartbeat, lease, records)
            elif self._queue.report(heartbeat, records):
                yield "after the pause"
                return
            yield "after the report"
        self._handle.set_trial_user_attr(lease.trial_id, BEST_EPOCH, n_epochs)
        value = light_epoch(slot, n_epochs).validation_macro_f1
        self._handle.set_trial_state_values(lease.trial_id, TrialState.COMPLETE, [value])
        yield "between finish and end"
        end(self._handle.database, lease, "complete")

    def _report_last(self, heartbeat: Heartbeat, lease: Lease, records: list[EpochRecord]) -> None:
        heartbeat.within(partial(report, trial_id=lease.trial_id, records=records))


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
