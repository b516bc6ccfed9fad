"""What a diagnosis of a search rests on: few trials, and counts that the database makes.

A study may have 10,000 trials, so nothing here sends all of them, nor any epoch.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, Select, case, exists, func, select

from storage.database import Database
from storage.frozen_trials import among, params, trials, user_attributes, values
from storage.study_totals import is_own_slot, studies
from storage.tables import epochs

SEED = "seed"
"""User attribute of every trial, and parameter of a given point that has a seed of its own."""
DIVERGED = json.dumps({"kind": "diverged"})[:-1]
"""How the stored reason of a trial that diverged begins."""

_distribution = functools.lru_cache(1024)(json_to_distribution)


@dataclass(frozen=True)
class ScoredTrial:
    """A complete trial: what it drew and what it reached.

    Attributes:
        number: Its number within the study.
        value: Its best validation macro-F1.
        params: Its hyperparameters by name, without a seed.
        distributions: What each was drawn from.
        seed: Of its training; None where none is noted.
    """

    number: int
    value: float
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    seed: int | None = None


@dataclass(frozen=True)
class DivergedValues:
    """The values of one hyperparameter at which trials diverged, and how many others are there.

    Attributes:
        name: Optuna's name of it.
        distribution: What it was drawn from.
        lowest: Lowest value of a diverged trial.
        highest: Highest, likewise.
        n_diverged: Diverged trials that have it.
        n_trials: Complete and pruned trials that have it, the diverged ones among them.
        n_from_lowest: Those of them from `lowest` upwards.
        n_to_highest: Those of them up to `highest`.
    """

    name: str
    distribution: BaseDistribution
    lowest: float
    highest: float
    n_diverged: int
    n_trials: int
    n_from_lowest: int
    n_to_highest: int


def read_scored(database: Database, trial_ids: Sequence[int]) -> list[ScoredTrial]:
    """Return the complete trials of Optuna's row numbers, by number."""

    def read(connection: Connection) -> list[ScoredTrial]:
        wanted = select(trials.c.trial_id, trials.c.number, values.c.value).join(
            values, values.c.trial_id == trials.c.trial_id
        )
        chosen = among(trials.c.trial_id, trial_ids) & values.c.value.is_not(None)
        rows = connection.execute(wanted.where(chosen).order_by(trials.c.number)).all()
        seeds, drawn = _read_seeds(connection, trial_ids), _read_params(connection, trial_ids)
        return [_scored(number, value, drawn[id_], seeds.get(id_)) for id_, number, value in rows]

    return database.read(read)


def _scored(
    number: int, value: float, drawn: dict[str, tuple[Any, BaseDistribution]], seed: int | None
) -> ScoredTrial:
    own_seed = drawn.pop(SEED, (seed, None))[0]
    params_of = {name: found for name, (found, _) in drawn.items()}
    distributions = {name: distribution for name, (_, distribution) in drawn.items()}
    return ScoredTrial(number, value, params_of, distributions, own_seed)


def _read_params(
    connection: Connection, trial_ids: Sequence[int]
) -> dict[int, dict[str, tuple[Any, BaseDistribution]]]:
    columns = params.c["trial_id", "param_name", "param_value", "distribution_json"]
    wanted = select(*columns).where(among(params.c.trial_id, trial_ids))
    found: dict[int, dict[str, tuple[Any, BaseDistribution]]] = defaultdict(dict)
    for trial_id, name, stored, text in connection.execute(wanted.order_by(params.c.param_id)):
        distribution = _distribution(text)
        found[trial_id][name] = (distribution.to_external_repr(stored), distribution)
    return found


def _read_seeds(connection: Connection, trial_ids: Sequence[int]) -> dict[int, int]:
    wanted = select(user_attributes.c.trial_id, user_attributes.c.value_json).where(
        among(user_attributes.c.trial_id, trial_ids), user_attributes.c.key == SEED
    )
    return {trial_id: json.loads(text) for trial_id, text in connection.execute(wanted)}


def all_differ(database: Database, study_name: str, name: str) -> bool:
    """Return whether each complete trial has a value of its own of one hyperparameter."""
    complete = (
        select(trials.c.trial_id)
        .where(_run_here(study_name), trials.c.state == TrialState.COMPLETE)
        .subquery()
    )
    mine = (params.c.trial_id == complete.c.trial_id) & (params.c.param_name == name)
    wanted = select(func.count(), func.count(params.c.param_value.distinct())).select_from(
        complete.outerjoin(params, mine)
    )
    n_trials, n_values = database.read(lambda connection: connection.execute(wanted).one())
    return bool(n_trials == n_values)


def repeated_ids(database: Database, study_name: str, most: int) -> list[int]:
    """Return the row numbers of complete trials that may repeat one another, by number.

    Each of their values is that of another complete trial too, seeds apart. Whether one other
    trial has all of them is left to the reader.

    Args:
        database: Where the study is.
        study_name: Its name.
        most: How many at most.
    """
    shared = (
        select(
            params.c.trial_id,
            func.count()
            .over(partition_by=(params.c.param_name, params.c.param_value))
            .label("n_trials"),
        )
        .join(trials, trials.c.trial_id == params.c.trial_id)
        .where(_run_here(study_name), trials.c.state == TrialState.COMPLETE)
        .where(params.c.param_name != SEED)
        .subquery()
    )
    wanted = (
        select(shared.c.trial_id)
        .group_by(shared.c.trial_id)
        .having(func.min(shared.c.n_trials) > 1)
        .order_by(shared.c.trial_id)
        .limit(most)
    )
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def count_first_epoch_divergences(database: Database, study_name: str) -> int:
    """Return how many trials diverged before they had an epoch."""
    has_epoch = exists().where(epochs.c.trial_id == trials.c.trial_id)
    wanted = (
        select(func.count())
        .select_from(trials)
        .where(_run_here(study_name), _is_diverged(), ~has_epoch)
    )
    return database.read(lambda connection: connection.scalar(wanted)) or 0


def read_diverged_values(database: Database, study_name: str) -> list[DivergedValues]:
    """Return where trials diverged, of each hyperparameter that diverged trials have, by name."""
    drawn = _drawn_values(study_name).cte("drawn")
    lowest, highest = func.min(drawn.c.param_value), func.max(drawn.c.param_value)
    ends = (
        select(drawn.c.param_name, lowest.label("lowest"), highest.label("highest"))
        .where(drawn.c.is_diverged == 1)
        .group_by(drawn.c.param_name)
        .subquery()
    )
    value = drawn.c.param_value
    wanted = (
        select(
            ends.c.param_name,
            func.min(drawn.c.distribution_json),
            ends.c.lowest,
            ends.c.highest,
            func.sum(drawn.c.is_diverged),
            func.count(),
            func.sum(case((value >= ends.c.lowest, 1), else_=0)),
            func.sum(case((value <= ends.c.highest, 1), else_=0)),
        )
        .join(drawn, drawn.c.param_name == ends.c.param_name)
        .group_by(ends.c.param_name, ends.c.lowest, ends.c.highest)
        .order_by(ends.c.param_name)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return [
        DivergedValues(name, _distribution(text), low, high, *map(int, counts))
        for name, text, low, high, *counts in rows
    ]


def _drawn_values(study_name: str) -> Select[Any]:
    """Return each value that a complete or pruned trial drew, and whether that one diverged."""
    ended = trials.c.state.in_((TrialState.COMPLETE, TrialState.PRUNED))
    return (
        select(
            params.c.param_name,
            params.c.param_value,
            params.c.distribution_json,
            case((_is_diverged(), 1), else_=0).label("is_diverged"),
        )
        .join(trials, trials.c.trial_id == params.c.trial_id)
        .where(_run_here(study_name), ended)
    )


def _is_diverged() -> ColumnElement[bool]:
    reason = user_attributes.alias()
    noted = exists().where(
        reason.c.trial_id == trials.c.trial_id,
        reason.c.key == "reason",
        reason.c.value_json.startswith(DIVERGED, autoescape=True),
    )
    return (trials.c.state == TrialState.PRUNED) & noted


def _run_here(study_name: str) -> ColumnElement[bool]:
    """Return the condition that a trial is one that the study itself ran."""
    named = select(studies.c.study_id).where(studies.c.study_name == study_name)
    study_id = named.scalar_subquery()
    return (trials.c.study_id == study_id) & is_own_slot(study_name)
