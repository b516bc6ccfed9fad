"""The file of what was predicted for each image, for tests between two models.

The one test evaluation of a final run writes it, and each run that judges a winner on the
confirmation images.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.evaluation import TOP_K
from model.predictions import Prediction
from storage.atomic_files import write_atomically
from study.errors import StudyError


def save_predictions(
    path: Path, predictions: Iterable[Prediction], class_names: Sequence[str]
) -> None:
    """Write a row for each image, in the order of the split.

    Args:
        path: Of the CSV file.
        predictions: Of all images.
        class_names: Names of all classes, in order.

    Raises:
        RunFolderError: If it cannot be written.
    """
    places = range(1, min(TOP_K, len(class_names)) + 1)
    best = chain.from_iterable((f"class_{place}", f"probability_{place}") for place in places)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["row", "class", "predicted", *best])
    for row, one in enumerate(predictions):
        names = [class_names[label] for label in one.classes]
        shown = [f"{probability:.9g}" for probability in one.probabilities]
        pairs = chain.from_iterable(zip(names, shown, strict=True))
        rows.writerow([row, class_names[one.label], names[0], *pairs])
    write_atomically(path, text.getvalue().encode())


def load_predictions(
    path: Path, class_names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the class of each image and the one predicted, in the order of the split.

    Args:
        path: Of the CSV file.
        class_names: Names of all classes, in order.

    Raises:
        StudyError: If it cannot be read, or is not such a file.
    """
    number = {name: label for label, name in enumerate(class_names)}
    try:
        with path.open(newline="") as file:
            pairs = [
                (number[row["class"]], number[row["predicted"]]) for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(
            f"{path} must hold the predictions of a run of this study, it cannot be read "
            f"({type(error).__name__}): restore it from a backup; `study confirm` repeats a run "
            "whose file is gone"
        ) from error
    labels_N, predicted_N = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return labels_N, predicted_N
