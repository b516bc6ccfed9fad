"""The range test of a study's learning rate: measured, kept, shown, and turned into a setting.

What trains is imported where it is used, so that an error comes at once.
"""

import json
import math
from dataclasses import dataclass

from data.image_cache import PreparedData
from model.rate_curve import RateCurve
from model.seeds import derive_seed
from storage.atomic_files import remove, write_atomically
from storage.run_folders import mark_runs
from storage.run_paths import RangeTestPaths, RunPaths
from study.configuration.config import StudyConfig, as_stored
from study.configuration.spaces.ranges import LEARNING_RATE
from study.configuration.yaml_values import dump_yaml
from study.creation.create import reject_runs_folder
from study.errors import StudyError

DEFAULT_RATES = {"sgd": (1e-3, 10.0), "adam": (1e-5, 1.0), "adamw": (1e-5, 1.0)}
FEWEST_STEPS = 10
NARROWING = 10.0
"""A decade either way."""


@dataclass(frozen=True)
class RangeTest:
    """What is measured.

    Attributes:
        low: Learning rate of the first step.
        high: Of the last one.
        n_steps: How many there are.
    """

    low: float
    high: float
    n_steps: int


def range_test(
    config: StudyConfig, *, low: float | None, high: float | None, n_steps: int
) -> RangeTest:
    """Return the range test to run; rates that are not given suit the optimizer.

    Raises:
        StudyError: If the rates do not rise from above zero, or the steps are too few.
    """
    usual_low, usual_high = DEFAULT_RATES[config.optimization.optimizer]
    test = RangeTest(
        usual_low if low is None else low, usual_high if high is None else high, n_steps
    )
    if not (0 < test.low < test.high < math.inf):
        raise StudyError(
            f"--low must be positive and lie below --high, got {test.low:g} and {test.high:g}"
        )
    if n_steps < FEWEST_STEPS:
        raise StudyError(f"--steps must be at least {FEWEST_STEPS}, got {n_steps}: raise it")
    return test


def free_paths(config: StudyConfig) -> RangeTestPaths:
    """Return where the range test of a study that is still to come is kept.

    Raises:
        StudyError: If the run folder cannot be written or holds another study.
    """
    paths = RunPaths(config.storage.runs, config.name)
    in_use = paths.folder.is_dir() and not paths.is_unused()
    reject_runs_folder(paths.folder, config, in_use=in_use)
    return paths.range_test


def run_range_test(
    config: StudyConfig, prepared: PreparedData, test: RangeTest, paths: RangeTestPaths
) -> RateCurve:
    """Measure and keep a curve in place of an earlier one; equal seeds give equal curves.

    Raises:
        RunFolderError: If nothing can be written.
    """
    from dashboards.figures.base import rate_curve_figure, save_png
    from dashboards.tensorboard.writer import write_rate_curve
    from model.rate_range import measure_rates
    from study.trial.components import fresh_state, train_batches

    flat = config.replacing(
        {
            "optimization.learning_rate": test.low,
            "optimization.schedule": "constant",
            "optimization.warmup_epochs": 0.0,
            # Images are mixed to the end, or not at all: else the loss would fall where it ends.
            "augmentation.cutmix_until": 1.0,
            "search.n_epochs": test.n_steps,
        }
    )
    seed = derive_seed(config.seed, "lr range")
    curve = measure_rates(
        fresh_state(flat, prepared, seed=seed, steps_per_epoch=test.n_steps),
        train_batches(flat, prepared, prepared.train(), seed=seed),
        rates=(test.low, test.high),
        n_steps=test.n_steps,
        seed=seed,
    )
    mark_runs(paths.folder.parent)
    remove(paths.tensorboard)
    record = {
        "suggested_rate": curve.suggested_rate,
        "steepest_rate": curve.steepest_rate,
        "n_steps": test.n_steps,
        "curve": curve.as_dict(),
        "configuration": as_stored(config),
        "data_fingerprint": prepared.fingerprint,
    }
    if curve.suggested_rate is None:
        remove(paths.configuration)  # it is of an earlier curve
    write_rate_curve(paths.tensorboard, curve)
    save_png(rate_curve_figure(curve), paths.picture)
    write_atomically(paths.record, json.dumps(record, indent=2).encode())
    return curve


def reject_narrowing(config: StudyConfig, *, exists: bool) -> None:
    """Reject narrowing a range that is fixed, or that nothing is drawn from.

    Raises:
        StudyError: If it is.
    """
    if exists:
        raise StudyError(
            f"--apply narrows the range of a study that is still to come, {config.name!r} exists: "
            "give another --name, or leave --apply out"
        )
    within = config.search.searched.get(LEARNING_RATE)
    if within is None:
        raise StudyError(
            f"--apply narrows a range, search.space does not vary {LEARNING_RATE}: leave --apply "
            f"out, and set {LEARNING_RATE}"
        )
    if not isinstance(within, dict) or "low" not in within:
        raise StudyError(
            f"--apply narrows one range, search.space.{LEARNING_RATE} has choices or several "
            "ranges: leave --apply out, and narrow them yourself"
        )


def write_narrowed(config: StudyConfig, rate: float, paths: RangeTestPaths) -> tuple[float, float]:
    """Write a configuration that searches the learning rate around a suggestion.

    Args:
        config: Of the study that is still to come.
        rate: The suggestion; a decade either way of it, within the range so far, is the new one.
        paths: Where the configuration is written, without location and password.

    Returns:
        The ends of the new range.

    Raises:
        StudyError: If the old and the new range have nothing in common.
    """
    space = config.search.searched
    old = space[LEARNING_RATE]
    low = max(old["low"], _rounded(rate / NARROWING))
    high = min(old["high"], _rounded(rate * NARROWING))
    if low >= high:
        raise StudyError(
            f"search.space.{LEARNING_RATE} must reach to a decade of the suggestion {rate:.2g}, "
            f"it is {old['low']:g} to {old['high']:g}: widen it, or leave --apply out"
        )
    narrowed = {**old, "low": low, "high": high, "log": True}
    changed = config.replacing({"search.space": {**space, LEARNING_RATE: narrowed}})
    text = dump_yaml(as_stored(changed))
    write_atomically(paths.configuration, text.encode())
    return low, high


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
