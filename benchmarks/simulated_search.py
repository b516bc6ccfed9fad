"""One study on recorded curves: the product's sampler and pruner, workers in simulated time."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.pruners import _filter_study
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.recorded_curves import Setting, Space, Table, normalised
from benchmarks.search_policies import Policy
from benchmarks.seen_study import SeenStudy
from storage.budget import Budget
from storage.promotion import FACTOR
from storage.queue_snapshot import Progress, Rungs, Snapshot
from study.trial.samplers import build_sampler


@dataclass
class Running:
    """A trial at work, or paused: its row in Optuna's storage, its setting, and how far it is."""

    trial_id: int
    number: int
    setting: int
    steps_done: int = 0


class Search:
    """One simulated study.

    Args:
        table: What is searched.
        policy: How.
        seed: Of the sampler.

    Attributes:
        study: Optuna's study; paused trials wait in it.
    """

    def __init__(self, table: Table, policy: Policy, *, seed: int) -> None:
        self._table = table
        self._policy = policy
        self._seed = seed
        self._storage = InMemoryStorage()
        # Hyperband draws a trial's bracket from the name of the study.
        self.study = optuna.create_study(
            study_name=f"replay {seed}",
            storage=self._storage,
            direction="maximize",
            pruner=policy.build_pruner(table.n_steps),
        )
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)
        self._points = normalised(table.space, table.settings)
        self._is_unused = np.ones(len(table.settings), dtype=bool)
        self._rungs = Rungs(tuple(policy.rungs(table.n_steps)), table.n_steps)
        self._reached: dict[int, dict[int, float]] = {rung: {} for rung in self._rungs.epochs}
        self._trials: dict[int, Running] = {}
        self._paused: set[int] = set()
        self._budget = Budget("epochs", math.inf)
        self._best = -math.inf

    @property
    def settings(self) -> list[int]:
        """Which setting of the table each trial has trained, by its number."""
        return [one.setting for one in self._trials.values()]

    def run(self, *, n_workers: int, budget: float) -> list[float]:
        """Train until the budget is spent, or nothing is left to do.

        Args:
            n_workers: So many trials at a time; their steps take equally long.
            budget: Compute, in whole trainings.

        Returns:
            After each step of a worker, the best score of a complete trial, in points.
        """
        self._budget = Budget("epochs", budget * self._table.n_steps)
        bests: list[float] = []
        turns: deque[Running] = deque()
        while len(bests) < budget * self._table.n_steps:
            while len(turns) < n_workers and (claimed := self._claim()) is not None:
                turns.append(claimed)
            if not turns:
                break
            running = turns.popleft()
            if self._advance(running):
                turns.append(running)
            bests.append(self._best)
        return bests

    def _claim(self) -> Running | None:
        """Return the paused trial that goes on next, else a fresh one, else nothing."""
        if self._policy.factor is None:
            return self._begin() if self._is_unused.any() else None
        snapshot = self._snapshot()
        first = snapshot.next_paused()
        if first is not None:
            running = self._trials[first]
            self._paused.discard(first)
            self._storage.set_trial_state_values(running.trial_id, TrialState.RUNNING)
            return running
        return self._begin() if snapshot.may_begin() and self._is_unused.any() else None

    def _snapshot(self) -> Snapshot:
        """Return the study as the product's queue would see it."""
        states = {trial.number: trial.state for trial in self.study.get_trials(deepcopy=False)}
        slots = {
            number: Progress(
                number,
                states[number],
                one.steps_done if number in self._paused else None,
                has_attempt=True,
                n_epochs=one.steps_done,
                seconds=0.0,
            )
            for number, one in self._trials.items()
        }
        return Snapshot(
            budget=self._budget,
            slots=slots,
            rungs=self._rungs,
            has_complete=not math.isinf(self._best),
            reached=self._reached,
            factor=self._policy.factor or FACTOR,
        )

    def _begin(self) -> Running:
        """Draw a point, and begin with the nearest setting that is left."""
        trial_id = self._storage.create_new_trial(self._study_id)
        number = self._storage.get_trial_number_from_id(trial_id)
        drawn = self._draw(self._storage.get_trial(trial_id))
        distances_N = np.linalg.norm(self._points - normalised(self._table.space, [drawn]), axis=1)
        setting = int(np.argmin(np.where(self._is_unused, distances_N, np.inf)))
        self._is_unused[setting] = False
        for name, distribution in self._table.space.items():
            value = self._table.settings[setting][name]
            self._storage.set_trial_param(trial_id, name, value, distribution)
        self._trials[number] = Running(trial_id, number, setting)
        return self._trials[number]

    def _draw(self, trial: FrozenTrial) -> Setting:
        """Return a point of the policy's sampler, which sees the study through its view."""
        sampler = build_sampler(self._policy.search, seed=self._seed, number=trial.number)
        # A study of its own, as each keeps the trials that it saw at its first draw.
        seen = SeenStudy(self.study.study_name, self._storage, self._policy.view)
        seen.pruner = self.study.pruner
        return draw(sampler, seen, trial, self._table.space)

    def _advance(self, running: Running) -> bool:
        """Train a step; return whether the trial goes on."""
        curve = self._table.curves[running.setting]
        step = running.steps_done = running.steps_done + 1
        if step > len(curve):
            self._finish(running, TrialState.PRUNED, None)
            return False
        value = float(curve[step - 1])
        self._storage.set_trial_intermediate_value(running.trial_id, step, value)
        if step == self._table.n_steps:
            self._finish(running, TrialState.COMPLETE, value)
            self._best = max(self._best, value)
            return False
        if step in self._rungs.epochs and self._pauses(running, value):
            return False
        if self.study.pruner.prune(self.study, self._storage.get_trial(running.trial_id)):
            self._finish(running, TrialState.PRUNED, value)
            return False
        return True

    def _pauses(self, running: Running, value: float) -> bool:
        """Pause a trial at a rung, unless it would be claimed again at once."""
        self._reached[running.steps_done][running.number] = value
        at_rung = {running.number: running.steps_done}
        if self._snapshot().next_paused(at_rung) == running.number:
            return False
        self._paused.add(running.number)
        self._storage.set_trial_state_values(running.trial_id, TrialState.WAITING)
        return True

    def _finish(self, running: Running, state: TrialState, value: float | None) -> None:
        values = None if value is None else [value]
        self._storage.set_trial_state_values(running.trial_id, state, values)


def draw(sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, space: Space) -> Setting:
    """Return a point from a real sampler, as Optuna would draw it for a trial."""
    # Under Hyperband a sampler sees the trials of one bracket.
    study = _filter_study(study, trial)
    relative = sampler.infer_relative_search_space(study, trial)
    point = sampler.sample_relative(study, trial, relative)
    for name, distribution in space.items():
        if name not in point:
            point[name] = sampler.sample_independent(study, trial, name, distribution)
    return point
