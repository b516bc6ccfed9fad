"""The whole configuration: the packages' parts composed, and how it is read and validated.

Precedence: preset, then file, then `--set`, then the options of the command line. Imports neither
torch nor optuna, so that an error comes at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from data.configuration import AugmentationConfig, DataConfig
from model.configuration import (
    DeviceConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizationConfig,
)
from storage.configuration import StorageConfig
from storage.study_names import SUFFIXES, follows_a_search
from study.configuration.dotted_keys import assign, leaves, merge, nested
from study.configuration.given_values import expand_home, read_names, shown
from study.configuration.points import checked_points
from study.configuration.presets import read_preset
from study.configuration.sections import (
    ConfirmConfig,
    FinalConfig,
    ProtocolConfig,
    SearchConfig,
    StudyLocation,
    WorkersConfig,
)
from study.configuration.spaces.edits import PREFIX, edit_space
from study.configuration.spaces.rules import checked_space
from study.configuration.spaces.whole import name_defaults, with_whole_space
from study.configuration.validation import validate
from study.configuration.yaml_values import (
    MOST_LEVELS,
    dump_yaml,
    parse_assigned,
    read_yaml_file,
)
from study.errors import ConfigurationError

DEFAULT_PRESET = "quickstart"
FITTED_PRESET = "my-images"
"""The preset whose images choose the rest: see `study/creation/fitted_preset.py`."""
PATHS = ("data.source", "data.label_file", "data.cache", "storage.url", "storage.runs")
"""Settings in which `~` means the home folder."""
MAPPINGS = ("data.splits", "search.budget", "search.space")
"""Settings whose value is a mapping, which a later one replaces as a whole."""


class StudyConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Everything that defines a study and how it is run here."""

    name: str = Field(
        "study",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="Name of the study: letters, digits, dots, dashes, underscores, at most 100",
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
    confirm: ConfirmConfig = ConfirmConfig()
    final: FinalConfig = FinalConfig()
    workers: WorkersConfig = WorkersConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="before")
    @classmethod
    def _space_is_whole(cls, values: Any) -> Any:
        return with_whole_space(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _fits_together(self) -> "StudyConfig":
        if follows_a_search(self.name):
            raise ValueError(
                f"name must not end in {' or '.join(SUFFIXES)}, as what follows a search does, "
                f"got {self.name!r}: choose another"
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
        return validate(StudyConfig, read_names(StudyConfig, values))


@dataclass(frozen=True)
class Request:
    """What a user gives; each later one overrides the earlier ones.

    Attributes:
        preset: Name of a preset.
        file: YAML file of the same shape.
        assignments: Texts of the form `section.key=value`, the value in YAML.
        options: Values by dotted key, from options of their own; None counts as not given.
        fitted: Values by dotted key that the images have chosen, in the place of the preset's.
    """

    preset: str | None = None
    file: Path | None = None
    assignments: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names_configuration(self) -> bool:
        """Whether a preset or a file is named."""
        return self.preset is not None or self.file is not None

    @property
    def is_to_be_fitted(self) -> bool:
        """Whether the images still have to choose what the preset leaves open."""
        return (self.preset or "").casefold() == FITTED_PRESET and not self.fitted

    def gives(self, key: str) -> bool:
        """Whether an option or an assignment gives this setting, or a part of it."""
        given = [text.partition("=")[0].strip() for text in self.assignments]
        given += [name for name, value in self.options.items() if value is not None]
        return any(name == key or name.startswith(f"{key}.") for name in given)

    def location(self) -> StudyLocation:
        """Return where the study is, without validating the rest of the request."""
        values = self._values(base={"name": None})
        return validate(StudyLocation, {key: values[key] for key in ("name", "storage")})

    def resolve(self, base: Mapping[str, Any] | None = None) -> StudyConfig:
        """Compose the configuration.

        Args:
            base: What the request changes where it names neither preset nor file; default the
                preset `quickstart`.

        Raises:
            ConfigurationError: If anything is unknown, of the wrong type or out of range.
        """
        values = self._values(base)
        data = values["data"]
        if self.preset is not None and isinstance(data, dict) and data["source"] is None:
            raise ConfigurationError(
                f"--preset {self.preset.casefold()} must have images: add --data FOLDER, or leave "
                "--preset out for a study that exists"
            )
        return validated(values)

    def _values(self, base: Mapping[str, Any] | None) -> dict[str, Any]:
        # The defaults first, so that one end of a range may be set alone.
        values = StudyConfig().model_dump(mode="json")
        for key in ("space", "pruner"):  # what they stand for depends on what follows
            values["search"][key] = SearchConfig.model_fields[key].default
        preset: Mapping[str, Any] = {}
        if self.preset is not None or (self.file is None and base is None):
            preset = read_names(StudyConfig, read_preset(self.preset or DEFAULT_PRESET))
        elif self.file is None and base is not None:
            merge(values, base, whole=MAPPINGS)
            name_defaults(values)
        merge(values, preset, whole=MAPPINGS)
        for key, value in self.fitted.items():
            assign(values, key, value)
        if self.file is not None:
            merge(values, _read_file(self.file), whole=MAPPINGS)
        for assignment in self.assignments:
            _assign(values, *_parse_assignment(assignment))
        for key, value in self.options.items():
            if value is not None:
                merge(values, nested(key, value), whole=MAPPINGS)
        _describe_other_images(values, preset)
        return _read(values)


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the settings spell them, with the home folder in the place of `~`."""
    found = read_names(StudyConfig, values)
    for key in PATHS:
        section, _, name = key.partition(".")
        within = found.get(section)
        path = within.get(name) if isinstance(within, dict) else None
        if isinstance(path, str | Path):
            found[section] = {**found[section], name: expand_home(str(path))}
    return found


def _describe_other_images(values: dict[str, Any], preset: Mapping[str, Any]) -> None:
    """Replace what a preset says of its own images where a request names others."""
    section = values["data"]
    if not preset or not isinstance(section, dict):
        return
    its_source = preset["data"]["source"]
    has_others = its_source is not None and section["source"] != its_source
    if has_others and values["description"] == preset["description"]:
        values["description"] = f"The settings of preset {preset['name']}, for other images."


def validated(values: Mapping[str, Any]) -> StudyConfig:
    """Return the configuration of plain values.

    Raises:
        ConfigurationError: If a value is rejected; the message names the first, counts the rest.
    """
    config = validate(StudyConfig, _read(values))
    return checked_points(checked_space(config), known=all_keys())


def as_stored(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as JSON values for records: without its location and password."""
    return config.model_dump(mode="json", exclude={"storage": {"url", "runs"}})


def as_yaml(config: BaseModel) -> str:
    """Return a configuration as the YAML text that would give it again."""
    return dump_yaml(config.model_dump(mode="json"))


def _read_file(file: Path) -> dict[str, Any]:
    where = f"--config {file}"
    values = read_yaml_file(file, where)
    if not isinstance(values, dict):
        got = "nothing" if values is None else shown(values)
        raise ConfigurationError(
            f"{where} must hold sections with keys, got {got}: `study config` prints a whole file"
        )
    return values


def _parse_assignment(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigurationError(
            f"--set must have the form section.key=value, got {shown(text)}: "
            "for example --set search.n_epochs=10"
        )
    if key.count(".") > MOST_LEVELS:
        raise ConfigurationError(f"--set {shown(key)} is no setting: see `study config`")
    return key, parse_assigned(value, f"--set {key}")


def _assign(into: dict[str, Any], key: str, value: Any) -> None:
    """Set what a file with this one setting would; a part of the space leaves its others."""
    search = into["search"]
    if key.startswith(PREFIX) and isinstance(search, dict):
        search["space"] = edit_space(search["space"], key.removeprefix(PREFIX), value)
        return
    merge(into, nested(key, value), whole=MAPPINGS)


def all_keys() -> list[str]:
    """Return the dotted key of every setting."""
    return [key for key, _ in leaves(StudyConfig)]


def describe_keys() -> list[tuple[str, Any, str]]:
    """Return key, default and description of every setting."""
    return [(key, leaf.default, leaf.description or "") for key, leaf in leaves(StudyConfig)]
