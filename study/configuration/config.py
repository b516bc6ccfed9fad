"""The whole configuration: the packages' parts composed, and how it is read and validated.

Precedence: preset, then file, then `--set`, then the options of the command line. Imports neither
torch nor optuna, so that an error comes at once.
"""

import difflib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from data.configuration import AugmentationConfig, DataConfig
from model.configuration import (
    DeviceConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizationConfig,
)
from storage.configuration import StorageConfig
from storage.run_paths import FINAL_SUFFIX
from study.configuration.dotted_keys import assign
from study.configuration.given_values import (
    MOST_LEVELS,
    find_unstorable,
    parse_yaml,
    read_none,
    read_yaml_file,
    shown,
)
from study.configuration.points import checked_points
from study.configuration.reject_booleans import truth_value_for_a_number
from study.configuration.search_space import RangesConfig, SpaceName
from study.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)
DEFAULT_PRESET = "quickstart"


class SearchConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What is searched, by which sampler, and how trials are pruned."""

    space: SpaceName = Field("joint", description="joint, lr-wd, blocks-dropout, fixed or given")
    ranges: RangesConfig = RangesConfig()
    points: tuple[dict[str, Any], ...] = Field(
        (), description="Points of space given: settings by dotted key, and a label where wanted"
    )
    n_trials: int = Field(60, ge=1, le=1_000_000, description="Budget: trials of the whole study")
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
    pruner: Literal["percentile", "median", "halving", "rungs", "none"] = Field(
        "percentile", description="percentile, median, halving, rungs or none"
    )
    rungs: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5),
        min_length=1,
        description="Parts of the schedule after which the worse half is pruned (rungs)",
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

    @field_validator("rungs")
    @classmethod
    def _rungs_lie_within_the_schedule(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        is_rising = all(low < high for low, high in pairwise((0.0, *rungs, 1.0)))
        if not is_rising:
            raise ValueError(
                f"must be rising parts of the schedule between 0 and 1, got {list(rungs)}: for "
                "example search.rungs=[0.1, 0.25, 0.5]"
            )
        return rungs

    @model_validator(mode="after")
    def _fixed_space_has_one_point(self) -> "SearchConfig":
        if self.space == "fixed" and self.n_trials != 1:
            raise ValueError(
                f"space fixed has nothing to vary, got n_trials {self.n_trials}: "
                "set search.n_trials=1, or another search.space"
            )
        return self

    @model_validator(mode="after")
    def _points_are_given_where_they_belong(self) -> "SearchConfig":
        if self.points and self.space == "given" and self.n_trials > len(self.points):
            raise ValueError(
                f"n_trials must be at most the number of points, got {self.n_trials} for "
                f"{len(self.points)}: set search.n_trials={len(self.points)}"
            )
        if self.points and self.space != "given":
            raise ValueError(f"points need space given, got {self.space}: set search.space=given")
        if self.space == "given" and not self.points:
            raise ValueError("space given needs points: list them in search.points")
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


class StudyConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Everything that defines a study and how it is run here."""

    name: str = Field(
        "study",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="Name of the study: letters, digits, dots, dashes, underscores",
    )
    description: str = Field("", description="What the configuration is for; shown, never used")
    seed: int = Field(42, ge=0, description="Seed of sampling, weights, order and augmentation")
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    network: NetworkConfig = NetworkConfig()
    optimization: OptimizationConfig = OptimizationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    execution: DeviceConfig = DeviceConfig()
    search: SearchConfig = SearchConfig()
    final: FinalConfig = FinalConfig()
    workers: WorkersConfig = WorkersConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> "StudyConfig":
        if self.name.endswith(FINAL_SUFFIX):
            raise ValueError(
                f"name must not end in {FINAL_SUFFIX} (final runs do), got {self.name!r}"
            )
        shortest = min(self.search.n_epochs, self.final.n_epochs)
        if self.optimization.warmup_epochs >= shortest:
            raise ValueError(
                f"optimization.warmup_epochs must lie below search.n_epochs and final.n_epochs, "
                f"got {self.optimization.warmup_epochs:g} for {shortest}: lower it"
            )
        return self

    def replacing(self, changes: Mapping[str, Any]) -> "StudyConfig":
        """Return a validated copy with other values for some settings.

        Args:
            changes: Values by dotted key; a key may also name a whole section.

        Raises:
            ConfigurationError: If a value is rejected. The points of a study are not validated
                again.
        """
        values = dict(self)
        for key, value in changes.items():
            assign(values, key, value)
        return _validated(StudyConfig, values)


class StudyLocation(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Where a study is kept, and its name where one is given."""

    name: str | None
    storage: StorageConfig


def preset_names() -> list[str]:
    """Return the names of all presets."""
    folder = resources.files("study.presets")
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


@dataclass(frozen=True)
class Request:
    """What a user gives; each later one overrides the earlier ones.

    Attributes:
        preset: Name of a preset.
        file: YAML file of the same shape.
        assignments: Texts of the form `section.key=value`, the value in YAML.
        options: Values by dotted key, from options of their own; None counts as not given.
    """

    preset: str | None = None
    file: Path | None = None
    assignments: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names_configuration(self) -> bool:
        """Whether a preset or a file is named."""
        return self.preset is not None or self.file is not None

    def gives(self, key: str) -> bool:
        """Whether an option or an assignment gives this setting."""
        assigned = any(text.partition("=")[0].strip() == key for text in self.assignments)
        return assigned or self.options.get(key) is not None

    def location(self) -> "StudyLocation":
        """Return where the study is, without validating the rest of the request."""
        values = self._values(base={"name": None})
        return _validated(StudyLocation, {key: values[key] for key in ("name", "storage")})

    def resolve(self, base: Mapping[str, Any] | None = None) -> StudyConfig:
        """Compose the configuration.

        Args:
            base: What the request changes where it names neither preset nor file; default the
                preset `quickstart`.

        Raises:
            ConfigurationError: If anything is unknown, of the wrong type or out of range.
        """
        return validated(self._values(base))

    def _values(self, base: Mapping[str, Any] | None) -> dict[str, Any]:
        # The defaults first, so that one end of a range may be set alone.
        values = StudyConfig().model_dump(mode="json")
        if self.preset is not None:
            _merge(values, _read_preset(self.preset))
        elif self.file is None:
            _merge(values, _read_preset(DEFAULT_PRESET) if base is None else base)
        if self.file is not None:
            _merge(values, _read_file(self.file))
        for assignment in self.assignments:
            key, value = _parse_assignment(assignment)
            assign(values, key, value)
        for key, value in self.options.items():
            if value is not None:
                assign(values, key, value)
        read_none(values, _optional_keys())
        return values


def validated(values: Mapping[str, Any]) -> StudyConfig:
    """Return the configuration of plain values.

    Raises:
        ConfigurationError: If a value is rejected; the message names the first, counts the rest.
    """
    config = _validated(StudyConfig, values)
    return checked_points(config, known=all_keys())


def _validated(kind: type[M], values: Mapping[str, Any]) -> M:
    unstorable = find_unstorable(values)
    if unstorable is not None:
        raise ConfigurationError(f"{unstorable[0]} must be {unstorable[1]}: see `study config`")
    mistaken = truth_value_for_a_number(kind, values)
    if mistaken is not None:
        key, value = mistaken
        raise ConfigurationError(
            f"{key}: true and false are no numbers, got {shown(value)}: see `study config`"
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explained(error)) from None


def as_stored(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as JSON values for records: without its location and password."""
    return config.model_dump(mode="json", exclude={"storage": {"url", "runs"}})


def as_yaml(config: BaseModel) -> str:
    """Return a configuration as the YAML text that would give it again."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_preset(name: str) -> dict[str, Any]:
    names = preset_names()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
        raise ConfigurationError(
            f"--preset must be one of {', '.join(names)}, got {name!r}: did you mean {nearest[0]}?"
        )
    text = resources.files("study.presets").joinpath(f"{name}.yaml").read_text()
    values: dict[str, Any] = parse_yaml(text, f"--preset {name}")
    return {"name": name} | values


def _read_file(file: Path) -> dict[str, Any]:
    where = f"--config {file}"
    values = read_yaml_file(file, where)
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where} must hold sections with keys, got {shown(values)}")
    return values


def _parse_assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(
            f"--set must have the form section.key=value, got {shown(text)}: "
            "for example --set search.n_epochs=10"
        )
    if key.count(".") > MOST_LEVELS:
        raise ConfigurationError(f"--set {shown(key)} is no setting: see `study config`")
    return key.strip(), parse_yaml(value, f"--set {key}")


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def _explained(error: ValidationError) -> str:
    first, *others = error.errors()
    key = ".".join(str(part) for part in first["loc"])
    rest = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, all_keys(), n=1, cutoff=0)
        return f"{key} is no setting: did you mean {nearest[0]}?{rest}"
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {reason}{rest}" if key else f"{reason}{rest}"
    reason = reason[0].lower() + reason[1:]
    return f"{key}: {reason}, got {shown(first['input'])}: see `study config`{rest}"


def all_keys() -> list[str]:
    """Return the dotted key of every setting."""
    return [key for key, _ in _leaves(StudyConfig)]


def _optional_keys() -> list[str]:
    """Return the dotted key of every setting that may have no value."""
    leaves = _leaves(StudyConfig)
    return [key for key, leaf in leaves if NoneType in get_args(leaf.annotation)]


def describe_keys() -> list[tuple[str, Any, str]]:
    """Return key, default and description of every setting."""
    return [(key, leaf.default, leaf.description or "") for key, leaf in _leaves(StudyConfig)]


def _leaves(model: type[BaseModel], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for name, setting in model.model_fields.items():
        kind = setting.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and setting.description is None:
            leaves += _leaves(kind, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", setting))
    return leaves
