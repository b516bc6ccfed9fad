"""What is to be predicted, validated before the weights of the model are loaded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from data.sources.given_pictures import GivenPictures
from model.export import ExportedConfig, load_config
from study.errors import StudyError
from study.prediction.own_data import reject_test_images
from study.prediction.scoring import Scorer, choose_labels, score_lines

MOST_CLASSES = 5


@dataclass(frozen=True)
class Plan:
    """Pictures for a model.

    Attributes:
        folder: Of the model.
        config: Of the model.
        paths: The pictures, in order.
        n_top: How many classes each prediction has.
        labels: The class of each picture; None where they are not scored.
        note: Why not, or what to think of the score; may be empty.
    """

    folder: Path
    config: ExportedConfig
    paths: Sequence[str]
    n_top: int
    labels: Sequence[int] | None
    note: str

    def build_scorer(self, device: torch.device) -> Scorer | None:
        """Return what scores predictions, None where they are not scored."""
        if self.labels is None:
            return None
        return Scorer(self.labels, n_classes=len(self.config.class_names), device=device)

    def describe(self, scorer: Scorer | None, *, n_broken: int) -> Iterator[str]:
        """Yield what is to be said after the last prediction, line by line."""
        if scorer is not None:
            evaluation = scorer.evaluation()
            if evaluation is None:
                yield "not scored: no image can be read"
                return
            yield from score_lines(evaluation)
            if n_broken:
                yield f"{count_images(n_broken)} that cannot be read: not part of the score"
        if self.note:
            yield self.note


def plan_prediction(
    folder: Path, given: Sequence[GivenPictures], *, n_top: int | None, is_score_required: bool
) -> Plan:
    """Read the configuration of a model and validate the rest against it.

    Args:
        folder: The model folder.
        given: The pictures.
        n_top: How many classes each prediction has; None: five, or all where there are fewer.
        is_score_required: Whether to reject pictures whose class no folder says.

    Raises:
        ModelError: If the folder is none, or its configuration is damaged.
        StudyError: If the model has fewer classes, a score is required and cannot be had, or
            pictures are those of the test split.
    """
    config = load_config(folder)
    n_classes = len(config.class_names)
    if n_top is not None and n_top > n_classes:
        raise StudyError(
            f"--top must be at most {n_classes}, the classes of the model, got {n_top}: lower it"
        )
    paths = [path for pictures in given for path in pictures.paths]
    caution = reject_test_images(paths, config.origin)
    labels, reason = choose_labels(given, config.class_names, is_required=is_score_required)
    return Plan(
        folder=folder,
        config=config,
        paths=paths,
        n_top=n_top or min(MOST_CLASSES, n_classes),
        labels=labels,
        note=reason if labels is None else caution,
    )


def count_images(n_images: int) -> str:
    """Return a number of images for people."""
    return "1 image" if n_images == 1 else f"{n_images:,} images"
