"""The sections of a configuration that belong to no other package, and where a study is kept."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, field_validator, model_serializer, model_validator

from storage.budget import UNITS, Budget
from storage.configuration import StorageConfig
from study.configuration.given_values import shown
from study.configuration.spaces.completion import GIVEN, complete

AUTO: Final = "auto"


class BudgetConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How much a whole study may spend, in exactly one unit.

    Attributes:
        trials: Number of trials.
        epochs: Epochs of all trials together.
        hours: Hours of training and validation of all workers together.
    """

    trials: int | None = Field(None, ge=1, le=1_000_000)
    epochs: int | None = Field(None, ge=1, le=1_000_000_000)
    hours: float | None = Field(None, gt=0, le=1_000_000)

    @model_validator(mode="before")
    @classmethod
    def _names_one_unit(cls, values: Any) -> Any:
        if isinstance(values, cls):
            return values
        is_mapping = isinstance(values, Mapping)
        given = [unit for unit in UNITS if is_mapping and values.get(unit) is not None]
        if len(given) == 1 or (is_mapping and values.keys() - set(UNITS)):
            return values
        got = f"got {' and '.join(given)}" if given else f"got {shown(values)}"
        raise ValueError(
            f"must be trials, epochs or hours, one of them, {got}: "
            "for example search.budget.trials=60"
        )

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        return {self.limit.unit: self.limit.amount}

    @property
    def limit(self) -> Budget:
        """Its unit, and how much of it."""
        return next(
            Budget(unit, amount) for unit in UNITS if (amount := getattr(self, unit)) is not None
        )

    @property
    def n_first_slots(self) -> int:
        """With how many slots the queue begins; counted in epochs or hours, it grows."""
        return 1 if self.trials is None else self.trials

    def __str__(self) -> str:
        return str(self.limit)


class SearchConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What is searched, by which sampler, and how trials are pruned."""

    space: dict[str, Any] | str = Field(
        "joint",
        validate_default=True,
        description="Settings with their ranges; or joint, lr-wd, blocks-dropout, fixed, given",
    )
    param_names: Literal["dotted", "short"] = Field(
        "dotted", description="How Optuna's parameters are called; short: in studies made earlier"
    )
    points: tuple[dict[str, Any], ...] = Field(
        (), description="Points of space given: settings by dotted key, and a label where wanted"
    )
    budget: BudgetConfig = Field(
        BudgetConfig(trials=60),
        description="What the whole study may spend: trials, epochs or hours",
    )
    n_epochs: int = Field(20, ge=1, description="Epochs of a trial, over which it anneals")
    patience_epochs: int | None = Field(
        None,
        ge=1,
        description="Epochs without a better macro-F1 that end a run, final ones too; none: never",
    )
    sampler: Literal["tpe", "random", "gp"] = Field(
        "tpe", description="tpe, random, or gp (learns from complete trials only: without pruning)"
    )
    n_startup_trials: int = Field(10, ge=1, description="Trials drawn at random first (tpe, gp)")
    pruner: Literal["auto", "percentile", "median", "halving", "rungs", "promotion", "none"] = (
        Field(
            AUTO,
            description="percentile, median, halving, rungs, promotion (rungs that pause) or "
            "none; auto: promotion for epochs or hours, percentile for trials, none for gp",
        )
    )
    rungs: tuple[float, ...] = Field(
        (0.1, 0.2, 0.4),
        min_length=1,
        description="Parts of the schedule after which the worse half is pruned or pauses",
    )
    audit_fraction: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Part of the trials that run on where the pruner would cut them, for an audit",
    )
    pruner_percentile: float = Field(
        75.0, gt=0, lt=100, description="Percentage of trials that the percentile pruner keeps"
    )
    pruner_startup_trials: int = Field(
        5, ge=1, description="Complete trials before the first is pruned (percentile, median)"
    )
    pruner_warmup_epochs: int = Field(
        10, ge=0, description="Epochs of a trial before it may be pruned, except by rungs"
    )

    @property
    def searched(self) -> Mapping[str, Any]:
        """Ranges and choices by dotted setting; none where the points of trials are given."""
        return self.space if isinstance(self.space, dict) else {}

    @property
    def offers_choice(self) -> bool:
        """Whether trials differ in their settings, so that one of them is chosen."""
        return bool(self.searched or self.points)

    @field_validator("space", mode="before")
    @classmethod
    def _name_becomes_a_space(cls, space: Any) -> Any:
        # A whole configuration has done so before, for its own optimizer.
        return complete(space, optimizer=None) if isinstance(space, str) else space

    @field_validator("rungs")
    @classmethod
    def _rungs_lie_within_the_schedule(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        is_rising = all(low < high for low, high in pairwise((0.0, *rungs, 1.0)))
        if not is_rising:
            raise ValueError(
                f"must be rising parts of the schedule between 0 and 1, got {list(rungs)}: for "
                "example search.rungs=[0.1, 0.2, 0.4]"
            )
        return rungs

    @model_validator(mode="after")
    def _fixed_space_has_one_point(self) -> "SearchConfig":
        if not self.space and self.budget.trials != 1:
            raise ValueError(
                f"space fixed has nothing to vary, got a budget of {self.budget}: "
                "set search.budget.trials=1, or another search.space"
            )
        return self

    @model_validator(mode="after")
    def _points_are_given_where_they_belong(self) -> "SearchConfig":
        n_points, n_trials = len(self.points), self.budget.trials
        if n_points and self.space == GIVEN and (n_trials is None or n_trials > n_points):
            raise ValueError(
                f"budget must be in trials, at most the number of points, got {self.budget} for "
                f"{n_points}: set search.budget.trials={n_points}"
            )
        if self.points and self.space != GIVEN:
            got = ", ".join(self.space) or "fixed"
            raise ValueError(f"points need space given, got {got}: set search.space=given")
        if self.space == GIVEN and not self.points:
            raise ValueError("space given needs points: list them in search.points")
        return self

    @model_validator(mode="before")
    @classmethod
    def _choose_pruner(cls, values: Any) -> Any:
        """Replace auto: at the same number of trials promotion finds less, for less compute."""
        if not isinstance(values, Mapping) or values.get("pruner", AUTO) != AUTO:
            return values
        budget = values.get("budget")
        given = budget.model_dump() if isinstance(budget, BudgetConfig) else budget
        counts_work = isinstance(given, Mapping) and (given.keys() & {"epochs", "hours"})
        chosen = "promotion" if counts_work else "percentile"
        return {**values, "pruner": "none" if values.get("sampler") == "gp" else chosen}

    @model_validator(mode="after")
    def _budget_completes_a_trial(self) -> "SearchConfig":
        n_epochs = self.budget.epochs
        if n_epochs is not None and n_epochs < self.n_epochs:
            raise ValueError(
                f"budget must be at least the n_epochs of one trial, got {self.budget} for "
                f"{self.n_epochs}: set search.budget.epochs={self.n_epochs} or more"
            )
        return self

    @model_validator(mode="after")
    def _gp_goes_without_pruning(self) -> "SearchConfig":
        if self.sampler == "gp" and self.pruner != "none":
            raise ValueError(
                f"sampler gp ignores pruned trials, got pruner {self.pruner}: "
                "set search.pruner=none, or search.sampler=tpe"
            )
        return self


class FinalConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How the winner is trained for long."""

    n_epochs: int = Field(100, ge=1, description="Epochs of the final run")
    image_size: int = Field(64, ge=8, description="Image size of the final run, in pixels")
    seeds: int = Field(
        1, ge=1, le=100, description="Final runs of the winner, each with a seed of its own"
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a final run; default all cores when it is queued"
    )


class ConfirmConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How it is tested that the winner is better than the configured values."""

    candidates: int = Field(
        3, ge=1, le=100, description="Best trials that are trained again with fresh seeds"
    )
    selection_seeds: int = Field(
        2, ge=2, le=100, description="Fresh seeds of each candidate; the best mean wins"
    )
    race: bool = Field(
        False,
        description="Give candidates that keep up with the best more seeds, up to twice as many",
    )
    verdict_seeds: int = Field(
        5, ge=2, le=100, description="Further seeds of the winner, and of the configured values"
    )
    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="How often chance alone may be called better"
    )
    margin: float = Field(
        0.0, ge=0, lt=1, description="Macro-F1 by which the winner must be better"
    )


class WorkersConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How many workers `study run` starts here."""

    n_workers: int | Literal["auto"] = Field(
        1, description="Local worker processes; auto: per_gpu on each visible GPU"
    )
    per_gpu: int = Field(1, ge=1, description="Workers that share a GPU where n_workers is auto")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of each worker; default cores // n_workers at init"
    )

    @field_validator("n_workers", mode="plain")
    @classmethod
    def _auto_or_a_number(cls, value: Any) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(
                f"must be auto or a whole number from 1, got {value!r}: see `study config`"
            )
        return number


class ProtocolConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How strictly a study is held to what it began with."""

    strict: bool = Field(
        False, description="Reject (default: warn) workers that run another code version"
    )


class StudyLocation(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Where a study is kept, and its name where one is given."""

    name: str | None
    storage: StorageConfig
