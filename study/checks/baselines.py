"""Baselines of a data set: guesses from the counts of its classes, and two cheap learners.

Learned from the training split, measured on the validation split; the test split is not opened.
What was learned is kept beside the data report and found again by the fingerprint of the data.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.image_cache import PreparedData
from data.splits import share
from model.baselines import guesses
from storage.learned_baselines import LearnedBaselines, Scores, find_baselines, save_baselines
from storage.run_paths import DataPaths

RECIPE = 1
"""Raised when equal data would give other scores: those that are stored are then out of date."""
MOST_TRAINING_IMAGES = 100_000
"""Stratified; bounds the minutes that logistic regression takes."""


def measure_guesses(prepared: PreparedData) -> Scores:
    """Return what guessing achieves on the validation split, by name."""
    counts = prepared.description.class_counts
    found = guesses(counts["validation"], train_counts=counts["train"])
    return {name: vars(guess) for name, guess in found.items()}


def find_learned(prepared: PreparedData, runs: Path) -> LearnedBaselines | None:
    """Return what an earlier call has learned from these data, None where none did.

    Raises:
        StorageError: If its file is damaged.
    """
    found = find_baselines(DataPaths(runs, prepared.fingerprint))
    return found if found and found.recipe == RECIPE else None


def learned(
    prepared: PreparedData, runs: Path, *, announce: Callable[[str], None]
) -> LearnedBaselines:
    """Return what cheap learners achieve, learning it where no earlier call did.

    Args:
        prepared: The data.
        runs: Folder of all runs, where the scores are kept.
        announce: Told what takes time, before it does.

    Raises:
        StorageError: If the scores cannot be read or written.
    """
    found = find_learned(prepared, runs)
    if found is None:
        announce("learning two baselines, which may take minutes; they are kept")
        found = _learn(prepared)
        save_baselines(DataPaths(runs, prepared.fingerprint), found)
    return found


def _learn(prepared: PreparedData) -> LearnedBaselines:
    from model.learned_baselines import logistic_regression, nearest_mean_colour, shrink

    examples, judged_examples = prepared.train(), prepared.validation()
    rows_M = stratified_rows(examples.labels_N, most=MOST_TRAINING_IMAGES)
    train = shrink(examples.images_NHWC, examples.labels_N, rows_M=rows_M)
    all_rows = np.arange(len(judged_examples.labels_N))
    judged = shrink(judged_examples.images_NHWC, judged_examples.labels_N, rows_M=all_rows)
    colour = nearest_mean_colour(train, judged, n_classes=prepared.n_classes)
    return LearnedBaselines(
        data_fingerprint=prepared.fingerprint,
        recipe=RECIPE,
        n_train_images=len(rows_M),
        scores={
            "nearest mean colour": vars(colour),
            "logistic regression, 8x8 pixels": vars(logistic_regression(train, judged)),
        },
    )


def stratified_rows(labels_N: NDArray[np.int64], *, most: int) -> NDArray[np.intp]:
    """Return all rows, or a random part of each class in proportion; ascending.

    The same labels give the same rows.

    Args:
        labels_N: Class of each row.
        most: At most so many rows, at least one for each class.
    """
    if len(labels_N) <= most:
        return np.arange(len(labels_N))
    by_class = np.argsort(labels_N, kind="stable")
    counts_C = np.bincount(labels_N)
    starts_C = np.cumsum(counts_C) - counts_C
    shares_C = share(counts_C, total=most)
    random = np.random.default_rng(0)
    chosen = [
        start + random.choice(count, n, replace=False)
        for start, count, n in zip(starts_C, counts_C, shares_C, strict=True)
    ]
    return np.sort(by_class[np.concatenate(chosen)])
