"""How well a model does on pictures whose folders say their classes.

Broken pictures have no prediction, so they are no part of the score.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from dashboards.formatting import shown_classes, shows_top5
from data.sources.folder_walk import readable
from data.sources.given_pictures import GivenPictures, label_by_folders
from model.evaluation import Evaluation, MetricsAccumulator
from model.standard_errors import accuracy_standard_error, macro_f1_standard_error
from study.errors import StudyError
from study.prediction.predictions import PredictedBatch

MOST_NAMES = 5


def choose_labels(
    given: Sequence[GivenPictures], class_names: Sequence[str], *, is_required: bool
) -> tuple[list[int] | None, str]:
    """Return the class of every picture where folders say all of them.

    Without being required, only folders that lie inside the named ones count.

    Args:
        given: The pictures.
        class_names: Of the model, in the order of the logits.
        is_required: Whether to reject pictures whose class nothing says.

    Returns:
        The labels, None where the pictures are not scored, and a line that says why not where
        some folder looks like a class.

    Raises:
        StudyError: If they are required, and a picture lies in no folder called like a class.
    """
    named = {pictures.folder for pictures in given}
    if None in named and not is_required:
        return None, ""
    labels, unknown = label_by_folders(given, class_names, any_folder=is_required)
    if not unknown:
        return labels, ""
    folders = ", ".join(f"'{readable(folder)}'" for folder in unknown[:MOST_NAMES])
    rest = f" and {len(unknown) - MOST_NAMES:,} more" if len(unknown) > MOST_NAMES else ""
    classes = ", ".join(class_names[:MOST_NAMES])
    if is_required:
        raise StudyError(
            f"--score must have every picture below a folder called like a class ({classes}"
            f"{', ...' if class_names[MOST_NAMES:] else ''}), those in {folders}{rest} lie below "
            "none: rename or move these folders, or leave --score out"
        )
    is_flat = set(unknown) <= named
    return None, "" if is_flat else f"not scored: no class is called like {folders}{rest}"


class Scorer:
    """Compares predictions with the labels of all pictures, batch by batch."""

    def __init__(self, labels: Sequence[int], *, n_classes: int, device: torch.device) -> None:
        """Begin at the first picture.

        Args:
            labels: Class of every picture, broken ones too.
            n_classes: Length of the logits.
            device: Where the logits are.
        """
        self._remaining = iter(labels)
        self._device = device
        self._metrics = MetricsAccumulator(n_classes=n_classes, device=device)
        self.n_scored = 0

    def add(self, batch: PredictedBatch) -> None:
        """Score the next batch; a broken picture only uses its label up."""
        pairs = zip(batch.pictures, self._remaining, strict=False)
        labels = [label for picture, label in pairs if picture.pixels_HWC is not None]
        if labels:
            labels_B = torch.tensor(labels, device=self._device)
            loss = F.cross_entropy(batch.logits_BC, labels_B)
            self._metrics.update(batch.logits_BC, labels_B, mean_loss=loss)
            self.n_scored += len(labels)

    def evaluation(self) -> Evaluation | None:
        """Return the score; None where no picture could be read."""
        return self._metrics.compute() if self.n_scored else None


def score_lines(evaluation: Evaluation) -> list[str]:
    """Return a score and its standard errors for people."""
    metrics, confusion_CC = evaluation.metrics, evaluation.confusion_CC.numpy()
    n_images = int(confusion_CC.sum())
    classes = shown_classes(evaluation.n_classes_present, len(confusion_CC))
    score_error = macro_f1_standard_error(confusion_CC)
    error, top5, top5_error = accuracy_standard_error(metrics.accuracy, n_images), "", ""
    if shows_top5(len(confusion_CC)):
        top5 = f"top-5 accuracy {metrics.top5_accuracy:.4f}, "
        spread = accuracy_standard_error(metrics.top5_accuracy, n_images)
        top5_error = f", top-5 accuracy {spread:.4f}"
    return [
        f"score: macro-F1 {metrics.macro_f1:.4f}{classes}, accuracy {metrics.accuracy:.4f}, "
        f"{top5}loss {metrics.loss:.4f}",
        f"standard error: macro-F1 {score_error:.4f}, accuracy {error:.4f}{top5_error} "
        f"({n_images:,} images)",
    ]
