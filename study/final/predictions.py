"""The file of what was predicted for each test image, for tests between two models.

Only the one test evaluation of a final run writes it.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from model.evaluation import TOP_K
from model.predictions import Prediction
from storage.atomic_files import write_atomically


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
