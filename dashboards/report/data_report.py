"""The report of a data set: one HTML file that needs no network, no server and no other file.

Shows the images, their splits, their particularities and their augmentation. Besides a final run,
only this module may open test images; it must not open confirmation images. Imports torch.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from dashboards.analysis.baselines import Scores
from dashboards.report.data_section import augmented_images, count_splits
from dashboards.report.html import write_page
from dashboards.tensorboard.writer import write_pictures
from data.augmented_samples import draw_samples
from data.cautions import cautions
from data.configuration import AugmentationConfig
from data.image_cache import PreparedData
from data.splits import CONFIRMATION
from data.statistics import DataDescription, DuplicateExample
from storage.run_paths import DataPaths

N_SAMPLES = 8
N_DRAWS = 4
MOST_PICTURED_DUPLICATES = 12
MOST_KINDS = 12
RESIZED = {
    "crop": "the largest square in its middle is resized",
    "pad": "is made square by a black border and resized",
    "squash": "is squashed",
}


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
    context = {
        "data": described,
        "splits": count_splits(described),
        "cautions": cautions(described),
        "uneven": _uneven_classes(described),
        "kinds": {
            "mode": _most_frequent(described.image_modes),
            "size": _most_frequent(described.original_sizes),
        },
        "resized": RESIZED[prepared.config.resize if prepared.config else "crop"],
        "pictured": _pictured(prepared),
        "samples": augmented_images(samples, described.class_names),
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


def _pictured(prepared: PreparedData) -> list[tuple[NDArray[np.uint8] | None, DuplicateExample]]:
    """Return duplicates with a picture; without, where all copies are confirmation images."""
    pictured = []
    for example in prepared.description.duplicates.examples[:MOST_PICTURED_DUPLICATES]:
        open_copies = [copy for copy in example.copies if copy.split != CONFIRMATION]
        picture = (
            prepared.picture(open_copies[0].split, open_copies[0].position)
            if open_copies
            else None
        )
        pictured.append((picture, example))
    return pictured
