"""What a study searches: the spaces, their ranges, and how a trial becomes hyperparameters.

To search something else, add its range to `RangesConfig`, its name to a space in `SPACES`, a field
to `Hyperparameters`, say in `applied_to` what it changes, and in `stored_settings.py` what studies
without that range ran with. Must not import optuna: a trial only suggests values.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field, model_validator

from model.configuration import NetworkConfig, OptimizationConfig

SpaceName = Literal["joint", "lr-wd", "blocks-dropout", "fixed", "given"]
Choice = bool | int | float | str | None

SPACES: dict[SpaceName, frozenset[str]] = {
    "joint": frozenset({"learning_rate", "weight_decay", "blocks", "dropout"}),
    "lr-wd": frozenset({"learning_rate", "weight_decay"}),
    "blocks-dropout": frozenset({"blocks", "dropout"}),
    "fixed": frozenset(),
    "given": frozenset(),  # nothing is drawn: see `study/configuration/points.py`
}


class FloatRange(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A range of real numbers, both ends included; equal ends fix the value."""

    low: float = Field(description="Lowest value")
    high: float = Field(description="Highest value")
    log: bool = Field(False, description="Whether values are drawn on a logarithmic scale")

    @model_validator(mode="after")
    def _is_a_range(self) -> "FloatRange":
        if self.low > self.high:
            raise ValueError(f"low must not lie above high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be positive on a logarithmic scale, got {self.low}")
        return self


class IntRange(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A range of whole numbers, both ends included; equal ends fix the value."""

    low: int = Field(ge=1, description="Lowest value")
    high: int = Field(le=8, description="Highest value")

    @model_validator(mode="after")
    def _is_a_range(self) -> "IntRange":
        if self.low > self.high:
            raise ValueError(f"low must not lie above high, got {self.low} and {self.high}")
        return self


class RangesConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The range of each hyperparameter; a space uses those it names."""

    learning_rate: FloatRange | None = Field(
        None, description="Peak learning rate; default 1e-3..1 for sgd, 1e-5..1e-2 for adam, adamw"
    )
    weight_decay: FloatRange = Field(
        FloatRange(low=1e-6, high=1e-2, log=True), description="Weight decay"
    )
    blocks: IntRange = Field(IntRange(low=1, high=4), description="Residual blocks of each stage")
    dropout: FloatRange = Field(
        FloatRange(low=0.0, high=0.5), description="Dropout2d probability inside the blocks"
    )

    @model_validator(mode="after")
    def _fit_what_they_feed(self) -> "RangesConfig":
        rates = self.learning_rate
        if rates is not None and rates.low <= 0:
            raise ValueError(f"learning_rate.low must be positive, got {rates.low:g}: raise it")
        if self.weight_decay.low < 0:
            low = self.weight_decay.low
            raise ValueError(f"weight_decay.low must not be negative, got {low:g}: raise it")
        if self.dropout.low < 0 or self.dropout.high >= 1:
            found = f"{self.dropout.low:g} to {self.dropout.high:g}"
            raise ValueError(f"dropout must lie within 0 to below 1, got {found}: narrow it")
        return self


DEFAULT_LEARNING_RATES = {
    "sgd": FloatRange(low=1e-3, high=1.0, log=True),
    "adam": FloatRange(low=1e-5, high=1e-2, log=True),
    "adamw": FloatRange(low=1e-5, high=1e-2, log=True),
}


@dataclass(frozen=True)
class Hyperparameters:
    """What the search varies; everything else of a run is configuration."""

    learning_rate: float
    weight_decay: float
    blocks: tuple[int, ...]
    dropout: float

    def applied_to(
        self, network: NetworkConfig, optimization: OptimizationConfig
    ) -> tuple[NetworkConfig, OptimizationConfig]:
        """Return the two configurations with these values in place of their own."""
        return (
            network.model_copy(update={"blocks": self.blocks, "dropout": self.dropout}),
            optimization.model_copy(
                update={"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)

    def as_params(self) -> dict[str, float]:
        """Return the values under the names by which a trial is asked for them."""
        values = self.as_dict()
        blocks = values.pop("blocks")
        return values | dict(zip(stage_names(len(blocks)), blocks, strict=True))


def stage_names(n_stages: int) -> list[str]:
    """Return the names by which a trial is asked for the blocks of each stage."""
    return [f"blocks_{stage}" for stage in range(1, n_stages + 1)]


class TrialLike(Protocol):
    """What is asked for values: Optuna's trial, or anything that answers like one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Answer with a real number."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Answer with a whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Answer with one of the choices."""


def suggest(
    trial: TrialLike,
    space: SpaceName,
    ranges: RangesConfig,
    *,
    network: NetworkConfig,
    optimization: OptimizationConfig,
) -> Hyperparameters:
    """Ask a trial for the values of a space; what the space leaves out is configured.

    Args:
        trial: Optuna's trial; one that is resumed answers with the values it had.
        space: Name of the space.
        ranges: Range of each hyperparameter.
        network: Where blocks and dropout come from when they are not searched.
        optimization: Where learning rate and weight decay come from when they are not searched.
    """

    def real(name: str, within: FloatRange, configured: float) -> float:
        if name not in SPACES[space]:
            return configured
        return trial.suggest_float(name, within.low, within.high, log=within.log)

    learning_rates = ranges.learning_rate or DEFAULT_LEARNING_RATES[optimization.optimizer]
    blocks = network.blocks
    if "blocks" in SPACES[space]:
        low, high = ranges.blocks.low, ranges.blocks.high
        names = stage_names(len(network.widths))
        blocks = tuple(trial.suggest_int(name, low, high) for name in names)
    return Hyperparameters(
        learning_rate=real("learning_rate", learning_rates, optimization.learning_rate),
        weight_decay=real("weight_decay", ranges.weight_decay, optimization.weight_decay),
        blocks=blocks,
        dropout=real("dropout", ranges.dropout, network.dropout),
    )
