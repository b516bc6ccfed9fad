"""One-factor comparisons: a base, and points that differ from it in one thing each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.configuration import AugmentationConfig
from study.configuration.config import StudyConfig
from study.configuration.dotted_keys import value_at
from study.configuration.given_values import suggest_near
from study.configuration.points import LABEL, SEED
from study.errors import ConfigurationError

BASE = "base"
MOST_BLOCKS = 8
MOST_DROPOUT = 0.9
LABEL_SMOOTHING = 0.1

Variants = Mapping[str, Mapping[str, Any]]


def _times(key: str, value: float, factor: float) -> Variants:
    name = key.rpartition(".")[2].replace("_", " ")
    ends = {"high": _rounded(value * factor), "low": _rounded(value / factor)}
    return {f"{name} {end} ({found:g})": {key: found} for end, found in ends.items()}


def _rounded(value: float) -> float:
    """Return a number as people would write it: 0.3, and not 0.30000000000000004."""
    return float(f"{value:.6g}")


def _learning_rate(config: StudyConfig) -> Variants:
    return _times("optimization.learning_rate", config.optimization.learning_rate, 5)


def _weight_decay(config: StudyConfig) -> Variants:
    return _times("optimization.weight_decay", config.optimization.weight_decay, 10)


def _blocks(config: StudyConfig) -> Variants:
    blocks = config.network.blocks
    high = [min(MOST_BLOCKS, count + 1) for count in blocks]
    low = [max(1, count - 1) for count in blocks]
    return {
        f"blocks {end} ({'-'.join(map(str, found))})": {"network.blocks": found}
        for end, found in (("high", high), ("low", low))
    }


def _dropout(config: StudyConfig) -> Variants:
    dropout = config.network.dropout
    high = max(dropout, min(MOST_DROPOUT, _rounded(dropout + 0.2)))
    low = max(0.0, _rounded(dropout - 0.1))
    return {
        f"dropout {end} ({found:g})": {"network.dropout": found}
        for end, found in (("high", high), ("low", low))
    }


def _augmentation(config: StudyConfig) -> Variants:
    """Everything at its default, which does nothing, and no flips."""
    off = AugmentationConfig(flip_probability=0.0)
    settings = {
        f"augmentation.{name}": value
        for name, value in off.model_dump(mode="json").items()
        if getattr(config.augmentation, name) != getattr(off, name)
    }
    return {"augmentation off": settings}


def _label_smoothing(config: StudyConfig) -> Variants:
    key = "optimization.label_smoothing"
    if config.optimization.label_smoothing:
        return {"label smoothing off": {key: 0.0}}
    return {f"label smoothing {LABEL_SMOOTHING:g}": {key: LABEL_SMOOTHING}}


def _schedule(config: StudyConfig) -> Variants:
    other = "constant" if config.optimization.schedule == "cosine" else "cosine"
    return {f"schedule {other}": {"optimization.schedule": other}}


FACTORS: dict[str, Callable[[StudyConfig], Variants]] = {
    "learning-rate": _learning_rate,
    "weight-decay": _weight_decay,
    "blocks": _blocks,
    "dropout": _dropout,
    "augmentation": _augmentation,
    "label-smoothing": _label_smoothing,
    "schedule": _schedule,
}


def one_factor_points(
    config: StudyConfig, factors: Sequence[str], *, n_seeds: int
) -> list[dict[str, Any]]:
    """Return the base and each of its variants, once for each seed.

    Variants that are the base itself, such as a dropout of 0 lowered, are left out.

    Args:
        config: The base.
        factors: Names of `FACTORS`; none for all of them.
        n_seeds: How often each is repeated: with the configured seed, and with those after it.

    Raises:
        ConfigurationError: If a factor is unknown, or nothing is left to compare.
    """
    factors = [name.casefold() for name in factors]
    unknown = [name for name in factors if name not in FACTORS]
    if unknown:
        raise ConfigurationError(
            f"--factor must be one of {', '.join(FACTORS)}, got {unknown[0]}: "
            f"{suggest_near(unknown[0], FACTORS, otherwise='choose one of them')}"
        )
    variants: dict[str, Mapping[str, Any]] = {
        label: settings
        for name, vary in FACTORS.items()
        if not factors or name in factors
        for label, settings in vary(config).items()
        if _differs(config, settings)
    }
    if not variants:
        raise ConfigurationError(
            f"--factor must differ from the base, {', '.join(factors)} cannot: choose another"
        )
    seeds = [{SEED: config.seed + more} if n_seeds > 1 else {} for more in range(n_seeds)]
    named = {BASE: {}, **variants}
    points = [{LABEL: label, **settings} for label, settings in named.items()]
    # A whole round for each seed: a study that is cut short, or extended, compares all the same.
    return [point | seed for seed in seeds for point in points]


def _differs(config: StudyConfig, settings: Mapping[str, Any]) -> bool:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return any(plain(value_at(config, key)) != value for key, value in settings.items())
