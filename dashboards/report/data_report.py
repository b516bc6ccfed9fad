"""The report of a data set: one HTML file that needs no network, no server and no other file.

Says what the images are, how they are divided, what is odd about them, and shows how they are
augmented. The one place besides a final run that may look at test images. Imports torch.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from dashboards.analysis.baselines import Scores
from dashboards.figures.base import class_counts_figure
from dashboards.report.captioned import markup
from dashboards.report.html import write_page
from dashboards.tensorboard.writer import write_pictures
from data.augmented_samples import AugmentedSamples, draw_samples
from data.configuration import AugmentationConfig
from data.image_cache import PreparedData
from data.statistics import DataDescription, DuplicateExample
from storage.run_paths import DataPaths

N_SAMPLES = 8
N_DRAWS = 4
MOST_PICTURED_DUPLICATES = 12
MOST_KINDS = 12


@dataclass(frozen=True)
class ClassCounts:
    """How evenly one split is divided among the classes, with the figure that shows it."""

    split: str
    least: int
    mean: float
    most: int
    figure: Markup


def write_data_report(
    prepared: PreparedData,
    paths: DataPaths,
    *,
    augmentation: AugmentationConfig,
    seed: int,
    baselines: Scores,
) -> None:
    """Write the page, and its pictures of augmentation as TensorBoard events.

    Args:
        prepared: The data.
        paths: Where both are written; older ones are replaced.
        augmentation: How training images are varied.
        seed: Of the images that are shown and of how they are varied; not negative.
        baselines: Scores on the validation split, by name.

    Raises:
        DashboardError: If the page cannot be written.
        RunFolderError: If the disk is full or the folder cannot be written.
    """
    described = prepared.description
    samples = draw_samples(
        prepared.train(), augmentation, seed=seed, n_images=N_SAMPLES, n_draws=N_DRAWS
    )
    classes = [_class_counts(described, split) for split in described.counts]
    context = {
        "data": described,
        "classes": classes,
        "uneven": _uneven_classes(described),
        "kinds": {
            "mode": _most_frequent(described.image_modes),
            "size": _most_frequent(described.original_sizes),
        },
        "pictured": _pictured(prepared),
        "samples": _pairs(samples, described.class_names),
        "augmentation": {
            name: str(value) for name, value in augmentation.model_dump(mode="json").items()
        },
        "seed": seed,
        "baselines": baselines,
        "written_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    write_page(paths.report, "data_report.html", context)
    write_pictures(
        paths.tensorboard,
        {"augmentation/before": samples.before_NHWC}
        | {
            f"augmentation/after_{draw + 1}": samples.after_NDHWC[:, draw]
            for draw in range(N_DRAWS)
        },
    )


def _class_counts(described: DataDescription, split: str) -> ClassCounts:
    counts = described.class_counts[split]
    figure = class_counts_figure(counts, described.class_names)
    return ClassCounts(
        split, min(counts), described.counts[split] / len(counts), max(counts), markup(figure)
    )


def _uneven_classes(described: DataDescription) -> list[tuple[str, tuple[int, ...]]]:
    """Return every class with its images in each split, the rarest first; none if all are even."""
    by_split = list(described.class_counts.values())
    if all(min(counts) == max(counts) for counts in by_split):
        return []
    rows = zip(described.class_names, zip(*by_split, strict=True), strict=True)
    return sorted(rows, key=lambda row: row[1])


def _most_frequent(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, list[int]]]:
    """Return the most frequent kinds with their images in each split, and the others together."""
    by_split = list(counts.values())
    total = sum(map(Counter, by_split), Counter[str]())
    kinds = [kind for kind, _ in total.most_common()]
    rows = [(kind, [found.get(kind, 0) for found in by_split]) for kind in kinds[:MOST_KINDS]]
    rest = kinds[MOST_KINDS:]
    if rest:
        others = [sum(found.get(kind, 0) for kind in rest) for found in by_split]
        rows.append((f"and {len(rest)} more", others))
    return rows


def _pictured(prepared: PreparedData) -> list[tuple[NDArray[np.uint8], DuplicateExample]]:
    examples = prepared.description.duplicates.examples[:MOST_PICTURED_DUPLICATES]
    return [
        (prepared.picture(example.copies[0].split, example.copies[0].position), example)
        for example in examples
    ]


def _pairs(samples: AugmentedSamples, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"name": class_names[label], "before": before_HWC, "after": list(after_DHWC)}
        for label, before_HWC, after_DHWC in zip(
            samples.labels_N, samples.before_NHWC, samples.after_NDHWC, strict=True
        )
    ]
