"""The rungs of a study: epochs at which its trials are cut, or pause. Must not import torch."""

from storage.promotion import rung_epochs
from study.configuration.config import StudyConfig

WITH_RUNGS = ("rungs", "promotion")
"""Pruners that have rungs."""


def rungs_of(config: StudyConfig) -> list[int]:
    """Return the epochs of the rungs of a study, in order; none with a pruner that has none."""
    if config.search.pruner not in WITH_RUNGS:
        return []
    return rung_epochs(
        config.search.rungs,
        n_epochs=config.search.n_epochs,
        warmup_epochs=config.optimization.warmup_epochs,
    )


def find_missing_rungs(config: StudyConfig) -> str | None:
    """Return a caution where every rung would lie within the warm-up, else None."""
    search, warmup = config.search, config.optimization.warmup_epochs
    if search.pruner not in WITH_RUNGS or rungs_of(config):
        return None
    remedy = "set a larger search.n_epochs, or search.pruner=none"
    if search.n_epochs > 1:
        remedy = f"set optimization.warmup_epochs below {search.n_epochs - 1}, or {remedy[4:]}"
    return (
        f"caution: search.rungs never apply, for a rung lies after the warm-up, {warmup:g} of "
        f"{search.n_epochs} epochs, and before the last epoch: {remedy}"
    )
