"""Searches made up trial by trial, as the evidence of a diagnosis and in a database."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages._rdb.models import TrialValueModel
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, func, select

from dashboards.analysis.diagnosis.evidence import MOST_BEST, MOST_REPEATS, Evidence
from storage.diagnosed_trials import DivergedValues, ScoredTrial
from storage.frozen_trials import params, trials, user_attributes, values
from storage.optuna_rows import PAUSED
from storage.records import Protocol, add_protocol
from storage.study_storage import StudyStorage
from storage.tables import epochs
from tests.tools.searches import record

RATE, DECAY = "optimization.learning_rate", "optimization.weight_decay"
DROPOUT, STAGES = "network.dropout", ("network.blocks.1", "network.blocks.2")
SPACE: dict[str, BaseDistribution] = {
    RATE: FloatDistribution(1e-3, 1.0, log=True),
    DECAY: FloatDistribution(1e-6, 1e-2, log=True),
    DROPOUT: FloatDistribution(0.0, 0.5),
    **dict.fromkeys(STAGES, IntDistribution(1, 4)),
}
CONFIGURATION = {
    "optimization": {"warmup_epochs": 1.0, "gradient_clip_norm": None, "batch_size": 128},
    "search": {
        "space": "joint",
        "n_trials": 60,
        "n_epochs": 20,
        "pruner_percentile": 75.0,
        "sampler": "tpe",
    },
}
OLD_NAMES = {
    RATE: "learning_rate",
    DECAY: "weight_decay",
    DROPOUT: "dropout",
    **{name: f"blocks_{stage}" for stage, name in enumerate(STAGES, start=1)},
}


@dataclass(frozen=True)
class MadeUpTrial:
    """A trial with what a diagnosis looks at; complete ones have a value, others a reason."""

    number: int
    params: Mapping[str, Any]
    state: TrialState = TrialState.COMPLETE
    value: float | None = None
    kind: str | None = None
    n_epochs: int = 1
    seed: int = 0
    is_paused: bool = False


@dataclass(frozen=True)
class MadeUpSearch:
    """A search of such trials."""

    trials: Sequence[MadeUpTrial]
    space: Mapping[str, BaseDistribution] = field(default_factory=lambda: SPACE)
    pruner: str = "percentile"

    @property
    def configuration(self) -> dict[str, dict[str, Any]]:
        """What is stored of its configuration."""
        search = CONFIGURATION["search"] | {"pruner": self.pruner}
        return CONFIGURATION | {"search": search}

    def with_old_names(self) -> "MadeUpSearch":
        """Return the same as a study of an older version has it."""

        def renamed(of: Mapping[str, Any]) -> dict[str, Any]:
            return {OLD_NAMES.get(name, name): value for name, value in of.items()}

        trials = [replace(trial, params=renamed(trial.params)) for trial in self.trials]
        return replace(self, trials=trials, space=renamed(self.space))

    def evidence(self) -> Evidence:
        """Return what a diagnosis rests on, counted trial by trial."""
        complete = [one for one in self.trials if one.state is TrialState.COMPLETE]
        best = sorted(complete, key=lambda one: (-(one.value or 0.0), one.number))[:MOST_BEST]
        diverged = [one for one in self.trials if one.kind == "diverged"]
        states = {TrialState.FAIL: "failed", TrialState.RUNNING: "running"}
        counts = Counter(
            "paused" if one.is_paused else states.get(one.state, one.state.name.lower())
            for one in self.trials
        )
        return Evidence(
            counts=counts,
            kinds=self._count_kinds(TrialState.PRUNED),
            failure_kinds=self._count_kinds(TrialState.FAIL),
            n_complete=len(complete),
            best=self._scored(best),
            repeats=self._scored(self._repeats(complete)),
            diverged=[*self._diverged_values(diverged)],
            n_first_epoch=sum(one.n_epochs == 0 for one in diverged),
            configuration=self.configuration,
        )

    def _count_kinds(self, state: TrialState) -> Counter[str]:
        return Counter(one.kind for one in self.trials if one.state is state and one.kind)

    def _scored(self, trials: Iterable[MadeUpTrial]) -> list[ScoredTrial]:
        return [
            ScoredTrial(
                one.number,
                one.value or 0.0,
                {name: value for name, value in one.params.items() if name != "seed"},
                {name: self.space[name] for name in one.params if name != "seed"},
                one.params.get("seed", one.seed),
            )
            for one in sorted(trials, key=lambda one: one.number)
        ]

    def _repeats(self, complete: Sequence[MadeUpTrial]) -> list[MadeUpTrial]:
        shared = Counter((name, value) for one in complete for name, value in one.params.items())
        found = []
        for one in sorted(complete, key=lambda one: one.number):
            items = [item for item in one.params.items() if item[0] != "seed"]
            if items and all(shared[item] > 1 for item in items):
                found.append(one)
        return found[:MOST_REPEATS]

    def _diverged_values(self, diverged: Sequence[MadeUpTrial]) -> Iterable[DivergedValues]:
        ended = [
            one for one in self.trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)
        ]
        for name in sorted({name for one in diverged for name in one.params}):
            kind = self.space[name]
            there = [
                kind.to_internal_repr(one.params[name]) for one in diverged if name in one.params
            ]
            drawn = [
                kind.to_internal_repr(one.params[name]) for one in ended if name in one.params
            ]
            yield DivergedValues(
                name,
                kind,
                min(there),
                max(there),
                len(there),
                len(drawn),
                sum(value >= min(there) for value in drawn),
                sum(value <= max(there) for value in drawn),
            )

    def store(self, handle: StudyStorage, name: str) -> None:
        """Write the search into a database as workers would."""
        optuna.create_study(study_name=name, storage=handle, direction="maximize")
        data = {"source": "pictures", "image_size": 32, "split_seed": 5}
        configuration = self.configuration | {"name": name, "seed": 7, "data": data}
        facts = {
            "data_fingerprint": "d" * 64,
            "class_names": ["cat", "dog"],
            "n_examples": {"train": 9_000, "validation": 1_000, "test": 1_000},
            "baselines": {"majority": {"accuracy": 0.5, "macro_f1": 0.3}},
            "versions": {"torch": "2.11.0"},
            "git_revision": "0123abc",
        }
        budget = len(self.trials)
        add_protocol(handle.database, Protocol(name, budget, configuration, "f" * 64, facts))
        study_id = handle.get_study_id_from_name(name)
        rows: dict[Table, list[dict[str, Any]]] = defaultdict(list)
        newest = select(func.coalesce(func.max(trials.c.trial_id), 0))
        first = handle.database.read(lambda connection: connection.scalar(newest)) + 1
        for trial in self.trials:
            self._add_rows(rows, study_id, first + trial.number, trial)

        def insert(connection: Connection) -> None:
            for table, some in rows.items():
                connection.execute(table.insert(), some)

        handle.database.write(insert)  # at once: a COMMIT for each takes seconds

    def _add_rows(
        self,
        rows: dict[Table, list[dict[str, Any]]],
        study_id: int,
        trial_id: int,
        trial: MadeUpTrial,
    ) -> None:
        mine = {"trial_id": trial_id}
        named = {"study_id": study_id, "number": trial.number, "state": trial.state}
        rows[trials].append(mine | named)
        if trial.state is TrialState.COMPLETE:
            finite = TrialValueModel.TrialValueType.FINITE
            scored = {"objective": 0, "value": trial.value, "value_type": finite}
            rows[values].append(mine | scored)
        for name, value in trial.params.items():
            kind = self.space[name]
            drawn = {"param_name": name, "param_value": kind.to_internal_repr(value)}
            rows[params].append(mine | drawn | {"distribution_json": distribution_to_json(kind)})
        noted: dict[str, Any] = {"slot": trial.number, "seed": trial.seed, "best_epoch": 1}
        noted |= {"reason": {"kind": trial.kind, "message": "made up"}} if trial.kind else {}
        noted |= {PAUSED: 1} if trial.is_paused else {}
        rows[user_attributes] += [
            mine | {"key": key, "value_json": json.dumps(value)} for key, value in noted.items()
        ]
        if trial.n_epochs:
            rows[epochs].append(mine | vars(record(1, trial.value or 0.1)))
